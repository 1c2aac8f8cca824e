"""Pictures that look alike, found by their fingerprints: saved again, resized, trimmed, mirrored.

A fingerprint is what a picture looks like in 1 KB: perceptual hashes and a small grey picture. It
is kept by content beside the crop index, so that each picture is decoded once. Pictures with close
hashes are candidates, and their grey pictures decide. Knows no label.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from roi_cls.base.errors import ImageReadError
from roi_cls.base.machine import available_cores
from roi_cls.base.pool import WorkerPool, in_worker
from roi_cls.cache.database import AT_ONCE, ForgivingDatabase, Schema
from roi_cls.cache.index import find_index
from roi_cls.cache.options import BuildOptions
from roi_cls.data.units import JoinedPlaces
from roi_cls.roi.image import read_bytes
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.picture import Picture, fitting_factor

SIDE_PX = 32
"""Of the grey picture."""
ZOOMS = (0.0, 0.04, 0.08)
"""Shares of the sides cut away before hashing: one hash each, so that trimmed copies are found."""
HASHES = len(ZOOMS) + 1
"""Of a picture: one per zoom, the first of them plain, and last that of its mirror image."""
FINGERPRINT_VERSION = 2
"""Raised whenever the same picture gets another fingerprint; kept ones are then taken anew."""
_SOURCE_PX = 128  # side of the square that is hashed
_FINGERPRINT_BYTES = 8 * HASHES + SIDE_PX * SIDE_PX


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """Pictures that look alike have fingerprints that lie close."""

    hashes: NDArray[np.uint64]
    """(HASHES,) perceptual hashes of 64 bits."""
    grey: NDArray[np.uint8]
    """(SIDE_PX, SIDE_PX), whatever the picture's shape."""

    def to_bytes(self) -> bytes:
        """Return what ``from_bytes`` reads, alike on every machine."""
        return self.hashes.astype("<u8").tobytes() + self.grey.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Fingerprint:
        """Return the fingerprint that ``to_bytes`` wrote.

        Raises:
            ValueError: ``data`` has another length.
        """
        if len(data) != _FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {_FINGERPRINT_BYTES} bytes, got {len(data)}")
        hashes = np.frombuffer(data, "<u8", HASHES).astype(np.uint64)
        grey = np.frombuffer(data, np.uint8, offset=8 * HASHES).reshape(SIDE_PX, SIDE_PX)
        return cls(hashes, grey)


def take_fingerprint(picture: Picture) -> Fingerprint:
    """Return the fingerprint of a picture, decoded no larger than needed.

    Raises:
        ImageReadError: Its pixels are damaged.
    """
    factor = fitting_factor(min(picture.height, picture.width), _SOURCE_PX)
    grey = cv2.cvtColor(picture.reduced(factor), cv2.COLOR_RGB2GRAY)
    square = _to_square(grey, _SOURCE_PX)
    hashes = [_hash(_zoom(square, zoom)) for zoom in ZOOMS]
    hashes.append(_hash(np.ascontiguousarray(square[:, ::-1])))
    return Fingerprint(np.array(hashes, np.uint64), _to_square(square, SIDE_PX))


