"""PNGs of 8 bits, which kornia-rs decodes: every pixel right, or refused; the rest is OpenCV's."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kornia_rs.io
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from roi_cls.base.errors import ImageReadError
from roi_cls.roi import image as image_module
from roi_cls.roi.decoders import decode_by_kornia
from roi_cls.roi.image import decode_image
from roi_cls.roi.image_header import DamagedError, UndecodableError
from tests.helpers.pictures import encode, noise, png_chunk

CHANNELS = {0: 1, 2: 3, 6: 4}
FILTERS = range(5)
"""None, Sub, Up, Average, Paeth."""
WHOLE = ((0, 0, 1, 1),)
ADAM7 = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
)  # fmt: skip
"""First row and column, and steps, of each pass."""
SAMPLES = noise(9, 11, 3)


def pack_rows(samples: NDArray[np.uint8], filters: Sequence[int]) -> bytes:
    """Return the rows as PNG compresses them; the filters are taken in turns."""
    channels = samples.shape[2]
    above = np.zeros(samples.shape[1] * channels, np.int64)
    rows = []
    for i, row in enumerate(samples.reshape(len(samples), -1).astype(np.int64)):
        kind = filters[i % len(filters)]
        left, corner = (np.r_[np.zeros(channels, np.int64), r[:-channels]] for r in (row, above))
        guess = left + above - corner
        near_left, near_above, near_corner = (abs(guess - v) for v in (left, above, corner))
        nearest = np.where(near_above <= near_corner, above, corner)
        is_left = (near_left <= near_above) & (near_left <= near_corner)
        paeth = np.where(is_left, left, nearest)
        foretold = (0 * row, left, above, (left + above) // 2, paeth)[kind]
        rows.append(bytes([kind]) + ((row - foretold) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(rows)


def join_png(
    header: tuple[int, ...], packed: bytes, *extra: bytes, lengths: Sequence[int] = ()
) -> bytes:
    """Return a file whose compressed pixels are split into chunks of these lengths and the rest."""
    parts = []
    for length in lengths:
        parts.append(packed[:length])
        packed = packed[length:]
    body = [png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *extra]
    body += [png_chunk(b"IDAT", part) for part in (*parts, packed)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*body, png_chunk(b"IEND", b"")])


def write_png(
    samples: NDArray[np.uint8],
    filters: Sequence[int] = (0,),
    *,
    is_interlaced: bool = False,
    level: int = 6,
    lengths: Sequence[int] = (),
) -> bytes:
    """Return (height, width, channels) as a file."""
    height, width, channels = samples.shape
    color = {count: color for color, count in CHANNELS.items()}[channels]
    passes = [samples[y::down, x::right] for y, x, down, right in (WHOLE, ADAM7)[is_interlaced]]
    rows = b"".join(pack_rows(part, filters) for part in passes if part.size)
    header = (width, height, 8, color, 0, 0, int(is_interlaced))
    return join_png(header, zlib.compress(rows, level), lengths=lengths)


def recompress(packed: bytes) -> bytes:
    """Return the 9 by 11 picture with other bytes as its pixels, under right checksums."""
    return join_png((11, 9, 8, 2, 0, 0, 0), packed)


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    with PillowImage.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert("RGB") if picture.mode == "L" else picture)


@settings(max_examples=300)
@given(
    st.sampled_from([1, 3, 4]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.sampled_from(FILTERS), min_size=1, max_size=9),
    st.booleans(),
    st.integers(0, 9),
    st.lists(st.integers(0, 50), max_size=4),
    st.sampled_from([1, 4, 256]),
    st.integers(0, 99),
)
def test_every_way_to_write_a_png_gives_its_pixels(
    channels: int,
    size: tuple[int, int],
    filters: list[int],
    is_interlaced: bool,
    level: int,
    lengths: list[int],
    values: int,
    seed: int,
) -> None:
    samples = noise(*size, channels, high=values, seed=seed)
    data = write_png(samples, filters, is_interlaced=is_interlaced, level=level, lengths=lengths)
    color = {count: color for color, count in CHANNELS.items()}[channels]
    pixels = decode_by_kornia(data, size, color)
    wanted = np.repeat(samples, 3, axis=2) if channels == 1 else samples
    np.testing.assert_array_equal(pixels, wanted)
    np.testing.assert_array_equal(pixels, by_pillow(data))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"optimize": True}])
def test_what_pillow_writes_is_what_pillow_reads(mode: str, options: dict[str, Any]) -> None:
    picture = PillowImage.fromarray(noise(70, 90, 4)).convert(mode)
    data = encode(picture, "PNG", **options)
    color = {"L": 0, "RGB": 2, "RGBA": 6}[mode]
    np.testing.assert_array_equal(decode_by_kornia(data, (70, 90), color), by_pillow(data))


@pytest.mark.parametrize(
    ("mode", "options", "decoder"),
    [
        ("L", {}, "kornia"),
        ("RGB", {}, "kornia"),
        ("RGBA", {}, "kornia"),
        ("RGB", {"icc_profile": b"unknown"}, "kornia"),
        ("1", {}, "opencv"),
        ("P", {}, "opencv"),
        ("LA", {}, "opencv"),
        ("I;16", {}, "opencv"),
        ("L", {"transparency": 3}, "opencv"),
        ("RGB", {"transparency": (1, 2, 3)}, "opencv"),
        ("P", {"transparency": 3}, "opencv"),
    ],
)
def test_one_kind_has_one_decoder(
    mode: str, options: dict[str, Any], decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = PillowImage.fromarray(noise(9, 11, high=2)).convert(mode)
    data = encode(picture, "PNG", **options)
    asked = []
    for name in ("kornia", "opencv"):

        def refuse(*_: object, name: str = name) -> None:
            asked.append(name)
            raise UndecodableError("no")

        monkeypatch.setattr(image_module, f"decode_by_{name}", refuse)
    with pytest.raises(ImageReadError, match="no"):
        decode_image(data, "a")
    assert asked == [decoder]


ROWS = pack_rows(SAMPLES, FILTERS)
PACKED = zlib.compress(ROWS)
DAMAGED = {
    "no bytes": b"",
    "too few rows": zlib.compress(ROWS[:-34]),
    "a byte too few": zlib.compress(ROWS[:-1]),
    "cut among the pixels": PACKED[:-40],
    "cut behind them": PACKED[:-5],
    "no head": PACKED[2:],
    "a wrong head": b"\x78\x00" + PACKED[2:],
    "an unknown dictionary": b"\x78\xbb" + PACKED[2:],
    "an unknown filter": zlib.compress(ROWS[:-34] + b"\7" + ROWS[-33:]),
    "no deflate": PACKED[:2] + b"\xff" * 50,
}
HARMLESS = {
    "nothing": PACKED,
    "rows too many": zlib.compress(ROWS + bytes(100_000)),
    "bytes behind them": PACKED + b"tail" * 9,
    "a wrong Adler-32": PACKED[:-4] + b"abcd",
    "no Adler-32": PACKED[:-4],
}


@pytest.mark.parametrize("harm", DAMAGED)
def test_damage_under_right_checksums_is_refused_quietly(
    harm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ImageReadError) as caught:
        decode_image(recompress(DAMAGED[harm]), "a")
    assert caught.value.is_damaged
    assert caught.value.reason.startswith("its pixel data are damaged (")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_reason_is_the_decoders() -> None:
    with pytest.raises(ImageReadError) as caught:
        decode_image(recompress(DAMAGED["an unknown filter"]), "a")
    assert caught.value.reason == "its pixel data are damaged (Unknown filter method 7.)"


@pytest.mark.parametrize("harm", HARMLESS)
def test_what_harms_no_pixel_is_read(harm: str) -> None:
    np.testing.assert_array_equal(decode_image(recompress(HARMLESS[harm]), "a"), SAMPLES)


def test_wrong_checksum_is_told_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(write_png(SAMPLES))
    data[data.index(b"IDAT") + 9] ^= 1
    with pytest.raises(ImageReadError, match=r"\(wrong checksum in PNG chunk IDAT\)"):
        decode_image(bytes(data), "a")
    assert capfd.readouterr() == ("", "")


def test_other_size_than_the_header_says_is_refused() -> None:
    data = write_png(SAMPLES)
    for shape in ((9, 12), (8, 11), (11, 9)):
        with pytest.raises(DamagedError, match="Resolution"):
            decode_by_kornia(data, shape, 2)


@settings(max_examples=500)
@given(
    st.integers(2, len(PACKED) - 1),
    st.binary(min_size=1, max_size=6),
    st.sampled_from(["overwrite", "insert", "cut"]),
)
def test_any_damage_under_right_checksums_is_pixels_or_an_error(
    place: int, new: bytes, kind: str
) -> None:
    tail = PACKED[place + (len(new) if kind == "overwrite" else 0) :]
    data = recompress(PACKED[:place] + (b"" if kind == "cut" else new + tail))
    try:
        pixels = decode_image(data, "a")
    except ImageReadError as error:
        reason = error.reason
    else:
        reason = "its pixel data are damaged, and nobody can tell"
        assert pixels.shape == SAMPLES.shape
    assert reason.startswith("its pixel data are damaged")


def test_want_of_memory_is_told_before_kornia_panics(capfd: pytest.CaptureFixture[str]) -> None:
    for color in CHANNELS:
        with pytest.raises(MemoryError):
            decode_by_kornia(write_png(SAMPLES), (2**26, 2**30), color)
    assert capfd.readouterr() == ("", "")


# The MemoryError in which a panic finds Python is reported as one that nobody could raise.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_panic_becomes_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(np, "empty", lambda *_: None)
    with pytest.raises(DamagedError, match="its pixel data are damaged") as caught:
        decode_by_kornia(write_png(SAMPLES), (2**26, 2**30), 2)
    assert not isinstance(caught.value.__cause__, Exception)
    assert "panicked" in capfd.readouterr().err


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, TypeError])
def test_what_is_not_of_the_picture_passes(
    interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise interrupt

    monkeypatch.setattr(kornia_rs.io, "decode_image_png_u8", fail)
    with pytest.raises(interrupt):
        decode_by_kornia(write_png(SAMPLES), (9, 11), 2)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's count of pages")
def test_memory_is_given_back() -> None:
    whole = write_png(noise(300, 400, 3))
    broken = join_png((400, 300, 8, 2, 0, 0, 0), zlib.compress(bytes(300 * 1201))[:-9])

    def pages() -> int:
        for _ in range(250):
            decode_image(whole, "a")
            with pytest.raises(ImageReadError):
                decode_image(broken, "a")
        return int(Path("/proc/self/statm").read_text().split()[1])

    first = pages()
    assert (pages() - first) * 4096 < 20e6  # of 180 MB decoded
