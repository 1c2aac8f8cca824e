"""What a tuning found: the value of ``tuning.json``, and its Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roi_cls.base.rows import markdown_table
from roi_cls.classifier.experiments.ablate import difference_text
from roi_cls.classifier.experiments.comparison import metric_title
from roi_cls.classifier.experiments.study import LEAST_FOR_IMPORTANCE, TrialRow
from roi_cls.classifier.metrics.interval import format_number
from roi_cls.classifier.metrics.paired import Difference
from roi_cls.classifier.metrics.selection import BestOfMany, Score
from roi_cls.classifier.recipe import TrainingRecipe

TUNING_VERSION = 1
"""Raised when the written form changes."""
_SHOWN = 10
"""Trials in the table, the best first."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the trials of a tuning found together."""

    recipe: TrainingRecipe
    """Of the best trial."""
    score: Score
    folds: int
    target: str
    images: int
    """Training and validation pictures, each scored by a model that did not learn from it."""
    targets: int
    """Of the target among them."""
    settings: tuple[str, ...]
    """That were tried, by the names of their fields."""
    rows: tuple[TrialRow, ...]
    """Every trial."""
    best: TrialRow
    selection: BestOfMany
    base: int | None
    """The trial of the base recipe; None: it was not finished, or has values that are not tried."""
    against_base: Difference | None
    """What the best gains over the base recipe on the same pictures; None where that is the best,
    or was not tried."""
    importances: Mapping[str, float]
    """Share of the score's variance that each setting explains; empty with too few trials."""
    cut: int | None
    """The trial that the end of the budget cut off."""
    output: Path
    """File of the recipe."""
    run: Path
    """Folder of the best trial: an ensemble over the folds."""

    @property
    def finished(self) -> int:
        """How many trials were finished: those that the best was chosen from."""
        return sum(row.state == "finished" for row in self.rows)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words."""
        return tuple(filter(None, (self._best_text, self._flattery, self._gain, self._importance)))

    @property
    def comment(self) -> str:
        """What the recipe's file says of where it comes from."""
        return "\n".join((self._best_text, self._flattery))

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values."""
        gain = self.against_base
        return {
            "version": TUNING_VERSION,
            "score": self.score,
            "folds": self.folds,
            "target": self.target,
            "images": self.images,
            "targets": self.targets,
            "best": {
                **self.best.to_dict(),
                "estimate": self.selection.apparent.to_dict(),
                "corrected": self.selection.corrected.to_dict(),
                "optimism": _finite(self.selection.optimism),
            },
            "against_base": gain and {name: _finite(n) for name, n in asdict(gain).items()},
            "importances": dict(self.importances),
            "cut_off": self.cut,
            "trials": [row.to_dict() for row in self.rows],
            "recipe": self.recipe.to_dict(),
            "recipe_file": str(self.output),
            "run": str(self.run),
        }

    @property
    def _best_text(self) -> str:
        return (
            f"Best of {_count(self.finished, 'finished trial')}: trial {self.best.number}, "
            f"{metric_title(self.score)} {self.selection.apparent} out of fold, on {self.images} "
            f"pictures, {self.targets} of them {self.target!r}."
        )

    @property
    def _flattery(self) -> str:
        found = self.selection
        if self.finished < 2:
            return "There was nothing to choose from, so the choice flatters nothing."
        if math.isnan(found.optimism):
            return "How much the choice flatters cannot be told: there are too few pictures."
        return (
            f"The best of many flatters: chosen anew on resampled pictures, and scored on those "
            f"left out, it reaches {found.corrected}, {_points(found.optimism)} (BBC-CV, "
            "Tsamardinos et al. 2018). Expect that, and open the test part once."
        )

    @property
    def _gain(self) -> str:
        if self.base is None:
            return "What is gained over the base recipe is not known: it is none of these trials."
        if self.against_base is None:
            return "No trial was better than the base recipe." * (self.finished > 1)
        words = f"Against the base recipe, picture by picture: {difference_text(self.against_base)}"
        if self.against_base.is_clear:
            return f"{words}; chosen after the fact, so it flatters, too."
        return f"{words}: these pictures show no clear difference."

    @property
    def _importance(self) -> str:
        if not self.importances:
            return (
                f"How important each setting is, {LEAST_FOR_IMPORTANCE} finished trials or more "
                "of different scores tell."
            )
        shares = ", ".join(f"{name} {share:.2f}" for name, share in self.importances.items())
        return f"Share of the score's variance by setting (fANOVA): {shares}."

    @property
    def _states(self) -> str:
        found = Counter("failed" if row.error else row.state for row in self.rows if row.is_counted)
        running = sum(row.state == "running" for row in self.rows)
        words = [f"{number} {state}" for state, number in found.items()]
        words += [f"{running} at work elsewhere"] if running else []
        if self.cut is not None:
            cut = (
                f" Trial {self.cut} was cut off by the end of the budget; the same command goes on."
            )
        else:
            cut = " The same command with more --trials or --budget goes on."
        return f"Trials: {', '.join(words)}.{cut}"

    def markdown(self, title: str) -> str:
        """Return the sentences, the best trials and what became of the others."""
        ranked = sorted(
            (row for row in self.rows if row.state == "finished"),
            key=lambda row: (-(row.score or 0), row.number),
        )
        header = ["trial", metric_title(self.score), *self.settings, "s"]
        cells = [
            [
                str(row.number),
                format_number(row.score or 0),
                *(_value_text(row.values.get(name)) for name in self.settings),
                "-" if row.seconds is None else f"{row.seconds:.0f}",
            ]
            for row in ranked[:_SHOWN]
        ]
        failed = [f"- Trial {row.number} failed: {row.error}" for row in self.rows if row.error]
        said = "\n".join(f"- {sentence}" for sentence in self.sentences)
        parts = [f"# {title}", said, markdown_table(header, cells), self._states]
        return "\n\n".join([*parts, *(["\n".join(failed)] if failed else [])]) + "\n"

    def csv(self) -> str:
        """Return a line per trial, with every number in full."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        plain = ("trial", "state", "score", "folds", "seconds", "error", "repeats")
        writer.writerow([*plain, *self.settings])
        for row in self.rows:
            values = row.to_dict()
            cells = [*(values.get(key) for key in plain), *map(row.values.get, self.settings)]
            writer.writerow(["" if cell is None else cell for cell in cells])
        return stream.getvalue()


def describe_values(values: Mapping[str, Any]) -> str:
    """Return settings in words, for one line."""
    return ", ".join(f"{name} {_value_text(value)}" for name, value in values.items())


def _value_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _points(optimism: float) -> str:
    if optimism <= 0.0005:
        return "no less"
    return f"{optimism:.3f} less"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
