"""Faces of several looks made into one list: the best first, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from roi_cls.roi.detection.models import ModelName
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image

See = Callable[[ModelName, Image], tuple[Face, ...]]
"""Returns the faces that a network sees in an image, in pixels of that image."""

SCORE_FLOOR = 0.2
"""Faces from this confidence on are kept, so that ``low_score`` can be told from ``no_face``."""
SAME_FACE_IOU = 0.3
"""Overlap from which two boxes of one look, or two looks, are taken for one face."""
SAME_FACE_SHARE = 0.5
"""Part of the smaller box in the other one from which two faces found are one: a face's eyes and
nose were sometimes found within it."""


def best_first(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Return the faces, most confident first; equals in the order of their boxes."""
    return tuple(sorted(faces, key=lambda face: (-face.score, face.box.xyxy)))


def find_again(face: Face, seen: Iterable[Face]) -> tuple[Face, ...]:
    """Return the best of the faces seen in the same place, or nothing."""
    return best_first(other for other in seen if other.box.iou(face.box) >= SAME_FACE_IOU)[:1]


def merge_suspects(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Return the faces without those that cover much the same as a more confident one."""
    return _suppress(faces, lambda box, other: box.iou(other) >= SAME_FACE_IOU)


def merge_faces(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Return the faces without those that lie in, or around, a more confident one."""
    return _suppress(faces, lambda box, other: _shared_part(box, other) >= SAME_FACE_SHARE)


def _suppress(faces: Iterable[Face], is_same: Callable[[Box, Box], bool]) -> tuple[Face, ...]:
    kept: list[Face] = []
    for face in best_first(faces):
        if not any(is_same(face.box, other.box) for other in kept):
            kept.append(face)
    return tuple(kept)


def _shared_part(box: Box, other: Box) -> float:
    """Return the intersection's share of the smaller box."""
    return box.shared_area(other) / min(box.area, other.area)
