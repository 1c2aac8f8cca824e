"""The two-level content cache: detections and crops, each under what decided it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from roi_cls.atomic import remove_stale, write_atomically
from roi_cls.cache.entry import read_entry, write_entry
from roi_cls.cache.index import FileIndex
from roi_cls.closing import Closing
from roi_cls.roi import CropParams, Detection
from roi_cls.roi.image import Image

FORMAT = "v1"
"""Raised whenever entries are written in another form; older ones are then left alone."""


class CropCache(Closing):
    """Detections and crops in a folder, keyed by the SHA-256 of a picture's bytes.

    A detection lies under (detector options and weights, picture), a crop under (recipe, picture):
    another margin cuts again and detects nothing. Writing the same entry twice writes the same
    bytes, so processes may share a folder without locks. A damaged entry reads as absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = folder / FORMAT
        self._drafts = self._root / "drafts"
        remove_stale(self._drafts)
        self.index = FileIndex(self._root / "index.sqlite")

    def read_detection(self, params: CropParams, sha256: str) -> Detection | None:
        """Return the detection of the picture with this digest, or None."""
        payload = read_entry(self._detection_path(params, sha256))
        if payload is None:
            return None
        return Detection.from_dict(json.loads(payload))

    def write_detection(self, params: CropParams, sha256: str, detection: Detection) -> None:
        """Keep a detection. Raises ``StorageError`` where it cannot be written."""
        payload = json.dumps(detection.to_dict(), separators=(",", ":")).encode()
        write_entry(self._detection_path(params, sha256), payload, self._drafts)

    def has_crop(self, params: CropParams, sha256: str) -> bool:
        """Whether a crop was written; it is not read, so it may turn out to be damaged."""
        return self._crop_path(params, sha256).exists()

    def read_crop(self, params: CropParams, sha256: str) -> Image | None:
        """Return the crop, (size_px, size_px, 3) RGB uint8, bit for bit as cut; or None."""
        payload = read_entry(self._crop_path(params, sha256))
        if payload is None:
            return None
        return np.asarray(np.load(io.BytesIO(payload), allow_pickle=False), dtype=np.uint8)

    def write_crop(self, params: CropParams, sha256: str, pixels: Image) -> None:
        """Keep a crop, lossless. Raises ``StorageError`` where it cannot be written.

        A plain array: encoding a 224 px crop as PNG takes 3 ms, longer than to detect and cut it.
        """
        buffer = io.BytesIO()
        np.save(buffer, pixels, allow_pickle=False)
        path = self._crop_path(params, sha256)
        self._describe_recipe(path.parent.parent, params)
        write_entry(path, buffer.getvalue(), self._drafts)

    def close(self) -> None:
        """Flush and close the index."""
        self.index.close()

    def _describe_recipe(self, folder: Path, params: CropParams) -> None:
        path = folder / "recipe.json"
        if not path.exists():
            text = json.dumps(params.to_dict(), indent=2, sort_keys=True) + "\n"
            write_atomically(path, text.encode(), drafts=self._drafts)

    def _detection_path(self, params: CropParams, sha256: str) -> Path:
        return self._entry_path("detections", params.detector_digest, sha256, "json")

    def _crop_path(self, params: CropParams, sha256: str) -> Path:
        return self._entry_path("crops", params.digest, sha256, "npy")

    def _entry_path(self, kind: str, digest: str, sha256: str, suffix: str) -> Path:
        return self._root / kind / digest[:16] / sha256[:2] / f"{sha256}.{suffix}"
