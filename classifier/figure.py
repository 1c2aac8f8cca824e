"""Figures as PNG files in one style. Knows drawing, no metric; touches no global state.

matplotlib's objects are used directly: its ``pyplot`` keeps every figure, opens windows and
depends on the machine's settings.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from roi_cls.atomic import write_atomically

Place = Literal["best", "upper left", "upper right", "lower left", "lower right"]

DOTS_PER_INCH = 120
PANEL_INCHES = (5.2, 4.2)
"""Width and height of one panel."""
FIRST = "#2a63a8"
"""Colour of what is measured. It and ``SECOND`` differ in lightness, also for the colour-blind."""
SECOND = "#d9822b"
"""Colour of a second measured thing."""
MARK = "#b3262e"
"""Colour of the one point that is meant."""
QUIET = "#8a8f98"
"""Colour of what is there to compare with: chance, a baseline, a perfect line."""
INK = "#22262b"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws alike
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a class may be named `a$b$c`
}


def new_figure(panels: int = 1, title: str | None = None) -> tuple[Figure, tuple[Axes, ...]]:
    """Return a light figure with panels side by side, all in this project's style."""
    width, height = PANEL_INCHES
    with rc_context(_STYLE):
        figure = Figure(figsize=(panels * width, height), dpi=DOTS_PER_INCH, layout="constrained")
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


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    with rc_context(_STYLE), warnings.catch_warnings():
        # A class may be named in letters that the font lacks; boxes in the figure say as much.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # Without matplotlib's version in it the same numbers give the same bytes.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
