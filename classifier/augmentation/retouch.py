"""Change the texture or the colours of a patch, not its content. Knows no face and no label."""

from __future__ import annotations

import cv2
import numpy as np

from roi_cls.roi.image import Image

_DRAWN_FOR_PX = 256  # the crop size that lengths in pixels below are meant at


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
