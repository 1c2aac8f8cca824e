"""Decide what to cut: pure geometry from a detection and a recipe, before any pixel is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from roi_cls.base.errors import NoFaceError
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.params import CropParams

CropSource = Literal["face", "full_frame"]
Reason = Literal["no_face", "low_score", "too_small"]
REASON_TEXT: dict[Reason, str] = {
    "no_face": "no face was found",
    "low_score": "the detector was not sure enough of any face",
    "too_small": "every face is too small",
}


_ROUNDING_PX = 1e-6
"""By which sums of fractions of pixels may be off."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One region of the upright picture that becomes a crop."""

    region: Box
    """Pixels of the upright picture; may reach beyond it. Square unless squashed."""
    angle: float = 0.0
    """Clockwise rotation of the region about its centre, degrees (y points down)."""
    face: Face | None = None
    """The face in it; None: the picture as a whole."""


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Which regions of the upright picture become crops, and why."""

    source: CropSource | None
    """Whether a face or the picture as a whole is cut; None: nothing is."""
    reason: Reason | None
    """Why no face is cut; None: one is, or none was looked for."""
    cuts: tuple[Cut, ...]
    """One; with ``face = all`` one per face, largest first; with ``fallback = skip`` maybe none."""
    faces: int
    """How many faces met the recipe's thresholds."""
    best_score: float | None
    """Score of the face that is cut (the first, of several), else of the best one seen."""


def plan_crop(detection: Detection, params: CropParams) -> CropPlan:
    """Return what to cut from a picture with this detection.

    Raises:
        NoFaceError: No face meets the thresholds and ``params.fallback`` is ``error``.
    """
    if params.crop == "full":
        return CropPlan("full_frame", None, (Cut(_frame_region(detection, params)),), 0, None)
    confident = [face for face in detection.faces if face.score >= params.min_score]
    accepted = [face for face in confident if _short_side(face) >= params.min_face_px]
    if accepted:
        chosen = _choose(accepted, detection, params)
        cuts = tuple(_cut_around(face, detection, params) for face in chosen)
        return CropPlan("face", None, cuts, len(accepted), chosen[0].score)
    best = max((face.score for face in detection.faces), default=None)
    reason: Reason = "too_small" if confident else "low_score" if detection.faces else "no_face"
    if params.fallback == "error":
        raise NoFaceError(
            f"{REASON_TEXT[reason].capitalize()} (min_score {params.min_score:g}, min_face "
            f"{params.min_face_px} px). Lower the threshold or use --fallback full."
        )
    if params.fallback == "skip":
        return CropPlan(None, reason, (), 0, best)
    return CropPlan("full_frame", reason, (Cut(_frame_region(detection, params)),), 0, best)


def _short_side(face: Face) -> float:
    return min(face.box.width, face.box.height)


def _choose(faces: list[Face], detection: Detection, params: CropParams) -> list[Face]:
    if params.face == "confident":
        return [max(faces, key=lambda face: face.score)]
    if params.face == "central":
        middle = (detection.width / 2, detection.height / 2)
        return [min(faces, key=lambda face: math.dist(face.box.center, middle))]
    largest_first = sorted(faces, key=lambda face: -face.box.area)
    return largest_first if params.face == "all" else largest_first[:1]


def choose_reduction(region: Box, size_px: int) -> int:
    """Return the whole factor, 1, 2, 4 or 8, by which a picture shrinks before this is cut.

    A JPEG is then decoded at that scale. The region keeps ``size_px`` pixels along its shorter
    side; from 4 on twice as many, because the second step, to the size itself, would blur too much
    after so large a first one.
    """
    shorter = min(region.width, region.height)
    wanted = {8: 16 * size_px, 4: 8 * size_px, 2: 2 * size_px}
    return next((factor for factor, least in wanted.items() if shorter >= least), 1)


def _cut_around(face: Face, detection: Detection, params: CropParams) -> Cut:
    angle = (face.roll or 0.0) if params.align else 0.0
    region = face.box.expand(params.margin).square()
    if params.border == "shift":
        region = _fit_inside(region, face.box, angle, detection)
    # A turned region is sampled between the pixels anyway.
    return Cut(region if angle else _snap(region, detection, params), angle, face)


def _frame_region(detection: Detection, params: CropParams) -> Box:
    whole = Box(0, 0, detection.width, detection.height)
    centered = params.crop == "face" and params.fallback == "center"
    if centered or params.full_frame == "crop":
        x, y = whole.center
        half = min(whole.width, whole.height) / 2
        return _snap(Box(x - half, y - half, x + half, y + half), detection, params)
    return whole if params.full_frame == "squash" else _snap(whole.square(), detection, params)


def _snap(region: Box, detection: Detection, params: CropParams) -> Box:
    """Return the square on whole pixels of the picture, reduced as far as it may be.

    So a JPEG that is decoded at a reduced scale gives the very region that it gives in full. The
    centre moves by half a pixel at most, of the picture so reduced; by less than one where the
    region is kept from leaving the picture.
    """
    factor = choose_reduction(region, params.size_px)
    side = max(1, round(region.width / factor)) * factor
    shorter = min(detection.width, detection.height)
    if region.width <= shorter + _ROUNDING_PX:
        side = min(side, shorter // factor * factor)
    factor = choose_reduction(Box(0, 0, side, side), params.size_px)  # rounded up, it may be more
    left = _snap_start(region.left, region.right, side, factor, detection.width)
    top = _snap_start(region.top, region.bottom, side, factor, detection.height)
    return Box(left, top, left + side, top + side)


def _snap_start(low: float, high: float, side: int, factor: int, length: int) -> int:
    start = round((low + high - side) / 2 / factor) * factor
    if low >= -_ROUNDING_PX and high <= length + _ROUNDING_PX:  # what lies inside stays inside
        start = max(0, min(start, (length - side) // factor * factor))
    return start


def _fit_inside(region: Box, face: Box, angle: float, detection: Detection) -> Box:
    """Return the region as little beyond the picture as the face allows.

    Its margin gives way first, down to the visible part of the face; then it moves, no further
    than it must. What lies outside even then is left to the border.
    """
    height, width = detection.height, detection.width
    turn = math.radians(angle)
    spread = abs(math.cos(turn)) + abs(math.sin(turn))  # the turned square reaches over so much
    visible_width = min(face.right, width) - max(face.left, 0)
    visible_height = min(face.bottom, height) - max(face.top, 0)
    fitting = max(min(height, width) / spread, visible_width, visible_height)
    side = min(region.width, fitting)
    x = _nearest_center(region.center[0], side * spread, width)
    y = _nearest_center(region.center[1], side * spread, height)
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _nearest_center(center: float, reach: float, length: float) -> float:
    """Return the centre, moved until what reaches so far lies inside, or else covers the length."""
    ends = (reach / 2, length - reach / 2)
    return min(max(center, min(ends)), max(ends))
