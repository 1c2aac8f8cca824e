"""``roi-cls data spoil``: a page of synthetic defects, of clean pictures alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from PIL import Image as PillowImage

from roi_cls.drawing.page import PAGE_WIDTH

Command = Callable[..., CompletedProcess[str]]


def test_page_shows_every_kind(command: Command, tiny_set: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_set, tmp_path / "set"))
    (data / "notes.txt").touch()
    sheet, cache = tmp_path / "sheet.png", tmp_path / "crops"
    places = ("--sheet", sheet, "--cache", cache, "--workers", 0, "--size", 64)
    done = command("data", "spoil", data, "--target", "odd", *places)
    assert done.returncode == 0, done.stderr
    assert "Passed over: 1 .txt." in done.stderr
    assert done.stdout == f"{sheet}: 14 kinds of defects in 30 pictures that are not 'odd'\n"
    with PillowImage.open(sheet) as page:
        assert page.width == PAGE_WIDTH
        assert page.height > 14 * PAGE_WIDTH // 10
    again = tmp_path / "again.png"
    command("data", "spoil", data, "--target", "odd", *places[2:], "--sheet", again)
    assert again.read_bytes() == sheet.read_bytes()
    command("data", "spoil", data, "--target", "odd", *places[2:], "--sheet", again, "--seed=1")
    assert again.read_bytes() != sheet.read_bytes()


def test_unknown_format_is_told_before_the_work(command: Command, tiny_set: Path) -> None:
    done = command("data", "spoil", tiny_set, "--sheet", "sheet.gif")
    assert done.returncode == 1
    assert "Cannot write the sheet 'sheet.gif': its suffix names no known format." in done.stderr
