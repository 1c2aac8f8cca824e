"""Colours as a file means them, brought to sRGB. Knows profiles and pixels, neither file nor face.

What a file says of its colours is an ICC profile, or the few numbers that stand for one in PNG,
AVIF and HEIC; those are made into a profile here, so that there is one way from either to sRGB:
LittleCMS, through Pillow. As browsers do, the perceptual intent is taken, without black point
compensation; profiles of three primaries, all but a few of pictures' own, know one intent only.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageCms

from roi_cls.roi.image_header import CODES, GAMMA, Space

Point = tuple[float, float]
"""x and y of a colour, by CIE 1931."""
Corners = Sequence[Point]
_STRIP = 256
"""Rows converted at once: Pillow takes copies, of a picture of 100 MP two of 400 MB."""
_SAME = 1
"""Of 255: so far a profile may be from sRGB and still be taken for it; many are copies of it."""
_LONGEST_NAME = 60
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    1: ("sRGB", ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))),
    2: ("sRGB", ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))),  # not said
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))),
    12: ("Display P3", ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))),
}
"""Name and chromaticities, by ITU-T H.273; of all of these white is D65."""
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15), _SRGB_CURVE),  # a video camera's is shown as sRGB's
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
}
_HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}
_D50 = np.array([0.9642, 1.0, 0.8249])  # ICC's own white
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# What Pillow raises for a damaged profile, and what unpacking one's numbers does.
_BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError, ArithmeticError, struct.error)


class _IgnoredError(Exception):
    """Carries why a profile is not followed."""


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """What the numbers of a picture mean."""

    name: str | None = None
    """Of the profile, as it calls itself; None: the file has none, or none that can be read."""
    note: str | None = None
    """For a row: the profile that is applied, or ``ignored:`` and why; None: it is sRGB."""
    transform: ImageCms.ImageCmsTransform | None = None
    """Brings the numbers to sRGB; None: they are taken for it."""

    def as_stored(self) -> Colours:
        """Return that the numbers are taken as they are, though a profile may say otherwise."""
        return Colours(self.name, f"ignored: {self.name}") if self.transform else self

    def to_srgb(self, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (height, width, 3) sRGB: the same array where there is nothing to change.

        Args:
            samples: (height, width, 3) RGB or repeated grey, (height, width, 4) CMYK; uint8.
        """
        transform = self.transform
        if transform is None:
            return samples
        if transform.input_mode == "L":
            samples = samples[..., 0]
        converted = np.empty((*samples.shape[:2], 3), np.uint8)
        for start in range(0, len(samples), _STRIP):
            strip = np.ascontiguousarray(samples[start : start + _STRIP])
            picture = PillowImage.fromarray(strip, transform.input_mode)
            converted[start : start + _STRIP] = transform.apply(picture)
        return converted


@lru_cache(maxsize=16)  # a data set has few; one of printing inks takes a megabyte or two
def read_colours(said: bytes, space: Space) -> Colours:
    """Return what a file says of its colours.

    Args:
        said: An ICC profile, or ``CODES`` and two bytes (primaries and transfer function by H.273),
            or ``GAMMA`` and the bodies of PNG's gAMA and cHRM, of which the latter may be missing.
        space: Of the picture's samples.
    """
    if not said:
        return Colours()
    name = None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(_as_profile(said)))
        name = _legible(ImageCms.getProfileDescription(profile))
        transform = _make_transform(profile, space)
        return Colours(name, name if transform else None, transform)
    except _IgnoredError as error:
        return Colours(name, f"ignored: {error}")
    except _BROKEN:
        return Colours(name, "ignored: broken")


def _make_transform(
    profile: ImageCms.ImageCmsProfile, space: Space
) -> ImageCms.ImageCmsTransform | None:
    """Return the way to sRGB; None where it changes nothing that can be seen."""
    said = _legible(profile.profile.xcolor_space)
    meant = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(said)
    if meant != space and not (meant == "RGB" and space == "L"):  # grey is RGB of equal parts
        raise _IgnoredError(f"a profile of {said}")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    transform = ImageCms.ImageCmsTransform(profile, srgb, meant, "RGB", ImageCms.Intent.PERCEPTUAL)
    if meant == "CMYK":
        return transform
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(18, -1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    probe = greys if space == "L" else cube
    apart = np.abs(Colours(None, None, transform).to_srgb(probe).astype(int) - probe)
    return None if apart.max() <= _SAME else transform


def _legible(text: str) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words[:_LONGEST_NAME] or "unnamed"


def _as_profile(said: bytes) -> bytes:
    kind, body = said[:4], said[4:]
    if kind == GAMMA:
        return _profile_of_gamma(body)
    if kind != CODES:
        return said
    primaries, transfer = body
    if transfer in _HDR:
        raise _IgnoredError(_HDR[transfer])
    if primaries not in _PRIMARIES or transfer not in _CURVES:
        raise _IgnoredError(f"colour codes {primaries} and {transfer}")
    name, corners = _PRIMARIES[primaries]
    return make_profile(name, corners, _D65, _CURVES[transfer])


def _profile_of_gamma(body: bytes) -> bytes:
    """Return the profile of PNG's gAMA and cHRM, in 1/100,000."""
    gamma, *points = (value / 100_000 for value in struct.unpack(f">{len(body) // 4}I", body))
    # 1/2.2 is how programs without a profile write that it is sRGB.
    curve = _SRGB_CURVE if abs(gamma * 2.2 - 1) < 0.02 else (1 / gamma,)
    if not points:
        return make_profile(f"gamma {1 / gamma:.2f}", _PRIMARIES[1][1], _D65, curve)
    white, *own = zip(points[::2], points[1::2], strict=True)
    return make_profile(f"gamma {1 / gamma:.2f}, own primaries", own, white, curve)


def make_profile(name: str, corners: Corners, white: Point, curve: Sequence[float]) -> bytes:
    """Return an ICC profile (version 4) of three primaries and one curve for all of them.

    Args:
        name: What it calls itself.
        corners: x and y of red, green and blue, by CIE 1931.
        white: x and y.
        curve: The exponent alone, or the five numbers of sRGB's kind: ICC's parametric curve 3.

    Raises:
        ValueError, ArithmeticError: No colours have these primaries.
    """
    seen = _BRADFORD @ _D50 / (_BRADFORD @ _as_xyz(white))
    towards = np.linalg.inv(_BRADFORD) @ np.diag(seen) @ _BRADFORD  # the eye adapts to ICC's white
    columns = np.stack([_as_xyz(corner) for corner in corners], axis=1)
    try:
        columns = towards @ (columns * np.linalg.solve(columns, _as_xyz(white)))
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries lie on one line") from error
    text = name.encode("utf-16-be")
    shape = 0 if len(curve) == 1 else 3
    tags = [(b"desc", b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", len(text), 28) + text)]
    tags.append((b"wtpt", _pack_xyz(_D50)))
    for i, letter in enumerate((b"r", b"g", b"b")):
        tags.append((letter + b"XYZ", _pack_xyz(columns[:, i])))
        tags.append((letter + b"TRC", b"para" + struct.pack(">4xHxx", shape) + _pack_fixed(curve)))
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, value in tags:
        table += tag + struct.pack(">II", place + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI12s", place + len(body), 0x04000000, b"mntrRGB XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + _pack_fixed(_D50)
    return head.ljust(128, b"\0") + table + body


def _as_xyz(point: Point) -> NDArray[np.float64]:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _pack_xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _pack_fixed(values)


def _pack_fixed(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
