"""How MediaPipe's two networks look for faces where YuNet is not to be asked, or not to be had.

The cheapest look first, and a second look where one is in doubt. Faces too small for the networks
in the frame as a whole are looked for in tiles of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from roi_cls.roi.detection.faces import (
    SCORE_FLOOR,
    See,
    best_first,
    find_again,
    merge_faces,
    merge_suspects,
)
from roi_cls.roi.detection.glimpse import Glimpse, glimpse_frame, glimpse_region, surround
from roi_cls.roi.face import Box, Detection, Face, Step
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture

Range = Literal["short", "full"]
RANGES: tuple[Range, ...] = ("short", "full")

SURE = 0.75
"""Score from which short range on the frame, or the first scale of a second look, is believed.

Short range reached it in 22 of 60 street pictures, every time rightly, in 94 % of 248 portraits,
and in none of 178 face-free pictures; from 0.7 on, in 3 of those, and 3 street faces were wrong.
"""
SUSPECTED = 0.3
"""Score from which a face is looked at again."""
CONTEXTS = (6.0, 3.0, 4.2, 9.0)
"""Sides of the squares shown in a second look, in sides of the face, the most telling first.

True against false suspects, area under the ROC curve of the short and the full range network: 2.2:
0.84, 0.90; 3: 0.88, 0.92; 4.2: 0.92, 0.94; 6: 0.95, 0.95; 9: 0.91, 0.94; 14: 0.74, 0.94. The mean
of these four: 0.976. With 3 and 6 alone 0.972, and 95 % instead of 97 % of the pictures right.
"""
HOPELESS = 0.25
"""Mean at the first scales below which no further one is looked at; no face was lost by it."""
SMALL_FACE_PX = 48
"""Side of a box below which a face has lost detail that both networks score."""
SMALL_FACE_GAIN = 1.1
"""By how much the score of a small face is raised after a second look.

Of 148 false suspects of that size 1 came to 0.455, of 182 larger ones 6 (animals, dials); of 276
true small faces 21 lie between that and 0.5. Street pictures at 0.8 of their size: 88 % right
instead of 81 %.
"""
MOST_SUSPECTS = 24
"""Suspects looked at again per step, the highest scores first: what bounds the cost."""
TILE_LEVELS = (1.5, 3.0, 6.0)
"""What the frame's longer side is divided by for the tiles' sides: their number is bounded so."""
TILE_OVERLAP = 1 / 3
"""Share of a tile's side that its neighbour shares: a face up to that size is whole in one.

With 1/2 as many pictures were right, for half as many tiles again.
"""
SMALLEST_TILE_PX = 128
"""Side of the smallest tile, in pixels.

