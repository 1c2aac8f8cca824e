"""The frames of a video file, upright, at a distance in time or in frames. Knows no model.

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
from roi_cls.roi.image import Image

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm",
    ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".m2ts", ".ogv",
)  # fmt: skip
"""Endings of video files, in any case."""
HEAD_BYTES = 4096
"""So much of a file tells whether it is a video."""
_EXPORT_AGAIN = "Remove it, or copy or export it again, as MP4 with H.264."
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_JITTER_S = 1e-4  # times are rounded to the container's ticks
_MOST_LOST = 0.1  # of the frames a header promises: some tell by their duration, about
# Containers alone. FFmpeg would also take lists that name other files and servers (HLS, concat).
_PICTURE_BRANDS = rb"(?!hei[cfmsx]|hev[cmsx]|mif1|msf1|avi[fs]|crx )"
_CONTAINER = re.compile(
    rb"....(ftyp" + _PICTURE_BRANDS + rb"|moov|mdat|wide|free|skip)"  # MP4, QuickTime, 3GP
    rb"|RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|OggS"  # AVI, Matroska and WebM, Flash, Ogg
    rb"|\x00\x00\x01[\xb3\xba]|0&\xb2u\x8ef\xcf\x11"  # MPEG, Windows Media
    rb"|G.{187}G|.{4}G.{191}G",  # MPEG transport streams: every packet begins so
    re.DOTALL,
)


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


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is a video, by its bytes alone."""
    return _CONTAINER.match(head) is not None


def read_frames(path: Path, name: str, every: Every, max_pixels: int) -> Iterator[Frame]:
    """Yield the frames that are due, in order, each read when it is asked for.

    Turned as the file says, as players do.

    Args:
        path: A file on this machine.
        name: As messages call it.
        every: Which frames.
        max_pixels: Larger frames are refused.

    Raises:
        ImageReadError: It is no video that can be decoded, its frames are too large, or it ends
            well before the end that its header tells.
    """
    with _opened(path, name) as video:
        width = int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > max_pixels:
            reason = f"its frames have {width} x {height} pixels, over the limit of {max_pixels}"
            raise ImageReadError(name, reason, "Shrink it, or raise --max-pixels.")
        number, last_s = 0, 0.0
        while video.grab():
            time_s = _time(video, number)
            if every.is_due(number, time_s, last_s):
                last_s = time_s
                yield Frame(_retrieve(video, name), round(time_s, 3))
            number += 1
        _check_whole(video, number, name)


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[cv2.VideoCapture]:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageReadError(name, reason, "Check the path.") from error
    if not is_video(head):
        what = f"it is not a video (it begins with {head[:16]!r})" if head else "it is empty"
        raise ImageReadError(name, what, _EXPORT_AGAIN)
    # FFmpeg's own words on stderr would name no file. Read when it is first used.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # A whole path: "concat:a|b" and the like are no protocols then.
    where = os.path.abspath(path)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        video = cv2.VideoCapture(where, cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not video.isOpened():
            raise ImageReadError(name, "its video cannot be decoded", _EXPORT_AGAIN)
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield video
    finally:
        video.release()


def _time(video: cv2.VideoCapture, number: int) -> float:
    """Return the seconds from the start to the frame grabbed last, whose number that is."""
    time_s = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    if time_s > 0 or not number:
        return max(0.0, time_s)
    return number / (video.get(cv2.CAP_PROP_FPS) or 25)  # a stream that tells no times


def _retrieve(video: cv2.VideoCapture, name: str) -> Image:
    is_there, pixels = video.retrieve()
    if not is_there or pixels is None:
        raise ImageReadError(name, "a frame of it cannot be decoded", _EXPORT_AGAIN)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _check_whole(video: cv2.VideoCapture, frames: int, name: str) -> None:
    """Refuse a video of which much is missing at the end, where decoding just stops."""
    promised = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    if not frames:
        raise ImageReadError(name, "no frame of it can be decoded", _EXPORT_AGAIN)
    if frames + 1 < promised * (1 - _MOST_LOST):
        reason = f"it ends after {frames} of about {promised} frames"
        raise ImageReadError(name, reason, _EXPORT_AGAIN)
