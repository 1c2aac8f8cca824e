"""Soft patches of a picture, pixels moved or retouched within them. Knows no face and no label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.roi.image import Image

Point = tuple[float, float]
"""x before y, pixels of the picture."""
Matrix = NDArray[np.float64]
"""(2, 3) affine map of points: where a pixel goes."""
_Plane = NDArray[np.float32]
_CORNERS = 40  # of the polygon a blob is drawn as
_SHIFT = 4  # cv2's fixed-point coordinates: 1/16 px
_DRAWN_FOR_PX = 256  # side of the crop that retouching's lengths in pixels are meant at


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a picture, in whole pixels, that a defect is confined to."""

    left: int
    top: int
    right: int
    """Exclusive."""
    bottom: int
    """Exclusive."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns: ``picture[window.slices]``."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """A shape and how much of each pixel it covers."""

    window: Window
    alpha: NDArray[np.float32]
    """(height, width) of the window, 0 to 1."""


Drawn = tuple[Window, Image]
"""A window of the crop and what is to stand there: (height, width, 3) uint8."""


def enclose(low: Point, high: Point, size_px: int) -> Window:
    """Return the pixels between two corners that a square picture of ``size_px`` has.

    One pixel at least, if both corners lie outside.
    """
    left, top = (int(np.clip(np.floor(v), 0, size_px - 1)) for v in low)
    right, bottom = (int(np.clip(np.ceil(v), 1, size_px)) for v in high)
    return Window(left, top, max(right, left + 1), max(bottom, top + 1))


def draw_blob(
    center: Point, radius: float, blur: float, size_px: int, rng: np.random.Generator
) -> Blob:
    """Return a random rounded shape of about the area of a circle.

    Args:
        center: In the shape, roughly its middle.
        radius: Of the circle, pixels.
        blur: Softness of the edge: standard deviation, pixels.
        size_px: Side of the picture it is for.
        rng: Source of its form.
    """
    outline = _draw_outline(radius, rng) + center
    reach = 3 * blur + 1
    low, high = outline.min(axis=0) - reach, outline.max(axis=0) + reach
    window = enclose((low[0], low[1]), (high[0], high[1]), size_px)
    alpha = np.zeros((window.height, window.width), np.float32)
    corners = np.round((outline - (window.left, window.top)) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(alpha, [corners], 1.0, cv2.LINE_8, _SHIFT)
    soft = cv2.GaussianBlur(alpha, (0, 0), blur) if blur > 0 else alpha
    return Blob(window, np.asarray(soft, dtype=np.float32))


def _draw_outline(radius: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (corners, 2) points about (0, 0): a stretched, turned circle with a few waves."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    wave = np.arange(2, 6)[:, None]
    heights = rng.normal(0, 0.35 / wave)
    phases = rng.uniform(0, 2 * np.pi, wave.shape)
    ripple = 1 + (heights * np.cos(wave * angles + phases)).sum(axis=0)
    reach = radius * np.clip(ripple, 0.3, 2)
    stretch = np.exp(rng.uniform(-0.45, 0.45))
    x, y = reach * stretch * np.cos(angles), reach / stretch * np.sin(angles)
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Bend:
    """The result of a local warp."""

    pixels: Image
    """Of the window alone."""
    reach: Blob
    """How strongly it acts: 1 in the middle, 0 from the rim on."""


def ease(distance: NDArray[np.float32], flat: float) -> NDArray[np.float32]:
    """Return smooth weights: 1 in the middle, 0 from the rim on.

    Args:
        distance: From the middle; 1 at the rim.
        flat: Up to this distance the weight is 1; below 1.
    """
    share = np.clip((1 - distance) / np.float32(1 - flat), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


def lay(crop: Image, patch: Image, blob: Blob, opacity: float) -> Image:
    """Return the blob's window of the crop with the patch over it, as far as the blob covers."""
    weight = blob.alpha * np.float32(opacity)
    below = crop[blob.window.slices]
    return np.asarray(cv2.blendLinear(patch, below, weight, 1 - weight), dtype=np.uint8)


def about(center: Point, turn: float, scale: float, shift: Point) -> Matrix:
    """Return the map that turns by ``turn`` degrees and scales about a point, then shifts."""
    matrix = np.asarray(cv2.getRotationMatrix2D(center, turn, scale), dtype=np.float64)
    matrix[:, 2] += shift
    return matrix


def reflect(point: Point, across: Point) -> Matrix:
    """Return the map that mirrors at the line through a point, perpendicular to a direction."""
    length = math.hypot(*across)
    normal = np.divide(across, length) if length else np.array([1.0, 0.0])
    linear = np.eye(2) - 2 * np.outer(normal, normal)
    return np.column_stack([linear, np.subtract(point, linear @ point)])


