"""Face networks that are functions: they see the squares a test draws, as sure as it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roi_cls.roi.detection.models import ModelName
from roi_cls.roi.face import Box, Face
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture

POINTS = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.5, 0.75), (0.1, 0.4), (0.9, 0.4))
"""The keypoints of an upright square, in its sides."""
Score = Callable[[ModelName, float], float]
"""The score of a square by the network and by its share of the image's longer side."""


@dataclass
class Networks:
    """Sees every red square in an image, with a score; remembers what it was asked."""

    score: Score
    score_turned: Score | None = None
    """Of a square whose blue edge is not at its top; None: the same."""
    asked: list[tuple[ModelName, tuple[int, ...]]] = field(default_factory=list)
    """Each network and the (height, width) it was shown."""

    def __call__(self, network: ModelName, image: Image) -> tuple[Face, ...]:
        """Return the squares, scored, as if all were upright."""
        self.asked.append((network, image.shape[:2]))
        is_square = image[..., 1] < 80
        faces = []
        for left, right in _runs(np.any(is_square, axis=0)):
            for top, bottom in _runs(np.any(is_square[:, left:right], axis=1)):
                box = Box(left, top, right, bottom)
                is_turned = self.score_turned and not _is_upright(image[top:bottom, left:right])
                score = self.score_turned if is_turned and self.score_turned else self.score
                given = score(network, box.width / max(image.shape))
                if given > 0.2:
                    faces.append(Face(box, given, place_points(box), network))
        return tuple(faces)

    @property
    def steps(self) -> list[ModelName]:
        """Return the networks in the order they were asked."""
        return [network for network, _ in self.asked]


def _runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _is_upright(square: Image) -> bool:
    ys, xs = np.nonzero(square[..., 2] > 128)
    height, width = square.shape[:2]
    return ys.size > 0 and bool(ys.mean() < height / 4) and bool(xs.max() - xs.min() > width / 2)


def place_points(box: Box, turns: int = 0) -> tuple[tuple[float, float], ...]:
    """Return the keypoints of a square that was turned clockwise by so many quarters."""
    points: Sequence[tuple[float, float]] = POINTS
    for _ in range(turns):
        points = [(1 - y, x) for x, y in points]
    return tuple((box.left + x * box.width, box.top + y * box.height) for x, y in points)


def draw_squares(
    *places: tuple[int, int], side: int = 16, size: int = 320, turns: int = 0
) -> Picture:
    """Return a grey picture with red squares, the left top corners given.

    Each has a blue edge, at its top where it is not turned clockwise by quarters.
    """
    square = np.full((side, side, 3), (255, 0, 0), np.uint8)
    square[: side // 4] = (0, 0, 255)
    image = np.full((size, size, 3), 128, np.uint8)
    for left, top in places:
        image[top : top + side, left : left + side] = np.rot90(square, -turns)
    return Picture.of(image)


def square_face(left: float, top: float, side: float, score: float, model: str = "short") -> Face:
    """Return a face with all keypoints in its left top corner."""
    return Face(Box(left, top, left + side, top + side), score, ((left, top),) * 6, model)
