"""The summary counts what a call did, row by row."""

from pathlib import Path

import pytest

from roi_cls.cache.build import CropSummary
from roi_cls.cache.record import CropRecord, CropResult

FACE = CropRecord(Path("a"), "ok", source="face", step="short")
LATE = CropRecord(Path("b"), "ok", source="face", step="yunet")
FALLBACK = CropRecord(Path("c"), "ok", source="full_frame", reason="too_small", step="full")
SKIPPED = CropRecord(Path("d"), "skipped", reason="no_face", step="turned")
ERROR = CropRecord(Path("e"), "error", "it is empty")
DAMAGED = CropRecord(Path("g"), "error", "it is cut off", damaged="it is cut off")
IN_PART = CropRecord(Path("h"), "ok", source="face", damaged="it is cut off")
WHOLE = CropRecord(Path("f"), "ok", source="full_frame")
EMPTY = {
    **dict.fromkeys(("images", "face", "full_frame", "errors", "skipped", "damaged"), 0),
    **dict.fromkeys(("detected", "cropped", "reused"), 0),
    "reasons": {},
    "steps": {},
}


@pytest.mark.parametrize(
    ("results", "counts"),
    [
        ([], {}),
        (
            [CropResult(FACE, True, True)],
            {"images": 1, "face": 1, "detected": 1, "cropped": 1, "steps": {"short": 1}},
        ),
        ([CropResult(FACE)], {"images": 1, "face": 1, "reused": 1, "steps": {"short": 1}}),
        (
            [CropResult(LATE, False, True), CropResult(FACE)],
            {
                **{"images": 2, "face": 2, "cropped": 1, "reused": 1},
                "steps": {"short": 1, "yunet": 1},
            },
        ),
        (
            [CropResult(FALLBACK, True, True)],
            {
                **{"images": 1, "full_frame": 1, "detected": 1, "cropped": 1},
                **{"reasons": {"too_small": 1}, "steps": {"full": 1}},
            },
        ),
        (
            [CropResult(SKIPPED, True, False), CropResult(SKIPPED)],
            {
                **{"images": 2, "skipped": 2, "detected": 1, "reused": 1},
                **{"reasons": {"no_face": 2}, "steps": {"turned": 2}},
            },
        ),
        ([CropResult(ERROR), CropResult(ERROR, True)], {"images": 2, "errors": 2, "detected": 1}),
        ([CropResult(WHOLE, False, True)], {"images": 1, "full_frame": 1, "cropped": 1}),
        (
            [CropResult(DAMAGED), CropResult(IN_PART)],
            {"images": 2, "errors": 1, "face": 1, "damaged": 2, "reused": 1},
        ),
    ],
    ids=["none", "new", "known", "cut again", "fallback", "skipped", "errors", "whole", "damaged"],
)
def test_rows_are_counted(results: list[CropResult], counts: dict[str, object]) -> None:
    summary = CropSummary()
    for result in results:
        summary.add(result)
    values = summary.to_dict()
    assert values.pop("seconds") >= 0
    assert values.pop("images_per_second") >= 0
    assert values == {**EMPTY, **counts}


def test_steps_are_told_in_their_order() -> None:
    summary = CropSummary()
    for record in (SKIPPED, LATE, FALLBACK, FACE):
        summary.add(CropResult(record))
    assert list(summary.to_dict()["steps"]) == ["short", "full", "yunet", "turned"]
