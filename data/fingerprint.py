"""What a picture looks like in 1 KB: perceptual hashes and a small grey picture. Knows no label.

Fingerprints are kept by content beside the crop index, so that each picture is decoded once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
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
from roi_cls.cache.database import AT_ONCE, ForgivingDatabase, Schema
from roi_cls.cache.index import find_index
from roi_cls.cache.options import BuildOptions
from roi_cls.roi.image import read_bytes
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.picture import Picture, fitting_factor

VERSION = 1
"""Raised whenever the same picture gets another fingerprint; kept ones are then taken anew."""
SIDE_PX = 32
"""Of the grey picture."""
ZOOMS = (0.0, 0.04, 0.08)
"""Shares of the sides cut away before hashing: one hash each, so that trimmed copies are found."""
VIEWS = len(ZOOMS) + 1
"""Hashes of a picture: one per zoom, and that of its mirror image."""
_SOURCE_PX = 128
_BYTES = 8 * VIEWS + SIDE_PX * SIDE_PX
_FIND = "SELECT sha256, print, crc FROM fingerprints WHERE version = {} AND sha256 IN ({})"
_SCHEMA = Schema(
    """
CREATE TABLE IF NOT EXISTS fingerprints (
    version INTEGER, sha256 BLOB, print BLOB, crc INTEGER, PRIMARY KEY (version, sha256)
) WITHOUT ROWID
""",
    _FIND.format("0", "x''"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """Pictures that look alike have fingerprints that lie close."""

    hashes: NDArray[np.uint64]
    """(VIEWS,) perceptual hashes of 64 bits."""
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
        if len(data) != _BYTES:
            raise ValueError(f"a fingerprint has {_BYTES} bytes, got {len(data)}")
        hashes = np.frombuffer(data, "<u8", VIEWS).astype(np.uint64)
        grey = np.frombuffer(data, np.uint8, offset=8 * VIEWS).reshape(SIDE_PX, SIDE_PX)
        return cls(hashes, grey)


def read_fingerprint(path: Path, max_pixels: int = MAX_PIXELS) -> Fingerprint | None:
    """Return the fingerprint of a file; None: it cannot be read, which its crop's row tells."""
    try:
        return take_fingerprint(Picture(read_bytes(path), path, max_pixels=max_pixels))
    except ImageReadError:
        return None


def take_fingerprint(picture: Picture) -> Fingerprint:
    """Return the fingerprint of a picture, decoded no larger than needed.

    Raises:
        ImageReadError: Its pixels are damaged.
    """
    factor = fitting_factor(min(picture.height, picture.width), _SOURCE_PX)
    grey = cv2.cvtColor(picture.reduced(factor), cv2.COLOR_RGB2GRAY)
    square = _shrink(grey, _SOURCE_PX)
    hashes = [_hash(_zoom(square, zoom)) for zoom in ZOOMS]
    hashes.append(_hash(np.ascontiguousarray(square[:, ::-1])))
    return Fingerprint(np.array(hashes, np.uint64), _shrink(square, SIDE_PX))


def _shrink(grey: MatLike, side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _zoom(square: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    cut = round(len(square) * share / 2)
    return np.ascontiguousarray(square[cut : len(square) - cut, cut : len(square) - cut])


def _hash(grey: NDArray[np.uint8]) -> int:
    # The function, since threads must not share one hasher: it works in its own buffers.
    return int.from_bytes(np.asarray(cv2.img_hash.pHash(grey), np.uint8).tobytes(), "little")


def take_fingerprints(
    paths: Sequence[Path],
    digests: Sequence[str],
    options: BuildOptions,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Fingerprint | None, ...]:
    """Return the fingerprint of each picture, decoding those that are not kept yet, in threads.

    Args:
        paths: Pictures.
        digests: SHA-256 (hex) of each one's bytes; empty: it could not be read, and gives None.
        options: Cache folder and limits.
        observe: Called with (pictures decoded, pictures to decode).
    """
    place = {digest: i for i, digest in enumerate(digests) if digest}
    path = find_index(options.cache).with_name("fingerprints.sqlite")
    with ForgivingDatabase(path, _SCHEMA) as database:
        known = _find(database, list(place))
        unknown = [digest for digest in place if digest not in known]
        read = partial(read_fingerprint, max_pixels=options.max_pixels)
        workers = available_cores() if options.workers is None else options.workers
        with ThreadPoolExecutor(workers or 1) as pool:  # OpenCV decodes outside the interpreter
            for start in range(0, len(unknown), AT_ONCE):
                block = unknown[start : start + AT_ONCE]
                found = pool.map(read, [paths[place[digest]] for digest in block])
                taken = {d: p for d, p in zip(block, found, strict=True) if p is not None}
                _keep(database, taken)
                known |= taken
                observe(start + len(block), len(unknown))
    return tuple(known.get(digest) for digest in digests)


def _find(database: ForgivingDatabase, digests: Sequence[str]) -> dict[str, Fingerprint]:
    found = {}
    for start in range(0, len(digests), AT_ONCE):
        part = [bytes.fromhex(digest) for digest in digests[start : start + AT_ONCE]]
        query = _FIND.format("?", ",".join("?" * len(part)))
        for sha256, data, crc in database.find(query, (VERSION, *part)):
            # Damaged, a column is of any type.
            if isinstance(data, bytes) and zlib.crc32(sha256 + data) == crc:
                found[sha256.hex()] = Fingerprint.from_bytes(data)
    return found


def _keep(database: ForgivingDatabase, taken: dict[str, Fingerprint]) -> None:
    rows = []
    for digest, fingerprint in taken.items():
        sha256, data = bytes.fromhex(digest), fingerprint.to_bytes()
        rows.append((VERSION, sha256, data, zlib.crc32(sha256 + data)))
    database.write(("REPLACE INTO fingerprints VALUES (?,?,?,?)", rows))
