"""Videos become upright frames at a distance in time or in frames, and refusals that say why."""

import errno
import itertools
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import ImageReadError
from roi_cls.inputs import video
from roi_cls.inputs.container import Container
from roi_cls.inputs.video import Every, read_frames
from roi_cls.roi.image_header import MAX_PIXELS, is_video

MakeVideo = Callable[..., Path]
FRAMES, PER_SECOND = 25, 10


def times(path: Path, every: str = "0.5s") -> list[float]:
    frames = read_frames(path, path.name, Every.parse(every), MAX_PIXELS)
    return [frame.time_s for frame in frames]


def refusal(path: Path, **limits: int) -> str:
    with pytest.raises(ImageReadError) as caught:
        list(read_frames(path, "clip", Every(frames=1), limits.get("max_pixels", MAX_PIXELS)))
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm", ".ts", ".wmv"])
@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("0.5s", [0.0, 0.5, 1.0, 1.5, 2.0]),
        ("0.7s", [0.0, 0.7, 1.4, 2.1]),
        ("0.25s", [0.0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8, 2.0, 2.3]),
        ("1m", [0.0]),
        ("500ms", [0.0, 0.5, 1.0, 1.5, 2.0]),
        ("10f", [0.0, 1.0, 2.0]),
        ("1f", [i / PER_SECOND for i in range(FRAMES)]),
        ("0.01s", [i / PER_SECOND for i in range(FRAMES)]),
    ],
)
def test_frames_come_at_the_distance_that_was_asked_for(
    make_video: MakeVideo, suffix: str, every: str, expected: list[float]
) -> None:
    assert times(make_video(suffix), every) == expected


def test_frames_are_rgb_and_their_own(make_video: MakeVideo) -> None:
    frames = list(read_frames(make_video(".avi"), "clip", Every(frames=12), MAX_PIXELS))
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 3
    assert {frame.image.dtype for frame in frames} == {np.dtype(np.uint8)}
    assert (frames[0].image[20:] < 40).all()  # MJPEG loses a little
    red = frames[2].image[30, 20].tolist()
    assert red[0] > 200 > 60 > max(red[1:])


def set_matrix(data: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """Return an MP4 whose track is seen by this matrix."""
    changed = bytearray(data)
    place = data.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">5i", data, place) == (1 << 16, 0, 0, 0, 1 << 16)
    struct.pack_into(">5i", changed, place, a << 16, b << 16, 0, c << 16, d << 16)
    return bytes(changed)


@pytest.mark.parametrize(
    ("matrix", "where"),
    [
        ((1, 0, 0, 1), "top left"),
        ((-1, 0, 0, 1), "top right"),
        ((-1, 0, 0, -1), "bottom right"),
        ((1, 0, 0, -1), "bottom left"),
        ((0, 1, 1, 0), "left top"),
        ((0, 1, -1, 0), "right top"),  # a phone that is held upright
        ((0, -1, -1, 0), "right bottom"),
        ((0, -1, 1, 0), "left bottom"),
    ],
)
def test_frames_are_turned_and_mirrored_as_the_file_says(
    make_video: MakeVideo, tmp_path: Path, matrix: tuple[int, int, int, int], where: str
) -> None:
    """The stored frame is white at the top and, below that, red from the left."""
    path = tmp_path / "turned.mp4"
    path.write_bytes(set_matrix(make_video(".mp4").read_bytes(), *matrix))
    *_, frame = (each.image for each in read_frames(path, "clip", Every(frames=12), MAX_PIXELS))
    white, red = where.split()
    sides = {"top": frame[:8], "bottom": frame[-8:], "left": frame[:, :8], "right": frame[:, -8:]}
    assert frame.shape == ((48, 64, 3) if white in ("top", "bottom") else (64, 48, 3))
    middle = np.median(sides[white], axis=(0, 1))
    assert (middle > 200).all()
    assert np.median(sides[red], axis=(0, 1))[0] > 150


