"""10,000 mutated pictures: each is decoded or refused in words, never a crash, never a hang."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from roi_cls.errors import ImageReadError
from roi_cls.roi.image import decode_image

PICTURES = 10_000
MOST_PIXELS = 1_000_000
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
"""Bytes at which signs, lengths and markers change their meaning."""


def seeds() -> list[bytes]:
    """Return a small picture in each format and mode that is read."""
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (24, 31, 3), dtype=np.uint8))
    deep = Image.fromarray(random.integers(0, 65536, (24, 31), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "PNG", {}),
        (colour.convert("RGBA"), "PNG", {}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (colour, "JPEG", {"quality": 80}),
        (colour, "JPEG", {"progressive": True, "exif": turned}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "WEBP", {}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "BMP", {}),
        (colour, "TIFF", {}),
        (deep, "TIFF", {"compression": "tiff_lzw"}),
    ]
    return [encode(*kind) for kind in kinds]


def encode(picture: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield pictures with one to four of the faults that files get in the wild, or by intent."""
    random = np.random.default_rng(seed)
    given = seeds()
    for i in range(count):
        data = bytearray(given[i % len(given)])
        for _ in range(random.integers(1, 5)):
            mutate(data, given, random)
        yield bytes(data)


def mutate(data: bytearray, given: list[bytes], random: np.random.Generator) -> None:
    """Change the bytes in place; half of the places lie in the header, where most is decided."""
    length = max(1, len(data))
    at = int(random.integers(0, min(64, length) if random.random() < 0.5 else length))
    kind = random.integers(0, 6)
    if kind == 0:
        data[at : at + 1] = bytes([int(random.choice(INTERESTING))])
    elif kind == 1:
        data[at : at + 1] = bytes([int(random.integers(0, 256))])
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[at : at + int(random.integers(1, 16))]
    elif kind == 4:
        data[at:at] = random.bytes(int(random.integers(1, 16)))
    else:  # a part of another file, perhaps of another format
        other = given[int(random.integers(0, len(given)))]
        start = int(random.integers(0, len(other)))
        part = other[start : start + int(random.integers(1, 64))]
        data[at : at + len(part)] = part


@pytest.mark.slow
def test_mutated_pictures_are_decoded_or_refused_in_words() -> None:
    decoded = 0
    refusals: list[ImageReadError] = []
    for data in mutants(PICTURES, seed=1):
        try:
            image = decode_image(data, "mutant", max_pixels=MOST_PIXELS)
        except ImageReadError as error:
            refusals.append(error)
        else:
            assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
            assert 0 < image.shape[0] * image.shape[1] <= MOST_PIXELS
            decoded += 1
    assert all(str(error).startswith("Cannot read 'mutant': ") for error in refusals)
    assert all(error.reason and error.remedy for error in refusals)
    # Else nothing behind the headers was reached, or nothing was broken.
    assert min(decoded, len(refusals)) > PICTURES / 10
