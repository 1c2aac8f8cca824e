"""A container's own sizes tell a cut video from a whole one, and its tracks what it holds."""

import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from roi_cls.inputs.container import Container, read_container

MakeVideo = Callable[[str], Path]


def read(folder: Path, data: bytes) -> Container:
    path = folder / "clip"
    path.write_bytes(data)
    return read_container(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".avi", ".mkv", ".webm", ".wmv"])
def test_bytes_that_are_missing_are_counted(
    make_video: MakeVideo, tmp_path: Path, suffix: str
) -> None:
    data = make_video(suffix).read_bytes()
    assert read(tmp_path, data).missing == 0
    assert read(tmp_path, data + b"what a camera adds").missing == 0
    half = (
        data[: data.index(b"mdat") + 100] if suffix in (".mp4", ".mov") else data[: -len(data) // 3]
    )
    assert 0 < read(tmp_path, half).missing <= len(data) - len(half)


@pytest.mark.parametrize("suffix", [".ts", ".vob", ".flv"])
def test_streams_promise_no_end(make_video: MakeVideo, tmp_path: Path, suffix: str) -> None:
    data = make_video(suffix).read_bytes()
    assert read(tmp_path, data[: len(data) // 2]) == Container()


def test_index_before_the_pictures_promises_their_size(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    data = make_video(".mp4").read_bytes()
    media, index = data.index(b"mdat") - 4, data.index(b"moov") - 4
    ahead = data[:media] + data[index:] + data[media:index]
    assert read(tmp_path, ahead).missing == 0
    assert read(tmp_path, ahead[:-500]).missing == 500


def test_large_and_open_boxes_are_followed(tmp_path: Path) -> None:
    head = b"\0\0\0\x10ftypisom\0\0\0\0"
    large = struct.pack(">I4sQ", 1, b"mdat", 2**33)
    assert read(tmp_path, head + large + bytes(100)).missing == 2**33 - len(large) - 100
    assert read(tmp_path, head + b"\0\0\0\0mdat" + bytes(100)).missing == 0
    assert read(tmp_path, head + struct.pack(">I4s", 2**30, b"junk") + bytes(100)).missing == 0


def test_ogg_pages_and_open_matroskas(tmp_path: Path) -> None:
    page = b"OggS" + bytes(22) + b"\x02" + b"\xff\x10" + bytes(255 + 16)
    assert read(tmp_path, page * 2).missing == 0
    assert read(tmp_path, (page * 2)[:-100]).missing == 100
    live = b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
    assert read(tmp_path, live) == Container()


def test_track_of_sound_alone_is_no_picture_track(make_video: MakeVideo, tmp_path: Path) -> None:
    data = make_video(".mp4").read_bytes()
    assert read(tmp_path, data).has_pictures is True
    assert read(tmp_path, data.replace(b"vide", b"soun")).has_pictures is False
    data = make_video(".webm").read_bytes()
    assert read(tmp_path, data).has_pictures is True
    assert data.count(b"\x83\x81\x01") == 1  # a track's type
    assert read(tmp_path, data.replace(b"\x83\x81\x01", b"\x83\x81\x02")).has_pictures is False


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((1, 0, 0, 1), 1),
        ((-1, 0, 0, 1), 2),
        ((-1, 0, 0, -1), 3),
        ((1, 0, 0, -1), 4),
        ((0, 1, 1, 0), 5),
        ((0, 1, -1, 0), 6),
        ((0, -1, -1, 0), 7),
        ((0, -1, 1, 0), 8),
        ((1, 1, -1, 1), None),
    ],
)
@pytest.mark.parametrize("box", [b"tkhd", b"mvhd"])
def test_matrix_of_track_and_movie_turn_and_mirror(
    make_video: MakeVideo,
    tmp_path: Path,
    box: bytes,
    matrix: tuple[int, int, int, int],
    orientation: int | None,
) -> None:
    data = bytearray(make_video(".mp4").read_bytes())
    a, b, c, d = (x << 16 for x in matrix)
    place = data.index(box) + 4 + (40 if box == b"tkhd" else 36)
    struct.pack_into(">5i", data, place, a, b, 0, c, d)
    assert read(tmp_path, bytes(data)).orientation == orientation


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll", "orientation"),
    [
        (0.0, 0.0, 0.0, None),
        (180.0, 0.0, 0.0, 2),
        (0.0, 0.0, 180.0, 3),
        (-180.0, 0.0, 180.0, 4),
        (180.0, 0.0, 90.0, 5),
        (0.0, 0.0, -90.0, 6),
        (180.0, 0.0, -90.0, 7),
        (0.0, 0.0, 90.0, 8),
        (0.0, 10.0, 90.0, None),
        (30.0, 0.0, 90.0, None),
        (0.0, 0.0, 45.0, None),
        (0.0, 0.0, math.nan, None),
    ],
)
def test_projection_of_a_matroska_turns_and_mirrors(
    tmp_path: Path, yaw: float, pitch: float, roll: float, orientation: int | None
) -> None:
    def element(kind: int, content: bytes) -> bytes:
        return kind.to_bytes((kind.bit_length() + 7) // 8) + bytes([0x80 + len(content)]) + content

    turns = zip((0x7673, 0x7674, 0x7675), (yaw, pitch, roll), strict=True)
    values = b"".join(element(kind, struct.pack(">d", turn)) for kind, turn in turns)
    sound = element(0xAE, element(0x83, b"\2"))
    picture = element(0xAE, element(0x83, b"\1") + element(0xE0, element(0x7670, values)))
    tracks = element(0x1654AE6B, sound + picture)
    data = element(0x1A45DFA3, b"") + element(0x18538067, tracks)
    assert read(tmp_path, data) == Container(0, True, orientation)


def test_time_of_the_last_picture_is_that_of_the_part_that_is_shown(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    data = bytearray(make_video(".mp4").read_bytes())
    assert read(tmp_path, bytes(data)).last_s == 2.4
    edit = data.index(b"elst") + 4 + 8
    struct.pack_into(">Ii", data, edit, 1500, 1024 * 10)
    assert read(tmp_path, bytes(data)).last_s == 1.4
    struct.pack_into(">Ii", data, edit, 500, 1024 * 10)
    assert read(tmp_path, bytes(data)).last_s == 0.5
    struct.pack_into(">Ii", data, edit, 500, -1)  # an empty span before all of it
    assert read(tmp_path, bytes(data)).last_s == 2.4
    assert read(tmp_path, bytes(data).replace(b"stts", b"none")).last_s is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"\x1aE\xdf\xa3",
        b"0&\xb2u\x8ef\xcf\x11",
        b"\0\0\0\x08ftyp",
        b"\0\0\0\x08moov",
        b"\0\0\0\x10moov\0\0\0\x08mvhd",
        b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x80",
        b"\0\0\0\x20moov\0\0\0\x18trak\0\0\0\x10mdia\0\0\0\x08hdlr",
    ],
    ids=repr,
)
def test_what_is_no_whole_header_tells_nothing_missing(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data).missing == 0