def _to_square(grey: MatLike, side: int) -> NDArray[np.uint8]:
    """Return the picture in this size, whatever its shape."""
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _zoom(square: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    cut = round(len(square) * share / 2)
    return np.ascontiguousarray(square[cut : len(square) - cut, cut : len(square) - cut])


def _hash(grey: NDArray[np.uint8]) -> int:
    # The function, since threads must not share one hasher: it works in its own buffers.
    return int.from_bytes(np.asarray(cv2.img_hash.pHash(grey), np.uint8).tobytes(), "little")


def read_fingerprint(path: Path, max_pixels: int = MAX_PIXELS) -> Fingerprint | None:
    """Return the fingerprint of a file; None: it cannot be read, which its crop's row tells."""
    try:
        return take_fingerprint(Picture(read_bytes(path), path, max_pixels=max_pixels))
    except ImageReadError:
        return None


_KEPT = "SELECT sha256, print, crc FROM fingerprints WHERE version = {} AND sha256 IN ({})"
_SCHEMA = Schema(
    """
CREATE TABLE IF NOT EXISTS fingerprints (
    version INTEGER, sha256 BLOB, print BLOB, crc INTEGER, PRIMARY KEY (version, sha256)
) WITHOUT ROWID
""",
    _KEPT.format("0", "x''"),
)


def look_up_fingerprints(
    paths: Sequence[Path],
    digests: Sequence[str],
    options: BuildOptions,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Fingerprint | None, ...]:
    """Return the fingerprint of each picture, decoding those that are not kept yet.

    In several processes where it is worth it: a PNG's decoder lets no other thread run.

    Args:
        paths: Pictures.
        digests: SHA-256 (hex) of each one's bytes; empty: it could not be read, and gives None.
        options: Cache folder and limits.
        observe: Called with (pictures decoded, pictures to decode).
    """
    place = {digest: i for i, digest in enumerate(digests) if digest}
    path = find_index(options.cache).with_name("fingerprints.sqlite")
    with ForgivingDatabase(path, _SCHEMA) as database:
        known = _read_kept(database, list(place))
        unknown = [digest for digest in place if digest not in known]
        with _open_reading(options.worker_count(len(unknown)), options.max_pixels) as read:
            for start in range(0, len(unknown), AT_ONCE):
                block = unknown[start : start + AT_ONCE]
                found = read([paths[place[digest]] for digest in block])
                taken = {d: p for d, p in zip(block, found, strict=True) if p is not None}
                _keep(database, taken)
                known |= taken
                observe(start + len(block), len(unknown))
    return tuple(known.get(digest) for digest in digests)


@contextlib.contextmanager
def _open_reading(
    workers: int, max_pixels: int
) -> Iterator[Callable[[Sequence[Path]], Iterator[Fingerprint | None]]]:
    """Give what reads fingerprints in order, in so many processes; 0: in this one."""
    make_work = partial(_open_reader, max_pixels)
    if not workers:
        with make_work() as read:
            yield partial(map, read)
        return
    make_state = partial(in_worker, make_work)
    with WorkerPool[Path, Fingerprint | None](workers, make_state, _died) as pool:
        yield pool.map


@contextlib.contextmanager
def _open_reader(max_pixels: int) -> Iterator[Callable[[Path], Fingerprint | None]]:
    yield partial(read_fingerprint, max_pixels=max_pixels)


def _died(path: Path, exit_code: int | None) -> None:
    """Return no fingerprint; that the picture is in error, its crop's row tells."""


def _read_kept(database: ForgivingDatabase, digests: Sequence[str]) -> dict[str, Fingerprint]:
    found = {}
    for start in range(0, len(digests), AT_ONCE):
        part = [bytes.fromhex(digest) for digest in digests[start : start + AT_ONCE]]
        query = _KEPT.format("?", ",".join("?" * len(part)))
        for sha256, data, crc in database.find(query, (FINGERPRINT_VERSION, *part)):
            # Damaged, a column is of any type.
            if isinstance(data, bytes) and zlib.crc32(sha256 + data) == crc:
                found[sha256.hex()] = Fingerprint.from_bytes(data)
    return found


def _keep(database: ForgivingDatabase, taken: dict[str, Fingerprint]) -> None:
    rows = []
    for digest, fingerprint in taken.items():
        sha256, data = bytes.fromhex(digest), fingerprint.to_bytes()
        rows.append((FINGERPRINT_VERSION, sha256, data, zlib.crc32(sha256 + data)))
    database.write(("REPLACE INTO fingerprints VALUES (?,?,?,?)", rows))


HASH_DISTANCE = 10
"""Bits of 64 in which the hashes of candidates may differ: of changed copies 98 to 100 % are found
and 70 % of those trimmed by 8 %; of portraits that only resemble each other 3 pairs in 10,000 are
candidates, at 12 bits 12 (benchmarks/duplicates.md)."""
LIKENESS = 0.92
"""Correlation of their details from which candidates look alike. 97 to 100 % of the copies have it
that are found as candidates; of 3.4 million pairs of other pictures the closest has 0.876: two
drawn rooms with the same furniture (benchmarks/duplicates.md)."""
_FLAT = 3.0  # grey levels of standard deviation: a blank page resembles every other
_MIRRORED = HASHES - 1
_SEARCH_ROWS, _SEARCH_COLUMNS = 64, 4096  # their differences fit into the second-level cache
_SEARCH_BATCH = 64  # blocks of rows
_DETAIL_PX = 4.0  # what changes more slowly is light, and alike in most portraits
_WORTH_A_LOOK = 0.7  # by the coarse look; of the copies one in a thousand had less
_COARSE = (SIDE_PX, (0, 2))
_FINE = (2 * SIDE_PX, range(7))  # side, and pixels by which one may be trimmed: up to 9 %
_Candidate = tuple[int, int, bool]
"""Two places, and whether the first is mirrored."""


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
    seen = [(i, p) for i, p in enumerate(prints) if p is not None and p.grey.std() >= _FLAT]
    if not seen:
        return ()
    hashes = np.stack([p.hashes for _, p in seen])
    together = JoinedPlaces(len(seen))
    for i, j, mirrored in find_candidates(hashes, distance):
        # What is together already is not looked at again: of a film's frames all pairs are alike.
        if together.find(i) != together.find(j):
            one, other = seen[i][1].grey, seen[j][1].grey
            one = np.ascontiguousarray(one[:, :: -1 if mirrored else 1])
            if measure_likeness(one, other, likeness) >= likeness:
                together.join(i, j)
    return tuple(tuple(seen[i][0] for i in group) for group in together.groups() if len(group) > 1)


def find_candidates(hashes: NDArray[np.uint64], distance: int) -> Iterator[_Candidate]:
    """Yield pairs of places of which some hash of the first is close to the second's plain one.

    Args:
        hashes: (N, HASHES).
        distance: Bits that may differ.
    """
    search = partial(_search_rows, np.ascontiguousarray(hashes.T), distance)
    starts = range(0, len(hashes), _SEARCH_ROWS)
    with ThreadPoolExecutor(available_cores()) as pool:  # numpy frees the interpreter meanwhile
        # In batches: what is found and not looked at yet stays small.
        for batch in range(0, len(starts), _SEARCH_BATCH):
            for found in pool.map(search, starts[batch : batch + _SEARCH_BATCH]):
                yield from found


def _search_rows(hashes: NDArray[np.uint64], distance: int, start: int) -> list[_Candidate]:
    """Return the candidates of one block of rows: each of their hashes, and all plain ones.

    hashes: (HASHES, N).
    """
    found: set[_Candidate] = set()
    plain = hashes[0]
    left = hashes[:, start : start + _SEARCH_ROWS, None]  # (HASHES, rows, 1)
    for column in range(0, len(plain), _SEARCH_COLUMNS):
        right = plain[None, column : column + _SEARCH_COLUMNS]
        for k in range(HASHES):
            # Plain and mirrored hashes differ by as much either way round: such a pair is found
            # from its earlier row.
            if k in (0, _MIRRORED) and column + _SEARCH_COLUMNS <= start:
                continue
            differing = np.bitwise_count(left[k] ^ right)
            if differing.min() <= distance:
                rows, columns = np.nonzero(differing <= distance)
                pairs = zip((rows + start).tolist(), (columns + column).tolist(), strict=True)
                found |= {(i, j, k == _MIRRORED) for i, j in pairs if i != j}
    return sorted(found)


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
    one, other = (_resize_details(picture, side, cv2.INTER_CUBIC) for picture in (one, other))
    best = -1.0
    for trim in trims:
        for whole, part in ((one, other), (other, one))[: 2 if trim else 1]:
            small = _resize_details(part, side - trim, cv2.INTER_AREA)
            found = cv2.matchTemplate(whole, small, cv2.TM_CCOEFF_NORMED)
            best = max(best, float(found.max()))
            if best >= enough:
                return best
    return best


def _resize_details(picture: NDArray[np.float32], side: int, way: int) -> NDArray[np.float32]:
    """Return the square in this size; where it has it already, itself."""
    if len(picture) == side:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.float32)
