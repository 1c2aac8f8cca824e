"""``roi-cls crops show`` and ``crops --contact-sheet``: pictures for a person to look at."""

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from roi_cls.roi.detection import models
from tests.helpers.pictures import noise, save

Command = Callable[..., CompletedProcess[str]]
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".PNG": "PNG"}

pytestmark = pytest.mark.usefixtures("white_faces")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """200 px wide, 120 px high, with a face of 48 px."""
    pixels = noise(120, 200, 3, low=60, high=200)
    pixels[30:78, 80:128] = 255
    return save(tmp_path / "photo.png", pixels)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A picture without a face."""
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / "blank.png")
    return tmp_path / "blank.png"


@pytest.mark.parametrize("suffix", FORMATS)
def test_view_is_drawn_in_the_format_of_its_suffix(
    command: Command, photo: Path, tmp_path: Path, suffix: str
) -> None:
    view = tmp_path / "new" / f"view{suffix}"
    done = command("crops", "show", photo, "-o", view)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "One face, score 0.90, 48 x 48 px, found by the short-range network.\n"
        f"The picture has 200 x 120 px.\nDrawn to {view}\n"
    )
    with Image.open(view) as picture:
        assert picture.format == FORMATS[suffix]
        assert picture.width >= 640
    assert os.listdir(view.parent) == [view.name]


def test_view_has_a_name_of_its_own_and_no_cache(
    command: Command, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    assert command("crops", "show", photo).stdout.endswith("\nDrawn to crop-view.png\n")
    assert sorted(os.listdir()) == ["crop-view.png", "photo.png"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "Full frame: no face was found, asked last: the search of the turned frame."),
        (("--crop", "full"), "Full frame, as the recipe says: no face was looked for."),
        (
            ("--fallback", "skip"),
            "Skipped: no face was found, and the recipe has no substitute for a face.",
        ),
    ],
    ids=["fallback", "whole", "skipped"],
)
def test_view_without_a_face_says_why(
    command: Command, blank: Path, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    done = command("crops", "show", blank, *words, "-o", tmp_path / "view.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == line
    assert (tmp_path / "view.png").exists()


def test_view_of_whole_pictures_needs_no_detector(
    command: Command, blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "resolve_models", lambda *given, **options: 1 / 0)
    done = command("crops", "show", blank, "--crop", "full", "-o", tmp_path / "view.png")
    assert done.returncode == 0


def test_picture_that_the_recipe_refuses_is_named(
    command: Command, blank: Path, tmp_path: Path
) -> None:
    words = ["--fallback", "error", "--min-face", "24", "-o", tmp_path / "view.png"]
    done = command("crops", "show", blank, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot crop {str(blank)!r}: No face was found (min_score 0.5, min_face 24 px). "
        "Lower the threshold or use --fallback full.\n"
    )
    assert not (tmp_path / "view.png").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "no such file. Check the path."),
        (".", "it is a folder. Give the files in it."),
        ("text.png", "it is not a picture (it begins with b'text')."),
        ("empty.png", "it is empty (0 bytes)."),
    ],
)
def test_picture_that_cannot_be_read_is_told(
    command: Command, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").touch()
    done = command("crops", "show", tmp_path / name, "-o", tmp_path / "view.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: Cannot read {str(tmp_path / name)!r}: {reason}")
    assert not (tmp_path / "view.png").exists()


@pytest.mark.parametrize("name", ["view.gif", "view", "view.webp"])
def test_view_of_another_suffix_is_refused_before_the_work(
    command: Command, tmp_path: Path, name: str
) -> None:
    done = command("crops", "show", tmp_path / "missing.png", "-o", tmp_path / name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot write the view {str(tmp_path / name)!r}: its suffix names no known format. "
        "Use one of .jpg, .jpeg, .png.\n"
    )


def test_folder_as_view_is_refused_before_the_work(command: Command, tmp_path: Path) -> None:
    (tmp_path / "view.png").mkdir()
    done = command("crops", "show", tmp_path / "missing.png", "-o", tmp_path / "view.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: Cannot write {str(tmp_path / 'view.png')!r}: it is a folder. "
    )


def test_show_alone_lacks_its_picture(command: Command) -> None:
    done = command("crops", "show")
    assert done.returncode == 2
    assert "Missing argument" in done.stderr


@pytest.mark.parametrize("words", [("./show",), ("--", "show"), ("photo.png", "show")], ids=str)
def test_picture_called_show_is_cropped(
    command: Command,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.with_name("show").write_bytes(photo.read_bytes())
    options = ["--cache", "cache", "--workers", "0", "--manifest", "rows.csv"]
    done = command("crops", *options, *words) if "--" in words else command(
        "crops", *words, *options
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{sum(word != '--' for word in words)} picture")
    rows = Path("rows.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [
        str(Path(word)) for word in words if word != "--"
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_contact_sheet_is_drawn_in_the_format_of_its_suffix(
    command: Command, photo: Path, blank: Path, tmp_path: Path, suffix: str
) -> None:
    sheet = tmp_path / "new" / f"sheet{suffix}"
    words = [photo, blank, "--cache", tmp_path / "cache", "--workers", "0"]
    done = command("crops", *words, "--contact-sheet", sheet)
    assert done.returncode == 0
    assert done.stderr == f"Drew 2 of 2 crops on {sheet}\n"
    assert done.stdout.startswith("2 pictures: 1 face crop, 1 full frame (1 because no face was ")
    with Image.open(sheet) as page:
        assert (page.format, page.width) == (FORMATS[suffix], 1600)
    first = sheet.read_bytes()
    again = command("crops", *words, "--contact-sheet", sheet)
    assert "\ndetected 0, cropped 0, reused " in again.stdout
    assert sheet.read_bytes() == first


def test_contact_sheet_of_errors_and_skipped_pictures_is_drawn_after_they_are_named(
    command: Command, blank: Path, tmp_path: Path
) -> None:
    missing, sheet = tmp_path / "missing.png", tmp_path / "sheet.png"
    words = [blank, missing, "--fallback", "skip", "--cache", tmp_path / "cache", "--workers", "0"]
    done = command("crops", *words, "--contact-sheet", sheet)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f"error: Cannot read {str(missing)!r}: no such file. Check the path.",
        f"Drew 0 of 0 crops on {sheet}",
    ]
    assert sheet.exists()


@pytest.mark.parametrize("name", ["sheet.gif", "sheet", "sheet.pdf"])
def test_contact_sheet_of_another_suffix_is_refused_before_the_work(
    command: Command, photo: Path, tmp_path: Path, name: str
) -> None:
    cache = tmp_path / "cache"
    done = command("crops", photo, "--contact-sheet", tmp_path / name, "--cache", cache)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot write the contact sheet {str(tmp_path / name)!r}: its suffix names no "
        "known format. Use one of .jpg, .jpeg, .png.\n"
    )
    assert not cache.exists()


def test_folder_as_contact_sheet_is_refused_before_the_work(
    command: Command, photo: Path, tmp_path: Path
) -> None:
    sheet, cache = tmp_path / "sheet.png", tmp_path / "cache"
    sheet.mkdir()
    done = command("crops", photo, "--contact-sheet", sheet, "--cache", cache)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: Cannot write {str(sheet)!r}: it is a folder. ")
    assert not cache.exists()
