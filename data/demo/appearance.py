"""What a drawn person looks like, as a value. Knows no pixels and no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from roi_cls.data.demo.canvas import Colour, tint

Age = Literal["child", "adult", "elder"]
HairStyle = Literal[
    "bald", "balding", "crop", "side", "fringe", "bob", "long", "curly", "afro", "bun", "headscarf"
]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]
Glasses = Literal["none", "round", "square"]
Collar = Literal["crew", "v", "shirt", "jacket", "hood"]
_T = TypeVar("_T")

SKIN_TONES: tuple[Colour, ...] = (
    (247, 222, 205),
    (240, 206, 180),
    (229, 186, 152),
    (211, 163, 124),
    (184, 132, 94),
    (150, 102, 70),
    (116, 77, 54),
    (88, 59, 45),
)
"""Base skin colours, light to dark."""
_HAIR = ((34, 27, 24), (58, 38, 27), (92, 60, 38), (138, 92, 52), (205, 165, 105), (160, 82, 42))
_GREY = ((196, 193, 190), (150, 147, 145), (226, 224, 220))
_IRIS = ((70, 45, 26), (52, 34, 24), (88, 124, 150), (92, 118, 82), (120, 92, 52))
_CLOTH = (
    (178, 58, 52),
    (44, 82, 130),
    (60, 110, 84),
    (222, 214, 200),
    (52, 54, 62),
    (214, 152, 62),
    (122, 88, 140),
    (92, 148, 168),
    (206, 128, 134),
    (126, 122, 92),
)
_SOFT_STYLES: tuple[HairStyle, ...] = ("side", "fringe", "bob", "long", "curly", "bun", "headscarf")
_SHORT_STYLES: tuple[HairStyle, ...] = ("crop", "side", "fringe", "curly", "bald", "balding")
_CHILD_STYLES: tuple[HairStyle, ...] = ("crop", "side", "fringe", "bob", "long", "curly", "bun")


@dataclass(frozen=True, slots=True)
class Proportions:
    """Where a face's parts are: in half face widths from the face's centre, y downwards."""

    eye_x: float
    eye_y: float
    eye_size: float
    """Half the width of an eye."""
    brow_y: float
    nose_y: float
    """Of the nose's tip."""
    nose_width: float
    mouth_y: float
    mouth_width: float
    """Half the width of the mouth."""
    lips: float
    """Fullness; 1 is usual."""
    jaw: float
    """Width of the jaw; 1 is usual."""
    chin_y: float


