"""Data sets in archives: the pictures in them, their labels, and which archive is which part."""

from pathlib import Path

import pytest
from pyarrow import parquet

from roi_cls.base.errors import DataError
from roi_cls.data.archives import find_members, holds_members
from roi_cls.data.collect import check_data_set, collect_data, collect_samples
from tests.helpers.archives import make_table, make_tar, make_zip
from tests.helpers.pictures import encode, noise

FOLDERS = {"cats/1.jpg": b"", "dogs/1.jpg": b"", "dogs/2.jpg": b""}
PAIRS = {"1.jpg": b"", "1.cls": b"0", "2.png": b"", "2.json": b'{"label": 1}'}


def rows(source: Path | str, names: dict[str, str] | None = None) -> list[str]:
    """Return path, label and part of each sample, the folders above left out."""
    samples = collect_samples(Path(source), names)
    return [
        " ".join(filter(None, (str(one.path).rpartition("-set/")[2], one.label, one.split)))
        for one in samples
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a-set"
    path.mkdir()
    return path


def refusal(source: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        collect_samples(Path(source))
    return str(caught.value)


def test_folders_of_classes_are_read_within_an_archive(folder: Path) -> None:
    source = make_zip(folder / "a.zip", FOLDERS)
    assert check_data_set(source) == "archives"
    assert rows(source) == [
        "a.zip/cats/1.jpg cats",
        "a.zip/dogs/1.jpg dogs",
        "a.zip/dogs/2.jpg dogs",
    ]
    assert rows(source, {"cats": "x", "dogs": "y"})[0] == "a.zip/cats/1.jpg x"


def test_parts_within_an_archive_are_read(folder: Path) -> None:
    content = {f"{part}/{name}": b"" for part in ("train", "test") for name in FOLDERS}
    found = rows(make_tar(folder / "a.tar", content))
    assert found[0] == "a.tar/train/cats/1.jpg cats train"
    assert found[-1] == "a.tar/test/dogs/2.jpg dogs test"


@pytest.mark.parametrize("inner", ["", "train/"])
def test_the_folder_that_everything_was_packed_with_is_no_class(folder: Path, inner: str) -> None:
    content = {f"photos/{inner}{name}": b"" for name in FOLDERS}
    found = rows(make_zip(folder / "a.zip", content))
    part = " train" if inner else ""
    assert found[0] == f"a.zip/photos/{inner}cats/1.jpg cats{part}"
    assert rows(folder / "a.zip/photos") == found


def test_labels_stand_in_names_within_an_archive(folder: Path) -> None:
    source = make_zip(folder / "a.zip", {"image_0_0.png": b"", "image_1_1.png": b""})
    assert rows(source) == ["a.zip/image_0_0.png artefact", "a.zip/image_1_1.png artefactless"]


def test_labels_beside_the_pictures_come_before_all_others(folder: Path) -> None:
    source = make_tar(folder / "a.tar", PAIRS)
    assert rows(source) == ["a.tar/1.jpg 0", "a.tar/2.png 1"]
    assert rows(source, {"0": "real", "1": "fake"}) == ["a.tar/1.jpg real", "a.tar/2.png fake"]


def test_a_picture_without_a_label_among_labelled_ones_is_told(folder: Path) -> None:
    source = make_tar(folder / "a.tar", {**PAIRS, "3.jpg": b""})
    assert refusal(source) == (
        f"Cannot use '{source}': 1 of 3 pictures have no label where the others have one: "
        f"'{source}/3.jpg'. Add the labels, or take these pictures out."
    )


def test_a_picture_without_a_label_where_none_is_needed_has_none(folder: Path) -> None:
    source = make_tar(folder / "a.tar", {**PAIRS, "3.jpg": b""})
    found = collect_samples(source, labelled=False)
    assert [one.label for one in found] == ["0", "1", None]


def test_classes_of_a_table_are_its_labels(folder: Path) -> None:
    source = make_table(folder / "a.parquet", [b"1", b"2"], [1, 0], classes=["cat", "dog"])
    assert rows(source) == ["a.parquet/0000000 dog", "a.parquet/0000001 cat"]


def test_where_stated_labels_are_damaged_no_others_are_taken(folder: Path) -> None:
    paths = ["image_0_0.png", "image_1_1.png"]
    source = make_table(folder / "a.parquet", [b"1", b"2"], ["x", "y"], paths=paths)
    column = parquet.ParquetFile(source).metadata.row_group(0).column(2)
    data = bytearray(source.read_bytes())
    start = column.dictionary_page_offset
    data[start : start + 20] = b"\xff" * 20
    source.write_bytes(data)
    assert column.path_in_schema == "label"
    assert refusal(source) == (
        f"Cannot read '{source}': its column 'label' is damaged. Copy, download or make it again."
    )


def test_shards_of_a_pattern_are_one_data_set_in_their_order(folder: Path) -> None:
    for i in (0, 1):
        make_tar(folder / f"s-{i:02}.tar", PAIRS)
    expected = ["s-00.tar/1.jpg 0", "s-00.tar/2.png 1", "s-01.tar/1.jpg 0", "s-01.tar/2.png 1"]
    assert rows(f"{folder}/s-{{00..01}}.tar") == expected
    assert rows(f"{folder}/*.tar") == expected


def test_a_class_may_be_alone_in_its_shard(folder: Path) -> None:
    make_zip(folder / "1.zip", {"all/cats/1.jpg": b""})
    make_zip(folder / "2.zip", {"all/dogs/1.jpg": b""})
    assert rows(f"{folder}/{{1,2}}.zip") == [
        "1.zip/all/cats/1.jpg cats",
        "2.zip/all/dogs/1.jpg dogs",
    ]


def test_a_folder_of_its_own_around_each_shard_is_not_taken_for_a_class(folder: Path) -> None:
    for name in ("s1", "s2"):
        make_zip(folder / f"{name}.zip", {f"{name}/{one}": b"" for one in FOLDERS})
    inner = f"{{{folder}/s1.zip/s1,{folder}/s2.zip/s2}}"
    assert refusal(f"{folder}/s{{1,2}}.zip") == (
        f"Cannot tell the labels in '{folder}/s{{1,2}}.zip': each archive has a folder of its own "
        "around all others, like 's1/' and 's2/', and either level may be the classes. If these "
        f"folders are none, name each, as '{inner}'; else give a CSV with path,label."
    )
    assert rows(inner)[-1] == "s2.zip/s2/dogs/2.jpg dogs"
    assert len(collect_samples(Path(f"{folder}/s{{1,2}}.zip"), labelled=False)) == 6


def test_folders_within_one_another_around_everything_are_no_class(folder: Path) -> None:
    content = {f"a/b/{part}/{name}": b"" for part in ("train", "test") for name in FOLDERS}
    source = make_zip(folder / "a.zip", content)
    assert rows(source)[0] == "a.zip/a/b/train/cats/1.jpg cats train"


def test_where_labels_cannot_be_read_the_archive_is_named(folder: Path) -> None:
    make_zip(folder / "a.zip", {"x.jpg": b""})
    assert refusal(f"{folder}/[a].zip").startswith(f"Cannot read labels in '{folder}/[a].zip': no ")


def test_archives_and_folders_called_by_parts_are_these_parts(folder: Path) -> None:
    make_zip(folder / "train-0.zip", FOLDERS)
    make_zip(folder / "test.zip", {"cats/1.jpg": b""})
    (folder / "val/dogs").mkdir(parents=True)
    (folder / "val/dogs/9.jpg").touch()
    found = rows(f"{folder}/{{train-0.zip,val,test.zip}}")
    assert [row.split()[-1] for row in found] == ["train"] * 3 + ["validation", "test"]
    assert found[3] == "val/dogs/9.jpg dogs validation"


def test_one_part_alone_is_all_there_is(folder: Path) -> None:
    make_zip(folder / "train-0.zip", FOLDERS)
    make_zip(folder / "train-1.zip", FOLDERS)
    assert rows(f"{folder}/train-{{0,1}}.zip")[0] == "train-0.zip/cats/1.jpg cats"


def test_an_archive_that_is_no_part_beside_parts_is_refused(folder: Path) -> None:
    for name in ("train", "test", "extra"):
        make_zip(folder / f"{name}.zip", FOLDERS)
    assert refusal(f"{folder}/*.zip") == (
        f"Cannot tell the parts in '{folder}/*.zip': beside archives called train, validation or "
        f"test there are others: '{folder}/extra.zip'. Rename them, or leave them out."
    )


def test_missing_shards_are_refused_by_name(folder: Path) -> None:
    make_zip(folder / "0.zip", FOLDERS)
    assert refusal(f"{folder}/{{0..2}}.zip") == (
        f"Cannot use '{folder}/{{0..2}}.zip': 2 of 3 are neither archives nor folders: "
        f"'{folder}/1.zip', '{folder}/2.zip'. Correct the pattern, or bring them there."
    )
    assert refusal(f"{folder}/x*.zip") == (
        f"Cannot find pictures: nothing matches '{folder}/x*.zip'. Check the pattern."
    )


def test_nothing_is_learned_from_an_archive_that_is_cut(folder: Path) -> None:
    source = make_tar(folder / "a.tar", {**PAIRS, "3.jpg": bytes(5000)})
    source.write_bytes(source.read_bytes()[:-9000])
    assert refusal(source).startswith(f"Cannot read '{source}': it is cut or damaged after ")


def test_hidden_and_other_members_are_no_pictures(folder: Path) -> None:
    names = ("a.jpg", ".b.jpg", "__MACOSX/._a.jpg", "x/.y/c.jpg", "d.txt", "x/e.PNG", "f.mp4")
    source = make_zip(folder / "a.zip", dict.fromkeys(names, b""))
    assert find_members(source).names == ["a.jpg", "x/e.PNG"]
    assert find_members(source, (".mp4",)).names == ["a.jpg", "x/e.PNG", "f.mp4"]


def test_members_without_a_telling_suffix_are_known_by_content_and_others_counted(
    folder: Path,
) -> None:
    png = encode(noise(8, 8, 3))
    names = {"b": png, "a.jpg_large": png, "c": b"", "d.xyz": b"text", "e.json": b"{}"}
    beside = {"z.jpg": png, "z.cls": b"1", "z.json": b"{}", "z.jpg_large": png}
    content = {**names, **beside, "@eaDir/z.jpg/x.jpg": png, ".h.jpg": png}
    for source in (make_zip(folder / "a.zip", content), make_tar(folder / "a.tar", content)):
        found = find_members(source)
        assert found.names == ["b", "a.jpg_large", "z.jpg", "z.jpg_large"]
        assert found.passed_over == {
            **{"without suffix": 1, ".xyz": 1, ".json": 1, "@eaDir/": 1, "hidden": 1}
        }
        assert collect_data(source, labelled=False).passed_over == found.passed_over


def test_what_shares_a_pictures_name_is_lost_only_where_it_is_its_label(folder: Path) -> None:
    content = {name: b"" for name in ("a.jpg", "a.cls", "a.mov", "a.json", "a.xmp", "b.cls")}
    source = make_zip(folder / "a.zip", {**content, "a.jpg_large": b"\xff\xd8\xff"})
    found = find_members(source)
    assert found.names == ["a.jpg", "a.jpg_large"]
    assert found.passed_over == {".mov": 1, ".xmp": 1, ".cls": 1}
    assert find_members(source, (".mov",)).names == ["a.jpg", "a.mov", "a.jpg_large"]


def test_an_archive_without_pictures_says_what_it_holds(folder: Path) -> None:
    source = make_zip(folder / "a.zip", {"a.txt": b"", "b.txt": b"", "c": b""})
    assert refusal(source) == (
        f"Cannot find pictures in '{source}': it holds no picture, but 2 .txt, "
        "1 without suffix. Give one with pictures."
    )
    assert "it holds no files" in refusal(make_tar(folder / "a.tar", {}))


def test_members_by_themselves_hold_none(folder: Path) -> None:
    source = make_zip(folder / "a.zip", FOLDERS)
    assert holds_members(source)
    assert holds_members(source / "cats")
    assert not holds_members(source / "cats/1.jpg")
    assert not holds_members(source / "none")
    assert not holds_members(folder)


def test_a_table_of_rows_names_what_lies_in_archives(folder: Path) -> None:
    make_zip(folder / "a.zip", FOLDERS)
    (folder / "rows.csv").write_text("path,label\na.zip/cats/1.jpg,x\na.zip/dogs/2.jpg,y\n")
    assert rows(folder / "rows.csv") == ["a.zip/cats/1.jpg x", "a.zip/dogs/2.jpg y"]


def test_one_picture_of_an_archive_is_a_source_where_no_label_is_needed(folder: Path) -> None:
    source = make_zip(folder / "a.zip", FOLDERS)
    for name, count in (("cats/1.jpg", 1), ("dogs", 2)):
        assert len(collect_samples(source / name, labelled=False)) == count
    assert collect_samples(source / "cats/1.jpg", labelled=False)[0].path == source / "cats/1.jpg"


def test_unlabelled_pictures_of_an_archive_need_no_label(folder: Path) -> None:
    source = make_zip(folder / "a.zip", {"1.jpg": b"", "x/2.jpg": b""})
    found = collect_samples(source, labelled=False)
    assert [str(one.path.relative_to(source)) for one in found] == ["1.jpg", "x/2.jpg"]
