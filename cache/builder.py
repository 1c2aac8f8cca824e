"""Crop one picture through the cache: look up, else detect, cut and keep; or cut again by a row."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from roi_cls.base.closing import Closing
from roi_cls.base.errors import CacheError, ImageReadError, NoFaceError
from roi_cls.base.location import is_remote
from roi_cls.base.pool import State
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.record import CropRecord, CropResult, FileStamp, ok_record, read_stamp, stamp_of
from roi_cls.cache.store import CropStore
from roi_cls.roi import CropParams, Cut, Detection, plan_crop
from roi_cls.roi.archives.opening import find_place
from roi_cls.roi.crop import DetectorOpener, FaceDetector, cut_crops, detect_faces
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.picture import Picture

CropWork = State[Path, CropResult]
"""What a worker enters once; gives the function that crops one picture."""


@contextlib.contextmanager
def open_builder(
    params: CropParams, open_detector: DetectorOpener, options: BuildOptions
) -> Iterator[CropBuilder]:
    """Give a builder on the cache of ``options``, which is kept from being pruned meanwhile."""
    store = CropStore(options.cache, params)
    with store.share(), CropBuilder(store, params, open_detector, options.max_pixels) as builder:
        yield builder


@contextlib.contextmanager
def open_work(
    params: CropParams, open_detector: DetectorOpener, options: BuildOptions
) -> Iterator[Callable[[Path], CropResult]]:
    """Give the function that crops a picture, in whichever process enters this."""
    with open_builder(params, open_detector, options) as builder:
        yield builder.build


class CropBuilder(Closing):
    """Crops pictures by one recipe into one cache. The detector is opened when first needed."""

    def __init__(
        self,
        store: CropStore,
        params: CropParams,
        open_detector: DetectorOpener,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._store = store
        self._params = params
        self._open_detector = open_detector
        self._max_pixels = max_pixels
        self._detector: FaceDetector | None = None

    def build(self, path: Path) -> CropResult:
        """Return the row of one picture, after doing whatever was not done before.

        A picture that cannot be cropped is a row with its error.

        Raises:
            CacheError, StorageError, DetectorModelError: The run as a whole cannot go on.
        """
        sha256 = None
        try:
            data, stamp = _read_settled(path)
            sha256 = hashlib.sha256(data).hexdigest()
            return self._build(path, sha256, data, stamp)
        except ImageReadError as error:
            return CropResult(self._error_record(path, str(error), sha256, error.damage))

    def load(self, record: CropRecord) -> Image:
        """Return the crops of an ok row, (N, size_px, size_px, 3) RGB uint8.

        N is 1, unless the recipe cuts all faces. A damaged crop is cut again.

        Raises:
            CacheError: The crop is gone and the picture is no longer what it was.
            ImageReadError: The crop is gone and the picture cannot be read.
        """
        if record.sha256 is None or record.status != "ok":
            raise ValueError(f"there is no crop of {record.path}: {record.error or record.reason}")
        pixels = self._store.read_crop(record.sha256)
        if pixels is not None:
            return pixels
        pixels = recut(record, max_pixels=self._max_pixels)
        self._store.write_crop(record.sha256, pixels)
        return pixels

    def close(self) -> None:
        """Close the detector."""
        if self._detector is not None:
            self._detector.close()
            self._detector = None

    def _build(self, path: Path, sha256: str, data: bytes, stamp: FileStamp | None) -> CropResult:
        params = self._params
        picture = None
        detection = self._store.read_detection(sha256)
        must_detect = detection is None
        if detection is None:
            picture = self._open_picture(path, data)
            detection = self._detect(picture)
            self._store.write_detection(sha256, detection)
        elif detection.height * detection.width > self._max_pixels:
            self._open_picture(path, data)  # raises what is wrong with it
        detected = must_detect and params.crop == "face"
        try:
            plan = plan_crop(detection, params)
        except NoFaceError as error:
            message = f"Cannot crop {str(path)!r}: {error}"
            record = self._error_record(path, message, sha256, detection.damaged)
            return CropResult(record, detected)
        record = ok_record(path, sha256, detection, plan, params)
        must_cut = bool(plan.cuts) and self._store.read_crop(sha256) is None
        if must_cut:
            self._cut(picture or self._open_picture(path, data), sha256, plan.cuts)
        return CropResult(record, detected, must_cut, stamp)

    def _open_picture(self, path: Path, data: bytes) -> Picture:
        params = self._params
        partial = params.damaged == "read"
        limit = self._max_pixels
        return Picture(data, path, max_pixels=limit, color=params.color, partial=partial)

    def _detect(self, picture: Picture) -> Detection:
        if self._detector is None and self._params.crop == "face":
            self._detector = self._open_detector()
        return detect_faces(picture, self._params, self._detector)

    def _cut(self, picture: Picture, sha256: str, cuts: tuple[Cut, ...]) -> Image:
        pixels = cut_crops(picture, cuts, self._params)
        self._store.write_crop(sha256, pixels)
        return pixels

    def _error_record(
        self, path: Path, message: str, sha256: str | None, damaged: str | None
    ) -> CropRecord:
        recipe = self._params.digest
        return CropRecord(path, "error", message, sha256, recipe=recipe, damaged=damaged)


def recut(record: CropRecord, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the crops of an ok row, (N, size_px, size_px, 3) RGB uint8, as they were cut.

    Bit for bit, by the version of roi-cls that wrote the row.

    Raises:
        CacheError: The picture is no longer what it was.
        ImageReadError: It cannot be read.
        ValueError: The row has no crop.
    """
    if record.status != "ok" or record.size_px is None:
        raise ValueError(f"there is no crop of {record.path}: {record.error or record.reason}")
    data = read_bytes(record.path)
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise CacheError(
            f"Cannot make the crop of {str(record.path)!r} again: the file has changed "
            "meanwhile. Run the command once more."
        )
    # Of a recipe, only these four say how a region becomes a crop.
    style = CropParams.from_dict(
        {
            **CropParams().to_dict(),
            "size_px": record.size_px,
            "border": record.border,
            "resampling": record.resampling,
            "color": record.color,
        }
    )
    partial = record.damaged is not None
    picture = Picture(data, record.path, max_pixels=max_pixels, color=style.color, partial=partial)
    return cut_crops(picture, record.cuts, style)


def _read_settled(path: Path) -> tuple[bytes, FileStamp | None]:
    """Return a file's bytes and the stamp that belongs to them.

    Raises:
        ImageReadError: It cannot be read, or something writes to it all the time.
    """
    if is_remote(path):  # a store gives an object as it was put, whole
        before_reading, data = read_stamp(path), read_bytes(path)
        return data, before_reading if before_reading == read_stamp(path) else None
    for _ in range(3):
        try:
            before, is_member = _look_at(path)
            data = read_bytes(path)
            after, _ = _look_at(path)
        except (OSError, ValueError):
            read_bytes(path)  # raises what is wrong, in our words
            continue
        is_whole = is_member or len(data) == after.st_size
        if _identity(before) == _identity(after) and is_whole:
            return data, stamp_of(after)
    raise ImageReadError(path, "it changes while it is read", "Wait until it is written.")


def _look_at(path: Path) -> tuple[os.stat_result, bool]:
    """Return the status of a file, or of the archive it lies in, and whether it does."""
    try:
        return os.stat(path), False
    except (FileNotFoundError, NotADirectoryError):
        place = find_place(path)
        if place is None:
            raise
        return os.stat(place.archive), True


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # Another file may take the place of one of its size and age: archives keep both.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
