"""Predictions on a screen: a table whose rows appear as they are predicted, then totals.

A row is written once and never again, so that thousands scroll by as lines do. Knows no model. All
that comes from elsewhere, such as a file's name, is made printable first.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.console.terminal import rate_text, show
from roi_cls.console.words import (
    count_text,
    format_span,
    looked_at_text,
    prediction_line,
    printable,
    remark_text,
    threshold_text,
)
from roi_cls.data.walk import PICTURE_SUFFIXES
from roi_cls.drawing.ink import break_lines, keep_ends

if TYPE_CHECKING:
    from roi_cls.data.sample import LabelSet

LEAST_WIDTH, MOST_WIDTH = 60, 200
"""In columns: a narrower terminal breaks the lines, on a wider one eyes would lose the row."""
_GAP = "  "
_PLACE_WIDTH, _ALL_WIDTH = 42, 72  # from which width of the last column it tells more
_NAMES_READ = 1000  # to choose the width of their column
_DUMB = ("dumb", "unknown")  # values of TERM
_HEADS = ("picture", "answer", "probability", "looked at")
_PLAIN, _BOLD, _DIM = "", "1", "2"  # styles as a terminal is told them
_RED, _CYAN, _YELLOW, _MAGENTA = "31", "36", "33", "35"


@dataclass(frozen=True, slots=True)
class Screen:
    """What a terminal shows."""

    width: int
    """In columns."""
    has_colour: bool
    encoding: str

    def legible(self, text: str) -> str:
        """Return a text without what the terminal would obey, or cannot show."""
        return printable(text).encode(self.encoding, "backslashreplace").decode(self.encoding)

    def can_show(self, text: str) -> bool:
        """Whether the terminal's encoding has the characters."""
        return text == text.encode(self.encoding, "replace").decode(self.encoding)

    def paint(self, text: str, style: str) -> str:
        """Return a text in a style; colours help, and say nothing that words do not."""
        return f"\x1b[{style}m{text}\x1b[0m" if style and text and self.has_colour else text


def read_screen() -> Screen:
    """Return what standard output can show, a terminal."""
    width = min(MOST_WIDTH, max(LEAST_WIDTH, shutil.get_terminal_size().columns))
    has_colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in _DUMB
    return Screen(width, has_colour, sys.stdout.encoding or "utf-8")


def show_table(
    predictions: Iterable[Prediction],
    labels: LabelSet,
    names: Iterable[str] | None,
    *,
    single: bool,
    folder: str | None = None,
) -> None:
    """Print a row for each prediction as it comes, and totals; for one picture alone its line.

    Interrupted, it tells the totals of what was done.

    Args:
        predictions: In input order.
        labels: The model's.
        names: What will be predicted; None: not known yet.
        single: One picture was named by itself.
        folder: That all lie in; named once, above, where the paths are too long for their column.
    """
    screen, totals = read_screen(), _Totals(labels, time.monotonic())
    rows = iter(predictions)
    first = next(rows, None)
    if first is None:
        return
    if single and first.time_s is None and first.frames is None and len(first.per_face or ()) < 2:
        show(prediction_line(first))
        return
    table = _Table(screen, labels, names, folder)
    try:
        for line in table.head():
            show(line)
        for prediction in itertools.chain([first], rows):
            totals.count(prediction)
            for line in table.lines(prediction):
                show(line)
    except KeyboardInterrupt:
        show("")  # ends the line in which the terminal wrote ^C
        for line in totals.lines(screen, "Stopped after "):
            show(line)
        raise
    show(table.rule())
    for line in totals.lines(screen):
        show(line)


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    style: str = _PLAIN
    rest: str = ""
    """What is less than the text: the empty part of a bar."""


