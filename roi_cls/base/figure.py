"""Figures in one style, as PNG files and as SVG for a page. Knows drawing, no metric.

Touches no global state: matplotlib's objects are used directly, because its ``pyplot`` keeps every
figure, opens windows and depends on the machine's settings.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import LibraryError
from roi_cls.base.location import NO_TEMPORARY_FOLDER
from roi_cls.base.quiet import settle_libraries

settle_libraries()

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except OSError as error:  # it has no place for its list of fonts
    raise LibraryError(f"Cannot draw figures: {NO_TEMPORARY_FOLDER}") from error

Place = Literal["best", "upper left", "upper right", "center left", "lower left", "lower right"]

DOTS_PER_INCH = 120
PANEL_INCHES = (5.2, 4.2)
"""Width and height of one panel."""
PAGE_INCHES = (4.3, 3.5)
"""The same in a page, where it may have to be as narrow as a phone: its letters are larger."""
FIRST = "#2a63a8"
"""Colour of what is measured. It and ``SECOND`` differ in lightness, also for the colour-blind."""
SECOND = "#d9822b"
"""Colour of a second measured thing."""
MARK = "#b3262e"
"""Colour of the one point that is meant."""
QUIET = "#8a8f98"
"""Colour of what is there to compare with: chance, a baseline, a perfect line."""
INK_COLOUR = "#22262b"
GRID_COLOUR = "#e6e8eb"
PAPER_COLOUR = "#ffffff"
_VARIABLES = {
    FIRST: "first",
    SECOND: "second",
    MARK: "mark",
    QUIET: "quiet",
    INK_COLOUR: "ink",
    GRID_COLOUR: "grid",
    PAPER_COLOUR: "paper",
}
"""Colours by the name of the CSS variable that stands for them on a page."""
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws alike
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK_COLOUR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID_COLOUR,
    "text.color": INK_COLOUR,
    "xtick.color": INK_COLOUR,
    "ytick.color": INK_COLOUR,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a class may be named `a$b$c`
}


def new_figure(
    panels: int = 1, title: str | None = None, inches: tuple[float, float] = PANEL_INCHES
) -> tuple[Figure, tuple[Axes, ...]]:
    """Return a light figure with panels of this size side by side, all in this project's style."""
    width, height = inches
    with rc_context(_STYLE):
        size = (panels * width, height)
        figure = _ShownFigure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        axes = tuple(figure.add_subplot(1, panels, i + 1) for i in range(panels))
        if title:
            figure.suptitle(title, fontsize=10, fontweight="bold")
    return figure, axes


def finish_panel(axes: Axes, title: str, x: str, y: str, legend: Place | None = "best") -> None:
    """Give a panel its title, the names of its axes, and a legend at this place; None: none."""
    with rc_context(_STYLE):
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if legend:
            axes.legend(loc=legend)


class _ShownFigure(Figure):
    """Shows itself in a notebook, without ``pyplot``, which would show it there a second time."""

    def _repr_png_(self) -> bytes:
        return _encode_png(self)


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_atomically(path, _encode_png(figure))


def _encode_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with _styled():
        # Without matplotlib's version in it the same numbers give the same bytes.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def figure_svg(figure: Figure, name: str) -> str:
    """Return the figure as an ``<svg>`` element to stand in a page.

    Its text is text, the titles of its panels are left to the page, and its colours are the page's:
    CSS variables named ``--figure-first``, ``-second``, ``-mark``, ``-quiet``, ``-ink``, ``-grid``
    and ``-paper``.

    Args:
        figure: Drawn; nothing can be added to it afterwards.
        name: Put before every id, so that several figures can stand in one page.
    """
    for axes in figure.axes:
        axes.set_title("")
    buffer = io.StringIO()
    unknown = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _styled(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "roi-cls"}):
        figure.savefig(buffer, format="svg", metadata=unknown)
    drawn = buffer.getvalue()
    drawn = re.sub(r"<defs>\s*<style.*?</defs>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    # Tag by tag: what stands between them may be a class named like an attribute.
    return re.sub(r"<[^>]*>", lambda tag: _page_tag(tag[0], name), drawn)


def _page_tag(tag: str, name: str) -> str:
    """Return a tag of an SVG file as it may stand in a page."""
    if tag.startswith("<svg"):  # the page gives it its size; names of formats say nothing there
        tag = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", tag)
    tag = tag.replace("xlink:href", "href")
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--figure-{variable})")
    return tag


@contextmanager
def _styled() -> Iterator[None]:
    with rc_context(_STYLE), warnings.catch_warnings():
        # A class may be named in letters that the font lacks; boxes in the figure say as much.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
