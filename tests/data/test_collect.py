"""Pictures to samples: every layout, every refusal, and nothing that vanishes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import DataError
from roi_cls.base.location import as_path
from roi_cls.data.collect import collect_data, collect_samples
from roi_cls.data.sample import Sample

GIVE = "Give a folder of pictures, such as PNG, JPEG, WebP, HEIC or TIFF files."
Found = list[tuple[str, str | None, str | None]]


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path, names: Mapping[str, str] | None = None, *, labelled: bool = True) -> Found:
    samples = collect_samples(root, names, labelled=labelled)
    return [(s.path.relative_to(root).as_posix(), s.label, s.split) for s in samples]


def refusal(root: Path, names: Mapping[str, str] | None = None, *, labelled: bool = True) -> str:
    with pytest.raises(DataError) as caught:
        collect_samples(root, names, labelled=labelled)
    return str(caught.value).replace(str(root), "ROOT")


def test_origin_names_in_parts(tmp_path: Path) -> None:
    make(tmp_path, "train/image_10_1.png", "train/image_2_0.png", "test/image_1_1.PNG")
    assert found(tmp_path) == [
        ("test/image_1_1.PNG", "artefactless", "test"),
        ("train/image_10_1.png", "artefactless", "train"),
        ("train/image_2_0.png", "artefact", "train"),
    ]


@pytest.mark.parametrize("part", ["validation", "val", "valid", "Val"])
def test_names_of_the_validation_part(tmp_path: Path, part: str) -> None:
    make(tmp_path, f"{part}/image_1_0.png")
    assert found(tmp_path) == [(f"{part}/image_1_0.png", "artefact", "validation")]


def test_flat_origin_names_leave_the_split_open(tmp_path: Path) -> None:
    make(tmp_path, "image_1_0.jpeg", "image_2_1.webp", "readme.txt")
    assert found(tmp_path) == [
        ("image_1_0.jpeg", "artefact", None),
        ("image_2_1.webp", "artefactless", None),
    ]


def test_given_names_replace_the_default_ones(tmp_path: Path) -> None:
    make(tmp_path, "image_1_live.png", "image_2_0.png")
    names = {"live": "real", "0": "spoof"}
    assert [label for _, label, _ in found(tmp_path, names)] == ["real", "spoof"]


def test_class_folders_with_folders_below(tmp_path: Path) -> None:
    make(tmp_path, "real/a.png", "real/2024/b.jpg", "fake one/c.tiff")
    assert found(tmp_path) == [
        ("fake one/c.tiff", "fake one", None),
        ("real/2024/b.jpg", "real", None),
        ("real/a.png", "real", None),
    ]


def test_class_folders_in_parts_are_renamed(tmp_path: Path) -> None:
    make(tmp_path, "train/0/a.png", "train/1/b.png", "test/1/c/d.png")
    assert found(tmp_path, {"0": "real", "1": "fake"}) == [
        ("test/1/c/d.png", "fake", "test"),
        ("train/0/a.png", "real", "train"),
        ("train/1/b.png", "fake", "train"),
    ]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("artefact/image_1_0.png", "artefactless/image_2_1.png"), None),
        (("bad/image_1_0.png", "good/image_2_1.png"), {"bad": "artefact", "good": "artefactless"}),
        (("artefact/image_1_0.png", "artefactless/other.png"), None),
    ],
)
def test_class_folders_of_origin_names_that_agree(
    tmp_path: Path, files: tuple[str, ...], names: Mapping[str, str] | None
) -> None:
    labels = [label for _, label, _ in found(make(tmp_path, *files), names)]
    assert labels == ["artefact", "artefactless"]


def read(root: Path, names: Mapping[str, str] | None = None) -> tuple[list[str | None], list[str]]:
    """Labels, and what the user is told of them."""
    found = collect_data(root, names)
    return [sample.label for sample in found.samples], list(found.remarks)


def test_class_folders_win_over_names_that_contradict_them(tmp_path: Path) -> None:
    make(tmp_path, "batch1/image_1_0.png", "batch1/image_2_1.png", "batch2/image_3_1.png")
    labels, remarks = read(tmp_path)
    assert labels == ["batch1", "batch1", "batch2"]
    assert remarks == [
        "warning: The labels are those of the folders, but for 3 of 3 pictures the name says "
        "otherwise: 'batch1/image_1_0.png' is 'batch1', its name says 'artefact'. To go by the "
        "names, give --labels 0=artefact,1=artefactless."
    ]


def test_labels_of_names_alone_settle_it_for_the_names(tmp_path: Path) -> None:
    make(tmp_path, "batch1/image_1_0.png", "batch1/image_2_1.png", "batch2/image_3_1.png")
    labels, remarks = read(tmp_path, {"0": "artefact", "1": "artefactless"})
    assert labels == ["artefact", "artefactless", "artefactless"]
    assert remarks == [
        "warning: The labels are those of the names of the files, but for 3 of 3 pictures the "
        "folder says otherwise: 'batch1/image_1_0.png' is 'artefact', its folder says 'batch1'. "
        "To go by the folders, name these: --labels batch1=CLASS,batch2=CLASS."
    ]


def test_labels_of_folders_settle_it_for_the_folders(tmp_path: Path) -> None:
    make(tmp_path, "batch1/image_1_0.png", "batch1/image_2_1.png", "batch2/image_3_1.png")
    assert read(tmp_path, {"batch1": "a", "batch2": "b"}) == (["a", "a", "b"], [])


@pytest.mark.parametrize("names", [None, {"0": "artefact", "1": "artefactless"}])
def test_class_folders_that_swap_the_names_are_told(
    tmp_path: Path, names: Mapping[str, str] | None
) -> None:
    make(tmp_path, "artefact/image_1_1.png", "artefact/image_2_0.png", "artefactless/image_3_1.png")
    labels, remarks = read(tmp_path, names)
    assert labels[0] == ("artefactless" if names else "artefact")
    assert len(remarks) == 1
    assert "for 1 of 3 pictures" in remarks[0]


def test_folders_called_as_the_names_say_leave_them_no_option(tmp_path: Path) -> None:
    make(tmp_path, "0/image_1_1.png", "0/image_2_0.png", "1/image_3_1.png")
    labels, remarks = read(tmp_path, {"0": "a", "1": "b"})
    assert labels == ["a", "a", "b"]
    assert remarks[0].endswith("To go by the names, put the pictures into one folder.")


@pytest.mark.parametrize(
    "files",
    [
        ("live/image_1_0.png", "live/image_2_0.png", "spoof/image_3_1.png"),  # other words
        ("live/image_1_0.png", "spoof/image_2_5.png"),  # 5 is no label
        ("train/live/image_1_0.png", "test/spoof/image_2_1.png"),
    ],
)
def test_names_that_do_not_contradict_class_folders_are_not_spoken_of(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    labels, remarks = read(make(tmp_path, *files))
    assert set(labels) == {"live", "spoof"}
    assert remarks == []


def test_blanks_around_a_label_do_not_count(tmp_path: Path) -> None:
    make(tmp_path / "folders", " real/a.png", "real /b.png", "very real/c.png")
    assert read(tmp_path / "folders") == (
        ["real", "real", "very real"],
        ["warning: ' real' and 'real ' are one class: blanks around a label do not count."],
    )
    assert read(tmp_path / "folders", {"real": "x"})[0] == ["x", "x", "very real"]
    make(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "list.csv").write_text("path,label\na.png, real\nb.png,real \nc.png,very real\n")
    assert read(tmp_path / "list.csv")[0] == ["real", "real", "very real"]


def test_folder_of_blanks_is_no_class(tmp_path: Path) -> None:
    assert refusal(make(tmp_path, "real/a.png", " /b.png")) == (
        "Cannot read labels in 'ROOT': the folder ' ' has only blanks for a name. "
        "Call it as its class."
    )


def test_csv_is_read_with_its_label_names(tmp_path: Path) -> None:
    make(tmp_path, "x/1.png", "x/2.png")
    table = tmp_path / "data.CSV"
    table.write_text("path,label\nx/2.png,0\nx/1.png,1\n")
    assert collect_samples(table, {"0": "a", "1": "b"}) == (
        Sample(tmp_path / "x/2.png", "a"),
        Sample(tmp_path / "x/1.png", "b"),
    )
    assert refusal(table, {"2": "a"}) == (
        "Cannot use the given --labels in 'ROOT': they name '2', the data have '0', '1'. "
        "Write the data's labels before each '=', or leave --labels out."
    )


def test_label_names_that_name_no_folder_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "real/a.png", "fake/b.png")
    assert refusal(tmp_path, {"0": "a", "1": "b"}) == (
        "Cannot use the given --labels in 'ROOT': they name '0', '1', the data have 'fake', "
        "'real'. Write the data's labels before each '=', or leave --labels out."
    )


def test_missing_labels_are_counted_and_five_are_named(tmp_path: Path) -> None:
    make(tmp_path, *(f"train/image_{i}_0.png" for i in range(9)))
    make(tmp_path, *(f"train/image_{i}.png" for i in range(7)))
    assert refusal(tmp_path) == (
        "Cannot read labels in 'ROOT': a label is missing in the name of 7 of 16 pictures: "
        "'train/image_0.png', 'train/image_1.png', 'train/image_2.png', 'train/image_3.png', "
        "'train/image_4.png' and 2 more. Rename them like image_<index>_<label>.png, move them "
        "away, or give a CSV with path,label."
    )


@pytest.mark.parametrize(
    "name", ["a.png", "image_1.png", "image_x_0.png", "image_1_0_0.png", "image_1_.png"]
)
def test_flat_pictures_without_labels_are_explained(tmp_path: Path, name: str) -> None:
    assert refusal(make(tmp_path, name)) == (
        f"Cannot read labels in 'ROOT': no name has one: {name!r}. Name them "
        "image_<index>_<label>.png, put each class into a folder of its own, or list them in a "
        "CSV with path,label."
    )


def test_label_that_is_not_named_is_explained(tmp_path: Path) -> None:
    make(tmp_path, "train/image_1_0.png", "train/image_2_2.png", "train/image_3_x.png")
    assert refusal(tmp_path) == (
        "Cannot read labels in 'ROOT': the label '2' of 'train/image_2_2.png' is not named; named "
        "are 0=artefact,1=artefactless. Name every label, e.g. --labels "
        "0=artefact,1=artefactless,2=NAME,x=NAME."
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("a.png", "real/b.png"),
            "Cannot tell the labels in 'ROOT': pictures lie beside folders of pictures, like "
            "'a.png' and 'real/b.png'. Give a folder that holds only one of the two, or a CSV "
            "with path,label.",
        ),
        (
            ("train/real/b.png", "test/1.png"),
            "Cannot tell the labels in 'ROOT': pictures lie beside folders of pictures, like "
            "'test/1.png' and 'train/real/b.png'. Give a folder that holds only one of the two, "
            "or a CSV with path,label.",
        ),
        (
            ("train/image_1_0.png", "extra/image_2_0.png", "image_3_0.png"),
            "Cannot tell the parts in 'ROOT': beside 'train' there are pictures in no part: "
            "'extra/image_2_0.png', 'image_3_0.png'. Move them into a part or away, or give a "
            "CSV with path,label,split.",
        ),
        (
            ("set/train/image_1_0.png", "set/test/image_2_0.png"),
            "Cannot read labels in 'ROOT': its parts lie one folder deeper. Give 'ROOT/set'.",
        ),
    ],
)
def test_ambiguous_folders_are_refused(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    assert refusal(make(tmp_path, *files)) == message


@pytest.mark.parametrize("labelled", [True, False])
def test_folder_without_pictures_says_what_it_holds(tmp_path: Path, labelled: bool) -> None:
    assert refusal(tmp_path, labelled=labelled) == (
        f"Cannot find pictures in 'ROOT' or below: it holds no files. {GIVE}"
    )
    make(tmp_path, "a/1.psd", "2.PSD", "README", ".hidden.png", ".cache/1.png", "__MACOSX/1.png")
    assert refusal(tmp_path, labelled=labelled) == (
        "Cannot find pictures in 'ROOT' or below: it holds no picture, but 2 .psd, 2 hidden, "
        f"1 folder '__MACOSX', 1 without suffix. {GIVE}"
    )


def test_missing_and_unfit_sources_are_explained(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (
        "Cannot find pictures in 'ROOT': it does not exist. Give a folder of pictures or a CSV."
    )
    assert refusal(make(tmp_path, "a.png") / "a.png") == (
        "Cannot find pictures in 'ROOT': it is no folder, archive or CSV. "
        "Give a folder of pictures or a CSV."
    )


def test_unlabelled_takes_every_picture_and_labels_where_they_can_be_read(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "image_1_0.png", "b/c/d.gif", "b/image_2_7.bmp", ".x/e.png", "f.txt")
    assert found(tmp_path, labelled=False) == [
        ("a.png", None, None),
        ("b/c/d.gif", None, None),
        ("b/image_2_7.bmp", None, None),
        ("image_1_0.png", "artefact", None),
    ]


def test_unlabelled_reads_a_labelled_folder_as_training_does(tmp_path: Path) -> None:
    make(tmp_path, "train/image_1_0.png", "test/image_2_1.png")
    assert found(tmp_path, labelled=False) == found(tmp_path)


def test_unlabelled_takes_one_picture_or_a_csv_without_labels(tmp_path: Path) -> None:
    make(tmp_path, "a.JPG", "b.jpg")
    (tmp_path / "list.csv").write_text("path\nb.jpg\na.JPG\n")
    one, two = Sample(tmp_path / "a.JPG"), Sample(tmp_path / "b.jpg")
    assert collect_samples(tmp_path / "a.JPG", labelled=False) == (one,)
    assert collect_samples(tmp_path / "list.csv", {"0": "x"}, labelled=False) == (two, one)


def test_broken_links_and_folders_named_like_pictures_are_kept(tmp_path: Path) -> None:
    make(tmp_path, "real/a.png", "real/folder.png/inside.png", "real/empty.png/note.txt")
    (tmp_path / "real/broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "real/self.png").symlink_to(tmp_path / "real/self.png")
    (tmp_path / "real/self").symlink_to(tmp_path / "real/self")
    assert [path for path, _, _ in found(tmp_path)] == [
        "real/a.png",
        "real/broken.png",
        "real/empty.png",
        "real/folder.png",
        "real/folder.png/inside.png",
        "real/self.png",
    ]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "store/1.png", "data/real/2.png")
    (tmp_path / "data/real/loop").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data/fake").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "data/real/3.png").symlink_to(tmp_path / "store/1.png")
    assert found(tmp_path / "data") == [
        ("fake/1.png", "fake", None),
        ("real/2.png", "real", None),
        ("real/3.png", "real", None),
    ]


def test_folder_that_cannot_be_listed_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "real/a.png", "fake/b.png")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if folder.endswith("fake"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(tmp_path) == (
        "Cannot list the folder 'ROOT/fake': Permission denied. Make it readable or move it away."
    )


def test_link_that_cannot_be_followed_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        name, path = "fake", "fake"

        def is_dir(self) -> bool:
            raise PermissionError(13, "Permission denied")

    class Entries(list[Entry]):
        def __enter__(self) -> Entries:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(os, "scandir", lambda folder: Entries([Entry()]))
    assert refusal(tmp_path).startswith("Cannot list the folder 'ROOT': Permission denied.")


def test_names_with_newlines_and_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    names = ["a\nb.png", "日本 ö.png"]
    if sys.platform == "linux":  # other file systems take no such name
        names.append(os.fsdecode(b"\xff.png"))
    make(tmp_path, *(f"真\n/{name}" for name in names))
    assert found(tmp_path) == [(f"真\n/{name}", "真", None) for name in sorted(names)]
    assert "\n" not in refusal(make(tmp_path, "c\nd.png"))


NAMES = st.text(st.sampled_from("ab01_. é-"), min_size=1, max_size=6).filter(
    lambda name: name.strip() and not name.startswith(".")
)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=8))
def test_every_picture_is_one_sample(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("data")
    files = {f"{folder}/{name}.png" for folder, name in names}
    make(root, *files)
    assert [path for path, _, _ in found(root)] == sorted(files)
    assert all(label == path.split("/")[0].strip() for path, label, _ in found(root))


def test_pictures_that_cannot_be_read_do_not_vanish(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.png", "train/a/2.JXL", "train/b/3.jfif", "testing/a/4.dng")
    assert found(tmp_path) == [
        ("testing/a/4.dng", "a", "test"),
        ("train/a/1.png", "a", "train"),
        ("train/a/2.JXL", "a", "train"),
        ("train/b/3.jfif", "b", "train"),
    ]


def test_remote_folder_is_read_as_a_local_one(tmp_path: Path) -> None:
    names = ("train/image_1_0.png", "train/x/.hidden/image_2_0.png", "test/image_2_1.PNG")
    more = ("test/.image_3_0.png", "__MACOSX/image_4_0.png", "readme.txt")
    make(tmp_path, *names, *more)
    remote = as_path("memory://test-collect/set")
    for name in (*names, *more):
        (remote / name).write_bytes(b"")
    assert found(remote) == found(tmp_path)
    assert str(collect_samples(remote)[0].path) == "memory://test-collect/set/test/image_2_1.PNG"
    one = remote / "readme.png"
    one.write_bytes(b"")
    assert collect_samples(one, labelled=False) == (Sample(one),)


def test_remote_sources_without_pictures_are_explained() -> None:
    remote = as_path("memory://test-collect/texts")
    assert refusal(remote).endswith("it does not exist. Give a folder of pictures or a CSV.")
    (remote / "a.txt").write_bytes(b"")
    assert refusal(remote) == (
        f"Cannot find pictures in 'ROOT' or below: it holds no picture, but 1 .txt. {GIVE}"
    )


@pytest.mark.parametrize(("method", "folder"), [("info", "a"), ("find", "b")])
def test_remote_source_that_cannot_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, method: str, folder: str
) -> None:
    remote = as_path(f"memory://test-collect/{folder}")
    (remote / "1.png").write_bytes(b"")

    def fail(*_: object, **__: object) -> object:
        raise EOFError("Could not connect.\nat all")  # as clients do: no OSError

    monkeypatch.setattr(MemoryFileSystem, method, fail)
    assert refusal(remote, labelled=False) == (
        "Cannot look at 'ROOT': Could not connect. "
        "Check the path, the network and your right to read it."
    )
