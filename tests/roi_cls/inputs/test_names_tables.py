"""Each row of a table is a name, in order, whatever it holds; nothing is left out or dropped."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from roi_cls.base.errors import DataError
from roi_cls.inputs.names import expand_input
from roi_cls.inputs.sources import name_inputs, open_sources


def names(path: Path, text: str | bytes) -> list[str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    named = expand_input(str(path))
    found = list(named.names)
    assert (named.count, named.is_one) == (len(found), False)
    return found


def test_every_row_is_a_name(tmp_path: Path) -> None:
    text = (
        "path,label,split\na.png,x,train\na.png,y,test\na.png,x,train\ngone.png,,nothing\n,x,\n"
        "https://h/a.png?b=1,x,\ns3://bucket/a.png,x,\nfile:///a%20b.png,x,\n/whole/a.png,x,\n"
        "  ,x,\n"
    )
    folder = tmp_path / "lists"
    folder.mkdir()
    assert names(folder / "rows.csv", text) == [
        *[str(folder / name) for name in ("a.png", "a.png", "a.png", "gone.png")],
        "",
        "https://h/a.png?b=1",
        "s3://bucket/a.png",
        "file:///a%20b.png",
        "/whole/a.png",
        "",
    ]


def test_rows_of_a_table_here_are_named_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert names(Path("rows.tsv"), "label\tpath\nx\ta.png\nx\t~/b.png\n") == ["a.png", "~/b.png"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath;note\r\na.png;1\r\n\r\nb.png;2\r\n",
        "\ufeffpath\tnote\na.png\t1\nb.png\t2\n".encode("utf-16-le"),
        "path,note\na.png,1\nb.png\n",
        'PATH , note\na.png,"1\n2"\nb.png,,,\n',
    ],
    ids=["semicolons", "utf-16", "short", "long"],
)
def test_tables_of_many_programs_are_read(tmp_path: Path, text: str | bytes) -> None:
    assert names(tmp_path / "rows.csv", text) == [str(tmp_path / n) for n in ("a.png", "b.png")]


def test_names_are_read_as_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("path\n" + "a.png\n" * 10_000)
    coming = iter(expand_input(str(path)).names)
    assert next(coming) == str(tmp_path / "a.png")
    path.write_text("")  # what was not read before is gone, so it was not held
    assert sum(1 for _ in coming) < 9_999


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\n\n", "Cannot find pictures: the table {} has a header and no row. Write"),
        ("", "Cannot use {}: it has no column 'path'; its first line names none. "),
        (
            "filename,label\na.png,x\n",
            "Cannot use {}: it has no column 'path'; its first line names 'filename', 'label'. "
            "Call its column 'filename' 'path'. ",
        ),
        (
            "a.png\nb.png\n",
            "Cannot use {}: it has no column 'path'; its first line, 'a.png', looks",
        ),
        ('path\na.png\n"b.png\n', "Cannot use {}: line 3 is not CSV: unexpected end of data. "),
    ],
)
def test_what_is_no_table_of_pictures_is_told_at_once(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        expand_input(str(path))
    assert str(caught.value).startswith(reason.format(repr(str(path))))


def test_rows_without_a_picture_are_rows_in_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("path\na.png\n,\nnone://x/b.png\nb.png\n".replace("path", "path,note"))
    rows: Iterable[tuple[str, str | None]] = (
        (each.source.path, each.source.error) for each in open_sources(name_inputs([str(path)]))
    )
    first, protocol, last = rows
    assert (first, last) == ((str(tmp_path / "a.png"), None), (str(tmp_path / "b.png"), None))
    assert protocol[0] == "none://x/b.png"
    assert str(protocol[1]).startswith("Cannot open 'none://x/b.png': ")
    path.write_text("path,note\n,x\n")
    (row,) = (each.source for each in open_sources(name_inputs([str(path)])))
    assert (row.path, row.error) == (
        "",
        "Cannot read '': the row of a table has no path. Write one.",
    )
