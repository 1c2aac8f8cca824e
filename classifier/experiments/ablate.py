"""One system on the face crop, the full frame and both: same split, same budget, same seeds.

What the change of the input brings is compared picture by picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from roi_cls.base.errors import TrainingError
from roi_cls.base.rows import markdown_table
from roi_cls.classifier.experiments.compare import make_comparison, measure_trials, run_seeds
from roi_cls.classifier.experiments.comparison import Comparison, SystemResult, to_markdown
from roi_cls.classifier.experiments.trial import ExperimentJob, Trial, check_same_data
from roi_cls.classifier.metrics.decision import decide
from roi_cls.classifier.metrics.interval import Floats, Labels, format_number
from roi_cls.classifier.metrics.paired import Difference, PairedComparison, compare_scores
from roi_cls.classifier.metrics.threshold import choose_threshold
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.classifier.runs.folder import honest_scores
from roi_cls.classifier.runs.scores import class_indices, read_scores
from roi_cls.classifier.training.job import Observers

InputKind = Literal["roi", "full", "both"]
INPUT_NAMES = {
    "roi": "the face crop",
    "full": "the full frame",
    "both": "both views together",
}
"""What can be given to the model, and what it is called in a sentence."""
_SETTINGS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "roi": {"crop": "face", "frame": False},
        "full": {"crop": "full", "frame": False},
        "both": {"crop": "face", "frame": True},
    }
)
"""All that differs between the inputs."""
_SHOWN = {"roc_auc": "ROC-AUC", "average_precision": "PR-AUC", "f1": "F1", "accuracy": "accuracy"}


@dataclass(frozen=True, slots=True, eq=False)
class InputScores:
    """The test scores of one input, of each seed and of their mean."""

    seeds: tuple[Floats, ...]
    """(N, K) probabilities of each seed."""
    thresholds: tuple[float, ...]
    """Of each seed, chosen on validation."""
    mean_threshold: float
    """Of the mean of the seeds' scores, chosen on the mean of their validation scores."""

    @property
    def mean(self) -> Floats:
        """The mean of the seeds' scores, (N, K)."""
        return np.asarray(np.mean(self.seeds, axis=0), np.float64)