def test_pixels_that_are_not_square_are_made_square(make_video: MakeVideo, tmp_path: Path) -> None:
    data = bytearray(make_video(".mp4").read_bytes())
    size = data.index(b"tkhd") + 4 + 76
    assert struct.unpack_from(">2I", data, size) == (64 << 16, 48 << 16)
    shapes = []
    for width, height in ((128, 48), (64, 96), (64, 48)):
        struct.pack_into(">2I", data, size, width << 16, height << 16)
        path = tmp_path / "wide.mp4"
        path.write_bytes(set_matrix(bytes(data), 0, 1, -1, 0))
        (frame,) = read_frames(path, "clip", Every(seconds=60), MAX_PIXELS)
        shapes.append(frame.image.shape)
        with pytest.raises(ImageReadError, match=rf"its frames have {width} x {height} pixels"):
            list(read_frames(path, "clip", Every(seconds=60), width * height - 1))
    assert shapes == [(128, 48, 3), (64, 96, 3), (64, 48, 3)]


def test_frames_are_read_one_by_one(make_video: MakeVideo) -> None:
    frames = read_frames(make_video(".avi"), "clip", Every(frames=1), MAX_PIXELS)
    assert next(frames).time_s == 0
    frames.close()  # type: ignore[attr-defined]  # reason: it is a generator
    assert list(frames) == []