def move_picture(picture: Image, matrix: Matrix, window: Window) -> Image:
    """Return what lies in the window once the picture is moved; beyond its edge it is mirrored."""
    local = matrix.copy()
    local[:, 2] -= (window.left, window.top)
    moved = cv2.warpAffine(
        picture,
        local,
        (window.width, window.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(moved, dtype=np.uint8)


def bend(picture: Image, center: Point, radius: float, rng: np.random.Generator) -> _Bend:
    """Return a disc of the picture swirled, pinched, bulged or rippled at random.

    Args:
        picture: (S, S, 3) uint8.
        center: Of the disc, pixels.
        radius: Of the disc, pixels.
        rng: Source of the kind and its strength.
    """
    low, high = np.subtract(center, radius), np.add(center, radius)
    window = enclose((low[0], low[1]), (high[0], high[1]), len(picture))
    dx = np.arange(window.left, window.right, dtype=np.float32)[None] - np.float32(center[0])
    dy = np.arange(window.top, window.bottom, dtype=np.float32)[:, None] - np.float32(center[1])
    reach = ease(np.sqrt(dx * dx + dy * dy) / np.float32(radius), 0.0)
    kind = (_swirl, _squeeze, _ripple)[rng.integers(3)]
    from_x, from_y = kind(dx, dy, reach, radius, rng)
    bent = cv2.remap(
        picture,
        from_x + np.float32(center[0]),
        from_y + np.float32(center[1]),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return _Bend(np.asarray(bent, dtype=np.uint8), Blob(window, reach))


def _swirl(
    dx: _Plane, dy: _Plane, reach: _Plane, radius: float, rng: np.random.Generator
) -> tuple[_Plane, _Plane]:
    """Return where each pixel comes from: its place turned about the centre."""
    angle = reach * np.float32(_signed(rng, 0.6, 2.5))
    cos, sin = np.cos(angle), np.sin(angle)
    return dx * cos - dy * sin, dx * sin + dy * cos


def _squeeze(
    dx: _Plane, dy: _Plane, reach: _Plane, radius: float, rng: np.random.Generator
) -> tuple[_Plane, _Plane]:
    """Return where each pixel comes from: further out (pinched) or further in (bulged)."""
    factor = np.exp(reach * np.float32(_signed(rng, 0.4, 1.0)))
    return dx * factor, dy * factor


def _ripple(
    dx: _Plane, dy: _Plane, reach: _Plane, radius: float, rng: np.random.Generator
) -> tuple[_Plane, _Plane]:
    """Return where each pixel comes from: a random smooth way off (Simard et al. 2003)."""
    cells = rng.normal(0, rng.uniform(0.15, 0.4) * radius, (*rng.integers(4, 9, 2), 2))
    height, width = reach.shape
    smooth = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    way = np.asarray(smooth, dtype=np.float32) * reach[..., None]
    return dx + way[..., 0], dy + way[..., 1]


def _signed(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice((-1, 1)))


def retexture(patch: Image, size_px: int, rng: np.random.Generator) -> Image:
    """Return the patch coarser, sharper, smeared, smoothed, compressed or grainy, at random.

    Args:
        patch: (height, width, 3) uint8, of any size.
        size_px: Side of the crop it is from: what is a fine grain in it depends on that.
        rng: Source of the kind and its strength.
    """
    kinds = (_coarsen, _sharpen, _smear, _smooth, _compress, _grain)
    changed = kinds[rng.choice(6, p=(0.3, 0.2, 0.2, 0.1, 0.1, 0.1))]
    return changed(patch, size_px / _DRAWN_FOR_PX, rng)


def recolour(patch: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return the patch with other gains and offsets of its channels and maybe other contrast.

    Args:
        patch: (height, width, 3) uint8.
        strength: 1: gains of up to 16 %, offsets of up to 20 of 255.
        rng: Source of the change.
    """
    levels = np.arange(256)[:, None]
    gains = np.exp(rng.uniform(-0.15, 0.15, 3) * strength)
    table = levels * gains + rng.uniform(-20, 20, 3) * strength  # (256, 3)
    if rng.random() < 0.5:
        middle = patch.mean()
        table = (table - middle) * np.exp(rng.uniform(-0.3, 0.3) * strength) + middle
    rounded = np.clip(np.round(table), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(patch, rounded[:, None]), dtype=np.uint8)


def _coarsen(patch: Image, unit: float, rng: np.random.Generator) -> Image:
    height, width = patch.shape[:2]
    share = rng.uniform(0.15, 0.6)
    small = (max(1, round(width * share)), max(1, round(height * share)))
    coarse = cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    large = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, dtype=np.uint8)


def _sharpen(patch: Image, unit: float, rng: np.random.Generator) -> Image:
    blurred = cv2.GaussianBlur(patch, (0, 0), unit * rng.uniform(1, 3))
    gain = rng.uniform(0.5, 1.5)
    return np.asarray(cv2.addWeighted(patch, 1 + gain, blurred, -gain, 0), dtype=np.uint8)


def _smear(patch: Image, unit: float, rng: np.random.Generator) -> Image:
    """Blur along one direction."""
    side = max(3, round(unit * rng.uniform(5, 25)))
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), rng.uniform(0, 180), 1)
    line = np.asarray(cv2.warpAffine(kernel, turn, (side, side)), dtype=np.float32)
    return np.asarray(cv2.filter2D(patch, -1, line / line.sum()), dtype=np.uint8)


def _smooth(patch: Image, unit: float, rng: np.random.Generator) -> Image:
    """Flatten fine texture and keep edges, as a painting does."""
    side = 2 * max(1, round(unit * rng.uniform(2, 5))) + 1
    return np.asarray(cv2.medianBlur(patch, side), dtype=np.uint8)


def _compress(patch: Image, unit: float, rng: np.random.Generator) -> Image:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(5, 31))]
    # RGB goes in and out as if it were BGR: the two chroma planes merely change their roles.
    _, encoded = cv2.imencode(".jpg", patch, quality)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def _grain(patch: Image, unit: float, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(patch.shape[:2], np.float32)
    blur = unit * rng.uniform(0.3, 1.5)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), blur), dtype=np.float32)
    soft *= rng.uniform(5, 14) / max(float(soft.std()), 1e-6)
    return np.asarray(np.clip(patch + soft[..., None], 0, 255), dtype=np.uint8)
