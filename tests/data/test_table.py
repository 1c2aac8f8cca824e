"""Samples as CSV: what users bring, what a run writes, and every refusal."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import DataError, StorageError
from roi_cls.data.sample import Sample
from roi_cls.data.table import (
    first_five,
    read_paths,
    read_samples,
    read_split,
    split_digest,
    write_split,
)

COLUMNS = "Columns are path,label and, if wanted, split,group; paths start at the CSV's folder."


def write(folder: Path, text: str | bytes, *pictures: str) -> Path:
    for picture in pictures:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        (folder / picture).touch()
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "path,label,split,group\nb/1.png,real,val,anna\na.png,fake,,\n",
        "\ufeffpath,label,split,group\r\nb/1.png,real,validation,anna\r\na.png,fake,,\r\n",
        "Path; Label ;SPLIT;group\nb/1.png;real;VAL;anna\na.png;fake;;\n\n;;;\n",
        "group\tnote\tpath\tlabel\tsplit\nanna\tx\tb/1.png\treal\tvalid\n\t\ta.png\tfake\t\n",
        "\n \nsep=;\npath;label;split;group\nb/1.png;real;val;anna\na.png;fake;;\n",
        "path,label,split,group\rb/1.png,real,val,anna\ra.png,fake,,\r",
        '"path","label","split","group"\n"b/1.png"," real ","val ","anna"\na.png, fake,,\n',
    ],
    ids=["plain", "bom-crlf", "semicolon", "tab-unknown-column", "excel", "mac", "quoted"],
)
def test_common_ways_to_write_the_table_are_read_in_row_order(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text, "a.png", "b/1.png")
    assert read_samples(path) == (
        Sample(tmp_path / "b/1.png", "real", "validation", "anna"),
        Sample(tmp_path / "a.png", "fake"),
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_table_may_be_as_excel_and_powershell_write_it(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "\ufeffpath\tlabel\r\nĊ.png\tx\r\n".encode(encoding), "Ċ.png")
    assert read_samples(path) == (Sample(tmp_path / "Ċ.png", "x"),)
    assert list(read_paths(path)) == ["Ċ.png"]


def test_paths_are_read_one_by_one_whatever_else_the_rows_hold(tmp_path: Path) -> None:
    text = 'label,path\nx,a.png\ny,a.png\n\nz\n,"b\nc.png"\nx,d.png,e\n,,\n,\xff.png\n'
    path = write(tmp_path, text.encode("latin-1"))
    paths = ["a.png", "a.png", "", "b\nc.png", "d.png", "\udcff.png"]
    assert list(read_paths(path)) == paths
    path.write_text("path\n" + 10_000 * "a.png\n" + '"b"c.png\n')
    coming = read_paths(path)
    assert next(coming) == "a.png"
    with pytest.raises(DataError, match="line 10002 is not CSV: ',' expected after"):
        list(coming)


@pytest.mark.parametrize("name", ["ä, ö\n日本.png", 'a"b.png', " leading.png"])
def test_odd_names_are_read(tmp_path: Path, name: str) -> None:
    quoted = name.replace('"', '""')
    path = write(tmp_path, f'path,label\n"{quoted}",x\n', name)
    assert read_samples(path) == (Sample(tmp_path / name, "x"),)


@pytest.mark.parametrize(
    ("names", "labels"), [({"0": "real"}, ("real", "1")), ({}, ("0", "1")), (None, ("0", "1"))]
)
def test_labels_are_renamed(
    tmp_path: Path, names: Mapping[str, str] | None, labels: tuple[str, ...]
) -> None:
    path = write(tmp_path, "path,label\na.png,0\nb.png,1\n", "a.png", "b.png")
    assert tuple(sample.label for sample in read_samples(path, names)) == labels


def test_labels_may_be_absent_where_none_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path, "path\na.png\n", "a.png")
    assert read_samples(path, labelled=False) == (Sample(tmp_path / "a.png"),)


def test_whole_paths_are_kept_and_repeated_rows_count_once(tmp_path: Path) -> None:
    path = write(tmp_path, f"path,label\n{tmp_path}/a.png,x\na.png,x\n./a.png,x\n", "a.png")
    assert read_samples(path) == (Sample(tmp_path / "a.png", "x"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"it has no column 'path'; its first line names none. {COLUMNS}"),
        (
            "file,label\na.png,x\n",
            "it has no column 'path'; its first line names 'file', 'label'. Call its column "
            f"'file' 'path'. {COLUMNS}",
        ),
        (
            "path;class\na.png;x\n",
            "it has no column 'label'; its first line names 'path', 'class'. Call its column "
            f"'class' 'label'. {COLUMNS}",
        ),
        (
            "photos/a.PNG;x\nphotos/b.png;y\n",
            "it has no column 'path'; its first line, 'photos/a.png', 'x', looks like a row and "
            "not like a header. Write the columns' names above it, like path,label.",
        ),
        ("path\na.png\n", f"it has no column 'label'; its first line names 'path'. {COLUMNS}"),
        ("path,label\n", f"it has a header and no row. {COLUMNS}"),
        ("path,label\na.png,\n", f"line 2 has no label. {COLUMNS}"),
        ("path,label\na.png,x\n,x\n", f"line 3 has no path. {COLUMNS}"),
        (
            "path,label\na.png,x,y\n",
            "line 2 has 3 cells, the header 2. Quote cells that hold a ','.",
        ),
        (
            "\nsep=;\npath;label\na.png;x;y\n",
            "line 4 has 3 cells, the header 2. Quote cells that hold a ';'.",
        ),
        ("sep=\na.png;x;y\n", f"it has no column 'path'; its first line names 'sep='. {COLUMNS}"),
        (
            "path,label,split\na.png,x,holdout\n",
            "line 2 has the split 'holdout'. Write train, validation (or val), test, or leave it "
            "empty.",
        ),
        (
            "path,label\na.png,x\n./a.png,y\n",
            "'./a.png' stands in it twice, as label 'x' and, in line 3, as label 'y'. "
            "Keep one row.",
        ),
        (
            "path,label,split\na.png,x,train\na.png,x,test\n",
            "'a.png' stands in it twice, as label 'x', split 'train' and, in line 3, as label "
            "'x', split 'test'. Keep one row.",
        ),
        (
            'path,label\n"a"b.png,x\n',
            "line 2 is not CSV: ',' expected after '\"'. Export it again.",
        ),
    ],
)
def test_bad_tables_are_explained(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text, "a.png")
    with pytest.raises(DataError) as caught:
        read_samples(path)
    assert str(caught.value) == f"Cannot use {str(path)!r}: {message}"


def test_unlabelled_rows_that_differ_are_explained(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na.png,\na.png,x\n", "a.png")
    with pytest.raises(DataError, match="as unlabelled and, in line 3, as label 'x'"):
        read_samples(path, labelled=False)


def test_absent_pictures_are_counted_and_five_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,x\n" for i in range(8))
    path = write(tmp_path, f"path,label\n{rows}", "0.png")
    named = ", ".join(repr(str(tmp_path / f"{i}.png")) for i in range(1, 6))
    with pytest.raises(DataError) as caught:
        read_samples(path)
    assert str(caught.value) == (
        f"Cannot use {str(path)!r}: 7 of 8 pictures do not exist: {named} and 2 more. Paths start "
        "at the CSV's folder; correct or remove the rows."
    )


def test_what_is_wrong_with_the_first_absent_path_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na.png,x\nb\\c.png,x\n", "a.png", "b/c.png")
    with pytest.raises(DataError) as caught:
        read_samples(path)
    absent = str(tmp_path / "b\\c.png")
    assert str(caught.value).endswith(
        f" correct or remove the rows. {absent!r}: no such file: it has \\ between its parts, as "
        f"on Windows. Write {str(tmp_path / 'b/c.png')!r}, which exists."
    )


def test_other_encodings_and_absent_files_are_explained(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\nä.png,x\n".encode("latin-1"))
    with pytest.raises(DataError) as caught:
        read_samples(path)
    assert str(caught.value) == (
        f"Cannot read {str(path)!r}: byte 11 is not UTF-8. Save it as 'CSV UTF-8' and try again."
    )
    path.unlink()
    with pytest.raises(DataError) as caught:
        read_split(path)
    assert str(caught.value) == (
        f"Cannot read {str(path)!r}: No such file or directory. Give a CSV file that exists."
    )


CELLS = st.none() | st.text(min_size=1)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
SAMPLES = st.builds(
    Sample,
    NAMES.filter(lambda name: name not in (".", "..")).map(lambda name: Path("root", name)),
    CELLS,
    st.sampled_from((None, "train", "validation", "test")),
    CELLS,
)


@given(st.lists(st.tuples(SAMPLES, st.sampled_from(("", "0" * 64, "f" * 64)))))
def test_split_is_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Sample, str]]
) -> None:
    path = tmp_path_factory.mktemp("run") / "split.csv"
    samples, digests = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    digest = write_split(path, samples, Path("root"), digests)
    assert read_split(path, Path("root")) == (samples, digests)
    assert digest == split_digest(samples, Path("root"), digests)
    assert digest == split_digest(samples[::-1], Path("root"), digests[::-1])
    assert [file.name for file in path.parent.iterdir()] == ["split.csv"]


def test_split_is_a_plain_table(tmp_path: Path) -> None:
    samples = [Sample(tmp_path / "a/1.png", "x", "train", "g"), Sample(Path("/else/2.png"))]
    write_split(tmp_path / "split.csv", samples, tmp_path, ["ab", ""])
    assert (tmp_path / "split.csv").read_bytes() == (
        b"path,label,split,group,sha256\r\na/1.png,x,train,g,ab\r\n/else/2.png,,,,\r\n"
    )
    assert read_split(tmp_path / "split.csv")[0] == (
        Sample(Path("a/1.png"), "x", "train", "g"),
        Sample(Path("/else/2.png")),
    )


def test_split_of_names_that_are_not_utf8_is_read_back(tmp_path: Path) -> None:
    samples = (Sample(tmp_path / os.fsdecode(b"\xff.png"), "x", "train"),)
    write_split(tmp_path / "split.csv", samples, tmp_path, ["ab"])
    assert read_split(tmp_path / "split.csv", tmp_path) == (samples, ("ab",))


def test_digest_knows_every_fact_but_not_the_place(tmp_path: Path) -> None:
    sample = Sample(tmp_path / "a.png", "x", "train", "g")
    digest = split_digest([sample], tmp_path, ["1"])
    assert digest == split_digest([Sample(Path("b/a.png"), "x", "train", "g")], Path("b"), ["1"])
    others = [
        split_digest([Sample(tmp_path / "b.png", "x", "train", "g")], tmp_path, ["1"]),
        split_digest([Sample(tmp_path / "a.png", "y", "train", "g")], tmp_path, ["1"]),
        split_digest([Sample(tmp_path / "a.png", "x", "test", "g")], tmp_path, ["1"]),
        split_digest([Sample(tmp_path / "a.png", "x", "train", "h")], tmp_path, ["1"]),
        split_digest([sample], tmp_path, ["2"]),
    ]
    assert len({digest, *others}) == 6


def test_relative_and_whole_root_name_pictures_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = [Sample(tmp_path / "data/a.png")]
    assert split_digest(whole, Path("data"), [""]) == split_digest(whole, tmp_path / "data", [""])


def test_digests_must_fit_the_samples(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need one digest per sample, got 0 for 1"):
        write_split(tmp_path / "split.csv", [Sample(Path("a.png"))], tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_split_and_no_scrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "split.csv"
    write_split(path, [Sample(tmp_path / "a.png")], tmp_path, [""])
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"Cannot write .*: the disk is full\. Free space"):
        write_split(path, [], tmp_path, [])
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_split_goes_into_a_new_folder_and_never_below_a_file(tmp_path: Path) -> None:
    write_split(tmp_path / "new" / "split.csv", [], tmp_path, [])
    assert (tmp_path / "new" / "split.csv").is_file()
    with pytest.raises(StorageError, match=r"Cannot write .*: Not a directory\."):
        write_split(tmp_path / "new" / "split.csv" / "split.csv", [], tmp_path, [])


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "'a'"), (list("abcde"), "'a', 'b', 'c', 'd', 'e'"),
     (["a\nb", *"bcdef"], "'a\\nb', 'b', 'c', 'd', 'e' and 1 more")],
)  # fmt: skip
def test_long_lists_are_cut(items: list[str], text: str) -> None:
    assert first_five(items) == text
