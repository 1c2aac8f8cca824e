"""Corrected verdicts are added a line each, survive each other, and are read back."""

import csv
import errno
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from roi_cls.base.errors import DataError, StorageError
from roi_cls.data.review import COLUMNS, Correction, append_correction, read_corrections

ONE = Correction("a.png", "a" * 64, "plain", "odd", 0.75, "first", "2026-11-21T10:00:00+00:00")


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    review = tmp_path / "new" / "review.csv"
    other = replace(ONE, name="b.png", sha256="b" * 64, probability=1.0)
    append_correction(review, ONE)
    append_correction(review, other)
    assert read_corrections(review) == ((ONE, other), ())
    assert review.read_text().splitlines()[0] == "name,sha256,answer,label,probability,run,time"


def test_last_word_on_a_picture_wins_in_the_place_of_its_first(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    other = replace(ONE, sha256="b" * 64)
    last = replace(ONE, label="plain", name="renamed.png")
    for correction in (ONE, other, last):
        append_correction(review, correction)
    assert read_corrections(review) == ((last, other), ())


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1", "-1", "@x", "'=1", "  =1", 'a,"b', "日本.png", "'quoted'", "a'b", "", "x" * 300],
)
def test_no_name_computes_in_a_spreadsheet_and_each_is_read_back(tmp_path: Path, name: str) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, replace(ONE, name=name, label="-odd"))
    cells = list(csv.reader(io.StringIO(review.read_text(encoding="utf-8"))))[1]
    assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@")) for cell in cells)
    (found,), _ = read_corrections(review)
    assert (found.name, found.label) == (name[:255], "-odd")


def test_control_characters_do_not_break_the_line(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, replace(ONE, name="a\r\nb\0c\u2028d"))
    assert len(review.read_bytes().splitlines()) == 2
    assert read_corrections(review)[0][0].name == "a  b c d"


def test_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, ONE)
    with review.open("ab") as file:
        file.write(b"b.png,bbbb")  # the power went
    append_correction(review, replace(ONE, sha256="c" * 64))
    found, faults = read_corrections(review)
    assert [one.sha256[0] for one in found] == ["a", "c"]
    assert len(faults) == 1
    assert faults[0].startswith("line 3 is passed over: ")


APPEND_MANY = """
import sys
from pathlib import Path
from roi_cls.data.review import Correction, append_correction
for i in range(50):
    digest = f"{int(sys.argv[2]) + i:064x}"
    append_correction(Path(sys.argv[1]), Correction("a", digest, "no", "yes", 0.5, "run", "now"))
"""


def test_torn_line_takes_no_other_along(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, ONE)
    with review.open("ab") as file:
        file.write(b'"b, c.p')  # the power went, and the quote stays open
    append_correction(review, replace(ONE, sha256="c" * 64))
    append_correction(review, replace(ONE, sha256="d" * 64, name="d, e.png"))
    found, faults = read_corrections(review)
    assert [one.sha256[0] for one in found] == ["a", "c", "d"]
    assert faults == ("line 3 is passed over: it has 1 of 7 cells",)


def test_line_that_cannot_be_kept_is_not_there_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    review = tmp_path / "review.csv"
    append_correction(review, ONE)
    before = review.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="the disk is full"):
            append_correction(review, replace(ONE, sha256="b" * 64))
    assert review.read_bytes() == before
    append_correction(review, replace(ONE, sha256="c" * 64))
    assert len(read_corrections(review)[0]) == 2


def test_blanks_around_a_label_do_not_count(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, replace(ONE, label=" very real ", answer="no "))
    append_correction(review, replace(ONE, sha256="b" * 64, label="  "))
    found, faults = read_corrections(review)
    assert found == (replace(ONE, label="very real", answer="no"),)
    assert faults == ("line 3 is passed over: label must not be empty",)


def test_file_without_lines_is_no_review(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x" * 200_000)
    with pytest.raises(DataError, match="its first line is not name,sha256"):
        read_corrections(tmp_path / "x.png")


def test_line_without_end_is_passed_over(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, ONE)
    with review.open("ab") as file:
        file.write(b'"' + b"x" * 200_000 + b"\n\0,\x85\n")
    found, faults = read_corrections(review)
    assert found == (ONE,)
    assert [fault.partition(":")[0] for fault in faults] == [
        f"line {number} is passed over" for number in (3, 4)
    ]


def test_several_processes_write_every_line_whole(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND_MANY, str(review), str(50 * i)])
        for i in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    found, faults = read_corrections(review)
    assert (len(found), faults) == (150, ())
    assert review.read_text().count("name,sha256") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "../../etc"}, "sha256 must be 64 hex digits, got '../../etc'"),
        ({"label": ""}, "label must not be empty"),
        ({"probability": 1.5}, "probability must be between 0 and 1, got 1.5"),
        ({"probability": float("nan")}, "probability must be between 0 and 1, got nan"),
    ],
)
def test_correction_that_says_nothing_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ONE, **changes)  # type: ignore[arg-type]  # wrong on purpose


def test_bad_lines_are_told_and_the_others_are_read(tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    append_correction(review, ONE)
    with review.open("a") as file:
        file.write(f"b.png,zz,plain,odd,0.5,first,now\nc.png,{'c' * 64},plain,odd,much,first,now\n")
    found, faults = read_corrections(review)
    assert found == (ONE,)
    assert faults == (
        "line 3 is passed over: sha256 must be 64 hex digits, got 'zz'",
        "line 4 is passed over: could not convert string to float: 'much'",
    )


def test_file_that_holds_something_else_is_neither_written_nor_read(tmp_path: Path) -> None:
    notes = tmp_path / "notes.csv"
    notes.write_text("my,notes\n")
    with pytest.raises(StorageError, match=r"something else; notes\.csv is kept as it is"):
        append_correction(notes, ONE)
    assert notes.read_text() == "my,notes\n"
    with pytest.raises(DataError, match=f"its first line is not {','.join(COLUMNS)}"):
        read_corrections(notes)


def test_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such file or directory\. Give the file that"):
        read_corrections(tmp_path / "none.csv")
