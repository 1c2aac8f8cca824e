"""What people name, as pictures for a model: files, web pictures, videos' frames, what is piped in.

One at a time, in order, however many there are: no list of them is kept. What cannot be had is a
source that says why, and so becomes a row.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from roi_cls.base.background import run_in_background
from roi_cls.base.errors import DataError, ImageReadError
from roi_cls.base.location import LocationError, as_path, is_remote
from roi_cls.classifier.inference.prediction import Source
from roi_cls.data.walk import PICTURE_SUFFIXES
from roi_cls.inputs.names import (
    Named,
    Wanted,
    expand_input,
    is_list,
    is_url,
    note_passed_over,
    read_list,
)
from roi_cls.inputs.video import VIDEO_SUFFIXES, Every, read_frames
from roi_cls.inputs.web import WebLimits, fetch
from roi_cls.roi.archives.opening import is_archive
from roi_cls.roi.image import read_bytes, read_head
from roi_cls.roi.image_header import (
    HEAD_BYTES,
    MAX_PIXELS,
    UndecodableError,
    is_video,
    sniff_kind,
)

STDIN = "-"
FETCHED_AHEAD = 4
"""URLs fetched at once, the one that is due among them: bounds threads and memory."""
_TELLING, _PNG = 16, 8  # bytes that tell a picture from a list; only PNG's has a line's end in them
_INNER_URL = re.compile(r"::https?://", re.IGNORECASE)  # fsspec chains file systems by ::


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How pictures are had."""

    every: Every = field(default_factory=lambda: Every(seconds=0.5))
    """Which frames of a video."""
    web: WebLimits = field(default_factory=WebLimits)
    """What fetching a URL may take."""
    max_pixels: int = MAX_PIXELS
    """Frames of a video with more pixels are refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A picture to predict, and what it belongs to."""

    source: Source
    video: object | None = None
    """The same for all frames of a video, and for no others; None: a picture by itself."""


def name_inputs(inputs: Sequence[str]) -> list[Named]:
    """Return what each input stands for, and note what is passed over in folders.

    Of standard input, the first bytes are awaited.

    Raises:
        DataError: One holds no picture, is empty, or is a terminal.
        LocationError: A remote path's package is not installed.
    """
    named = [_name_input(text, is_only=len(inputs) == 1) for text in inputs]
    note_passed_over(named)
    return named


def _name_input(text: str, *, is_only: bool) -> Named:
    if text == STDIN:
        return _name_standard_input()
    if is_url(text):
        return Named((text,), 1, is_one=True)
    _check_chain(text)
    return expand_input(text, Wanted(VIDEO_SUFFIXES, is_video), is_only=is_only)


def _name_standard_input() -> Named:
    if sys.stdin is None or sys.stdin.isatty():  # None: it is closed
        raise DataError(
            "Cannot read a picture from standard input: nothing is piped into it. "
            "Use: cat img.png | roi-cls predict -"
        )
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    head = stream.read1(HEAD_BYTES)
    # A pipe may give a picture's first bytes by themselves; a list is not waited for.
    while len(head) < (_PNG if b"\n" in head else _TELLING) and (more := stream.read1(HEAD_BYTES)):
        head += more
    if is_list(head):
        return Named(read_list(_lines(head, stream)), None)
    return Named((STDIN,), 1, is_one=True, data=head + stream.read())


