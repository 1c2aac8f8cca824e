"""Colour profiles that tests write, and pictures in their colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from roi_cls.roi.colour import make_profile

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
D65 = (0.3127, 0.3290)
SRGB_CORNERS = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GAMUTS = {
    "Display P3": (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), D65, SRGB_CURVE),
    "Adobe RGB (1998)": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), D65, (563 / 256,)),
    "ProPhoto RGB": (
        ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
        (0.3457, 0.3585),
        (1.8,),
    ),
}
PROFILES = {name: make_profile(name, *gamut) for name, gamut in GAMUTS.items()}
# Linear sRGB to each, as published (CSS Color 4); ProPhoto's is adapted from D65 to D50.
FROM_SRGB = {
    "Display P3": [[0.8224622, 0.1775380, 0], [0.0331942, 0.9668058, 0],
                   [0.0170826, 0.0723974, 0.9105199]],
    "Adobe RGB (1998)": [[0.7151256, 0.2848744, 0], [0, 1, 0], [0, 0.0411619, 0.9588381]],
    "ProPhoto RGB": [[0.5293, 0.3301, 0.1407], [0.0983, 0.8735, 0.0283],
                     [0.0169, 0.1177, 0.8655]],
}  # fmt: skip


def store(srgb: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return the numbers by which a picture in that profile says the colours of ``srgb``."""
    share = srgb / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = np.clip(light @ np.array(FROM_SRGB[name]).T, 0, 1)
    curve = GAMUTS[name][2]
    if len(curve) == 1:
        share = light ** (1 / curve[0])
    else:
        share = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(share * 255), np.uint8)
