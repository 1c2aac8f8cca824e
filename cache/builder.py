"""Crop one picture through the cache: look up, else detect, cut and keep."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from roi_cls.cache.record import CropRecord, CropResult, ok_record
from roi_cls.cache.store import CropCache
from roi_cls.closing import Closing
from roi_cls.errors import CacheError, ImageReadError, NoFaceError
from roi_cls.roi import CropParams, CropPlan, Detection, plan_crop
from roi_cls.roi.crop import cut_crop, detect_faces
from roi_cls.roi.detector import FaceDetector
from roi_cls.roi.image import Image, decode_image, read_bytes
from roi_cls.roi.params import MAX_PIXELS

DetectorOpener = Callable[[], FaceDetector]


class CropBuilder(Closing):
    """Crops pictures by one recipe into one cache. The detector is opened when first needed."""

    def __init__(
        self,
        cache: CropCache,
        params: CropParams,
        open_detector: DetectorOpener,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._cache = cache
        self._params = params
        self._open_detector = open_detector
        self._max_pixels = max_pixels
        self._detector: FaceDetector | None = None

    def find(self, path: Path) -> CropResult | None:
        """Return the row of an unchanged file whose crop is kept, without reading the file."""
        try:
            sha256 = self._cache.index.find(path, os.stat(path))
        except (OSError, ValueError):  # ValueError: a null character in the path
            return None
        if sha256 is None or not self._cache.has_crop(self._params, sha256):
            return None
        detection = self._cache.read_detection(self._params, sha256)
        if detection is None:
            return None
        plan = plan_crop(detection, self._params)
        return CropResult(ok_record(path, sha256, detection, plan, self._params))

    def build(self, path: Path) -> CropResult:
        """Return the row of one picture, after doing whatever was not done before.

        A picture that cannot be cropped is a row with its error.

        Raises:
            CacheError, StorageError, DetectorModelError: The run as a whole cannot go on.
        """
        found = self.find(path)
        if found:
            return found
        sha256 = None
        try:
            data, status = _read_settled(path)
            sha256 = hashlib.sha256(data).hexdigest()
            self._cache.index.remember(path, status, sha256)
            return self._build(path, sha256, data)
        except ImageReadError as error:
            return CropResult(self._error_record(path, str(error), sha256))

    def load(self, record: CropRecord) -> Image:
        """Return the crop of an ok row, (size_px, size_px, 3) RGB uint8.

        A damaged one is cut again.

        Raises:
            CacheError: The crop is gone and the picture is no longer what it was.
            ImageReadError: The crop is gone and the picture cannot be read.
        """
        if record.sha256 is None:
            raise ValueError(f"there is no crop of {record.path}: {record.error}")
        pixels = self._cache.read_crop(self._params, record.sha256)
        if pixels is not None:
            return pixels
        data = read_bytes(record.path)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise CacheError(
                f"Cannot make the crop of {str(record.path)!r} again: the file has changed "
                "meanwhile. Run the command once more."
            )
        image, detection, _ = self._find_faces(record.path, record.sha256, data)
        return self._cut(
            record.path, record.sha256, data, image, plan_crop(detection, self._params)
        )

    def close(self) -> None:
        """Close the detector, not the cache."""
        if self._detector is not None:
            self._detector.close()
            self._detector = None

    def _build(self, path: Path, sha256: str, data: bytes) -> CropResult:
        params = self._params
        image, detection, detected = self._find_faces(path, sha256, data)
        try:
            plan = plan_crop(detection, params)
        except NoFaceError as error:
            message = f"Cannot crop {str(path)!r}: {error}"
            return CropResult(self._error_record(path, message, sha256), detected)
        cropped = self._cache.read_crop(params, sha256) is None
        if cropped:
            self._cut(path, sha256, data, image, plan)
        return CropResult(ok_record(path, sha256, detection, plan, params), detected, cropped)

    def _find_faces(
        self, path: Path, sha256: str, data: bytes
    ) -> tuple[Image | None, Detection, bool]:
        """Return the picture if it had to be decoded, its faces, and whether a detector ran."""
        detection = self._cache.read_detection(self._params, sha256)
        if detection is not None:
            return None, detection, False
        image = decode_image(data, path, max_pixels=self._max_pixels)
        detection = self._detect(image)
        self._cache.write_detection(self._params, sha256, detection)
        return image, detection, self._params.crop == "face"

    def _cut(
        self, path: Path, sha256: str, data: bytes, image: Image | None, plan: CropPlan
    ) -> Image:
        if image is None:
            image = decode_image(data, path, max_pixels=self._max_pixels)
        pixels = cut_crop(image, plan, self._params)
        self._cache.write_crop(self._params, sha256, pixels)
        return pixels

    def _error_record(self, path: Path, message: str, sha256: str | None) -> CropRecord:
        return CropRecord(path, "error", message, sha256, recipe=self._params.digest)

    def _detect(self, image: Image) -> Detection:
        if self._detector is None and self._params.crop == "face":
            self._detector = self._open_detector()
        return detect_faces(image, self._params, self._detector)


def _read_settled(path: Path) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes and the status that belongs to them.

    Raises:
        ImageReadError: It cannot be read, or something writes to it all the time.
    """
    for _ in range(3):
        try:
            before = os.stat(path)
            data = read_bytes(path)
            after = os.stat(path)
        except (OSError, ValueError):
            read_bytes(path)  # raises what is wrong, in our words
            continue
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if same and len(data) == after.st_size:
            return data, after
    raise ImageReadError(path, "it changes while it is read", "Wait until it is written.")
