"""The figures of the face detectors' benchmark, on pictures whose answers are known."""

import json
from pathlib import Path

import pytest

from benchmarks.crops.detection import Seen, format_table, judge, look_at, read_boxes
from roi_cls.classifier.metrics.interval import wilson
from roi_cls.roi.face import Box, Detection, Face, Step
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture
from tests.helpers.fakes import FakeDetector, see_centre
from tests.helpers.networks import square_face
from tests.helpers.pictures import noise, save

PARAMS = CropParams(min_score=0.5)
TRUE = Box(10, 10, 50, 50)
HIT = square_face(12, 10, 40, 0.9)
LARGER_MISS = square_face(100, 100, 60, 0.8)
FAINT_HIT = square_face(12, 10, 40, 0.4)


def seen(name: str, *faces: Face, step: Step = "short", milliseconds: float = 10.0) -> Seen:
    return Seen(name, Detection(200, 200, faces, step), milliseconds)


def test_figures_count_what_was_found_chosen_and_invented() -> None:
    truth = {"a": [TRUE, Box(120, 20, 130, 30)], "b": [TRUE], "c": [TRUE], "d": [TRUE]}
    found = [
        seen("a", HIT),
        seen("b", HIT, LARGER_MISS, step="yunet", milliseconds=30),
        seen("c", FAINT_HIT, step="turned"),
        seen("d", step="turned", milliseconds=70),
    ]
    empty = [seen("e", LARGER_MISS, HIT, milliseconds=40), seen("f", FAINT_HIT, milliseconds=60)]
    portraits = [seen("g", HIT, milliseconds=1), seen("h", FAINT_HIT, milliseconds=2), seen("i")]
    row = judge("auto", PARAMS, truth, found, empty, portraits)
    assert (row.way, row.found, row.recall) == ("auto", 0.5, 0.4)
    assert row.chosen_largest == wilson(1, 4)
    assert row.recall_by_px == {"0+ (1)": 0.0, "32+ (4)": 0.5}
    assert (row.false_faces, row.false_pictures) == (1.0, wilson(1, 2))
    assert row.portraits == wilson(1, 3)
    assert (row.milliseconds, row.milliseconds_faceless) == (30, 50)
    assert row.milliseconds_portraits == pytest.approx(13 / 3)
    assert row.steps == {"short": 0.25, "turned": 0.5, "yunet": 0.25}


def test_lower_score_accepts_more() -> None:
    row = judge("full", CropParams(min_score=0.3), {"c": [TRUE]}, [seen("c", FAINT_HIT)], [], [])
    assert (row.found, row.chosen_largest) == (1, wilson(1, 1))
    assert (row.false_faces, row.false_pictures, row.portraits) == (None,) * 3


def test_table_has_a_cell_for_each_column() -> None:
    truth = {"a": [TRUE]}
    rows = [
        judge("auto", PARAMS, truth, [seen("a", HIT)], [seen("e")], [seen("g", HIT)]),
        judge("full", PARAMS, truth, [seen("a", FAINT_HIT)], [], []),
    ]
    first, second = format_table(rows).split("\n\n", 1)
    head, _, *lines = first.splitlines()
    assert [line.count("|") for line in lines] == [head.count("|")] * 2
    assert lines[0] == (
        "| auto | 100.0 % [20.7, 100.0] | 100.0 % | 0.0 % [0.0, 79.3] | 0.00 | "
        "100.0 % [20.7, 100.0] | 10.0 | 10.0 | 10.0 | short 100 % |"
    )
    assert lines[1] == "| full | 0.0 % [0.0, 79.3] | 0.0 % |  |  |  | 10.0 |  |  | short 100 % |"
    assert second.splitlines()[-3:] == ["|---|---:|", "| auto | 100 % |", "| full | 0 % |"]


def test_true_boxes_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"a.jpg": [[1, 2, 3, 4]], "b.jpg": []}))
    assert read_boxes(tmp_path / "boxes.json") == {"a.jpg": [Box(1, 2, 3, 4)], "b.jpg": []}


def test_every_way_sees_a_picture_before_the_next_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [save(tmp_path / f"{i}.png", noise(20, 20 + i, 3)) for i in range(3)]
    asked: list[tuple[str, int]] = []

    class Noting(FakeDetector):
        def __init__(self, way: str) -> None:
            super().__init__(see_centre)
            self.way = way

        def detect(self, picture: Picture) -> Detection:
            asked.append((self.way, picture.width - 20))
            return super().detect(picture)

    ways = look_at({"one": Noting("one"), "other": Noting("other")}, paths)
    # The first one twice: what loads the networks is not timed.
    assert asked == [
        *[("one", 0), ("one", 0), ("other", 0), ("other", 0)],
        *[("one", 1), ("other", 1), ("one", 2), ("other", 2)],
    ]
    assert {way: [each.name for each in all_seen] for way, all_seen in ways.items()} == {
        "one": ["0.png", "1.png", "2.png"],
        "other": ["0.png", "1.png", "2.png"],
    }
    assert capsys.readouterr().out == ""
