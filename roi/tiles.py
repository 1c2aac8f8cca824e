"""Where to look for faces that are too small for the networks in the frame as a whole.

Pure geometry, and symmetric: the tiles of a mirrored picture are the mirrored tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from roi_cls.roi.box import Box

LEVELS = (1.5, 3.0, 6.0)
"""What the frame's longer side is divided by for the tiles' sides: their number is bounded so."""
OVERLAP = 1 / 3
"""Share of a tile's side that its neighbour shares: a face up to that size is whole in one.

With 1/2 as many pictures were right, for half as many tiles again.
"""
SMALLEST_TILE_PX = 128
"""Side of the smallest tile, in pixels.

On tiles of 67 px (a sixth of 400 px) short range saw a true face in 60 % of street pictures and a
false one in 88 % of those without a face; on tiles of 133 px in 93 % and 60 %.
"""
LEAST_CONTEXT = 3.0
"""Sides of the face that are shown around it even where they reach beyond the frame.

Faces that fill the frame score 0.4 to 0.7 there with short range and hardly any with full range;
in wider grey surroundings 0.6 to 0.8 with both (8 of 248 portraits). 4.2 and 6 find the same ones
at more cost, and a dog.
"""


def tile_frame(height: int, width: int) -> tuple[Box, ...]:
    """Return squares that cover the frame at each scale, cut at its borders; at most 101."""
    longer = max(height, width)
    sides = (longer / level for level in LEVELS)
    return tuple(
        Box(left, top, min(width, left + side), min(height, top + side))
        for side in sides
        if side >= SMALLEST_TILE_PX
        for top in _starts(height, side)
        for left in _starts(width, side)
    )


def surround(box: Box, context: float, height: int, width: int) -> Box:
    """Return a square around a box, ``context`` times its side, that shows much of the frame.

    It is moved from the box's centre as far as that shows more of the frame. Where it is larger
    than the frame it reaches beyond it: a face that fills the frame is seen in grey surroundings.
    """
    x, y = box.center
    face = max(box.width, box.height)
    side = min(context * face, max(height, width, LEAST_CONTEXT * face))
    left, top = _move_inside(x - side / 2, side, width), _move_inside(y - side / 2, side, height)
    return Box(left, top, left + side, top + side)


def _starts(length: int, side: float) -> Iterator[float]:
    """Yield the tiles' first pixels along one axis, evenly spread over the whole length."""
    gaps = max(0, math.ceil((length - side) / (side * (1 - OVERLAP)) - 1e-9))
    yield from ((length - side) * i / gaps if gaps else 0.0 for i in range(gaps + 1))


def _move_inside(start: float, side: float, length: int) -> float:
    low, high = sorted((0.0, length - side))
    return min(max(start, low), high)
