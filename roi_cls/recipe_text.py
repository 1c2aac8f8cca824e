"""A crop recipe and its words, for people. Knows the settings, no picture."""

from __future__ import annotations

from roi_cls.roi import CropParams

STEP_TEXT = {
    "short": "the short-range network",
    "full": "the full-range network",
    "tiles": "the tiled search",
}
"""What a step of the detector is called in a sentence."""
CHOICE_TEXT = {
    "largest": "the largest face",
    "confident": "the face the detector is surest of",
    "central": "the most central face",
    "all": "every face",
}
_FALLBACK_TEXT = {
    "full": "the full frame",
    "center": "the centre of the frame",
    "skip": "no crop",
    "error": "an error",
}
_FULL_FRAME_TEXT = {"pad": "padded", "crop": "its centre", "squash": "squashed"}


def describe_recipe(params: CropParams) -> str:
    """Return the recipe in words, without a full stop."""
    size = f"{params.size_px} px"
    if params.crop == "full":
        return f"The full frame ({_FULL_FRAME_TEXT[params.full_frame]}), {size}"
    fallback = _FALLBACK_TEXT[params.fallback]
    if params.fallback == "full":
        fallback += f" ({_FULL_FRAME_TEXT[params.full_frame]})"
    aligned = ", turned until the eyes are level" if params.align else ""
    choice = CHOICE_TEXT[params.face]
    return (
        f"{choice[0].upper()}{choice[1:]}, margin {params.margin:g}{aligned}, {size}; "
        f"detector {params.detector}, score from {params.min_score:g}, "
        f"face from {params.min_face_px} px; without a face {fallback}"
    )


def size_text(width: float, height: float) -> str:
    """Return a size in pixels, as ``84 x 91 px``."""
    return f"{round(width)} x {round(height)} px"


def score_text(score: float, decimals: int = 2) -> str:
    """Return a score with its decimals cut off: 0.499 must not look like the 0.5 it misses."""
    scale = 10**decimals
    return f"{int(score * scale + 1e-9) / scale:.{decimals}f}"


def count_text(number: int, noun: str) -> str:
    """Return a number of things, as ``1 face`` or ``2 faces``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
