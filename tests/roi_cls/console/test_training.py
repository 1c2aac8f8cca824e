"""What training says of its data: a lack of faces that tells a class is no secret."""

from pathlib import Path

import pytest

from roi_cls.cache import CropRecord
from roi_cls.console import training
from roi_cls.console.training import full_frame_warning


def records_of(faces: int, full_frames: int, reason: str | None) -> list[CropRecord]:
    full = CropRecord(Path("b.png"), "ok", source="full_frame", reason=reason)
    face = CropRecord(Path("a.png"), "ok", source="face")
    return [face] * faces + [full] * full_frames


@pytest.mark.parametrize(
    ("mask", "bare", "reason", "is_told"),
    [
        ((213, 27), (240, 0), "low_score", True),
        ((213, 27), (213, 27), "low_score", False),
        ((239, 1), (240, 0), "no_face", False),  # an accident
        ((0, 240), (0, 240), "no_face", False),
        ((0, 24), (24, 0), None, False),  # no face was looked for
        ((240, 0), (240, 0), "no_face", False),
    ],
)
def test_faces_missing_in_one_class_are_told(
    mask: tuple[int, int], bare: tuple[int, int], reason: str | None, is_told: bool
) -> None:
    records = records_of(*mask, reason) + records_of(*bare, reason)
    labels = ["mask"] * sum(mask) + ["bare"] * sum(bare)
    warning = full_frame_warning(records, labels)
    expected = (
        "no face was found in 27 of 240 'mask', but in 0 of 240 others: a model may learn that "
        "instead. See them with `roi-cls crops --contact-sheet`; --fallback skip leaves them out."
    )
    assert warning == (expected if is_told else None)


def test_one_class_has_no_others() -> None:
    assert full_frame_warning(records_of(1, 9, "no_face"), ["mask"] * 10) is None


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 3, "b": 0}, "3 a, 0 b"),
        ({f"class {i}": 2 for i in range(500)}, "1000 of 500 classes, 2 of each"),
        (
            {f"class {i}": 2 + i for i in range(11)},
            "77 of 11 classes, from 2 class 0 to 12 class 10",
        ),
    ],
)
def test_counts_of_a_part_are_one_line(counts: dict[str, int], told: str) -> None:
    assert training._tell_counts(counts) == told
