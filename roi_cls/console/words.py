"""Words for people, and what they write: recipes, verdicts, counts, bytes and spans of time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from roi_cls.roi import REASON_TEXT, CropParams

if TYPE_CHECKING:
    from roi_cls.classifier.inference.prediction import Prediction

STEP_TEXT = {
    "short": "the short-range network",
    "full": "the full-range network",
    "tiles": "the tiled search",
    "yunet": "YuNet",
    "turned": "the search of the turned frame",
}
"""What a step of the detector is called in a sentence."""
CHOICE_TEXT = {
    "largest": "the largest face",
    "confident": "the face the detector is surest of",
    "central": "the most central face",
    "all": "every face",
}
METHOD_TEXT = {
    "grad-cam": "Grad-CAM",
    "occlusion": "occlusion",
    "own-map": "the network's own map",
}
"""What a method that explains an answer is called."""
_FALLBACK_TEXT = {
    "full": "the full frame",
    "center": "the centre of the frame",
    "skip": "no crop",
    "error": "an error",
}
_FULL_FRAME_TEXT = {"pad": "padded", "crop": "its centre", "squash": "squashed"}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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


def printable(text: str) -> str:
    """Return a text as it is, or as Python writes it where a terminal would obey it."""
    return text if text.isprintable() else repr(text)


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


def share_text(part: int, total: int) -> str:
    """Return how many of a number of things are meant, as ``3 of 12``, or ``12`` where all are."""
    return str(total) if part == total else f"{part} of {total}"


def parse_bytes(text: str) -> int:
    """Return the number of bytes that ``text`` names, such as ``10GB`` or ``500 MiB``.

    Raises:
        typer.BadParameter: It names none.
    """
    number, unit = _read_amount(text)
    factor = {**_BYTES, **_BINARY}.get(unit.upper())
    if number is None or factor is None:
        raise typer.BadParameter(f"{text!r} is no size; write it like 500MB, 10GB or 2GiB")
    return round(number * factor)


def parse_span(text: str) -> float:
    """Return the seconds that ``text`` names, such as ``30d``, ``12h`` or ``2w``.

    Raises:
        typer.BadParameter: It names none.
    """
    number, unit = _read_amount(text)
    factor = _SECONDS.get(unit)
    if number is None or factor is None:
        raise typer.BadParameter(f"{text!r} is no span of time; write it like 12h, 30d or 2w")
    return number * factor


def _read_amount(text: str) -> tuple[float | None, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    return (float(match[1]), match[2]) if match else (None, "")


def format_bytes(size: int) -> str:
    """Return a size with three digits or so, in powers of 1000."""
    value, unit = float(size), "B"
    for name in ("KB", "MB", "GB", "TB"):
        if value < 999.5:  # what is rounded up to 1000 has the next unit
            break
        value, unit = value / 1000, name
    return f"{value:.{0 if unit == 'B' or value >= 99.95 else 1}f} {unit}"


def format_span(seconds: float) -> str:
    """Return a span of time in its largest whole unit."""
    for unit, factor in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * factor:
            return f"{int(seconds // factor)} {unit}"
    return count_text(max(0, round(seconds)), "second")


def prediction_line(prediction: Prediction) -> str:
    """Return the answer for people: label, probability, and what was looked at."""
    name = printable(prediction.path)
    if prediction.time_s is not None and prediction.frames is None:
        name += f" at {prediction.time_s:g} s"
    if prediction.status == "error":
        return f"{name}: error: {printable(prediction.error or '')}"
    if prediction.status == "skipped":
        return f"{name}: skipped: {looked_at_text(prediction)}"
    return f"{name}: {verdict_text(prediction)} ({looked_at_text(prediction)})"


def verdict_text(prediction: Prediction) -> str:
    """Return label and probability of an answer, and the threshold where that alone decided it."""
    threshold = threshold_text(prediction)
    decided = f", {threshold}" if threshold else ""
    unsure = " (unsure)" if prediction.unsure else ""
    return f"{prediction.label} {prediction.score:.3f}{decided}{unsure}"


def threshold_text(prediction: Prediction) -> str:
    """Return the threshold where another class is more probable than the answer, else nothing.

    ``artefact 0.148`` puzzles whoever does not know that 0.12 was enough.
    """
    other = prediction.overruled()
    if other is None or prediction.threshold is None:
        return ""
    # Below one half the threshold lets the target be the answer, above it keeps it from that.
    target = "" if prediction.threshold < 0.5 else f" for {other}"
    return f"threshold{target} {prediction.threshold:.3f}"


def looked_at_text(prediction: Prediction) -> str:
    """Return what was looked at: a face, the full frame and why, a video's frames."""
    if prediction.frames is not None:
        at = "" if prediction.time_s is None else f"highest at {prediction.time_s:g} s of "
        return f"{at}{count_text(prediction.frames, 'frame')}"
    return ", ".join(filter(None, (_place_text(prediction), remark_text(prediction))))


def remark_text(prediction: Prediction) -> str:
    """Return that the picture was read in part, or its colours not as it says; mostly nothing."""
    is_ignored = (prediction.color_profile or "").startswith("ignored")
    colours = f"colour profile {prediction.color_profile}" if is_ignored else ""
    return ", ".join(filter(None, ("damaged, read in part" * bool(prediction.damaged), colours)))


def _place_text(prediction: Prediction) -> str:
    reason = next((text for name, text in REASON_TEXT.items() if name == prediction.reason), "")
    if prediction.box is None:
        what = "full frame" if prediction.status == "ok" else ""
        return ": ".join(filter(None, (what, reason)))
    left, top, right, bottom = (round(value) for value in prediction.box)
    others = f", {prediction.faces} faces seen" if prediction.faces > 1 else ""
    return f"face at {left},{top}-{right},{bottom}, found with {prediction.face_score:.2f}{others}"
