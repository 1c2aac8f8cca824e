"""A picture that is decoded when, and at the scale, its pixels are needed. Writes nothing.

Colours are brought to sRGB at that scale, too: of a reduced picture that costs a part, and whether
means are taken before or after moves them by less than JPEG does.

A JPEG decoded at 1/2 costs 0.6 to 0.8 of decoding it in full and gives the means of blocks of
pixels (0.2 grey levels apart on average). Of other kinds those means are taken, so that a reduced
picture covers the same pixels and looks the same whatever the file.
"""

from __future__ import annotations

from functools import partial as fix
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from roi_cls.roi.colour import Colours
from roi_cls.roi.face import Box
from roi_cls.roi.image import (
    Header,
    Image,
    choose_colours,
    decode_pixels,
    naming_picture,
    read_header,
)
from roi_cls.roi.image_header import (
    MAX_PIXELS,
    DamagedError,
    JpegParts,
    PngParts,
    UndecodableError,
    read_orientation,
    sniff_kind,
)
from roi_cls.roi.params import ColorChoice

FACTORS = (1, 2, 4, 8)
"""By how much a picture can be reduced: what JPEG's blocks of 8 by 8 allow."""
_BLOCK = 8


class Picture:
    """An encoded picture, upright, whose pixels are decoded when they are first asked for.

    The arrays it gives are its own, kept and read-only: one per factor.
    """

    def __init__(
        self,
        data: bytes,
        name: Path | str,
        *,
        max_pixels: int = MAX_PIXELS,
        color: ColorChoice = "srgb",
        partial: bool = False,
    ) -> None:
        """Read the header; decode only the kinds whose size is not known otherwise.

        Args:
            data: The file.
            name: What errors call it.
            max_pixels: Larger pictures are refused.
            color: Bring colours to sRGB, or take their numbers as they are stored.
            partial: Of a damaged picture, take what its decoder can still give.

        Raises:
            ImageReadError: As ``decode_image`` raises it, for what the header tells.
            ValueError: ``max_pixels`` is below 1.
        """
        self._data, self._name, self._max_pixels = data, name, max_pixels
        self._color, self._partial = color, partial
        self._damage: DamagedError | None = None
        self._stored: dict[int, Image] = {}
        self._kept: dict[int, Image] = {}
        self._orientation = 1
        with naming_picture(name):
            self._header: Header | None = self._read_header()
        if isinstance(self._header, JpegParts | PngParts):
            self._orientation = read_orientation(self._header.exif)
            size = self._header.height, self._header.width
            self.height, self.width = size if self._orientation < 5 else size[::-1]
            self.colours = choose_colours(self._header.profile, self._header.space, color)
            """What the file says of its colours, and what is made of it."""
        else:
            self.height, self.width = self._as_stored(1).shape[:2]

    @classmethod
    def of(cls, image: Image) -> Self:
        """Return the picture of an upright (height, width, 3) RGB uint8 array, which it shares."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(
                f"image must be (height, width, 3) uint8, got {image.shape} {image.dtype}"
            )
        picture = cls.__new__(cls)
        picture._data, picture._name, picture._max_pixels = b"", "array", MAX_PIXELS
        picture._header, picture._orientation = None, 1
        picture._color, picture.colours = "stored", Colours()
        picture._partial, picture._damage = False, None
        picture._kept = {}
        picture._stored = {1: np.ascontiguousarray(image)}
        picture.height, picture.width = image.shape[:2]
        return picture

    @property
    def reduces_cheaply(self) -> bool:
        """Whether a reduced picture costs less than the full one: a grey or colour JPEG."""
        return isinstance(self._header, JpegParts) and self._header.is_reducible

    @property
    def damaged(self) -> str | None:
        """Why the picture was read in part; None: it is whole.

        Raises:
            ImageReadError: As ``pixels``: where none were asked for, they are decoded.
        """
        if not self._stored:
            self.reduced(FACTORS[-1])
        return None if self._damage is None else self._damage.reason

    def pixels(self) -> Image:
        """Return (height, width, 3), bit for bit what ``decode_image`` returns.

        Raises:
            ImageReadError: As ``decode_image``, for what only decoding tells.
        """
        return self.reduced(1)

    def reduced(self, factor: int) -> Image:
        """Return (ceil(height / factor), ceil(width / factor), 3); ``factor`` one of ``FACTORS``.

        Pixel (i, j) covers factor by factor pixels from (i * factor, j * factor); those at the
        right and bottom may reach beyond the picture, as if its edge went on. Decoded at that
        scale where that is cheap, else their means. What was asked for before changes nothing.

        Raises:
            ImageReadError: As ``pixels``.
            ValueError: ``factor`` is not one of ``FACTORS``.
        """
        if factor not in FACTORS:
            raise ValueError(f"factor must be one of {FACTORS}, got {factor}")
        if factor not in self._kept:
            stored = self._as_stored(factor)
            self._kept[factor] = _read_only(self.colours.to_srgb(stored))
        return self._kept[factor]

    def to_reduced(self, box: Box, factor: int) -> Box:
        """Return where a box of the full picture lies in ``reduced(factor)``, in its pixels."""
        return Box(*(side / factor for side in box.xyxy))

    def from_reduced(self, box: Box, factor: int) -> Box:
        """Return the box of the full picture that ``to_reduced`` takes to ``box``."""
        return Box(*(side * factor for side in box.xyxy))

    def _read_header(self) -> Header:
        try:
            return read_header(self._data, self._max_pixels)
        except DamagedError as error:
            kind = sniff_kind(self._data)
            if not self._partial or kind == "JPEG":  # without its header it has no size
                raise
            self._damage = error
            return kind

    def _as_stored(self, factor: int) -> Image:
        """Return the picture at that scale, in colours of its own."""
        if factor not in self._stored:
            self._stored[factor] = self._decode(factor)
        return self._stored[factor]

    def _decode(self, factor: int) -> Image:
        with naming_picture(self._name):
            if self._header is None or not (factor == 1 or self._decodes_reduced(factor)):
                return _mean_blocks(self._as_stored(1), factor)
            image, self.colours = self._decode_whole_or_part(self._header, factor)
            return image

    def _decode_whole_or_part(self, header: Header, factor: int) -> tuple[Image, Colours]:
        decode = fix(decode_pixels, self._data, header, self._max_pixels, factor, color=self._color)
        try:
            if self._damage is None:
                return decode()
        except DamagedError as error:
            if not self._partial:
                raise
            self._damage = error
        try:
            return decode(partial=True)
        except UndecodableError:
            raise self._damage from None

    def _decodes_reduced(self, factor: int) -> bool:
        # libjpeg's blocks start at the upper left of the stored picture. Where EXIF mirrors a side
        # that is no multiple, they would start within the upright picture's first one.
        is_whole = not (
            (self._orientation in (2, 3, 6, 7) and self.width % factor)
            or (self._orientation in (3, 4, 7, 8) and self.height % factor)
        )
        # The decoder takes the scale by the size it leaves: of less than a block, several leave it.
        return self.reduces_cheaply and is_whole and max(self.height, self.width) >= _BLOCK


def fitting_factor(side: float, kept_px: int) -> int:
    """Return by how much a side can be reduced to ``kept_px`` or more, one of ``FACTORS``."""
    return max(factor for factor in FACTORS if factor == 1 or side >= factor * kept_px)


def shrink(image: Image, factor: int) -> Image:
    """Return an image whose sides are divided by any ``factor`` and rounded, no less than 1."""
    height, width = (max(1, round(side / factor)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _mean_blocks(image: Image, factor: int) -> Image:
    """Return the means of factor by factor pixels, the last row and column being repeated.

    Args:
        image: (height, width, 3) RGB uint8.
        factor: One of ``FACTORS``.
    """
    height, width = image.shape[:2]
    # Of sides that are no multiples INTER_AREA would make pixels of other sizes.
    below, right = -height % factor, -width % factor
    if below or right:
        image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
    while factor > 1:  # OpenCV halves four times as fast as it divides by four
        size = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        factor //= 2
    return image


def _read_only(image: Image) -> Image:
    """Return a view nobody can write to: the pixels are shared by all who ask."""
    view = image.view()
    view.flags.writeable = False
    return view