@dataclass(frozen=True, slots=True)
class InputPair:
    """Two inputs on the same pictures."""

    first: str
    second: str
    paired: PairedComparison
    """Of the scores averaged over seeds."""
    by_seed: tuple[Difference, ...]
    """Of ROC-AUC, seed against seed."""

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values."""
        seeds = [{"difference": d.difference, "low": d.low, "high": d.high} for d in self.by_seed]
        return {
            "first": self.first,
            "second": self.second,
            **self.paired.to_dict(),
            "roc_auc_by_seed": seeds,
        }


@dataclass(frozen=True, slots=True)
class Ablation:
    """Every input by itself, and each pair of them."""

    comparison: Comparison
    pairs: tuple[InputPair, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One sentence for each pair, in plain words."""
        return tuple(_verdict(pair) for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values."""
        return {
            **self.comparison.to_dict(),
            "verdicts": list(self.verdicts),
            "pairs": [pair.to_dict() for pair in self.pairs],
        }


def compare_inputs(
    job: ExperimentJob,
    recipe: TrainingRecipe,
    inputs: Sequence[InputKind],
    observers: Observers,
    on_result: Callable[[SystemResult], None] = lambda result: None,
) -> Ablation:
    """Train and test the recipe once per input and seed; compare the inputs pairwise.

    Raises:
        TrainingError: The recipe has members, or the inputs' test pictures are not the same.
        RoiClsError: It cannot be trained here.
    """
    if recipe.members:
        raise TrainingError(
            f"Cannot ablate the recipe {recipe.name!r}: it has members, each with an input of its "
            "own. Name one of them."
        )
    trials: dict[str, tuple[Trial, ...]] = {}
    results = []
    for name in inputs:
        changed = recipe.changed(_SETTINGS[name])
        trials[name] = run_seeds(job, name, changed, observers)
        result = measure_trials(name, replace(changed, description=name), trials[name])
        on_result(result)
        results.append(result)
    check_same_data(trials)
    first = trials[inputs[0]][0]
    truth, target = class_indices(first.table, first.labels), first.labels.target_index
    scores = {name: _input_scores(found) for name, found in trials.items()}
    comparison = make_comparison(first, results, job.budget)
    return Ablation(comparison, pair_inputs(truth, scores, target))


def _input_scores(trials: Sequence[Trial]) -> InputScores:
    return InputScores(
        seeds=tuple(trial.table.probabilities for trial in trials),
        thresholds=tuple(trial.threshold for trial in trials),
        mean_threshold=_mean_threshold(trials),
    )


def _mean_threshold(trials: Sequence[Trial]) -> float:
    """Return the threshold of the mean of the seeds' scores, chosen without the test pictures."""
    labels = trials[0].labels
    if len(labels.names) != 2:
        return 0.5  # plays no part
    tables = [read_scores(honest_scores(trial.run), labels.names) for trial in trials]
    mean = np.mean([table.probabilities[:, labels.target_index] for table in tables], axis=0)
    is_target = class_indices(tables[0], labels) == labels.target_index
    rule = str(trials[0].training["config"]["threshold_rule"])
    return choose_threshold(np.asarray(mean, np.float64), is_target, rule)


def pair_inputs(
    labels: Labels, scores: Mapping[str, InputScores], target: int
) -> tuple[InputPair, ...]:
    """Return each pair of inputs compared on the same pictures, in the order given.

    labels: (N,) true class indices.  scores: of each input.  target: the class looked for.
    """
    return tuple(
        InputPair(
            first,
            second,
            _compare(
                labels,
                scores[first].mean,
                scores[second].mean,
                target,
                (scores[first].mean_threshold, scores[second].mean_threshold),
            ),
            _by_seed(labels, scores[first], scores[second], target),
        )
        for first, second in combinations(scores, 2)
    )


def _by_seed(
    labels: Labels, first: InputScores, second: InputScores, target: int
) -> tuple[Difference, ...]:
    runs = zip(
        first.seeds,
        second.seeds,
        zip(first.thresholds, second.thresholds, strict=True),
        strict=True,
    )
    return tuple(
        _compare(labels, one, two, target, thresholds).differences["roc_auc"]
        for one, two, thresholds in runs
    )


def _compare(
    labels: Labels, first: Floats, second: Floats, target: int, thresholds: tuple[float, float]
) -> PairedComparison:
    decided = [
        decide(scores, target, threshold)
        for scores, threshold in zip((first, second), thresholds, strict=True)
    ]
    return compare_scores(labels, first, second, decided[0], decided[1], target=target)


def ablation_page(ablation: Ablation, title: str) -> str:
    """Return Markdown: the verdicts, each input's metrics, and the paired differences."""
    page = to_markdown(ablation.comparison, title)
    heading, rest = page.split("\n\n", 1)
    verdicts = "\n".join(f"- {verdict}" for verdict in ablation.verdicts)
    parts = [heading, verdicts, rest.rstrip(), *_pairs_table(ablation.pairs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(pair: InputPair) -> str:
    found = pair.paired.differences["roc_auc"]
    names = INPUT_NAMES[pair.second], INPUT_NAMES[pair.first]
    measured = (
        f"ROC-AUC {format_number(found.second)} against {format_number(found.first)}, "
        f"difference {difference_text(found)}, p = {_p(found.p)}".replace("= <", "<")
    )
    if found.is_clear:
        better = "better" if found.difference > 0 else "worse"
        rank = "rank" if pair.second == "both" else "ranks"
        return f"{_capital(names[0])} {rank} {better} than {names[1]}: {measured}."
    return (
        f"Between {names[1]} and {names[0]} these pictures show no clear difference: {measured}; "
        "more test pictures may."
    )


def _pairs_table(pairs: Sequence[InputPair]) -> list[str]:
    if not pairs:
        return []
    header = ["pair", *_SHOWN.values(), "p of ROC-AUC", "ROC-AUC by seed", "McNemar's p"]
    rows = []
    for pair in pairs:
        found = pair.paired.differences
        rows.append(
            [
                f"{pair.second} - {pair.first}",
                *(difference_text(found[name]) for name in _SHOWN),
                f"{_p(found['roc_auc'].p)} (DeLong {_p(pair.paired.delong_p)})",
                ", ".join(f"{one.difference:+.2f}" for one in pair.by_seed),
                f"{_p(pair.paired.mcnemar.p)} ({pair.paired.mcnemar.only_second} right by "
                f"{pair.second} alone, {pair.paired.mcnemar.only_first} by {pair.first})",
            ]
        )
    count = len(pairs)
    note = (
        "Differences with 95 % intervals, on the scores averaged over the seeds: bootstrap over "
        "the same test pictures for both, DeLong's test and McNemar's exact test of the decisions."
    )
    if count > 1:
        note += f" No p is corrected for there being {count} pairs."
    return ["## Paired differences", markdown_table(header, rows), note]


def difference_text(found: Difference) -> str:
    """Return a difference as ``+0.03 [-0.01, +0.08]``."""
    if found.difference != found.difference:
        return "undefined"
    return f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _p(value: float) -> str:
    if value != value:
        return "undefined"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
