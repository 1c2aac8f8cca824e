"""``roi-cls data import``: corrected verdicts become a data set that ``train`` takes."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from roi_cls.data.review import Correction, append_correction
from roi_cls.data.table import read_samples
from tests.helpers.archives import zip_folder

Command = Callable[..., CompletedProcess[str]]


def correct(review: Path, picture: Path, label: str) -> Correction:
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    time = "2026-11-21T10:00:00+00:00"
    correction = Correction(f"upload-{picture.name}", digest, "plain", label, 0.9, "tiny", time)
    append_correction(review, correction)
    return correction


@pytest.fixture
def review(tmp_path: Path, tiny_set: Path) -> Path:
    path = tmp_path / "review.csv"
    for picture in sorted(tiny_set.glob("*/*.png")):
        correct(path, picture, picture.parent.name)
    return path


def test_corrections_become_a_data_set_by_content_not_by_name(
    command: Command, review: Path, tiny_set: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "corrected.csv"
    done = command("data", "import", review, "--pictures", tiny_set, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"40 corrected pictures. Written to {output}\n"
    samples = read_samples(output)
    assert {sample.path.resolve() for sample in samples} == set(tiny_set.glob("*/*.png"))
    assert all(sample.label == sample.path.parent.name for sample in samples)


def test_corrected_pictures_may_lie_in_an_archive(
    command: Command, review: Path, tiny_set: Path, tmp_path: Path
) -> None:
    output = tmp_path / "corrected.csv"
    pictures = zip_folder(tiny_set, tmp_path / "pictures.zip")
    done = command("data", "import", review, "--pictures", pictures, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    samples = read_samples(output)
    assert len(samples) == 40
    assert all(sample.path.is_relative_to(pictures) for sample in samples)


@pytest.mark.slow
def test_train_takes_the_data_set(
    command: Command,
    review: Path,
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
) -> None:
    output = tmp_path / "corrected.csv"
    command("data", "import", review, "--pictures", tiny_set, "-o", output)
    places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    done = command("train", output, "--run", "again", *tiny_train_arguments, *places)
    assert done.returncode == 0, done.stderr


def test_what_has_no_picture_is_told_one_by_one_and_the_exit_code_is_3(
    command: Command, review: Path, tiny_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone.png").write_bytes(b"gone")
    gone = correct(review, tmp_path / "gone.png", "odd")
    (tmp_path / "gone.png").unlink()
    with review.open("a") as file:
        file.write("torn\n")
    output = tmp_path / "corrected.csv"
    words = ("data", "import", review, "--pictures", tiny_set / "odd", "-o", output, "--json")
    done = command(*words)
    assert done.returncode == 3
    summary = json.loads(done.stdout)
    assert summary == {"output": str(output), "pictures": 10, "unmatched": 32}
    assert f"{review}: line 43 is passed over: " in done.stderr
    told = f"no picture has the content of 'upload-gone.png' (SHA-256 {gone.sha256[:12]}…)"
    assert told in done.stderr
    assert done.stderr.count("no picture has the content of") == 31


def test_last_correction_of_a_picture_wins(
    command: Command, tiny_set: Path, tmp_path: Path
) -> None:
    review, picture = tmp_path / "review.csv", tiny_set / "odd" / "00.png"
    first = correct(review, picture, "plain")
    append_correction(review, replace(first, label="odd"))
    output = tmp_path / "corrected.csv"
    assert command("data", "import", review, "--pictures", picture, "-o", output).returncode == 0
    assert [sample.label for sample in read_samples(output)] == ["odd"]


def test_no_match_at_all_is_an_error_and_writes_nothing(
    command: Command, review: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.png").write_bytes(b"other")
    output = tmp_path / "corrected.csv"
    words = ("data", "import", review, "--pictures", tmp_path / "other.png", "-o", output)
    done = command(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "none of its 40 pictures lies in the folders given" in done.stderr
    assert not output.exists()


def test_unreadable_picture_is_told_and_the_review_is_never_written_over(
    command: Command, review: Path, tiny_set: Path, tmp_path: Path
) -> None:
    before = review.read_bytes()
    done = command("data", "import", review, "--pictures", tiny_set, "-o", review)
    assert done.returncode == 1
    assert "it is one of the inputs, which would be lost" in done.stderr
    assert review.read_bytes() == before
    words = ("data", "import", review, "--pictures", tiny_set, "--pictures", tmp_path / "no.png")
    done = command(*words, "-o", tmp_path / "corrected.csv")
    assert done.returncode == 0
    assert "no.png: cannot be read, so it matches nothing: no such file" in done.stderr
