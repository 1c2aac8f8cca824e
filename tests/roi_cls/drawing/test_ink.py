"""Words fit and never vanish, whatever a file is called; lines are seen where they belong."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageDraw

from roi_cls.drawing.ink import (
    INK,
    PAPER,
    RED,
    draw_dot,
    draw_path,
    escape,
    legible,
    measure,
    shorten,
    wrap,
    write,
)

ANY_NAME = st.text(st.characters(codec=None), max_size=60)  # lone surrogates, too


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("image_1.png", "image_1.png"),
        ("a long name…", "a long name…"),
        ("café.png", r"caf\xe9.png"),
        ("cafe\u0301.png", r"caf\xe9.png"),
        ("中.png", r"\u4e2d.png"),
        ("line\nbreak\ttab", r"line\nbreak\ttab"),
        ("not utf-8 \udcff", r"not utf-8 \udcff"),
        ("right\u202eleft", r"right\u202eleft"),
        ("", ""),
    ],
)
def test_what_no_font_has_is_escaped(text: str, drawn: str) -> None:
    assert legible(text, 13, fonts=())[0] == drawn


@pytest.mark.parametrize("text", ["café.png", "Ёжик.jpg", "Ωμέγα", "ařžů"])
def test_another_font_draws_what_the_built_in_one_lacks(text: str) -> None:
    drawn, font = legible(text, 13)
    assert drawn == text
    assert font.getlength(text) > 0


def test_font_that_is_not_here_is_left_out() -> None:
    assert legible("é", 13, fonts=("no such font.ttf",))[0] == r"\xe9"


@given(ANY_NAME)
def test_any_name_becomes_one_line_that_can_be_drawn(name: str) -> None:
    drawn, font = legible(name, 13, fonts=())
    assert drawn.isprintable()
    assert legible(drawn, 13, fonts=())[0] == drawn
    assert math.isfinite(font.getlength(drawn))
    write(ImageDraw.Draw(PillowImage.new("RGB", (50, 20))), (0, 0), name, 13)


@pytest.mark.parametrize(("character", "text"), [("é", r"\xe9"), ("\0", r"\x00"), ("\n", r"\n")])
def test_escape_is_pythons(character: str, text: str) -> None:
    assert escape(character) == text


@given(ANY_NAME, st.integers(20, 300))
def test_shortened_text_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shorten(name, 13, width)
    assert measure(short, 13) <= width
    if short != name:
        start, end = short.split("…", 1) if name.count("…") == 0 else ("", "")
        assert name.startswith(start)
        assert name.endswith(end)


def test_of_a_long_name_the_end_is_kept_longer() -> None:
    short = shorten("photographs_of_the_summer_000123.png", 13, 140)
    start, end = short.split("…")
    assert len(start) < len(end)
    assert end.endswith("00123.png")
    assert shorten("short.png", 13, 140) == "short.png"


@given(st.lists(st.text("abc W", min_size=1, max_size=30), max_size=12), st.integers(60, 400))
def test_wrapped_lines_fit(words: list[str], width: int) -> None:
    lines = wrap(" ".join(words), 16, width)
    assert all(measure(line, 16) <= width for line in lines)


def test_text_is_broken_at_spaces() -> None:
    assert wrap("one two three four", 16, measure("one two", 16)) == ["one two", "three", "four"]
    assert wrap("", 16, 100) == []


def test_text_starts_at_ends_at_or_is_centred_on_its_corner() -> None:
    page = PillowImage.new("RGB", (100, 90), PAPER)
    pen = ImageDraw.Draw(page)
    write(pen, (50, 0), "nnnnn", 13)
    write(pen, (50, 30), "nnnnn", 13, align="middle")
    write(pen, (50, 60), "nnnnn", 13, align="right")
    pixels = np.asarray(page).min(axis=2) < 128
    left, middle, right = (np.flatnonzero(pixels[y : y + 30].any(axis=0)) for y in (0, 30, 60))
    assert left[0] == pytest.approx(50, abs=2)
    assert (middle[0] + middle[-1]) / 2 == pytest.approx(50, abs=2)
    assert right[-1] == pytest.approx(50, abs=2)


def test_solid_path_is_closed_and_dashed_path_has_gaps() -> None:
    corners = [(10.0, 10.0), (90.0, 10.0), (90.0, 90.0), (10.0, 90.0)]
    solid = np.full((100, 100, 3), 255, np.uint8)
    draw_path(solid, corners, RED)
    assert (solid[10, 10:91] == RED).all()
    assert (solid[10:91, 10] == RED).all()
    dashed = np.full((100, 100, 3), 255, np.uint8)
    draw_path(dashed, corners, RED, dash_px=8)
    top = (dashed[10, 10:91] == RED).all(axis=1)
    assert 0.3 < top.mean() < 0.8  # the round ends of the dashes take from the gaps
    assert top[0]
    assert top[-1]


def test_path_beyond_the_picture_is_cut_off() -> None:
    image = np.full((20, 20, 3), 255, np.uint8)
    draw_path(image, [(-50.0, 10.0), (500.0, 10.0), (500.0, 400.0), (-50.0, 400.0)], RED, dash_px=4)
    assert not (image[:5] == INK).any()


def test_dot_has_a_light_rim() -> None:
    image = np.zeros((21, 21, 3), np.uint8)
    draw_dot(image, (10.2, 9.8), 3, RED)
    assert tuple(image[10, 10]) == RED
    assert image[10, 14].min() > 200
    assert not image[10, 17:].any()
