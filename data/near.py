"""Pictures that look alike, found by their fingerprints: saved again, resized, trimmed, mirrored.

Candidates are close by perceptual hash; one is then laid over the other, and their details must
correlate. Knows no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.base.machine import available_cores
from roi_cls.data.fingerprint import SIDE_PX, VIEWS, Fingerprint
from roi_cls.data.units import Union

HASH_DISTANCE = 10
"""Bits of 64 in which the hashes of candidates may differ: of changed copies 98 to 100 % are found
and 70 % of those trimmed by 8 %; of portraits that only resemble each other 3 pairs in 10,000 are
candidates, at 12 bits 12 (benchmarks/duplicates.md)."""
LIKENESS = 0.92
"""Correlation of their details from which candidates look alike. 97 to 100 % of the copies have it
that are found as candidates; of 3.4 million pairs of other pictures the closest has 0.876: two
drawn rooms with the same furniture (benchmarks/duplicates.md)."""
_DETAIL_PX = 4.0  # what changes more slowly is light, and alike in most portraits
_WORTH_A_LOOK = 0.7  # by the coarse look; of the copies one in a thousand had less
_COARSE = (SIDE_PX, (0, 2))
_FINE = (2 * SIDE_PX, range(7))  # side, and pixels by which one may be trimmed: up to 9 %
_FLAT = 3.0  # grey levels of standard deviation: a blank page resembles every other
_ROWS, _COLUMNS = 64, 4096  # their differences fit into the second-level cache
_BATCH = 64
_MIRRORED = VIEWS - 1
_Candidate = tuple[int, int, bool]
"""Two places, and whether one is mirrored."""


def find_near_duplicates(
    prints: Sequence[Fingerprint | None],
    *,
    distance: int = HASH_DISTANCE,
    likeness: float = LIKENESS,
) -> tuple[tuple[int, ...], ...]:
    """Return groups of places whose pictures look alike, also through each other.

    Places rise within a group and groups by their first; None and blank pictures are in none.
    10^5 unrelated pictures take 20 s of processor time, in 0.2 GB.
    """
    places = [i for i, p in enumerate(prints) if p is not None and p.grey.std() >= _FLAT]
    if not places:
        return ()
    chosen = [p for i in places if (p := prints[i]) is not None]
    hashes = np.stack([p.hashes for p in chosen])
    together = Union(len(chosen))
    for i, j, mirrored in find_candidates(hashes, distance):
        # What is together already is not looked at again: of a film's frames all pairs are alike.
        if together.find(i) != together.find(j):
            one = np.ascontiguousarray(chosen[i].grey[:, :: -1 if mirrored else 1])
            if measure_likeness(one, chosen[j].grey, likeness) >= likeness:
                together.join(i, j)
    return tuple(tuple(places[i] for i in group) for group in together.groups() if len(group) > 1)


def measure_likeness(
    one: NDArray[np.uint8], other: NDArray[np.uint8], enough: float = 1.0
) -> float:
    """Return the correlation of two grey pictures' details where one, trimmed, fits the other best.

    No more is tried once ``enough`` is reached, nor in detail where a coarse look finds nothing.
    """
    first, second = _details(one), _details(other)
    coarse = _fit(first, second, *_COARSE, enough)
    if coarse < _WORTH_A_LOOK:
        return coarse
    return max(coarse, _fit(first, second, *_FINE, enough))


def _details(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    picture = grey.astype(np.float32)
    return picture - np.asarray(cv2.GaussianBlur(picture, (0, 0), _DETAIL_PX), np.float32)


def _fit(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    side: int,
    trims: Iterable[int],
    enough: float,
) -> float:
    """Return the best correlation of the one, shrunk to its trimmed size, anywhere in the other."""
    one, other = (_scale(picture, side, cv2.INTER_CUBIC) for picture in (one, other))
    best = -1.0
    for trim in trims:
        for whole, part in ((one, other), (other, one))[: 2 if trim else 1]:
            small = _scale(part, side - trim, cv2.INTER_AREA)
            found = cv2.matchTemplate(whole, small, cv2.TM_CCOEFF_NORMED)
            best = max(best, float(found.max()))
            if best >= enough:
                return best
    return best


def _scale(picture: NDArray[np.float32], side: int, way: int) -> NDArray[np.float32]:
    if len(picture) == side:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.float32)


def find_candidates(hashes: NDArray[np.uint64], distance: int) -> Iterator[_Candidate]:
    """Yield pairs of places whose hashes are close in some view.

    Args:
        hashes: (N, VIEWS).
        distance: Bits that may differ.
    """
    views = np.ascontiguousarray(hashes.T)
    search = partial(_search_rows, views, distance)
    starts = range(0, len(hashes), _ROWS)
    with ThreadPoolExecutor(available_cores()) as pool:  # numpy frees the interpreter meanwhile
        # In batches: what is found and not looked at yet stays small.
        for batch in range(0, len(starts), _BATCH):
            for found in pool.map(search, starts[batch : batch + _BATCH]):
                yield from found


def _search_rows(views: NDArray[np.uint64], distance: int, start: int) -> list[_Candidate]:
    """Return the candidates of one block of rows, compared in each view with all plain hashes."""
    found: set[_Candidate] = set()
    plain = views[0]
    left = views[:, start : start + _ROWS, None]  # (VIEWS, rows, 1)
    for column in range(0, len(plain), _COLUMNS):
        right = plain[None, column : column + _COLUMNS]
        for view in range(VIEWS):
            if view in (0, _MIRRORED) and column + _COLUMNS <= start:  # the other block's rows
                continue
            differing = np.bitwise_count(left[view] ^ right)
            if differing.min() <= distance:
                rows, columns = np.nonzero(differing <= distance)
                pairs = zip((rows + start).tolist(), (columns + column).tolist(), strict=True)
                found |= {(i, j, view == _MIRRORED) for i, j in pairs if i != j}
    return sorted(found)
