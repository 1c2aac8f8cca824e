"""What covering a place costs: a grey patch moves over a crop, and the class's log-odds fall.

Source: M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
2014. Any model can be asked so, and the answer is a fact about it, not an estimate; it takes some
hundred times as long as one prediction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.explanation.heat import Effect
from roi_cls.classifier.inference.scorer import Scorer

PATCH = 1 / 6
"""Side of the patch as a share of the crop's: about an eye or a mouth of a face crop."""
_LEAST = 1e-12  # a probability of 0 has no logarithm


def occlude(
    scorer: Scorer,
    pixels_by_view: Sequence[NDArray[np.uint8]],
    index: int,
    batch_size: int = BATCH_SIZE,
) -> list[Effect]:
    """Return, for each view, how far the class's log-odds fall when a pixel is covered.

    A pixel's value is the mean over the patches that cover it; the other views stay as they are.

    Args:
        scorer: The model.
        pixels_by_view: One picture's crop for each of its views, (1, S, S, 3) RGB.
        index: The class.
        batch_size: Covered crops scored at once.
    """
    plain = _log_odds(scorer.probabilities(pixels_by_view, batch_size), index)[0]
    grey = np.rint(np.array(scorer.bundle.normalisation.mean) * 255).astype(np.uint8)
    effects = []
    for view, pixels in enumerate(pixels_by_view):
        side = pixels.shape[1]
        fall, covers = np.zeros((2, side, side))
        patches = iter(_patches(side))
        while batch := tuple(itertools.islice(patches, batch_size)):
            covered = [np.repeat(each, len(batch), axis=0) for each in pixels_by_view]
            for i, place in enumerate(batch):
                covered[view][i][place] = grey
            odds = _log_odds(scorer.probabilities(covered, batch_size), index)
            for place, value in zip(batch, odds, strict=True):
                fall[place] += plain - value
                covers[place] += 1
        effects.append((fall / covers).astype(np.float32))
    return effects


def _patches(side: int) -> Iterator[tuple[slice, slice]]:
    """Yield where the patch lies, rows and columns, in steps of about half its side."""
    length = max(1, round(side * PATCH))
    count = math.ceil((side - length) / max(1, length // 2)) + 1
    starts = np.rint(np.linspace(0, side - length, count)).astype(int).tolist()
    for top, left in itertools.product(starts, starts):
        yield slice(top, top + length), slice(left, left + length)


def _log_odds(probabilities: NDArray[np.float64], index: int) -> NDArray[np.float64]:
    """Return the (N,) log-odds of a class against all others."""
    others = np.delete(probabilities, index, axis=1).sum(axis=1)
    own = probabilities[:, index]
    return np.asarray(np.log(np.maximum(own, _LEAST)) - np.log(np.maximum(others, _LEAST)))
