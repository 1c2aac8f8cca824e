"""A whole person, in the order in which one part covers another."""

from __future__ import annotations

import numpy as np

from roi_cls.data.defect import DefectKind, draw_defect
from roi_cls.data.drawn_body import draw_body
from roi_cls.data.drawn_face import draw_glasses, draw_head, head_outline
from roi_cls.data.drawn_hair import draw_hair_behind, draw_hair_front
from roi_cls.data.drawn_pen import Pen


def draw_person(
    pen: Pen, kind: DefectKind | None = None, rng: np.random.Generator | None = None
) -> None:
    """Draw the person of ``pen.look``, its face spoilt by a defect of ``kind`` if one is given.

    Raises:
        ValueError: A defect without an ``rng`` to draw it with.
    """
    draw_hair_behind(pen)
    draw_body(pen)
    draw_head(pen)
    draw_hair_front(pen, pen.mask(head_outline(pen.look)))
    draw_glasses(pen)
    if kind is not None:
        if rng is None:
            raise ValueError(f"a {kind} defect needs an rng, got None")
        draw_defect(pen, kind, rng)
