"""The galleries of a report: which pictures stand under which heading."""

from __future__ import annotations

from collections.abc import Sequence

from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.recipe_text import count_text
from roi_cls.report.choice import Choice
from roi_cls.report.parts import Gallery, GalleryForm
from roi_cls.report.shots import Shots

_CERTAIN = "The surest right answers of each class."
_SAMPLE = (
    "As many crops of each class, spread evenly over all of them: what the run looks at. Below "
    "each, its true class and the probability of the answer."
)


def fill_galleries(
    choice: Choice, shots: Shots, evaluation: Evaluation, method: str = "", most: int | None = None
) -> list[Gallery]:
    """Return every gallery.

    Args:
        choice: What is shown.
        shots: Its cards.
        evaluation: Of the scores.
        method: How it was found what spoke for a class, in words; empty: it was not looked for.
        most: Of how many pictures of a gallery it was; None: of all.
    """
    explained = _explain(evaluation, method, most)
    mistakes = _of(len(choice.mistakes), choice.wrong)
    kinds: tuple[tuple[str, str, str, Sequence[int], GalleryForm], ...] = (
        (
            "mistakes",
            "Answered wrongly",
            f"{mistakes}, the surest of each kind first.{explained}"
            if choice.wrong
            else "No picture was answered wrongly.",
            choice.mistakes,
            "explained",
        ),
        (
            "least-certain",
            "Least certain",
            f"The answers nearest to another one, right or wrong.{explained}",
            choice.uncertain,
            "explained",
        ),
        ("most-certain", "Most certain and right", _CERTAIN, choice.certain, "plain"),
        ("sample", "Contact sheet", _SAMPLE, choice.sample, "small"),
    )
    return [
        Gallery(name, title, remark, tuple(shots.cards[i] for i in chosen), form)
        for name, title, remark, chosen, form in kinds
    ]


def _of(shown: int, total: int) -> str:
    return count_text(total, "picture") if shown == total else f"{shown} of {total} pictures"


def _explain(evaluation: Evaluation, method: str, most: int | None) -> str:
    if not method:
        return ""
    is_two = len(evaluation.overall.classes) == 2
    what = repr(evaluation.target) if is_two else "the answer given"
    of_some = f" of the first {most}" if most else ""
    return (
        f" {method} shows{of_some} what in the crop spoke for {what}: the brighter, the more; "
        "inside the line is at least half of the most."
    )
