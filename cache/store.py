"""The two-level content cache: detections and crops, each under what decided it."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from roi_cls.base.atomic import remove_stale, write_atomically
from roi_cls.base.errors import CacheError, StorageError
from roi_cls.base.location import is_remote, reaching
from roi_cls.cache.crop_file import SUFFIX, decode_crops, encode_crops
from roi_cls.cache.entry import read_entry, write_entry
from roi_cls.roi import CropParams, Detection
from roi_cls.roi.image import Image

FORMAT = "v2"
"""Raised whenever entries are written in another form; older ones are then left alone."""


class CropStore:
    """Detections and crops of one recipe in a folder, keyed by the SHA-256 of a picture's bytes.

    A detection lies under (detector options and weights, picture), a crop under (recipe, picture):
    another margin cuts again and detects nothing. Writing the same entry twice writes the same
    bytes, so processes and machines may share a folder without locks. A damaged entry reads as
    absent.
    """

    def __init__(self, folder: Path, params: CropParams) -> None:
        self._params = params
        root = folder / FORMAT
        self._root = root
        self._drafts = root / "drafts"
        self._detections = detections_folder(root) / params.detector_digest[:16]
        self._crops = crops_folder(root) / params.digest[:16]
        self._crops_text = str(self._crops)
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
        path = _entry_path(self._crops, sha256, SUFFIX)
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
        payload = read_entry(_entry_path(self._crops, sha256, SUFFIX))
        return None if payload is None else decode_crops(payload)

    def write_crop(self, sha256: str, pixels: Image) -> None:
        """Keep a picture's crops, lossless. Raises ``StorageError`` where they cannot be written.

        Args:
            sha256: Of the picture's bytes.
            pixels: (N, size_px, size_px, 3) RGB uint8; N > 1 only where the recipe cuts all faces.
        """
        if not self._is_described:
            self._describe_recipe()
        write_entry(_entry_path(self._crops, sha256, SUFFIX), encode_crops(pixels), self._drafts)

    def mark_used(self) -> None:
        """Note the time at which a run uses the crops; pruning goes by it. Best effort."""
        if is_remote(self._crops):
            return
        with contextlib.suppress(OSError, StorageError):
            if self._crops.is_dir():
                self._describe_recipe()
                os.utime(self._crops / RECIPE_FILE)

    def _describe_recipe(self) -> None:
        tag = self._root / TAG_FILE
        if not tag.exists():
            write_atomically(tag, TAG_TEXT, drafts=self._drafts)
        path = self._crops / RECIPE_FILE
        if not path.exists():
            text = json.dumps(self._params.to_dict(), indent=2, sort_keys=True) + "\n"
            write_atomically(path, text.encode(), drafts=self._drafts)
        self._is_described = True


RECIPE_FILE = "recipe.json"
TAG_FILE = "CACHEDIR.TAG"
TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The crops of roi-cls. Back-ups may leave this folder out (https://bford.info/cachedir/).\n"
)
"""The usual mark of a cache; what lies below it is not taken for pictures to crop."""


def detections_folder(root: Path) -> Path:
    """Return where the detections lie, a folder per set of detector options."""
    return root / "detections"


def crops_folder(root: Path) -> Path:
    """Return where the crops lie, a folder per recipe."""
    return root / "crops"


def _entry_path(folder: Path, sha256: str, suffix: str) -> Path:
    return folder / sha256[:2] / f"{sha256}{suffix}"