def _lines(head: bytes, stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of what begins with ``head`` and goes on in ``stream``."""
    *whole, begun = head.splitlines(keepends=True)
    yield from whole
    rest = iter(stream)
    yield begun if begun.endswith(b"\n") else begun + next(rest, b"")
    yield from rest


def _check_chain(name: str) -> None:
    """Raise ``LocationError`` where fsspec would fetch from the web, past all that is checked."""
    if _INNER_URL.search(name):
        raise LocationError(
            f"Cannot open {name!r}: an address of the web within another would be fetched without "
            "limits. Give the http:// or https:// address alone."
        )


def count_pictures(named: Sequence[Named]) -> int | None:
    """Return how many pictures and videos the inputs stand for; None where one does not tell."""
    counts = [each.count for each in named if each.count is not None]
    return sum(counts) if len(counts) == len(named) else None


def is_one_picture(named: Sequence[Named]) -> bool:
    """Whether one picture alone was named, by itself."""
    return len(named) == 1 and named[0].is_one


def open_sources(
    named: Iterable[Named],
    options: SourceOptions | None = None,
    stopped: Future[None] | None = None,
) -> Iterator[Given]:
    """Yield the pictures of the inputs in order, each made when it is asked for.

    URLs alone are fetched ahead, ``FETCHED_AHEAD`` at once.

    Args:
        named: What the inputs stand for.
        options: How pictures are had; None: as the defaults say.
        stopped: Once it is done, no server is waited for any longer, and nothing more comes.
    """
    options = options or SourceOptions()
    for name, data in _fetched_ahead(_all_names(named), options.web, stopped or Future()):
        if isinstance(data, ImageReadError):
            yield Given(Source(name, error=str(data)))
        elif data is not None and is_video(data[:HEAD_BYTES]):
            yield from _frames_of(data, name, options)
        elif data is None and not name.lower().endswith(PICTURE_SUFFIXES):
            yield from _open_unknown(name, options)
        else:
            yield Given(_picture(name, data))


def _all_names(named: Iterable[Named]) -> Iterator[tuple[str, bytes | None]]:
    for each in named:
        for name in each.names:
            yield name, each.data


def _fetched_ahead(
    names: Iterable[tuple[str, bytes | None]], limits: WebLimits, stopped: Future[None]
) -> Iterator[tuple[str, bytes | ImageReadError | None]]:
    """Yield the names in order, each with its bytes where it was piped in or fetched."""
    waiting: deque[tuple[str, bytes | None, Future[bytes] | None]] = deque()
    coming = iter(names)
    while True:
        # Names are taken ahead only while a URL is due: they may come slowly, as in a pipe.
        is_due = bool(waiting) and waiting[0][2] is not None
        while not waiting or (is_due and len(waiting) < FETCHED_AHEAD):
            following = next(coming, None)
            if following is None:
                break
            name, data = following
            is_wanted = data is None and is_url(name)
            fetching = run_in_background(partial(fetch, name, limits)) if is_wanted else None
            waiting.append((name, data, fetching))
            is_due = waiting[0][2] is not None
        if not waiting:
            return
        name, data, fetching = waiting.popleft()
        if fetching:
            either: tuple[Future[Any], ...] = (fetching, stopped)
            wait(either, return_when=FIRST_COMPLETED)
        if stopped.done():
            return
        try:
            yield name, fetching.result() if fetching else data
        except ImageReadError as error:
            yield name, error


def _picture(name: str, data: bytes | None) -> Source:
    if not name:
        return Source(name, error="Cannot read '': the row of a table has no path. Write one.")
    if data is None:
        try:
            _check_chain(name)
            as_path(name)
        except LocationError as error:  # in a list; a package that one input needs is told before
            return Source(name, error=str(error))
    return Source(name, data)


def _open_unknown(name: str, options: SourceOptions) -> Iterator[Given]:
    """Yield what a file holds whose name does not say that it is a picture: its bytes do."""
    given = _picture(name, None)
    if given.error is not None:
        yield Given(given)
        return
    path = as_path(name)
    try:
        if is_remote(path) or is_archive(path):
            data = read_bytes(path)
            if _holds_video(data[:HEAD_BYTES], name):
                yield from _frames_of(data, name, options)
            else:
                yield Given(Source(name, data))
        elif _holds_video(read_head(path, HEAD_BYTES), name):
            yield from _frames(path, name, options)
        else:
            yield Given(given)
    except ImageReadError as error:
        yield Given(Source(name, error=str(error)))


def _holds_video(head: bytes, name: str) -> bool:
    """Whether a file is a video by its bytes; by its name where they tell nothing."""
    if is_video(head):
        return True
    try:
        sniff_kind(head)
    except UndecodableError:
        return name.lower().endswith(VIDEO_SUFFIXES)
    return False


def _frames_of(data: bytes, name: str, options: SourceOptions) -> Iterator[Given]:
    # FFmpeg is given a file: of many containers it reads the end first.
    with tempfile.TemporaryDirectory(prefix="roi-cls-") as folder:
        path = Path(folder) / "video"
        path.write_bytes(data)
        yield from _frames(path, name, options)


def _frames(path: Path, name: str, options: SourceOptions) -> Iterator[Given]:
    """Yield the frames of a video; where it ends in an error, that comes last."""
    video = object()
    try:
        for frame in read_frames(path, name, options.every, options.max_pixels):
            yield Given(Source(name, image=frame.image, time_s=frame.time_s), video)
    except ImageReadError as error:
        yield Given(Source(name, error=str(error)), video)
