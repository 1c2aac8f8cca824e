"""Colours of every kind of profile, brought to sRGB."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.roi.colour import Colours, make_profile, read_colours
from roi_cls.roi.image_header import CODES, GAMMA
from tests.helpers.colours import D65, GAMUTS, PROFILES, SRGB, SRGB_CORNERS, SRGB_CURVE, store

COLOURS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(np.abs(one.astype(np.int64) - other))


@pytest.mark.parametrize("name", PROFILES)
def test_colours_come_back_from_a_wide_gamut(name: str) -> None:
    stored = store(COLOURS, name)
    assert apart(stored, COLOURS).mean() > 5
    colours = read_colours(PROFILES[name], "RGB")
    converted = colours.to_srgb(stored)
    assert (colours.name, colours.note) == (name, name)
    # One step of the stored numbers is several of sRGB's in the dark.
    assert apart(converted, COLOURS).mean() < 1
    assert np.quantile(apart(converted, COLOURS), 0.99) <= 6


def test_large_picture_is_converted_as_a_small_one() -> None:
    colours = read_colours(PROFILES["Display P3"], "RGB")
    tall = np.tile(COLOURS, (9, 1, 1))
    np.testing.assert_array_equal(
        colours.to_srgb(tall), np.tile(colours.to_srgb(COLOURS), (9, 1, 1))
    )


@pytest.mark.parametrize(
    "said",
    [
        b"",
        SRGB,
        make_profile("a copy", SRGB_CORNERS, D65, SRGB_CURVE),
        CODES + bytes((1, 13)),
        CODES + bytes((1, 1)),
        CODES + bytes((2, 2)),
        GAMMA + struct.pack(">I", 45455),
        GAMMA + struct.pack(">9I", 45455, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    ],
)
@pytest.mark.parametrize("space", ["RGB", "L"])
def test_what_is_srgb_costs_nothing(said: bytes, space: str) -> None:
    colours = read_colours(said, "RGB" if space == "RGB" else "L")
    assert colours.note is None
    assert colours.to_srgb(COLOURS) is COLOURS
    assert colours.as_stored() is colours


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (CODES + bytes((12, 13)), "Display P3"),
        (CODES + bytes((9, 16)), "ignored: HDR (PQ)"),
        (CODES + bytes((9, 18)), "ignored: HDR (HLG)"),
        (CODES + bytes((22, 1)), "ignored: colour codes 22 and 1"),
        (CODES + b"\1", "ignored: broken"),
        (GAMMA + struct.pack(">I", 100000), "gamma 1.00"),
        (GAMMA + struct.pack(">I", 0), "ignored: broken"),
        (GAMMA + b"abc", "ignored: broken"),
        (
            GAMMA
            + struct.pack(">9I", 45455, 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),
            "gamma 2.20, own primaries",
        ),
        (GAMMA + struct.pack(">9I", 45455, *[30000] * 8), "ignored: broken"),
        (b"broken", "ignored: broken"),
        (PROFILES["Display P3"][:250], "ignored: broken"),
        (make_profile("two\nlines\x1b[1m", *GAMUTS["Display P3"]), "two lines [1m"),
        (make_profile("", *GAMUTS["Display P3"]), "unnamed"),
    ],
)
def test_note_tells_what_is_applied_or_why_not(said: bytes, note: str) -> None:
    colours = read_colours(said, "RGB")
    assert colours.note == note
    assert (colours.transform is None) == note.startswith("ignored")
    if note.startswith("ignored"):
        assert colours.to_srgb(COLOURS) is COLOURS


def test_profile_of_other_samples_is_ignored() -> None:
    assert read_colours(PROFILES["Display P3"], "CMYK").note == "ignored: a profile of RGB"


def test_stored_numbers_are_taken_as_they_are() -> None:
    colours = read_colours(PROFILES["Display P3"], "RGB").as_stored()
    assert colours.note == "ignored: Display P3"
    assert colours.to_srgb(COLOURS) is COLOURS
    broken = read_colours(b"broken", "RGB")
    assert broken.as_stored() is broken


def test_linear_grey_is_brightened() -> None:
    grey = np.full((2, 2, 3), 55, np.uint8)  # 0.2159 of the light: half of sRGB's scale
    converted = read_colours(GAMMA + struct.pack(">I", 100000), "L").to_srgb(grey)
    assert converted.tolist() == np.full((2, 2, 3), 128).tolist()


def test_same_profile_is_read_once() -> None:
    assert read_colours(SRGB, "RGB") is read_colours(bytes(bytearray(SRGB)), "RGB")
    assert isinstance(read_colours(SRGB, "L"), Colours)