@dataclass(frozen=True, slots=True)
class Appearance:
    """Everything that decides how one person is drawn, but the place in the frame."""

    age: Age
    tone: int
    """Index in ``SKIN_TONES``."""
    skin: Colour
    hair: Colour
    hair_style: HairStyle
    beard: Beard
    glasses: Glasses
    frame: Colour
    """Of the glasses."""
    iris: Colour
    brow: float
    """Thickness of the brows; 1 is usual."""
    lashes: bool
    lip_colour: Colour
    parts: Proportions
    yaw: float
    """Turn of the head in radians; above 0: towards the right of the picture."""
    pitch: float
    """Above 0: looking down; radians."""
    roll: float
    """Tilt of the head in radians, clockwise on screen."""
    smile: float
    """-0.2 (serious) to 1."""
    open_mouth: bool
    """Shows teeth."""
    eyes_open: float
    """Height of the eye's opening; 1 is usual."""
    gaze: tuple[float, float]
    """Where both eyes look: x, y, each -1 to 1."""
    light: float
    """Side the light comes from: -1 left to 1 right."""
    cloth: Colour
    cloth_second: Colour
    """Of the collar, the stripes or the scarf."""
    collar: Collar
    striped: bool
    texture: int
    """Seed of the hair's strands, the curls and the wrinkles."""


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """Return a random person: any age, skin tone, hair, clothing and pose."""
    age: Age = _pick(rng, ("child", "adult", "elder"), (0.2, 0.57, 0.23))
    soft = bool(rng.random() < 0.5)  # softer features, longer hair, no beard
    tone = int(rng.integers(len(SKIN_TONES)))
    skin = tint(SKIN_TONES[tone], float(rng.uniform(0.95, 1.04)))
    style, beard = _sample_hair_style(rng, age, soft, tone)
    cloth = _CLOTH[rng.integers(len(_CLOTH))]
    smile = float(rng.uniform(-0.2, 1.0))
    rosy = rng.uniform(0.9, 1.0) if soft and age == "adult" else 0.84
    return Appearance(
        age=age,
        tone=tone,
        skin=skin,
        hair=_sample_hair_colour(rng, age, tone),
        hair_style=style,
        beard=beard,
        glasses=_pick(rng, ("none", "round", "square"), (0.76, 0.12, 0.12)),
        frame=_pick(rng, ((38, 34, 36), (110, 66, 38), (150, 128, 84), (120, 34, 40))),
        iris=_IRIS[rng.integers(len(_IRIS) if tone < 4 else 2)],
        brow=float(rng.uniform(0.65, 0.95) if soft or age == "child" else rng.uniform(0.95, 1.35)),
        lashes=soft,
        lip_colour=tint(skin, float(rosy), 0.60, 0.58),
        parts=_sample_parts(rng, age, soft),
        yaw=float(np.clip(rng.normal(0, 0.16), -0.34, 0.34)),
        pitch=float(np.clip(rng.normal(0, 0.05), -0.1, 0.1)),
        roll=float(np.clip(rng.normal(0, 0.09), -0.22, 0.22)),
        smile=smile,
        open_mouth=bool(smile > 0.45 and rng.random() < 0.5),
        eyes_open=float(rng.uniform(0.85, 1.15)),
        gaze=(float(rng.uniform(-0.35, 0.35)), float(rng.uniform(-0.15, 0.2))),
        light=float(rng.choice([-1, 1]) * rng.uniform(0.4, 1)),
        cloth=tint(cloth, float(rng.uniform(0.85, 1.1))),
        cloth_second=_CLOTH[rng.integers(len(_CLOTH))],
        collar=_pick(rng, ("crew", "v", "shirt", "jacket", "hood")),
        striped=bool(rng.random() < 0.2),
        texture=int(rng.integers(2**32)),
    )


def _pick(
    rng: np.random.Generator, values: tuple[_T, ...], shares: tuple[float, ...] | None = None
) -> _T:
    return values[int(rng.choice(len(values), p=shares))]


def _sample_hair_style(
    rng: np.random.Generator, age: Age, soft: bool, tone: int
) -> tuple[HairStyle, Beard]:
    if age == "child":
        return _pick(rng, _CHILD_STYLES), "none"
    styles = _SOFT_STYLES if soft else _SHORT_STYLES
    style: HairStyle = _pick(rng, styles)
    if tone >= 5 and rng.random() < 0.35:
        style = "afro"
    beard: Beard = "none"
    if not soft:
        beard = _pick(
            rng, ("none", "stubble", "moustache", "goatee", "full"), (0.4, 0.18, 0.1, 0.1, 0.22)
        )
    return style, beard


def _sample_hair_colour(rng: np.random.Generator, age: Age, tone: int) -> Colour:
    if age == "elder":
        colour = _GREY[rng.integers(len(_GREY))]
    else:
        colour = _HAIR[rng.integers(len(_HAIR) if tone < 3 else 3)]
    return tint(colour, float(rng.uniform(0.9, 1.1)))


def _sample_parts(rng: np.random.Generator, age: Age, soft: bool) -> Proportions:
    def around(value: float, share: float = 0.05) -> float:
        return float(value * rng.uniform(1 - share, 1 + share))

    child = age == "child"
    eye_y = (0.02 if child else -0.12) + float(rng.uniform(-0.03, 0.03))
    return Proportions(
        eye_x=around(0.43 if child else 0.415),
        eye_y=eye_y,
        eye_size=around(0.26 if child else 0.23 if soft else 0.215),
        brow_y=eye_y - around(0.27 if child else 0.25, 0.12),
        nose_y=around(0.44 if child else 0.38),
        nose_width=around(0.17 if child else 0.2 if soft else 0.23, 0.2),
        mouth_y=around(0.78 if child else 0.77, 0.04),
        mouth_width=around(0.3 if child else 0.37, 0.08),
        lips=around(0.95 if child else 1.15 if soft else 0.85, 0.2),
        jaw=around(1.0 if child else 0.93 if soft else 1.03, 0.04),
        chin_y=around(1.2 if child else 1.32, 0.03),
    )
