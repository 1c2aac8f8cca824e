"""The two-level content cache: detections and crops, each under what decided it.

A part is the crops of one recipe, or the detections of one detector with its options: one folder.
Runs share their parts while they use them; pruning claims a part for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from roi_cls.base.atomic import remove_stale, write_atomically
from roi_cls.base.errors import CacheError, StorageError
from roi_cls.base.location import CACHE_TAG, is_remote, reaching
from roi_cls.base.lock import lock
from roi_cls.roi import CropParams, Detection
from roi_cls.roi.image import Image

FORMAT = "v2"
"""Raised whenever entries are written in another form; older ones are then left alone."""
CROP_SUFFIX = ".bmp"
RECIPE_FILE = "recipe.json"
_TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The crops of roi-cls. Back-ups may leave this folder out (https://bford.info/cachedir/).\n"
)
"""The usual mark of a cache; what lies below it is not taken for pictures to crop."""
_CHECKSUM_MARK = b"\nsha256:"
_TRAILER_LENGTH = len(_CHECKSUM_MARK) + 64 + 1  # 73: mark, hex digest, newline


class CropStore:
    """Detections and crops of one recipe in a folder, keyed by the SHA-256 of a picture's bytes.

    A detection lies under (detector options and weights, picture), a crop under (recipe, picture):
    another margin cuts again and detects nothing. Writing the same entry twice writes the same
    bytes, so processes and machines share a folder, and writing needs no lock; only pruning asks
    for one. A damaged entry reads as absent.
    """

    def __init__(self, folder: Path, params: CropParams) -> None:
        self._params = params
        root = folder / FORMAT
        self._root = root
        self._drafts = root / "drafts"
        self._detections = detections_folder(root) / part_name(params.detector_digest)
        self._crops = crops_folder(root) / part_name(params.digest)
        self._is_described = False
        remove_stale(self._drafts)

    def read_detection(self, sha256: str) -> Detection | None:
        """Return the detection of the picture with this digest, or None."""
        payload = read_entry(_entry_path(self._detections, sha256, ".json"))
        return None if payload is None else Detection.from_dict(json.loads(payload))

    def write_detection(self, sha256: str, detection: Detection) -> None:
        """Keep a detection. Raises ``StorageError`` where it cannot be written."""
        payload = json.dumps(detection.to_dict(), separators=(",", ":")).encode()
        write_entry(_entry_path(self._detections, sha256, ".json"), payload, self._drafts)

    def has_crop(self, sha256: str) -> bool:
        """Whether a crop was written; it is not read, so it may turn out to be damaged."""
        path = _entry_path(self._crops, sha256, CROP_SUFFIX)
        try:
            with reaching(path):
                return path.exists()
        except OSError as error:
            raise CacheError(
                f"Cannot look for the cache entry {str(path)!r}: {error.strerror or error}. "
                "Check the connection or choose another folder with --cache DIR."
            ) from error

    def read_crop(self, sha256: str) -> Image | None:
        """Return the crops, (N, size_px, size_px, 3) RGB uint8, bit for bit as cut; or None."""
        payload = read_entry(_entry_path(self._crops, sha256, CROP_SUFFIX))
        return None if payload is None else decode_crops(payload)

    def write_crop(self, sha256: str, pixels: Image) -> None:
        """Keep a picture's crops, lossless. Raises ``StorageError`` where they cannot be written.

        Args:
            sha256: Of the picture's bytes.
            pixels: (N, size_px, size_px, 3) RGB uint8; N > 1 only where the recipe cuts all faces.
        """
        if not self._is_described:
            self._describe_recipe()
        write_entry(
            _entry_path(self._crops, sha256, CROP_SUFFIX), encode_crops(pixels), self._drafts
        )

    def share(self) -> contextlib.AbstractContextManager[None]:
        """Keep these crops and detections from being pruned in a block, see ``share_parts``."""
        return share_parts(self._root, (self._params.digest, self._params.detector_digest))

    def mark_used(self) -> None:
        """Note the time at which a run uses the crops; pruning goes by it. Best effort."""
        if is_remote(self._crops):
            return
        with contextlib.suppress(OSError, StorageError):
            if self._crops.is_dir():
                self._describe_recipe()
                os.utime(self._crops / RECIPE_FILE)

    def _describe_recipe(self) -> None:
        tag = self._root / CACHE_TAG
        if not tag.exists():
            write_atomically(tag, _TAG_TEXT, drafts=self._drafts)
        path = self._crops / RECIPE_FILE
        if not path.exists():
            text = json.dumps(self._params.to_dict(), indent=2, sort_keys=True) + "\n"
            write_atomically(path, text.encode(), drafts=self._drafts)
        self._is_described = True


def detections_folder(root: Path) -> Path:
    """Return where the detections lie, a folder per set of detector options."""
    return root / "detections"


def crops_folder(root: Path) -> Path:
    """Return where the crops lie, a folder per recipe."""
    return root / "crops"


def part_name(digest: str) -> str:
    """Return what the folder and the lock of a part are called; of a part's name, the same."""
    return digest[:16]