class _Table:
    """How rows are laid out: the widths stay as they are from the first row on."""

    def __init__(
        self,
        screen: Screen,
        labels: LabelSet,
        names: Iterable[str] | None,
        folder: str | None = None,
    ) -> None:
        self._screen, self._labels = screen, labels
        bars = tuple("━╾─" if screen.can_show("━╾─") else "=--")
        self._full, self._half, self._empty = bars
        self._dots = "…" if screen.can_show("…") else "~"
        widest = max(cell_len(screen.legible(name)) for name in labels.names)
        answer = max(len("skipped"), min(widest, screen.width // 5)) + len(" ?")
        self._bar = 5 if screen.width < 80 else 8 if screen.width < 120 else 12  # columns
        probability = len("0.000 ") + self._bar
        rest = screen.width - answer - probability - 3 * len(_GAP)
        # Half of the room at most, and more only where what was looked at needs no more.
        most = max(rest // 2, rest - _ALL_WIDTH)
        read = list(itertools.islice(names or (), _NAMES_READ))
        name, self._folder = self._name_width(read), ""
        if folder and read and name > most:
            self._folder = os.path.join(folder, "")
            name = self._name_width([path.removeprefix(self._folder) for path in read])
        name = min(name, most)
        self._widths = (max(name, len(_HEADS[0])), answer, probability)
        self._last = rest - self._widths[0]

    def _name_width(self, names: Sequence[str]) -> int:
        """Return the width that the names need, but for a few long ones among many short."""
        at = len(" at 00.0 s")
        widths = sorted(
            cell_len(self._screen.legible(name))
            + at * (not name.lower().endswith(PICTURE_SUFFIXES))
            for name in names
        )
        if not widths:
            return self._screen.width
        usual = widths[9 * (len(widths) - 1) // 10]
        return min(widths[-1], usual + usual // 4)

    def head(self) -> Iterator[str]:
        """Yield the lines above the rows."""
        if self._folder:
            yield self._shorten(f"In {self._folder}", self._screen.width)
        yield self._join([_Cell(text, _BOLD) for text in _HEADS[:3]], _HEADS[3], _BOLD)
        yield self.rule()

    def rule(self) -> str:
        """Return the line that parts the rows from what is not one."""
        return self._screen.paint(self._empty * self._screen.width, _DIM)

    def lines(self, prediction: Prediction) -> Iterator[str]:
        """Yield the lines of a row; below it, those of its faces where it has several."""
        yield from self._row(prediction, self._name(prediction))
        faces = prediction.per_face or ()
        if len(faces) > 1:
            for number, face in enumerate(prediction.of_each_face(), start=1):
                yield from self._row(face, f"  face {number}")

    def _row(self, prediction: Prediction, name: str) -> Iterator[str]:
        answer, style = self._answer(prediction)
        width = self._last
        cells = [_Cell(name, _PLAIN if prediction.frames is None else _BOLD), _Cell(answer, style)]
        if prediction.score is None:  # the words have the room of the probability
            width += self._widths[2] + len(_GAP)
        else:
            full, empty = self._draw_bar(prediction.score)
            cells.append(_Cell(f"{prediction.score:.3f} {full}", style, empty))
        threshold = self._threshold(prediction)
        first, *more = self._pack([threshold, *self._looked_at(prediction)], width) or [""]
        is_usual = prediction.source == "face" or prediction.frames is not None
        style = _DIM if is_usual and not threshold else _PLAIN
        yield self._join(cells, first, style)
        for text in more:
            yield " " * (self._screen.width - width) + self._screen.paint(text, style)

    def _join(self, cells: Sequence[_Cell], last: str, style: str) -> str:
        parts = [
            self._screen.paint(cell.text, cell.style)
            + self._screen.paint(cell.rest, _DIM)
            + " " * (width - cell_len(cell.text + cell.rest))
            for cell, width in zip(cells, self._widths, strict=False)
        ]
        return _GAP.join([*parts, self._screen.paint(last, style)]).rstrip()

    def _name(self, prediction: Prediction) -> str:
        """Return the name with its end, where names differ, and what frame of a video it is."""
        is_frame = prediction.time_s is not None and prediction.frames is None
        at = f" at {prediction.time_s:g} s" if is_frame else ""
        path = prediction.path.removeprefix(self._folder)
        return self._shorten(path, self._widths[0] - len(at)) + at

    def _answer(self, prediction: Prediction) -> tuple[str, str]:
        if prediction.status != "ok":
            return prediction.status, _MAGENTA
        mark = " ?" if prediction.unsure else ""
        text = self._shorten(str(prediction.label), self._widths[1] - len(mark)) + mark
        is_target = prediction.label == self._labels.target
        return text, _YELLOW if prediction.unsure else _RED if is_target else _CYAN

    def _draw_bar(self, share: float) -> tuple[str, str]:
        halves = round(2 * self._bar * share)
        bar = self._full * (halves // 2) + self._half * (halves % 2)
        return bar, self._empty * (self._bar - len(bar))

    def _threshold(self, prediction: Prediction) -> str:
        text = threshold_text(prediction)
        if not text or self._last >= _PLACE_WIDTH:
            return text
        target = self._labels.target
        return f"{'' if prediction.label == target else f'{target} '}from {text.split()[-1]}"

    def _looked_at(self, prediction: Prediction) -> list[str]:
        """Return what was looked at, as much as there is room for; or what went wrong."""
        if prediction.status == "error":
            return [str(prediction.error).removeprefix(f"Cannot read {prediction.path!r}: ")]
        if prediction.frames is not None or self._last >= _ALL_WIDTH:
            return [looked_at_text(prediction)]
        is_placed = self._last >= _PLACE_WIDTH
        if prediction.box is None and is_placed:
            return [looked_at_text(prediction)]
        if prediction.box is None:
            bare = replace(prediction, reason=None, damaged=None, color_profile=None)
            what = looked_at_text(bare)
            reason = (prediction.reason or "").replace("_", " ")
            return [": ".join(filter(None, (what, reason))), remark_text(prediction)]
        left, top, right, bottom = (round(value) for value in prediction.box)
        place = f"at {left},{top}-{right},{bottom}" if is_placed else f"{right - left} px"
        others = f"{prediction.faces} {'faces ' if is_placed else ''}seen"
        seen = others if prediction.faces > 1 else ""
        return [f"face {place}", seen, remark_text(prediction)]

    def _shorten(self, text: str, width: int) -> str:
        return keep_ends(
            self._screen.legible(text), lambda cut: cell_len(cut) <= width, 0.7, self._dots
        )

    def _pack(self, facts: Sequence[str], width: int) -> list[str]:
        """Return the facts in lines, broken between two of them where that is possible."""
        lines: list[str] = []
        for fact in map(self._screen.legible, filter(None, facts)):
            longer = f"{lines[-1]}, {fact}" if lines else fact
            if lines and cell_len(longer) <= width:
                lines[-1] = longer
            else:
                lines += break_lines(fact, lambda line: cell_len(line) <= width)
        return lines


@dataclass(slots=True)
class _Totals:
    """Counts what is shown: answers of pictures and of videos as a whole."""

    labels: LabelSet
    started: float
    """When, by the monotonic clock."""
    pictures: int = 0
    videos: int = 0
    frames: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    full_frames: int = 0
    damaged: int = 0
    skipped: int = 0
    errors: int = 0
    threshold: float | None = None
    """Where it alone decided an answer."""

    def count(self, prediction: Prediction) -> None:
        """Add a row."""
        is_video = prediction.frames is not None
        is_frame = prediction.time_s is not None and not is_video
        self.videos += is_video
        self.frames += is_frame
        self.pictures += not is_video and not is_frame
        self.full_frames += prediction.source == "full_frame" and not is_video
        self.errors += prediction.status == "error"
        self.damaged += prediction.damaged is not None and not is_video
        if is_frame:
            return  # the video's own row tells what its frames come to
        self.skipped += prediction.status == "skipped"
        self.unsure += prediction.unsure
        if prediction.label is not None:
            self.answers[prediction.label] += 1
        if prediction.overruled():
            self.threshold = prediction.threshold

    def lines(self, screen: Screen, before: str = "") -> Iterator[str]:
        """Yield the totals in words, as wide as the screen at most."""
        for text in self._sentences(before):
            yield from break_lines(
                screen.legible(text), lambda line: cell_len(line) <= screen.width
            )

    def _sentences(self, before: str) -> Iterator[str]:
        seconds = max(time.monotonic() - self.started, 1e-3)
        took = f"{seconds:.1f} s" if seconds < 60 else format_span(seconds)
        rate = rate_text((self.pictures + self.frames) / seconds, "pictures")
        told = [
            name for name in self.labels.names if self.answers[name] or name == self.labels.target
        ]
        facts = [f"{self.answers[name]} {name}" for name in told]
        facts += [f"{self.skipped} skipped"] if self.skipped else []
        facts += [count_text(self.errors, "error")] if self.errors else []
        yield f"{before}{self._what()} in {took} ({rate}): {', '.join(facts)}."
        remarks = [f"{self.unsure} unsure (marked ?)"] if self.unsure else []
        remarks += [count_text(self.full_frames, "full frame")] if self.full_frames else []
        remarks += [f"{self.damaged} damaged"] if self.damaged else []
        if remarks:
            yield f"{', '.join(remarks)}."
        if self.threshold is not None:
            yield (
                f"{self.labels.target!r} is the answer from probability {self.threshold:.3f} on, "
                "whichever class is more probable."
            )

    def _what(self) -> str:
        videos = f"{count_text(self.videos, 'video')} ({count_text(self.frames, 'frame')})"
        things = [count_text(self.pictures, "picture")] if self.pictures else []
        things += [videos] if self.videos or self.frames else []
        return " and ".join(things)
