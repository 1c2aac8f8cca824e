"""The frames of a video file, upright, at a distance in time or in frames. Knows no model.

OpenCV decodes them. It is whole if the decoder came to its end without an error and its container
misses no bytes; the number of frames in a header is not believed.
Their answers become the video's in `commands/predict/run.py`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from roi_cls.base.errors import ImageReadError
from roi_cls.console.words import format_bytes
from roi_cls.inputs.container import Container, read_container
from roi_cls.roi.image import Image, read_head, turn_upright
from roi_cls.roi.image_header import HEAD_BYTES, is_video

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm",
    ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".m2ts", ".ogv",
    ".vob", ".m2t", ".asf", ".f4v", ".3g2", ".ogm", ".insv", ".lrv",
)  # fmt: skip
"""Endings of video files, in any case; others are known by content (.ts: also a program's text)."""
_EXPORT_AGAIN = "Remove it, or copy or export it again, as MP4 with H.264."
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_JITTER_S = 1e-4  # times are rounded to the container's ticks
_START_S = 1.0  # times that go back to so much begin anew: of files put one after another
_SQUARE = 0.01  # pixels this near to square ones are such: of rounding
_MOST_LOST, _LEAST_LOST_S = 0.1, 0.5  # at the end: of its span, and seconds, that may be rounding
_MOST_FAILED = 500  # times that a decoder fails before this is taken for the end
_TURNED = {90: 6, 180: 3, 270: 8}  # degrees, clockwise, to EXIF's orientation


@dataclass(frozen=True, slots=True)
class Every:
    """Which frames of a video are looked at."""

    seconds: float | None = None
    """The first frame, and then the first after each such span."""
    frames: int | None = None
    """The first frame, and then each so many."""

    @classmethod
    def parse(cls, text: str) -> Every:
        """Return what ``0.5s``, ``2m`` or ``10f`` (frames) means.

        Raises:
            ValueError: It is no distance.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|f)\s*", text)
        if match and match[2] == "f" and match[1].isdecimal() and int(match[1]):
            return cls(frames=int(match[1]))
        if match and match[2] != "f" and float(match[1]):
            return cls(seconds=float(match[1]) * _SECONDS[match[2]])
        raise ValueError(f"{text!r} is no distance between frames; write it like 0.5s or 10f")

    def is_due(self, number: int, time_s: float, last_s: float) -> bool:
        """Whether a frame is looked at.

        Args:
            number: Of the frame, from 0.
            time_s: From the start of the video.
            last_s: Of the last one that was looked at.
        """
        if number == 0:
            return True
        if self.frames:
            return number % self.frames == 0
        span = self.seconds or 0.0
        # On a grid from the start, so that distances do not add up their rounding.
        return (time_s + _JITTER_S) // span > (last_s + _JITTER_S) // span


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture of a video."""

    image: Image
    """(height, width, 3) RGB uint8, upright."""
    time_s: float
    """From the start of the video."""


def read_frames(path: Path, name: str, every: Every, max_pixels: int) -> Iterator[Frame]:
    """Yield the frames that are due, in order, each read when it is asked for.

    As players show them: turned and mirrored as the file says, with square pixels.

    Args:
        path: A file on this machine.
        name: As messages call it.
        every: Which frames.
        max_pixels: Larger frames are refused.

    Raises:
        ImageReadError: It is no video that can be decoded, or its frames are too large; after its
            last frame, that some could not be decoded or that the file is cut off.
    """
    with _opened(path, name) as (video, container):
        view = _View.of(video, container)
        if view.width * view.height > max_pixels:
            size = f"{view.width} x {view.height}"
            reason = f"its frames have {size} pixels, over the limit of {max_pixels}"
            raise ImageReadError(name, reason, "Shrink it, or raise --max-pixels.")
        clock = _Clock(video)
        number, last_s = 0, 0.0
        broken_s: float | None = None
        while (refused := _grab(video)) is not None:
            broken_s = clock.now_s if refused and broken_s is None else broken_s
            time_s = clock.tick()
            if every.is_due(number, time_s, last_s):
                last_s = time_s
                yield Frame(view.show(_retrieve(video, name)), round(time_s, 3))
            number += 1
        if not number:
            codec = _codec(video)
            raise ImageReadError(name, f"no frame of it can be decoded{codec}", _EXPORT_AGAIN)
        _check_whole(container, clock.now_s, broken_s, name)


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[cv2.VideoCapture, Container]]:
    try:
        head = read_head(path, HEAD_BYTES)
    except ImageReadError as error:
        raise ImageReadError(name, error.reason, error.remedy) from error
    if not is_video(head):
        what = f"it is not a video (it begins with {head[:16]!r})" if head else "it is empty"
        raise ImageReadError(name, what, _EXPORT_AGAIN)
    try:
        container = read_container(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageReadError(name, reason, "Check the path and the disk.") from error
    if container.has_pictures is False:
        remedy = "Give a video with pictures, or leave it out."
        raise ImageReadError(name, "it has no picture track, only sound", remedy)
    # Read when FFmpeg is first used. Its own words on stderr would name no file; and it gives up
    # after so many packets of sound between two frames.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", str(2**31 - 1))
    # A whole path: "concat:a|b" and the like are no protocols then.
    where = os.path.abspath(path)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        video = cv2.VideoCapture(where, cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not video.isOpened():
            raise ImageReadError(name, _why_unopened(container), _EXPORT_AGAIN)
        # It would turn a mirrored picture by 180 degrees.
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        yield video, container
    finally:
        video.release()


def _why_unopened(container: Container) -> str:
    if container.missing:
        return f"it is cut off: {format_bytes(container.missing)} are missing at its end"
    unknown = "" if container.has_pictures else ", or it has none"
    return f"its video cannot be decoded{unknown}"


@dataclass(frozen=True, slots=True)
class _View:
    """How stored frames are seen."""

    width: int
    """Of a stored frame with square pixels, before it is turned."""
    height: int
    orientation: int
    """As EXIF counts."""

    @classmethod
    def of(cls, video: cv2.VideoCapture, container: Container) -> _View:
        width = int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        upper, lower = video.get(cv2.CAP_PROP_SAR_NUM), video.get(cv2.CAP_PROP_SAR_DEN)
        aspect = upper / lower if upper > 0 and lower > 0 else 1.0  # of a pixel: width by height
        if aspect > 1 + _SQUARE:
            width = round(width * aspect)
        elif aspect < 1 - _SQUARE:
            height = round(height / aspect)
        turned = _TURNED.get(int(video.get(cv2.CAP_PROP_ORIENTATION_META)) % 360, 1)
        return cls(width, height, container.orientation or turned)

    def show(self, frame: Image) -> Image:
        if frame.shape[:2] != (self.height, self.width):
            size = (self.width, self.height)
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        return turn_upright(frame, self.orientation)


class _Clock:
    """Seconds from the start, which go on where those of the file begin anew or are not told."""

    def __init__(self, video: cv2.VideoCapture) -> None:
        self._video = video
        rate = video.get(cv2.CAP_PROP_FPS)
        self._step_s = 1 / rate if rate > 0 else 1 / 25
        self._shift_s = 0.0
        self._is_first = True
        self.now_s = 0.0
        """Of the frame grabbed last."""

    def tick(self) -> float:
        """Return the time of the frame that was just grabbed."""
        told_s = self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._is_first or told_s + self._shift_s > self.now_s:
            self.now_s = max(0.0, told_s + self._shift_s)
        else:
            self.now_s += self._step_s
            # Else it is a frame out of its order, as some are after a damaged part.
            is_start = 0 < told_s < _START_S
            if is_start and told_s + self._shift_s < self.now_s - _START_S / 2:
                self._shift_s = self.now_s - told_s
        self._is_first = False
        return self.now_s


def _grab(video: cv2.VideoCapture) -> int | None:
    """Go to the next frame; return how often the decoder failed before it, None at the end.

    OpenCV says the same of an end and of an error; but only after an error more can come.
    """
    return next((failed for failed in range(_MOST_FAILED) if video.grab()), None)


def _retrieve(video: cv2.VideoCapture, name: str) -> Image:
    is_there, pixels = video.retrieve()
    if not is_there or pixels is None:
        raise ImageReadError(name, "a frame of it cannot be decoded", _EXPORT_AGAIN)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _codec(video: cv2.VideoCapture) -> str:
    letters = int(video.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    name = letters.decode("ascii", "replace")
    return f" (it is coded as {name!r})" if name.isprintable() and name.strip() else ""


def _check_whole(container: Container, last_s: float, broken_s: float | None, name: str) -> None:
    """Refuse a video of which a part is gone, once what there is has been read."""
    promised_s = container.last_s or 0.0
    if container.missing:
        gone = f"{format_bytes(container.missing)} are missing at its end"
        reason = f"it is cut off after {last_s:.1f} s: {gone}"
    elif last_s < promised_s - max(_MOST_LOST * promised_s, _LEAST_LOST_S):
        reason = f"it is damaged: after {last_s:.1f} of {promised_s:.1f} s nothing can be decoded"
    elif broken_s is not None:
        reason = f"it is damaged: after {broken_s:.1f} s a part of it cannot be decoded"
    else:
        return
    raise ImageReadError(name, reason, _EXPORT_AGAIN)