def test_video_that_is_cut_off_is_refused_after_what_there_is(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    data = make_video(".avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) // 2])
    frames = read_frames(cut, "clip", Every(seconds=60), MAX_PIXELS)
    assert next(frames).time_s == 0
    with pytest.raises(ImageReadError) as caught:
        next(frames)
    assert re.fullmatch(
        r"Cannot read 'clip': it is cut off after \d\.\d s: \d\.\d KB are missing at its end\. "
        r"Remove it, or copy or export it again, as MP4 with H\.264\.",
        str(caught.value),
    )


def test_mp4_without_its_end_is_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    data = make_video(".mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) // 2])
    assert refusal(cut).startswith("Cannot read 'clip': it is cut off: ")


def test_large_frames_are_refused_before_they_are_decoded(make_video: MakeVideo) -> None:
    assert refusal(make_video(".mp4"), max_pixels=64 * 48 - 1) == (
        "Cannot read 'clip': its frames have 64 x 48 pixels, over the limit of 3071. "
        "Shrink it, or raise --max-pixels."
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd", "it is not a video (it begins with b'#EXTM"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'", "it is not a video (it begins with b'ffcon"),
    ],
    ids=["empty", "playlist", "concat"],
)
def test_what_is_no_video_is_refused_before_ffmpeg_sees_it(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    assert refusal(path).startswith(f"Cannot read 'clip': {reason}")


def test_missing_video_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.mp4") == ("Cannot read 'clip': no such file. Check the path.")


def test_trimmed_video_is_whole(make_video: MakeVideo, tmp_path: Path) -> None:
    """A cut without coding anew keeps the frames since the last whole one, and hides them."""
    data = bytearray(make_video(".mp4").read_bytes())
    edit = data.index(b"elst") + 4 + 8
    ticks = 1024  # of a frame
    assert struct.unpack_from(">Ii", data, edit) == (2500, 0)
    struct.pack_into(">Ii", data, edit, 1500, 10 * ticks)
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(data)
    assert times(path, "1f") == [i / PER_SECOND for i in range(15)]


def test_sound_may_last_longer_than_the_picture(make_video: MakeVideo, tmp_path: Path) -> None:
    data = bytearray(make_video(".mkv").read_bytes())
    place = data.index(b"\x44\x89\x88") + 3
    assert struct.unpack_from(">d", data, place) == (2500.0,)
    struct.pack_into(">d", data, place, 60_000.0)
    path = tmp_path / "sound.mkv"
    path.write_bytes(data)
    assert times(path) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_frames_may_last_as_long_as_they_like(make_video: MakeVideo, tmp_path: Path) -> None:
    data = bytearray(make_video(".mkv").read_bytes())
    first = data.index(b"\x1f\x43\xb6\x75")  # a cluster
    block = re.compile(rb"\xa3(?:[\x80-\xff]|[\x40-\x7f].)\x81(..)", re.DOTALL)
    blocks = list(block.finditer(data, first))
    assert len(blocks) == FRAMES
    for number, match in enumerate(blocks):  # after two seconds' worth it is one a second
        late_ms = 100 * number if number < 20 else 2000 + 1000 * (number - 20)
        struct.pack_into(">h", data, match.start(1), late_ms)
    path = tmp_path / "rate.mkv"
    path.write_bytes(data)
    assert times(path, "1s") == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_videos_put_one_after_another_go_on(make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "both.ts"
    path.write_bytes(make_video(".ts").read_bytes() * 2)
    assert times(path) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".wmv"])
def test_cut_video_is_refused_after_what_there_is(
    make_video: MakeVideo, tmp_path: Path, suffix: str
) -> None:
    data = make_video(suffix).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    assert re.match(
        r"Cannot read 'clip': it is cut off after [12]\.\d s: [\d.]+ K?B are missing at its end\. ",
        refusal(cut),
    )


def test_damage_that_the_decoder_meets_is_told_after_the_rest(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    data = make_video(".avi").read_bytes()
    middle, some = len(data) // 2, len(data) // 10
    path = tmp_path / "broken.avi"
    path.write_bytes(data[:middle] + bytes(some) + data[middle + some :])
    frames = read_frames(path, "clip", Every(frames=1), MAX_PIXELS)
    assert len(list(itertools.islice(frames, 16))) == 16  # also behind the damage
    with pytest.raises(ImageReadError) as caught:
        list(frames)
    assert re.fullmatch(
        r"Cannot read 'clip': it is damaged: after [01]\.\d s a part of it cannot be decoded\. "
        r"Remove it, or copy or export it again, as MP4 with H\.264\.",
        str(caught.value),
    )


def test_end_that_no_decoder_reaches_is_told(make_video: MakeVideo, tmp_path: Path) -> None:
    data = make_video(".mp4").read_bytes()
    path = tmp_path / "empty-end.mp4"
    middle, end = 1000, data.index(b"moov") - 4
    path.write_bytes(data[:middle] + bytes(end - middle) + data[end:])
    assert re.match(
        r"Cannot read 'clip': it is damaged: after 1\.\d of 2\.4 s nothing can be decoded\. ",
        refusal(path),
    )


def test_codec_that_cannot_be_decoded_is_named(make_video: MakeVideo, tmp_path: Path) -> None:
    data, known = make_video(".mkv").read_bytes(), b"V_MPEG4/ISO/ASP"
    path = tmp_path / "new.mkv"
    path.write_bytes(data.replace(known, b"V_AV1".ljust(len(known), b"\0")))
    assert refusal(path) == (
        "Cannot read 'clip': no frame of it can be decoded (it is coded as 'AV01'). Remove it, or "
        "copy or export it again, as MP4 with H.264."
    )


def test_sound_alone_is_no_video(make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    path.write_bytes(make_video(".mp4").read_bytes().replace(b"vide", b"soun"))
    assert refusal(path) == (
        "Cannot read 'clip': it has no picture track, only sound. Give a video with pictures, or "
        "leave it out."
    )


def test_disk_that_fails_is_told(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> Container:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(video, "read_container", fail)
    assert refusal(make_video(".mp4")) == (
        "Cannot read 'clip': input/output error. Check the path and the disk."
    )


def test_file_is_closed_when_its_reader_stops(make_video: MakeVideo) -> None:
    frames = read_frames(make_video(".avi"), "clip", Every(frames=1), MAX_PIXELS)
    next(frames)
    place = Path("/proc/self/fd")
    links = [link.readlink().name for link in place.iterdir() if link.is_symlink()]
    assert "clip.avi" in links
    frames.close()  # type: ignore[attr-defined]  # reason: it is a generator
    links = [link.readlink().name for link in place.iterdir() if link.is_symlink()]
    assert "clip.avi" not in links


@pytest.mark.parametrize("text", ["0s", "0f", "x", "-1s", "5", "1.5f", "1h", "", "s"])
def test_what_is_no_distance_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r" is no distance between frames; write it like 0\.5s or"):
        Every.parse(text)


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"\0\0\0\x1cftypisom", True),
        (b"\0\0\0\x14ftypqt  ", True),
        (b"\0\0\0\x1cftypheic", False),
        (b"\0\0\0\x1cftypavif", False),
        (b"\0\0\0\x1cftypcrx ", False),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"\x1aE\xdf\xa3\x9f", True),
        (b"G" + b"\0" * 187 + b"G", True),
        (b"GIF89a", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"", False),
    ],
    ids=repr,
)
def test_videos_are_told_by_their_bytes(head: bytes, is_one: bool) -> None:
    assert is_video(head) is is_one
