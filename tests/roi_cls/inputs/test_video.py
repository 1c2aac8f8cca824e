"""Videos become upright frames at a distance in time or in frames, and refusals that say why."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import ImageReadError
from roi_cls.inputs.video import Every, read_frames
from roi_cls.roi.image_header import MAX_PIXELS, is_video
from tests.helpers.pictures import save_clip

MakeVideo = Callable[..., Path]
FRAMES, PER_SECOND = 25, 10
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """Write a video of 2.5 s, 64 x 48 px: red grows from the left, the top is white."""

    def make(suffix: str) -> Path:
        path = tmp_path_factory.mktemp("video") / f"clip{suffix}"
        frames = np.zeros((FRAMES, 48, 64, 3), np.uint8)
        for i, frame in enumerate(frames):
            frame[:, : 2 * i] = (255, 0, 0)
            frame[:10] = 255
        return save_clip(path, frames, PER_SECOND, CODECS[suffix])

    return make


def times(path: Path, every: str = "0.5s") -> list[float]:
    frames = read_frames(path, path.name, Every.parse(every), MAX_PIXELS)
    return [frame.time_s for frame in frames]


def refusal(path: Path, **limits: int) -> str:
    with pytest.raises(ImageReadError) as caught:
        list(read_frames(path, "clip", Every(frames=1), limits.get("max_pixels", MAX_PIXELS)))
    return str(caught.value)


@pytest.mark.parametrize("suffix", CODECS)
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


def test_frames_are_turned_as_the_file_says(make_video: MakeVideo, tmp_path: Path) -> None:
    """A phone that is held upright films lying frames, and writes down how to turn them."""
    data = bytearray(make_video(".mp4").read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version 0: times, reserved, layer
    assert struct.unpack_from(">9i", data, matrix)[0] == 1 << 16
    struct.pack_into(">9i", data, matrix, 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    (frame,) = read_frames(turned, "clip", Every(seconds=60), MAX_PIXELS)
    assert frame.image.shape == (64, 48, 3)
    assert (frame.image[:, -8:] > 200).all()  # the white top is at the right
    assert (frame.image[:, :30] < 60).all()


def test_frames_are_read_one_by_one(make_video: MakeVideo) -> None:
    frames = read_frames(make_video(".avi"), "clip", Every(frames=1), MAX_PIXELS)
    assert next(frames).time_s == 0
    frames.close()  # type: ignore[attr-defined]  # it is a generator
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
