"""How results show themselves in a notebook: pieces of HTML, and rows of results as a table.

The HTML needs nothing else: pictures are in it, there is no script, and colours are the page's own
or such as can be read on light and on dark. Knows no result.
"""

from __future__ import annotations

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar, overload

import cv2
import numpy as np
from markupsafe import Markup  # what is put into it by ``format`` is escaped

from roi_cls.roi.image import Image

if TYPE_CHECKING:
    from PIL import Image as PillowImage

THUMBNAIL_PX = 96
"""Side of the picture that a result keeps to show itself: 3 KB."""
MOST_ROWS = 20
"""Rows of a table that are shown."""
BLUE, RUST, GREY = "#4a8fd4", "#d9743a", "#8a8f98"
"""Of bars: another class, the class that is looked for, what is not judged."""
_LINE = "1px solid rgba(128,128,128,.35)"
_MUTED = "opacity:.7"
_NAME_PARTS = 2
"""Of a path, from its end: the file and its folder."""


def encode_jpeg(pixels: Image, longest_px: int = THUMBNAIL_PX) -> bytes:
    """Return a picture as a JPEG, reduced until no side is longer."""
    height, width = pixels.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 88))[1])


def decode_jpeg(data: bytes) -> Image:
    """Return the picture that ``encode_jpeg`` wrote."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(found, np.uint8)


def picture_html(jpeg: bytes | None, words: str, height_px: int = THUMBNAIL_PX) -> Markup:
    """Return the picture, ``words`` being read to who cannot see it; nothing of None."""
    if jpeg is None:
        return Markup("")
    data = base64.b64encode(jpeg).decode()
    return Markup(
        '<img src="data:image/jpeg;base64,{}" alt="{}" '
        'style="height:{}px;max-width:none;margin:0;border-radius:3px">'
    ).format(data, words, height_px)


def bar_html(share: float, colour: str = BLUE, width_px: int = 120) -> Markup:
    """Return a bar of which a share, 0 to 1, is filled."""
    return Markup(
        '<span style="display:inline-block;vertical-align:middle;width:{}px;height:9px;'
        'border-radius:4px;background:rgba(128,128,128,.25)"><span style="display:block;'
        'height:9px;border-radius:4px;width:{}%;background:{}"></span></span>'
    ).format(width_px, f"{100 * share:.1f}", colour)


def path_html(path: str) -> Markup:
    """Return the end of a path, the whole of it under the pointer."""
    parts = path.replace("\\", "/").rstrip("/").split("/")
    short = path if len(parts) <= _NAME_PARTS else "…/" + "/".join(parts[-_NAME_PARTS:])
    return Markup('<span title="{}" style="overflow-wrap:break-word">{}</span>').format(path, short)


def muted_html(words: str) -> Markup:
    """Return words that stand back behind others."""
    return Markup('<span style="{}">{}</span>').format(_MUTED, words)


def table_html(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table; what is no ``Markup`` is text. A whole number stands at the right."""
    top = Markup("").join(_cell("th", word) for word in head)
    body = Markup("").join(
        Markup('<tr style="background:none">{}</tr>').format(
            Markup("").join(_cell("td", value) for value in row)
        )
        for row in rows
    )
    return Markup(
        '<table style="border-collapse:collapse;margin:.4em 0;font-size:inherit">'
        '<tr style="background:none">{}</tr>'
        "{}</table>"
    ).format(top, body)


def _cell(tag: str, value: object) -> Markup:
    side = "right" if isinstance(value, int) else "left"
    return Markup(
        f"<{tag} "
        'style="text-align:{};padding:3px 12px 3px 0;border:0;border-bottom:{};'
        'vertical-align:middle">{}'
        f"</{tag}>"
    ).format(side, _LINE, value)


def block_html(*parts: object) -> Markup:
    """Return parts below each other; empty ones are left out."""
    return Markup('<div style="max-width:60em;line-height:1.45">{}</div>').format(
        Markup("").join(Markup("<div>{}</div>").format(part) for part in parts if part)
    )


def beside_html(*parts: object) -> Markup:
    """Return parts beside each other, below each other where it is narrow; no empty ones."""
    return Markup(
        '<div style="display:flex;gap:12px;align-items:center;flex-wrap:wrap">{}</div>'
    ).format(Markup("").join(Markup("<div>{}</div>").format(part) for part in parts if part))


AnyRow = TypeVar("AnyRow")


class RowList(Sequence[AnyRow], ABC):
    """Results in their order, which a notebook shows as a table."""

    HEAD: ClassVar[tuple[str, ...]]
    NOUN: ClassVar[str]

    def __init__(self, rows: Iterable[AnyRow]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, place: int) -> AnyRow: ...
    @overload
    def __getitem__(self, place: slice) -> RowList[AnyRow]: ...
    def __getitem__(self, place: int | slice) -> AnyRow | RowList[AnyRow]:
        return type(self)(self._rows[place]) if isinstance(place, slice) else self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{self.summary}>"

    @property
    def summary(self) -> str:
        """What they are, in a few words."""
        return f"{len(self)} {self.NOUN}{'' if len(self) == 1 else 's'}"

    @abstractmethod
    def cells(self, row: AnyRow) -> Sequence[object]:
        """Return what stands in a row of the table: text, whole numbers or ``Markup``."""

    def _repr_html_(self) -> str:
        shown = [self.cells(row) for row in self._rows[:MOST_ROWS]]
        rest = len(self) - len(shown)
        whole = block_html(
            Markup("<b>{}</b>").format(self.summary),
            table_html(self.HEAD, shown) if shown else "",
            muted_html(f"… and {rest} more") if rest else "",
        )
        return str(whole)


class Rows(Iterator[AnyRow]):
    """Results as they are asked for, one at a time and none kept; ``collect`` has them all."""

    def __init__(self, rows: Iterator[AnyRow], listed: type[RowList[AnyRow]]) -> None:
        self._rows = rows
        self._listed = listed

    def __next__(self) -> AnyRow:
        return next(self._rows)

    def __repr__(self) -> str:
        return f"<{self._listed.NOUN}s as they are asked for; collect() has them all>"

    def collect(self) -> RowList[AnyRow]:
        """Return all that are still to come."""
        return self._listed(self)

    def close(self) -> None:
        """Ask for no more: what works ahead stops."""
        close = getattr(self._rows, "close", None)
        if close is not None:
            close()


def show_progress(rows: Iterator[AnyRow], what: str, total: int | None) -> Iterator[AnyRow]:
    """Yield the rows and show how far they are; ``total`` is None where that is not known."""
    from roi_cls.console.terminal import progress  # typer comes with it

    with progress(what) as advance:
        for done, row in enumerate(rows, start=1):
            advance(done, total, "")
            yield row


class Sheet:
    """A page of pictures, which a notebook shows; ``page`` is it as a Pillow image."""

    def __init__(self, page: PillowImage.Image) -> None:
        self.page = page

    def __repr__(self) -> str:
        return f"<a page of {self.page.width} x {self.page.height} px; save(path) keeps it>"

    def _repr_jpeg_(self) -> bytes:
        buffer = io.BytesIO()
        self.page.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def save(self, path: str | Path) -> None:
        """Write it as .jpg or .png, all or nothing.

        Raises:
            CacheError: Another suffix.
            StorageError: It cannot be written.
        """
        from roi_cls.drawing.file import check_drawing_path, write_drawing

        check_drawing_path(Path(path), "page")
        write_drawing(Path(path), self.page)
