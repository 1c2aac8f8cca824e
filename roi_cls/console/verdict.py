"""A verdict in words: label and probability, and what was looked at."""

from __future__ import annotations

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.console.words import count_text, printable
from roi_cls.roi import REASON_TEXT


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
    """Return label and probability of an answer."""
    return f"{prediction.label} {prediction.score:.3f}{' (unsure)' if prediction.unsure else ''}"


def looked_at_text(prediction: Prediction) -> str:
    """Return what was looked at: a face, the full frame and why, a video's frames."""
    if prediction.frames is not None:
        at = "" if prediction.time_s is None else f"highest at {prediction.time_s:g} s of "
        return f"{at}{count_text(prediction.frames, 'frame')}"
    reason = next((text for name, text in REASON_TEXT.items() if name == prediction.reason), "")
    if prediction.box is None:
        what = "full frame" if prediction.status == "ok" else ""
        return ": ".join(filter(None, (what, reason)))
    left, top, right, bottom = (round(value) for value in prediction.box)
    others = f", {prediction.faces} faces seen" if prediction.faces > 1 else ""
    return f"face at {left},{top}-{right},{bottom}, found with {prediction.face_score:.2f}{others}"