def _entry_path(folder: Path, sha256: str, suffix: str) -> Path:
    return folder / sha256[:2] / f"{sha256}{suffix}"


def write_entry(path: Path, payload: bytes, drafts: Path | None = None) -> None:
    """Write ``payload`` and its checksum under ``path``, atomically.

    Not fsynced: after a power cut a torn entry fails its checksum and is made again, which costs
    less than a flush for each of thousands of crops. ``drafts``: see ``write_atomically``.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_atomically(path, payload + _trailer(payload), drafts=drafts)


def read_entry(path: Path) -> bytes | None:
    """Return the payload, or None where there is no entry or a damaged one.

    Raises:
        CacheError: The file is there and cannot be read.
    """
    try:
        with reaching(path):
            data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CacheError(
            f"Cannot read the cache entry {str(path)!r}: {error.strerror or error}. "
            "Check its permissions or choose another folder with --cache DIR."
        ) from error
    payload, trailer = data[:-_TRAILER_LENGTH], data[-_TRAILER_LENGTH:]
    return payload if trailer == _trailer(payload) else None


def _trailer(payload: bytes) -> bytes:
    return _CHECKSUM_MARK + hashlib.sha256(payload).hexdigest().encode() + b"\n"


def encode_crops(pixels: Image) -> bytes:
    """Return the crops as one picture, one below the other.

    Args:
        pixels: (N, size_px, size_px, 3) RGB uint8, N >= 1.
    """
    column = pixels.reshape(-1, pixels.shape[2], 3)  # (N * size_px, size_px, 3)
    return cv2.imencode(CROP_SUFFIX, cv2.cvtColor(column, cv2.COLOR_RGB2BGR))[1].tobytes()


def decode_crops(data: bytes) -> Image:
    """Return the (N, size_px, size_px, 3) RGB uint8 array that was encoded, bit for bit.

    Raises:
        ValueError: ``data`` holds no column of square crops.
    """
    column = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if column is None or column.shape[0] % column.shape[1]:
        raise ValueError("no column of square crops")
    size_px = column.shape[1]
    return np.asarray(column, np.uint8).reshape(-1, size_px, size_px, 3)


@contextlib.contextmanager
def share_parts(root: Path, digests: Iterable[str]) -> Iterator[None]:
    """Keep the parts of these digests from being pruned; waits while one is being pruned."""
    with contextlib.ExitStack() as stack:
        for digest in digests:
            handle = _open_lock(root, digest, stack)
            if handle is not None:
                lock(handle, exclusive=False, waits=True)
        yield


@contextlib.contextmanager
def claim(root: Path, digest: str) -> Iterator[bool]:
    """Give whether this part is in nobody's use, and keep others out of it if so."""
    with contextlib.ExitStack() as stack:
        handle = _open_lock(root, digest, stack)
        yield handle is None or lock(handle, exclusive=True)


def _open_lock(root: Path, digest: str, stack: contextlib.ExitStack) -> int | None:
    """Return the part's lock file, opened until the stack is closed; None: it has none.

    The part then counts as free: where the system or the store has no locks, nobody can tell who
    uses it; where nobody can write, pruning removes nothing.
    """
    if is_remote(root):
        return None
    path = root / "locks" / f"{part_name(digest)}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # a cache that this user only reads: its owner may prune it
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # no run of the owner's ever used this part, or nobody can write here
            return None
    stack.callback(os.close, handle)
    return handle
