"""A page of the crops that a run answered wrongly, so that a person sees what it cannot tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as PillowImage

from roi_cls.base.atomic import telling_storage
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.evaluation.pictures import Mistake, MistakeKind, share_places
from roi_cls.console.words import count_text, share_text
from roi_cls.drawing.file import write_drawing
from roi_cls.drawing.ink import BLUE, INK, MUTED, RUST, SLATE, Colour
from roi_cls.drawing.page import (
    EDGE,
    TEXT_PX,
    TITLE_PX,
    Line,
    Section,
    Text,
    Tile,
    draw_page,
    wrap_lines,
)

MOST_SHOWN = 60
"""Crops on a page: ten rows, large enough to see a small defect."""
_COLUMNS = 6
_BADGES: dict[MistakeKind, tuple[str, Colour]] = {
    "missed": ("missed", RUST),
    "false_alarm": ("false alarm", BLUE),
    "mixed_up": ("mixed up", SLATE),
}
"""Word and colour of each kind, in the order of the page."""


def write_mistake_sheet(
    path: Path, mistakes: Sequence[Mistake], evaluation: Evaluation, run: str
) -> None:
    """Draw the mistakes and write the page, all or nothing; without any, take an old page away.

    Args:
        path: Its suffix says the format: .jpg, .jpeg or .png.
        mistakes: The most confident first.
        evaluation: The one that found them.
        run: Name of the run.

    Raises:
        StorageError: The file cannot be written or taken away.
    """
    if mistakes:
        write_drawing(path, draw_mistakes(mistakes, evaluation, run))
        return
    with telling_storage(path):
        path.unlink(missing_ok=True)


def draw_mistakes(
    mistakes: Sequence[Mistake], evaluation: Evaluation, run: str
) -> PillowImage.Image:
    """Return the page that ``write_mistake_sheet`` writes."""
    shown = choose_mistakes(mistakes)
    counts = Counter(one.kind for one in mistakes)
    sections = [
        Section(
            heading_text(kind, len(group), counts[kind], evaluation),
            _COLUMNS,
            3,
            len(group),
            map(mistake_tile, group),
        )
        for kind in _BADGES
        if (group := [one for one in shown if one.kind == kind])
    ]
    header = _header(len(mistakes), len(shown), evaluation, run)
    return draw_page([Text(header, below=EDGE // 2), *sections])


def choose_mistakes(mistakes: Sequence[Mistake], limit: int = MOST_SHOWN) -> list[Mistake]:
    """Return at most ``limit`` mistakes in their order, the first of each kind."""
    return [mistakes[i] for i in share_places([one.kind for one in mistakes], limit)]


def heading_text(kind: MistakeKind, shown: int, total: int, evaluation: Evaluation) -> str:
    """Return what a section shows, and how many of how many."""
    share = share_text(shown, total)
    target = repr(evaluation.target)
    return {
        "missed": f"{target} missed ({share})",
        "false_alarm": f"False alarms, taken for {target} ({share})",
        "mixed_up": f"Other classes mixed up ({share})",
    }[kind]


def mistake_tile(mistake: Mistake) -> Tile:
    """Return a mistake: crop, label, the answer with its probability, and the path."""
    word, colour = _BADGES[mistake.kind]
    return Tile(
        badge=f"{word}, unsure" if mistake.unsure else word,
        figure=mistake.source.replace("_", " "),
        colour=colour,
        lines=(
            (f"labelled {mistake.label}", INK),
            (f"answered {mistake.answer}, {mistake.probability:.3f}", colour),
            (mistake.path, MUTED),
        ),
        crop=mistake.crop,
    )


def _header(total: int, shown: int, evaluation: Evaluation, run: str) -> list[Line]:
    images = count_text(evaluation.overall.images, "picture")
    texts = [f"{total} of {images} answered wrongly. The surest mistakes of each kind come first."]
    if len(evaluation.overall.classes) == 2:
        texts.append(
            f"Decided for {evaluation.target!r} from probability {evaluation.threshold:.4g} on."
        )
    if shown < total:
        texts.append(f"{shown} of them are shown; mistakes.csv lists all.")
    lines = wrap_lines(f"Mistakes of run {run!r}", TITLE_PX)
    return lines + [line for text in texts for line in wrap_lines(text, TEXT_PX, MUTED)]
