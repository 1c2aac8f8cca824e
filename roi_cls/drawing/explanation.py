"""What is said about an explanation: the row of ``roi-cls explain``, its line, and its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roi_cls.classifier.explanation.explain import ExplainedBy, Explanation
from roi_cls.classifier.explanation.heat import Heat
from roi_cls.console.verdict import looked_at_text, prediction_line, verdict_text
from roi_cls.roi import Box

METHOD_TEXT: dict[ExplainedBy, str] = {
    "grad-cam": "Grad-CAM",
    "occlusion": "occlusion",
    "own-map": "the network's own map",
}


def explanation_row(
    explanation: Explanation,
    shown: int,
    file: str | None = None,
    agreements: Sequence[float | None] = (),
) -> dict[str, Any]:
    """Return the fields of ``roi-cls explain --json``.

    Args:
        explanation: Of one picture.
        shown: Index of the view that ``peak`` and what follows it tell of.
        file: Where it is drawn.
        agreements: Rank correlation of each view's map with that of occlusion, where it was asked.
    """
    prediction = explanation.looked.prediction
    views = [
        _view_row(heat, _face_box(explanation), agreements[i] if agreements else None)
        for i, heat in enumerate(explanation.heats)
    ]
    of_shown = {k: v for k, v in views[shown].items() if k != "source"} if views else _NO_HEAT
    return {
        "path": prediction.path,
        "time_s": prediction.time_s,
        "status": prediction.status,
        "error": prediction.error,
        "label": explanation.label,
        "probability": _probability(explanation),
        "answer": prediction.label,
        "method": explanation.method if views else None,
        "file": file,
        **of_shown,
        "views": views,
    }


def explanation_line(row: dict[str, Any], explanation: Explanation) -> str:
    """Return a row for people."""
    if not explanation.heats:
        return prediction_line(explanation.looked.prediction)
    path = row["path"] if row["path"].isprintable() else repr(row["path"])
    at = "" if row["time_s"] is None else f" at {row['time_s']:g} s"
    agrees = "" if row["agreement"] is None else f", agrees {row['agreement']:.2f} with occlusion"
    return (
        f"{path}{at}: {row['label']} {row['probability']:.3f}, {_where(row)} "
        f"({METHOD_TEXT[row['method']]}{agrees}): {row['file']}"
    )


def caption(explanation: Explanation, shown: int) -> list[str]:
    """Return a title and sentences: the answer, what was looked at, and where it is hot."""
    prediction = explanation.looked.prediction
    looked = looked_at_text(prediction)
    where = _where(_view_row(explanation.heats[shown], _face_box(explanation), None))
    probability = _probability(explanation)
    return [
        verdict_text(prediction),
        f"Looked at: {looked}.",
        f"What speaks for {explanation.label!r} (probability {probability:.3f}) by "
        f"{METHOD_TEXT[explanation.method]}: {where}.",
    ]


def view_title(heat: Heat) -> str:
    """Return what a view shows."""
    return "the face" if heat.cut.face else "the full frame"


_NO_HEAT = {"peak": None, "peak_value": None, "share_in_face": None, "agreement": None}


def _view_row(heat: Heat, face: Box | None, agreement: float | None) -> dict[str, Any]:
    peak = heat.peak
    return {
        "source": "face" if heat.cut.face else "full_frame",
        "peak": peak and [round(value, 1) for value in peak],
        "peak_value": float(heat.effect.max()),
        "share_in_face": heat.share_within(face) if face else None,
        "agreement": agreement,
    }


def _face_box(explanation: Explanation) -> Box | None:
    box = explanation.looked.prediction.box
    return Box(*box) if box else None


def _probability(explanation: Explanation) -> float | None:
    probabilities = explanation.looked.prediction.probabilities
    return probabilities[explanation.label] if probabilities else None


def _where(row: dict[str, Any]) -> str:
    if row["peak"] is None:
        return "no place speaks for it"
    x, y = row["peak"]
    share = row["share_in_face"]
    within = "" if share is None else f", {share:.0%} of the heat in the face's box"
    return f"most at {x:.0f},{y:.0f}{within}"
