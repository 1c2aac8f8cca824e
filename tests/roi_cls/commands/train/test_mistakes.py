"""The page of mistakes shows each crop whole, of every kind, with label, answer and probability."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.pictures import Mistake, MistakeKind
from roi_cls.commands.train.mistakes import (
    MOST_SHOWN,
    choose_mistakes,
    draw_mistakes,
    heading_text,
    mistake_tile,
    write_mistake_sheet,
)
from roi_cls.drawing.ink import BLUE, RUST, SLATE
from roi_cls.drawing.page import PAGE_WIDTH
from tests.helpers.pictures import count_pixels

SIDE = 241  # of a crop on the page


def mistake(i: int, kind: MistakeKind = "missed", *, unsure: bool = False) -> Mistake:
    """Return a mistake whose crop is of one colour, (i, 1, 77)."""
    label, answer = {
        "missed": ("bad", "good"),
        "false_alarm": ("good", "bad"),
        "mixed_up": ("good", "other"),
    }[kind]
    crop = np.full((32, 32, 3), (i, 1, 77), np.uint8)
    path = f"test/{i}.png"
    return Mistake(path, label, answer, 0.87654, 0.12346, "full_frame", unsure, kind, crop)


@pytest.fixture
def evaluation() -> Evaluation:
    """Return that of four pictures of two classes, decided from 0.126 on."""
    scores = [[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.0, 1.0]]
    names = ("bad", "good")
    return evaluate_scores([0, 0, 1, 1], scores, names, "bad", 0.126, ["face"] * 4)


def test_each_crop_is_shown_whole_and_nothing_covers_it(evaluation: Evaluation) -> None:
    kinds: list[MistakeKind] = ["missed", "false_alarm", "mixed_up"]
    mistakes = [mistake(i, kinds[i % 3]) for i in range(30)]
    page = draw_mistakes(mistakes, evaluation, "first")
    assert {count_pixels(page, (i, 1, 77)) for i in range(30)} == {SIDE * SIDE}
    assert page.width == PAGE_WIDTH
    assert (np.asarray(page)[-20:] == 255).all()  # nothing is cut off below


@pytest.mark.parametrize(
    ("kind", "colour"), [("missed", RUST), ("false_alarm", BLUE), ("mixed_up", SLATE)]
)
def test_kinds_differ_in_colour(
    kind: MistakeKind, colour: tuple[int, int, int], evaluation: Evaluation
) -> None:
    page = draw_mistakes([mistake(7, kind)], evaluation, "first")
    assert count_pixels(page, colour) > 247 * 15  # the badge above the crop


@pytest.mark.parametrize(
    ("kind", "unsure", "badge", "label", "answer"),
    [
        ("missed", False, "missed", "labelled bad", "answered good, 0.877"),
        ("false_alarm", True, "false alarm, unsure", "labelled good", "answered bad, 0.877"),
        ("mixed_up", False, "mixed up", "labelled good", "answered other, 0.877"),
    ],
)
def test_label_answer_and_probability_stand_below_the_crop(
    kind: MistakeKind, unsure: bool, badge: str, label: str, answer: str
) -> None:
    cell = mistake_tile(mistake(7, kind, unsure=unsure))
    assert (cell.badge, cell.figure) == (badge, "full frame")
    assert [text for text, _ in cell.lines] == [label, answer, "test/7.png"]


def test_page_keeps_the_order_and_room_for_each_kind() -> None:
    alarms = [mistake(i, "false_alarm") for i in range(100)]
    misses = [mistake(i, "missed") for i in range(100, 120)]
    shown = choose_mistakes([*alarms, *misses], 50)
    assert Counter(one.kind for one in shown) == {"false_alarm": 30, "missed": 20}
    assert shown == [*alarms[:30], *misses]
    assert choose_mistakes(alarms, 50) == alarms[:50]
    assert choose_mistakes(misses) == misses


def test_page_is_not_longer_than_its_limit(evaluation: Evaluation) -> None:
    most = [mistake(i) for i in range(MOST_SHOWN)]
    page = draw_mistakes(most, evaluation, "first")
    longer = draw_mistakes([*most, *most], evaluation, "first")
    assert longer.height == page.height + 24  # of the line that says how many are shown


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missed", "'bad' missed (3)"),
        ("false_alarm", "False alarms, taken for 'bad' (3)"),
        ("mixed_up", "Other classes mixed up (3)"),
    ],
)
def test_headings_say_how_many_of_how_many(
    kind: MistakeKind, text: str, evaluation: Evaluation
) -> None:
    assert heading_text(kind, 3, 3, evaluation) == text
    assert heading_text(kind, 2, 3, evaluation) == text.replace("(3)", "(2 of 3)")


def test_page_is_written_and_taken_away_where_there_is_no_mistake(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    path = tmp_path / "mistakes.jpg"
    write_mistake_sheet(path, [mistake(7)], evaluation, "first")
    with PillowImage.open(path) as page:
        assert page.format == "JPEG"
    write_mistake_sheet(path, [], evaluation, "first")
    assert not path.exists()
    write_mistake_sheet(path, [], evaluation, "first")  # none was there
