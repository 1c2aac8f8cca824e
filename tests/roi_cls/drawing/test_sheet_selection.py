"""A page stands for all crops: every kind is on it, the most doubtful first."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.cache import CropRecord
from roi_cls.cache.record import FaceCut
from roi_cls.drawing.sheet import WHOLE, Selection, ShownKind, select_crops

SQUARE = (0.0, 0.0, 20.0, 20.0)
POINTS = ((8.0, 8.0),) * 6


def row(i: int, kind: str, score: float | None = None, more: int = 0) -> CropRecord:
    path = Path(f"{i}.png")
    if kind in ("error", "skipped"):
        return CropRecord(path, "error" if kind == "error" else "skipped", reason="no_face")
    others = tuple(FaceCut(SQUARE, 0.7, POINTS, "full", SQUARE, 0.0) for _ in range(more))
    return CropRecord(
        path,
        "ok",
        source="face" if kind == "face" else "full_frame",
        reason=None if kind in ("face", "full_frame") else kind,
        box=SQUARE if kind == "face" else None,
        face_score=score,
        keypoints=POINTS if kind == "face" else None,
        region=SQUARE,
        more=others,
    )


def shown(selection: Selection) -> list[tuple[str, float | None]]:
    return [(entry.kind, entry.score) for entry in (*selection.whole, *selection.faces)]


def test_all_are_shown_where_they_fit_in_order_of_doubt() -> None:
    records = [
        row(0, "face", 0.9),
        row(1, "no_face"),
        row(2, "low_score", 0.2),
        row(3, "face", 0.6),
        row(4, "error"),
        row(5, "too_small", 0.8),
        row(6, "low_score", 0.4),
        row(7, "full_frame"),
    ]
    selection = select_crops(records, 7)
    assert shown(selection) == [
        ("low_score", 0.4),
        ("low_score", 0.2),
        ("too_small", 0.8),
        ("no_face", None),
        ("full_frame", None),
        ("face", 0.6),
        ("face", 0.9),
    ]
    assert selection.shown == selection.total == 7


def test_errors_come_before_what_was_skipped() -> None:
    records = [row(0, "skipped"), row(1, "error"), row(2, "skipped"), row(3, "error")]
    selection = select_crops(records, 10)
    assert [record.path.name for record in selection.failed] == ["1.png", "3.png", "0.png", "2.png"]
    assert selection.total == 0


def test_each_face_of_a_row_is_an_entry() -> None:
    selection = select_crops([row(0, "face", 0.9, more=2)], 10)
    assert [(entry.index, entry.score) for entry in selection.faces] == [
        (1, 0.7),
        (2, 0.7),
        (0, 0.9),
    ]


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ({"face": 100, "no_face": 100}, 10, {"face": 5, "no_face": 5}),
        ({"face": 100, "no_face": 2}, 10, {"face": 8, "no_face": 2}),
        ({"face": 2, "no_face": 100}, 10, {"face": 2, "no_face": 8}),
        (
            {"face": 100, "no_face": 100, "low_score": 1, "too_small": 100},
            20,
            {"face": 10, "no_face": 4, "low_score": 1, "too_small": 5},
        ),
        ({"face": 3, "no_face": 3}, 1, {"no_face": 1}),
    ],
)
def test_page_is_shared_fairly(
    counts: dict[str, int], limit: int, expected: dict[str, int]
) -> None:
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    selection = select_crops([row(i, kind, 0.5) for i, kind in enumerate(kinds)], limit)
    on_page = [kind for kind, _ in shown(selection)]
    assert {kind: on_page.count(kind) for kind in set(on_page)} == expected
    assert selection.counts == counts


def test_of_many_half_are_the_most_doubtful_and_half_are_spread() -> None:
    records = [row(i, "face", i / 100) for i in range(100)]
    scores = [score for _, score in shown(select_crops(records, 10))]
    assert scores[:5] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert scores[5:] == [0.05, 0.24, 0.43, 0.62, 0.81]


@given(
    st.lists(
        st.tuples(
            st.sampled_from((*WHOLE, "face", "error", "skipped")),
            st.floats(0, 1),
            st.integers(0, 3),
        ),
        max_size=60,
    ),
    st.integers(1, 40),
)
def test_every_kind_is_represented_and_nothing_twice(
    rows: list[tuple[ShownKind, float, int]], limit: int
) -> None:
    records = [row(i, kind, score, more) for i, (kind, score, more) in enumerate(rows)]
    selection = select_crops(records, limit)
    entries = [*selection.whole, *selection.faces]
    assert selection.shown == len(entries) == min(limit, selection.total)
    assert len({(entry.record.path, entry.index) for entry in entries}) == len(entries)
    assert len(selection.failed) == sum(record.status != "ok" for record in records)
    if limit >= 8:
        assert {entry.kind for entry in entries} == set(selection.counts)
    scores = [entry.score or 0.0 for entry in selection.faces]
    assert scores == sorted(scores)


def test_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        select_crops([], 0)
