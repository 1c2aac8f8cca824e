"""Decide what to cut: pure geometry from a detection and a recipe, before any pixel is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from roi_cls.errors import NoFaceError
from roi_cls.roi.box import Box
from roi_cls.roi.face import Detection, Face
from roi_cls.roi.params import CropParams

Source = Literal["face", "full_frame"]
Reason = Literal["no_face", "low_score", "too_small"]
REASON_TEXT: dict[Reason, str] = {
    "no_face": "no face was found",
    "low_score": "the detector was not sure enough of any face",
    "too_small": "every face is too small",
}


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Which region of the upright picture becomes the crop, and why."""

    source: Source
    """Whether a face or the picture as a whole is cut."""
    reason: Reason | None
    """Why the full frame took the face's place; None: it did not."""
    face: Face | None
    """The face that is cut; None for a full frame."""
    faces: int
    """How many faces met the recipe's thresholds."""
    best_score: float | None
    """Score of the face that is cut, else of the best one seen; None: none was seen."""
    region: Box
    """What is cut, pixels of the upright picture; may reach beyond it. Square unless squashed."""
    angle: float = 0.0
    """Clockwise rotation of the region about its centre, degrees (y points down)."""


def plan_crop(detection: Detection, params: CropParams) -> CropPlan:
    """Return what to cut from a picture with this detection.

    Raises:
        NoFaceError: No face meets the thresholds and ``params.fallback`` is ``error``.
    """
    if params.crop == "full":
        return CropPlan("full_frame", None, None, 0, None, _frame_region(detection, params))
    confident = [face for face in detection.faces if face.score >= params.min_score]
    accepted = [face for face in confident if _short_side(face) >= params.min_face_px]
    if accepted:
        face = _choose(accepted, detection, params)
        angle = _eye_angle(face) if params.align else 0.0
        region = face.box.expand(params.margin).square()
        if params.border == "shift":
            region = _shift_inside(region, angle, detection)
        return CropPlan("face", None, face, len(accepted), face.score, region, angle)
    best = max((face.score for face in detection.faces), default=None)
    reason: Reason = "too_small" if confident else "low_score" if detection.faces else "no_face"
    if params.fallback == "error":
        raise NoFaceError(
            f"{REASON_TEXT[reason].capitalize()} (min_score {params.min_score:g}, min_face "
            f"{params.min_face_px} px). Lower the threshold or use --fallback full."
        )
    return CropPlan("full_frame", reason, None, 0, best, _frame_region(detection, params))


def _short_side(face: Face) -> float:
    return min(face.box.width, face.box.height)


def _choose(faces: list[Face], detection: Detection, params: CropParams) -> Face:
    if params.face == "confident":
        return max(faces, key=lambda face: face.score)
    if params.face == "central":
        middle = (detection.width / 2, detection.height / 2)
        return min(faces, key=lambda face: math.dist(face.box.center, middle))
    return max(faces, key=lambda face: face.box.area)


def _frame_region(detection: Detection, params: CropParams) -> Box:
    whole = Box(0, 0, detection.width, detection.height)
    centered = params.crop == "face" and params.fallback == "center"
    if centered or params.full_frame == "crop":
        x, y = whole.center
        half = min(whole.width, whole.height) / 2
        return Box(x - half, y - half, x + half, y + half)
    return whole if params.full_frame == "squash" else whole.square()


def _eye_angle(face: Face) -> float:
    """Return the clockwise angle of the line from the right to the left eye, degrees."""
    (right_x, right_y), (left_x, left_y) = face.keypoints[:2]
    return math.degrees(math.atan2(left_y - right_y, left_x - right_x))


def _shift_inside(region: Box, angle: float, detection: Detection) -> Box:
    """Return the region moved so that it leaves the picture as little as it can."""
    turn = math.radians(angle)
    reach = region.width / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)))  # of the turned square
    x, y = region.center
    new_x = _clamp_center(x, reach, detection.width)
    new_y = _clamp_center(y, reach, detection.height)
    half = region.width / 2
    return Box(new_x - half, new_y - half, new_x + half, new_y + half)


def _clamp_center(center: float, reach: float, length: float) -> float:
    return length / 2 if 2 * reach > length else min(max(center, reach), length - reach)
