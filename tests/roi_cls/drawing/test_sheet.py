"""A contact sheet shows each chosen crop whole and says what a person must know to judge it."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from roi_cls.base.errors import CacheError, ImageReadError, StorageError
from roi_cls.cache import CropRecord
from roi_cls.cache.record import FaceCut
from roi_cls.drawing.file import check_drawing_path
from roi_cls.drawing.ink import BLUE, BROWN, PAPER, PURPLE, RED, RUST, SLATE
from roi_cls.drawing.page import PAGE_WIDTH
from roi_cls.drawing.sheet import (
    LARGEST_LIMIT,
    LoadCrops,
    crop_detail,
    draw_contact_sheet,
    failure_text,
    header_texts,
    heading_texts,
    picture_names,
    select_crops,
    write_contact_sheet,
)
from roi_cls.roi.image import Image
from tests.helpers.pictures import count_pixels

BOX = (2.0, 3.0, 86.0, 94.2)
REGION = (0.0, 0.0, 100.0, 100.0)
POINTS = ((8.0, 8.0),) * 6


def face(path: str, score: float = 0.9, **values: Any) -> CropRecord:
    given: dict[str, Any] = {"faces": 1, "step": "short", **values}
    return CropRecord(
        Path(path),
        "ok",
        height=480,
        width=640,
        source="face",
        box=BOX,
        face_score=score,
        keypoints=POINTS,
        region=REGION,
        **given,
    )


def whole(path: str, reason: str | None, score: float | None = None) -> CropRecord:
    return CropRecord(
        Path(path),
        "ok",
        height=480,
        width=640,
        source="full_frame",
        reason=reason,
        face_score=score,
        region=(0.0, -80.0, 640.0, 560.0),
        step="tiles" if reason else None,
    )


def failed(path: str, error: str | None = None) -> CropRecord:
    if error is None:
        return CropRecord(Path(path), "skipped", reason="no_face", step="turned")
    return CropRecord(Path(path), "error", error)


def number_of(record: CropRecord) -> int:
    return int(record.path.stem)


def load_numbered(record: CropRecord) -> Image:
    """Return crops of one colour, (number of the picture, number of the cut, 77)."""
    crops = np.zeros((len(record.cuts), 50, 50, 3), np.uint8)
    for i, crop in enumerate(crops):
        crop[:] = (number_of(record), i, 77)
    return crops


def test_each_crop_is_shown_whole_and_nothing_covers_it() -> None:
    records = [face(f"{i}.png", i / 100) for i in range(25)]
    records += [whole(f"{i}.png", "no_face") for i in range(25, 37)]
    page, summary = draw_contact_sheet(records, load_numbered, "Title")
    areas = {count_pixels(page, (i, 0, 77)) for i in range(37)}
    assert areas == {137 * 137}
    assert (summary.shown, summary.crops, summary.unread) == (37, 37, 0)
    assert page.width == PAGE_WIDTH


def test_each_face_of_a_picture_is_shown() -> None:
    more = tuple(FaceCut(BOX, 0.5, POINTS, "full", REGION, 0.0) for _ in range(2))
    page, summary = draw_contact_sheet([face("3.png", more=more, faces=3)], load_numbered, "Title")
    assert [count_pixels(page, (3, i, 77)) for i in range(3)] == [137 * 137] * 3
    assert summary.crops == 3


def test_only_what_is_shown_is_loaded_and_not_all_at_once() -> None:
    loaded: list[str] = []
    alive: list[weakref.ref[Image]] = []

    def load(record: CropRecord) -> Image:
        loaded.append(record.path.name)
        crops = np.full((1, 50, 50, 3), 77, np.uint8)
        assert sum(reference() is not None for reference in alive) <= 1
        alive.append(weakref.ref(crops))
        return crops

    records = [face(f"{i}.png", i / 1000) for i in range(1000)]
    _, summary = draw_contact_sheet(records, load, "Title", limit=20)
    assert len(loaded) == summary.shown == 20
    assert loaded[:10] == [f"{i}.png" for i in range(10)]


@pytest.mark.parametrize(
    ("record", "colour"),
    [
        (face("1.png"), BLUE),
        (whole("1.png", "no_face"), RUST),
        (whole("1.png", "low_score", 0.4), BROWN),
        (whole("1.png", "too_small", 0.8), PURPLE),
        (whole("1.png", None), SLATE),
    ],
)
def test_kinds_differ_in_colour(record: CropRecord, colour: tuple[int, int, int]) -> None:
    page, _ = draw_contact_sheet([record], load_numbered, "Title")
    assert count_pixels(page, colour) > 143 * 15  # the badge above the crop


def cannot_read(record: CropRecord) -> Image:
    raise ImageReadError(record.path, "it is empty (0 bytes)", "Remove it.")


def has_changed(record: CropRecord) -> Image:
    raise CacheError(f"Cannot make the crop of {str(record.path)!r} again: the file has changed.")


@pytest.mark.parametrize("load", [cannot_read, has_changed])
def test_crop_that_cannot_be_read_does_not_cost_the_page(
    load: Callable[[CropRecord], Image],
) -> None:
    def load_some(record: CropRecord) -> Image:
        return load(record) if number_of(record) == 1 else load_numbered(record)

    page, summary = draw_contact_sheet(
        [face("0.png"), face("1.png"), face("2.png")], load_some, "Title"
    )
    assert (summary.shown, summary.unread) == (3, 1)
    assert count_pixels(page, (2, 0, 77)) == 137 * 137
    assert count_pixels(page, RED) > 20  # the words in its place


def test_page_without_crops_names_what_failed() -> None:
    records = [failed(f"{i}.png", f"Cannot read '{i}.png': it is empty.") for i in range(30)]
    page, summary = draw_contact_sheet(records, load_numbered, "Title")
    assert summary.crops == 0
    assert count_pixels(page, RED) > 300
    assert page.height < 500  # the first few and a count


def test_page_of_nothing_is_drawn() -> None:
    page, _ = draw_contact_sheet([], load_numbered, "Title")
    assert count_pixels(page, PAPER) < page.width * page.height


@pytest.mark.parametrize("limit", [0, LARGEST_LIMIT + 1])
def test_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit must be between 1 and 1200, got {limit}"):
        draw_contact_sheet([], load_numbered, "Title", limit=limit)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG")]
)
def test_suffix_says_the_format(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "new folder" / name
    summary = write_contact_sheet(path, [face("7.png")], load_numbered, "Title")
    assert summary.shown == 1
    with PillowImage.open(path) as page:
        assert page.format == kind
        assert page.width == PAGE_WIDTH


@pytest.mark.parametrize("name", ["sheet.gif", "sheet", "sheet.jpg.txt"])
def test_other_suffix_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(CacheError) as caught:
        check_drawing_path(path, "contact sheet")
    assert str(caught.value) == (
        f"Cannot write the contact sheet {str(path)!r}: its suffix names no known format. "
        "Use one of .jpg, .jpeg, .png."
    )
    check_drawing_path(Path("sheet.JPG"), "contact sheet")


def test_page_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.mkdir()
    with pytest.raises(StorageError, match="Cannot write"):
        write_contact_sheet(path, [face("7.png")], load_numbered, "Title")


def test_interrupted_page_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")

    def interrupt(_: CropRecord) -> Image:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_contact_sheet(path, [face("7.png")], interrupt, "Title")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name", ["Ёжик naïve 中文.png", "line\nbreak.png", "bytes\udcff.png", "w" * 255, "שלום.png"]
)
def test_any_name_is_drawn(name: str) -> None:
    load: LoadCrops = lambda _: np.full((1, 50, 50, 3), 77, np.uint8)  # noqa: E731  (its type is checked so)
    error = f"Cannot read {name!r}: it is empty."
    page, _ = draw_contact_sheet([face(name), failed(name, error), failed(name)], load, name)
    assert count_pixels(page, (77, 77, 77)) == 137 * 137


@pytest.mark.parametrize(
    ("records", "limit", "texts"),
    [
        ([], 9, ["0 pictures: 0 face crops, 0 full frames, 0 errors."]),
        (
            [face("1.png"), whole("2.png", None), failed("3.png", "Cannot read '3.png'.")],
            9,
            [
                "3 pictures: 1 face crop, 1 full frame, 1 error.",
                "The last step the detector needed: the short-range network 1.",
            ],
        ),
        (
            [
                *(face(f"{i}.png") for i in range(10)),
                whole("a.png", "no_face"),
                whole("b.png", "low_score"),
                failed("c.png"),
            ],
            4,
            [
                "13 pictures: 10 face crops, 2 full frames (1 because no face was found, 1 because "
                "the detector was not sure enough of any face), 1 skipped, 0 errors.",
                "The last step the detector needed: the short-range network 10, "
                "the tiled search 2, the search of the turned frame 1.",
                "4 of 12 crops are shown: of each kind the most doubtful, and as many spread "
                "evenly over the rest.",
            ],
        ),
    ],
)
def test_header_counts(records: list[CropRecord], limit: int, texts: list[str]) -> None:
    assert header_texts(records, select_crops(records, limit)) == texts


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            failed("folder/a.png", f"Cannot read {str(Path('folder/a.png'))!r}: it is empty."),
            "Cannot read 'a.png': it is empty.",
        ),
        (failed("folder/a.png"), "Skipped 'a.png': no face was found."),
        (CropRecord(Path("a.png"), "skipped"), "Skipped 'a.png'."),
    ],
)
def test_failure_names_the_picture_and_the_cause(record: CropRecord, text: str) -> None:
    assert failure_text(record) == text


def test_headings_say_how_many_of_how_many() -> None:
    records = [face("1.png"), face("2.png"), whole("3.png", "low_score", 0.4), whole("4.png", None)]
    assert heading_texts(select_crops(records, 9)) == (
        "Full frames (2), those nearest to a face first",
        "Faces (2), the least certain first",
    )
    assert heading_texts(select_crops(records[1:], 2)) == (
        "Full frames (1 of 2), those nearest to a face first",
        "Faces (1), the least certain first",
    )
    assert heading_texts(select_crops(records[3:], 2))[0] == "Full frames (1)"


def test_pictures_of_one_name_are_told_apart_by_their_folder() -> None:
    records = [face("train/1.png"), face("test/1.png"), face("test/2.png")]
    names = picture_names(select_crops(records, 9))
    assert sorted(names.values()) == ["2.png", "test/1.png", "train/1.png"]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (face("1.png"), "84 x 91 px"),
        (face("1.png", faces=3), "84 x 91 px, 3 faces"),
        (
            face("1.png", faces=2, more=(FaceCut(BOX, 0.95, POINTS, "full", REGION, 0.0),)),
            "84 x 91 px, 1 of 2",
        ),
        (whole("1.png", "no_face"), "of 640 x 480 px"),
    ],
)
def test_size_stands_below_the_name(record: CropRecord, text: str) -> None:
    selection = select_crops([record], 9)
    assert crop_detail((*selection.whole, *selection.faces)[0]) == text
