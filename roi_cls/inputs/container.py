"""What a video's container says of itself: whether bytes are missing, if and how it is seen.

FFmpeg reads a cut file to where it ends, and calls that its end. Only the sizes that a container
writes down tell it from a whole one; its counts of frames do not, of which many are rough or of
frames that nobody is meant to see. Reads a few bytes, decodes nothing.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SLACK = 16
"""Bytes: some programs count a file's size with or without a header of 8."""
_MEDIA = (b"mdat", b"moof", b"moov")
_MOST_INDEX = 2**26  # bytes of an MP4's or a Matroska's index that are read: hours have a tenth
_ASF_FACTS = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_OGG_TAIL = 2**17  # two of the largest pages
_ORIENTATIONS = {
    (1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8,
}  # fmt: skip
# Whether mirrored, and degrees against the clock, to the same.
_PROJECTIONS = {
    (False, 180): 3, (False, 270): 6, (False, 90): 8,
    (True, 0): 2, (True, 180): 4, (True, 90): 5, (True, 270): 7,
}  # fmt: skip
_LEAST = 1e-3  # of a matrix: less is nothing
_Matrix = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Container:
    """What is known without decoding."""

    missing: int = 0
    """Bytes that its own sizes promise and that are not there; 0: none, or it promises nothing."""
    has_pictures: bool | None = None
    """Whether it has a picture track; None: not known."""
    orientation: int | None = None
    """How its pictures are turned and mirrored to be seen, as EXIF counts; None: not said here."""
    last_s: float | None = None
    """When the last of its pictures is shown, about; None: not said here."""


def read_container(path: Path) -> Container:
    """Return what a video file on this machine says of itself.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(4096)
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _read_matroska(file, size)
        if head.startswith(b"RIFF"):
            return Container(_missing(8 + int.from_bytes(head[4:8], "little"), size))
        if head.startswith(b"OggS"):
            return Container(_missing(_ogg_end(file, size), size))
        if head.startswith(b"0&\xb2u"):
            return Container(_missing(_asf_end(head), size))
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _read_mp4(file, size)
    return Container()  # streams, which may end anywhere


def _missing(end: int, size: int) -> int:
    return max(0, end - size) if end > size + _SLACK else 0


def _read_mp4(file: BinaryIO, size: int) -> Container:
    promised, index = 0, b""
    for kind, start, end in _boxes(file, 0, size):
        if kind in _MEDIA:  # programs add other things at the end, which are no boxes
            promised = max(promised, end)
        if kind == b"moov" and end - start <= _MOST_INDEX:
            file.seek(start)
            index = file.read(end - start)
    if not index:
        return Container(_missing(promised, size))
    header = _find(index, b"mvhd")
    tracks = [body for kind, body in _inner(index) if kind == b"trak"]
    shown = [track for track in tracks if _find(track, b"mdia", b"hdlr")[8:12] == b"vide"]
    if not shown:
        return Container(_missing(promised, size), False)
    track = _matrix(_find(shown[0], b"tkhd"), 40, 52)
    orientation = _orientation(track, _matrix(header, 36, 48))
    last_s = _last_picture(shown[0], _time_scale(header))
    return Container(_missing(promised, size), True, orientation, last_s)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box that begins before ``end``."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        taken = 8
        if size == 1 and len(head) == 16:
            size, taken = struct.unpack_from(">Q", head, 8)[0], 16
        elif size == 0:  # to the end of what it lies in
            size = end - start
        if size < taken:
            return
        yield kind, start + taken, start + size
        start += size


def _inner(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, start, end in _boxes(io.BytesIO(data), 0, len(data)):
        yield kind, data[start:end]


def _find(data: bytes, *kinds: bytes) -> bytes:
    """Return the content of the first box of these kinds, one within another; empty: none."""
    for kind in kinds:
        data = next((body for each, body in _inner(data) if each == kind), b"")
    return data


def _matrix(header: bytes, *starts: int) -> _Matrix | None:
    """Return a, b, c, d of a header's matrix, whose place depends on the header's version."""
    start = starts[header[0] == 1] if header else 0
    if len(header) < start + 20 or not header:
        return None
    a, b, _, c, d = struct.unpack_from(">5i", header, start)
    return a / 65536, b / 65536, c / 65536, d / 65536


def _orientation(track: _Matrix | None, movie: _Matrix | None) -> int | None:
    """Return by which of EXIF's orientations both turn a picture: first the track, then all."""
    if not track or not movie:
        return None
    a, b, c, d = track
    p, q, r, s = movie
    turned = (a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s)
    a, b, c, d = ((x > _LEAST) - (x < -_LEAST) for x in turned)
    return _ORIENTATIONS.get((a, b, c, d))


def _time_scale(header: bytes) -> int:
    """Return how many ticks a second has; 0: not known."""
    return int.from_bytes(header[20:24] if header[:1] == b"\1" else header[12:16])


def _last_picture(track: bytes, movie_scale: int) -> float | None:
    """Return when the last picture of a track is shown, where one span of it is shown."""
    scale = _time_scale(_find(track, b"mdia", b"mdhd"))
    table = _find(track, b"mdia", b"minf", b"stbl", b"stts")[8:]
    spans = list(struct.iter_unpack(">2I", table[: len(table) // 8 * 8]))  # so many, so long
    if not scale or not movie_scale or not spans:  # its index may lie among the pictures
        return None
    last: float = sum(count * ticks for count, ticks in spans) - spans[-1][1]
    edits = _find(track, b"edts", b"elst")
    form = ">QqI" if edits[:1] == b"\1" else ">IiI"
    rest = edits[8:]
    whole = len(rest) // struct.calcsize(form) * struct.calcsize(form)
    shown = [edit for edit in struct.iter_unpack(form, rest[:whole]) if edit[1] >= 0]
    if len(shown) > 1:
        return None
    start: int = shown[0][1] if shown else 0
    if shown and shown[0][0]:
        last = min(last, start + shown[0][0] * scale / movie_scale)
    return max(0.0, (last - start) / scale)


def _read_matroska(file: BinaryIO, size: int) -> Container:
    segment = next((e for e in _elements(file, 0, size) if e[0] == 0x18538067), None)
    if segment is None:
        return Container()
    missing = _missing(segment[2] or 0, size)
    for kind, start, end in _elements(file, segment[1], size):
        if kind == 0x1F43B675:  # a cluster: pictures and sound have begun
            break
        if kind == 0x1654AE6B and end and end - start <= _MOST_INDEX:
            tracks = [
                _values(file, at, stop) for _, at, stop in _elements(file, start, end) if stop
            ]
            shown = next((track for track in tracks if track.get(0x83) == b"\1"), None)
            return Container(missing, shown is not None, _projected(shown or {}))
    return Container(missing)


def _values(file: BinaryIO, start: int, end: int, depth: int = 0) -> dict[int, bytes]:
    """Return the short values in a track, its picture and how that is projected, by kind."""
    found: dict[int, bytes] = {}
    for kind, at, stop in _elements(file, start, end):
        if stop and kind in (0xE0, 0x7670) and depth < 2:
            found |= _values(file, at, min(stop, end), depth + 1)
        elif stop and stop - at <= 8:
            file.seek(at)
            found[kind] = file.read(stop - at)
    return found


def _projected(track: Mapping[int, bytes]) -> int | None:
    """Return how a track is turned and mirrored, as EXIF counts; None: it is not."""
    yaw, pitch, roll = (_number(track.get(kind, b"")) for kind in (0x7673, 0x7674, 0x7675))
    is_flat = not any(track.get(0x7671, b"")) and not pitch  # else it is seen from within
    if not is_flat or yaw not in (0, 180, -180) or not math.isfinite(roll):
        return None
    return _PROJECTIONS.get((yaw != 0, round(roll) % 360))


def _number(value: bytes) -> float:
    form = {4: ">f", 8: ">d"}.get(len(value))
    return float(struct.unpack(form, value)[0]) if form else 0.0


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield kind, start and end of the content of each element; end None: it does not say."""
    while start < end:
        file.seek(start)
        head = file.read(12)
        kind_bytes = _length(head[:1], 4)
        size_bytes = _length(head[kind_bytes : kind_bytes + 1], 8)
        if not kind_bytes or not size_bytes or len(head) < kind_bytes + size_bytes:
            return
        kind = int.from_bytes(head[:kind_bytes])
        most = (1 << 7 * size_bytes) - 1
        size = int.from_bytes(head[kind_bytes : kind_bytes + size_bytes]) & most
        start += kind_bytes + size_bytes
        if size == most:
            yield kind, start, None
            return
        yield kind, start, start + size
        start += size


def _length(first: bytes, most: int) -> int:
    """Return of how many bytes a number of Matroska is that begins so; 0: it is none."""
    length = 9 - first[0].bit_length() if first and first[0] else 0
    return length if length <= most else 0


def _ogg_end(file: BinaryIO, size: int) -> int:
    """Return where the last page ends."""
    start = max(0, size - _OGG_TAIL)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return size
    count = tail[at + 26] if at + 26 < len(tail) else 255
    lengths = tail[at + 27 : at + 27 + count]
    return start + at + 27 + count + sum(lengths)


def _asf_end(head: bytes) -> int:
    """Return how long a Windows Media file says it is; 0: it does not know."""
    at = head.find(_ASF_FACTS)
    if at < 0 or len(head) < at + 92:
        return 0
    is_broadcast = head[at + 88] & 1
    return 0 if is_broadcast else int(struct.unpack_from("<Q", head, at + 40)[0])