On tiles of 67 px (a sixth of 400 px) short range saw a true face in 60 % of street pictures and a
false one in 88 % of those without a face; on tiles of 133 px in 93 % and 60 %.
"""


def find_by_mediapipe(
    picture: Picture, see: See, min_score: float, *, wants_all: bool = False
) -> Detection:
    """Return every face seen, best first; one in doubt with the score of the second look.

    Args:
        picture: Upright.
        see: The networks.
        min_score: From which a face counts.
        wants_all: Take every step, also after one has found a face: for small faces in a crowd.
    """
    search = _Search(picture, see, min_score, wants_all)
    faces, step = search.run()
    return Detection(picture.height, picture.width, faces, step)


def look_whole(picture: Picture, see: Callable[[Image], tuple[Face, ...]]) -> tuple[Face, ...]:
    """Return the faces that one network sees in the whole frame, best first."""
    whole = glimpse_frame(picture)
    return best_first(whole.place(face) for face in see(whole.image))


@dataclass(frozen=True, slots=True)
class _Search:
    picture: Picture
    see: See
    min_score: float
    wants_all: bool

    def run(self) -> tuple[tuple[Face, ...], Step]:
        whole = glimpse_frame(self.picture)
        short = self._look("short", whole)
        sure = [face for face in short if self._is_sure(face)]
        if sure and not self.wants_all:
            return self._settle(short), "short"
        doubtful = (face for face in short if face not in sure)
        again = self._look_again((*doubtful, *self._look("full", whole)))
        known = self._keep((*sure, *again))
        if any(face.score >= self.min_score for face in known) and not self.wants_all:
            return known, "full"
        tiles = tile_frame(self.picture.height, self.picture.width)
        found = [face for tile in tiles for face in self._look_at_tile(tile, whole.is_mirrored)]
        return self._keep((*known, *self._look_again(found))), "tiles"

    def _look(self, range_: Range, glimpse: Glimpse) -> tuple[Face, ...]:
        return tuple(glimpse.place(face) for face in self.see(range_, glimpse.image))

    def _look_at_tile(self, tile: Box, is_mirrored: bool) -> tuple[Face, ...]:
        glimpse = glimpse_region(self.picture, tile)
        glimpse = glimpse.mirror() if is_mirrored else glimpse
        suspected = min(SUSPECTED, self.min_score)
        return tuple(f for r in RANGES for f in self._look(r, glimpse) if f.score >= suspected)

    def _is_sure(self, face: Face) -> bool:
        return face.score >= max(SURE, self.min_score)

    def _settle(self, faces: Iterable[Face]) -> tuple[Face, ...]:
        """Return the sure faces, and the others that would count after a second look at them."""
        return self._keep(
            face if self._is_sure(face) or face.score < self.min_score else self._confirm(face)
            # What lies in or around a sure face goes with it: there is no need to look at it again.
            for face in merge_faces(faces)
        )

    def _look_again(self, faces: Iterable[Face]) -> tuple[Face, ...]:
        suspected = min(SUSPECTED, self.min_score)
        return self._keep(
            self._confirm(face) if face.score >= suspected else face
            for face in merge_suspects(faces)[:MOST_SUSPECTS]
        )

    def _keep(self, faces: Iterable[Face]) -> tuple[Face, ...]:
        floor = min(SCORE_FLOOR, self.min_score)
        return merge_faces(face for face in faces if face.score >= floor)

    def _regions_around(self, face: Face) -> tuple[Box, ...]:
        height, width = self.picture.height, self.picture.width
        regions = (surround(face.box, context, height, width) for context in CONTEXTS)
        return tuple(dict.fromkeys(regions))  # each once: where the frame ends, they are the same

    def _confirm(self, face: Face) -> Face:
        """Return the face as the second look has it."""
        seen: list[Face] = []
        looks = 0
        for region in self._regions_around(face):
            glimpse = glimpse_region(self.picture, region)
            for view in (glimpse, glimpse.mirror()):
                for range_ in RANGES:
                    seen += find_again(face, self._look(range_, view))
                    looks += 1
            mean = sum(again.score for again in seen) / looks
            if mean < HOPELESS or mean >= max(SURE, self.min_score):
                break
        if not seen:
            return replace(face, score=0.0)
        found = replace(average_faces(seen, looks), model=face.model)
        if max(found.box.width, found.box.height) >= SMALL_FACE_PX:
            return found
        return replace(found, score=min(1.0, SMALL_FACE_GAIN * found.score))


def tile_frame(height: int, width: int) -> tuple[Box, ...]:
    """Return squares that cover the frame at each scale, cut at its borders; at most 101."""
    longer = max(height, width)
    sides = (longer / level for level in TILE_LEVELS)
    return tuple(
        Box(left, top, min(width, left + side), min(height, top + side))
        for side in sides
        if side >= SMALLEST_TILE_PX
        for top in _tile_starts(height, side)
        for left in _tile_starts(width, side)
    )


def _tile_starts(length: int, side: float) -> Iterator[float]:
    """Yield the tiles' first pixels along one axis, evenly spread over the whole length."""
    gaps = max(0, math.ceil((length - side) / (side * (1 - TILE_OVERLAP)) - 1e-9))
    yield from ((length - side) * i / gaps if gaps else 0.0 for i in range(gaps + 1))


def average_faces(seen: Sequence[Face], looks: int) -> Face:
    """Return the one face that was seen in some of ``looks`` looks."""
    scores = np.array([face.score for face in seen])
    weights = scores / scores.sum()
    # Not by matrix products: those go through BLAS, whose threads then spin beside the decoders.
    box = (weights[:, None] * np.array([face.box.xyxy for face in seen])).sum(axis=0)
    points = np.array([face.keypoints for face in seen])
    points = (weights[:, None, None] * points).sum(axis=0)
    return Face(
        Box(*map(float, box)),
        float(scores.sum() / looks),
        tuple((float(x), float(y)) for x, y in points),
        seen[0].model,
    )
