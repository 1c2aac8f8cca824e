"""Evaluation of a model on labelled pictures: the value that `evaluation.json` holds.

``verdict`` says in words what the numbers say; ``evaluate_scores`` makes one of scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roi_cls.base.errors import BundleError, DataError
from roi_cls.classifier.evaluation.groups import GroupComparison
from roi_cls.classifier.metrics.decision import is_unsure
from roi_cls.classifier.metrics.interval import (
    CONFIDENCE,
    Estimate,
    Floats,
    Labels,
    format_number,
    wilson,
)
from roi_cls.classifier.metrics.measure import FEW_PICTURES, Metrics, measure_scores
from roi_cls.roi import CropSource

EVALUATION_VERSION = 3
"""Raised when the written form changes."""
Slice = Literal["face", "full_frame", "decided"]
FEWEST_IN_SLICE = FEW_PICTURES
"""Pictures of the target, and of the others, without which a slice says nothing by itself.

Of fewer the interval of ROC-AUC comes out too narrow, and is still wider than the way from chance
to perfect, 0.5: it is 0.49 wide for a random ranking of ten and ten, 0.55 of eight and eight.
Pictures are counted, not how the slice fared: a lucky one is not to be shown for its luck."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a model fared on labelled pictures, all of them and by the source of the crop."""

    overall: Metrics
    """All pictures that were scored."""
    slices: tuple[tuple[Slice, Metrics], ...]
    """The same for ``face`` and ``full_frame``, and with an abstain band for the ``decided``
    pictures, those outside of it; each only where it has pictures."""
    target: str
    """Class looked for."""
    threshold: float
    """Probability of the target from which two classes are decided for it; unused with more."""
    majority_label: str
    """Class that the baseline always answers."""
    threshold_rule: str = "f1"
    """What the threshold was chosen for, on validation."""
    temperature: float = 1.0
    """What the logits were divided by, fitted on validation; 1: nothing was fitted."""
    offsets: tuple[float, ...] = ()
    """What was then added to them, one per class, fitted likewise; 0 or empty: nothing was."""
    abstain: float = 0.0
    """Margin below which a picture is too close to call, see ``is_unsure``; 0: all are called."""
    test_openings: int = 0
    """How often the run has been scored on these pictures, this time included; 0: not counted."""
    errors: int = 0
    """Pictures that could not be read: counted here, and in no metric."""
    skipped: int = 0
    """Pictures without a face that the recipe has no substitute for: in no metric either."""
    confidence: float = CONFIDENCE
    """Of every interval."""
    groups: GroupComparison | None = None
    """The same for groups of pictures, such as sources; None: the data name none."""
    runtime: str | None = None
    """What computed the scores, ``onnx`` or ``torch``; None: not known."""

    def __post_init__(self) -> None:
        for name in (self.target, self.majority_label):
            _check_name(name, [one.label for one in self.overall.classes])
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number, got {self.threshold}")
        if not 0 <= self.abstain < 1:
            raise ValueError(f"abstain must be from 0 to below 1, got {self.abstain}")

    @property
    def abstained(self) -> Estimate:
        """Share of the pictures that are too close to call; Wilson."""
        total = self.overall.images
        decided = dict(self.slices).get("decided")
        called = decided.images if decided else 0
        return wilson(total - called if self.abstain else 0, total)

    @property
    def verdict(self) -> str:
        """What the numbers say, in one sentence."""
        overall = self.overall
        baseline = overall.majority_accuracy.value
        parts = [
            _judge_accuracy(overall.accuracy, baseline, self.majority_label),
            _judge_ranking(overall.roc_auc, self.target),
        ]
        if self.abstain:
            parts.append(_judge_abstention(overall, dict(self.slices).get("decided")))
        parts += _count_lost(self.errors, self.skipped)
        return "; ".join(parts) + "."

    def count_target(self, metrics: Metrics) -> int:
        """Return how many pictures of a slice, or of all, are of the target."""
        return next(one.support for one in metrics.classes if one.label == self.target)

    def is_telling(self, metrics: Metrics) -> bool:
        """Whether a slice has enough pictures to be judged by itself."""
        targets = self.count_target(metrics)
        return min(targets, metrics.images - targets) >= FEWEST_IN_SLICE

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values; ``from_dict`` reads them back."""
        return {
            "version": EVALUATION_VERSION,
            "verdict": self.verdict,
            "target": self.target,
            "threshold": self.threshold,
            "threshold_rule": self.threshold_rule,
            "temperature": self.temperature,
            "offsets": list(self.offsets),
            "abstain": self.abstain,
            "abstained": self.abstained.to_dict(),
            "test_openings": self.test_openings,
            "majority_label": self.majority_label,
            "confidence": self.confidence,
            "errors": self.errors,
            "skipped": self.skipped,
            "runtime": self.runtime,
            **self.overall.to_dict(),
            "slices": {source: metrics.to_dict() for source, metrics in self.slices},
            "groups": self.groups.to_dict(self.target) if self.groups else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that ``to_dict`` wrote.

        Raises:
            BundleError: Another version, or values that are not of that form.
        """
        if values.get("version") != EVALUATION_VERSION:
            raise BundleError(
                f"Cannot read the evaluation: it has version {values.get('version')!r}, this "
                f"program reads version {EVALUATION_VERSION}. Run `roi-cls evaluate` again."
            )
        try:
            slices, groups = values["slices"], values.get("groups")
            return cls(
                overall=Metrics.from_dict(values),
                slices=tuple(
                    (source, Metrics.from_dict(slices[source]))
                    for source in get_args(Slice)
                    if source in slices
                ),
                target=str(values["target"]),
                threshold=float(values["threshold"]),
                threshold_rule=str(values["threshold_rule"]),
                temperature=float(values["temperature"]),
                offsets=tuple(map(float, values["offsets"])),
                abstain=float(values["abstain"]),
                test_openings=int(values["test_openings"]),
                majority_label=str(values["majority_label"]),
                errors=int(values["errors"]),
                skipped=int(values["skipped"]),
                confidence=float(values["confidence"]),
                groups=GroupComparison.from_dict(groups) if groups else None,
                runtime=values.get("runtime"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(
                f"Cannot read the evaluation: {type(error).__name__}: {error}. The file is "
                "incomplete or was changed by hand; run `roi-cls evaluate` again."
            ) from error


def _judge_accuracy(accuracy: Estimate, baseline: float, majority_label: str) -> str:
    """Return how the accuracy compares with that of a constant answer."""
    return (
        f"Accuracy {format_number(accuracy.value)} against {format_number(baseline)} for "
        f"always answering {majority_label!r}{_compare_with_baseline(accuracy, baseline)}"
    )


def _compare_with_baseline(accuracy: Estimate, baseline: float) -> str:
    if accuracy.value == baseline:
        return ", no difference"
    if accuracy.holds(baseline):
        return ", a difference within its interval"
    return ", clearly better" if accuracy.low > baseline else ", clearly worse"


def _judge_ranking(roc_auc: Estimate, target: str) -> str:
    """Return whether the scores rank pictures of the target above others at all."""
    if not roc_auc.is_defined:
        return f"ROC-AUC is undefined without both {target!r} and other pictures"
    low, high = (format_number(end, (0.0, 0.5, 1.0)) for end in (roc_auc.low, roc_auc.high))
    ends = f"the interval of ROC-AUC {low}-{high}"
    if roc_auc.holds(0.5):
        return f"{ends} includes 0.5, so the ranking may be chance"
    if roc_auc.high < 0.5:
        return f"{ends} lies below 0.5, so the scores rank the wrong way round"
    return f"{ends} excludes 0.5"


def _judge_abstention(overall: Metrics, decided: Metrics | None) -> str:
    """Return what not answering the unsure pictures gains; ``decided`` is None where all are."""
    if decided is None:
        return f"all {overall.images} pictures are too close to call"
    unsure = overall.images - decided.images
    if not unsure:
        return "no picture is too close to call"
    return (
        f"{unsure} of {overall.images} pictures are too close to call; accuracy on the others "
        f"{format_number(decided.accuracy.value)}"
    )


def _count_lost(errors: int, skipped: int) -> list[str]:
    """Return a part of the verdict for each reason why pictures are in no metric."""
    parts = []
    if errors:
        noun = "picture was" if errors == 1 else "pictures were"
        parts.append(f"{errors} unreadable {noun} not scored")
    if skipped:
        noun = "picture" if skipped == 1 else "pictures"
        parts.append(f"{skipped} {noun} without a face skipped, as the recipe says")
    return parts


def evaluate_scores(
    labels: ArrayLike,
    probabilities: ArrayLike,
    label_names: Sequence[str],
    target: str,
    threshold: float,
    sources: Sequence[CropSource],
    *,
    threshold_rule: str = "f1",
    temperature: float = 1.0,
    offsets: Sequence[float] = (),
    abstain: float = 0.0,
    errors: int = 0,
    skipped: int = 0,
    majority_label: str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Return the evaluation of scores against labels, whole and by slice.

    labels: (N,) true class indices.  probabilities: (N, K), rows sum to 1.  sources: (N,).
    threshold: of the target's probability, chosen on validation data; unused with K > 2.
    threshold_rule, temperature, offsets: how threshold and probabilities came about; kept as they
        are.
    abstain: margin below which a picture is left out of the slice ``decided``.
    errors, skipped: pictures that could not be read, or were skipped; they are in no array.
    majority_label: most frequent class in training; None: here, the lower index at a tie.

    Raises:
        DataError: No picture was scored, or a score is not a finite number.
        ValueError: The arrays do not fit each other, or a name is not in ``label_names``.
    """
    truth, scores = _check_scores(labels, probabilities, len(label_names), errors)
    origin = _check_sources(sources, len(truth))
    _check_name(target, label_names)
    majority = majority_label or label_names[int(np.bincount(truth).argmax())]
    _check_name(majority, label_names)
    at_target = label_names.index(target)
    measure = partial(
        measure_scores,
        label_names=label_names,
        target=at_target,
        threshold=threshold,
        majority=label_names.index(majority),
        seed=seed,
    )
    members: dict[Slice, NDArray[np.bool_]] = {
        source: origin == source for source in get_args(CropSource)
    }
    if abstain:
        members["decided"] = ~is_unsure(scores, at_target, threshold, abstain)
    slices = ((name, measure(truth[at], scores[at])) for name, at in members.items() if at.any())
    return Evaluation(
        overall=measure(truth, scores),
        slices=tuple(slices),
        target=target,
        threshold=threshold,
        majority_label=majority,
        threshold_rule=threshold_rule,
        temperature=temperature,
        offsets=tuple(offsets),
        abstain=abstain,
        errors=errors,
        skipped=skipped,
    )


def _check_scores(
    labels: ArrayLike, probabilities: ArrayLike, count: int, errors: int
) -> tuple[Labels, Floats]:
    truth = np.asarray(labels, dtype=np.int64)
    scores = np.asarray(probabilities, dtype=np.float64)
    if truth.size == 0:
        why = f"none of {errors} could be read" if errors else "there are none"
        raise DataError(
            f"Cannot evaluate: no picture was scored, {why}. Give labelled pictures that open."
        )
    if count < 2 or truth.ndim != 1 or scores.shape != (len(truth), count):
        raise ValueError(
            f"labels must be (N,) and probabilities (N, {count}), 2 classes or more; "
            f"got {truth.shape} and {scores.shape}"
        )
    if truth.min() < 0 or truth.max() >= count:
        raise ValueError(f"labels must be 0 to {count - 1}, got {truth.min()} to {truth.max()}")
    broken = int((~np.isfinite(scores)).any(axis=1).sum())
    if broken:
        raise DataError(
            f"Cannot evaluate: {broken} of {len(truth)} pictures have a score that is not a "
            "finite number. The model's weights diverged; train again with a lower learning rate."
        )
    sums = scores.sum(axis=1)
    if scores.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            "probabilities must be 0 to 1 and sum to 1 in each row, "
            f"got {scores.min():g} as the least and sums from {sums.min():g} to {sums.max():g}"
        )
    # Not normalised: one rounding more, and a score equal to the threshold would fall below it.
    return truth, scores


def _check_sources(sources: Sequence[CropSource], count: int) -> NDArray[np.str_]:
    if len(sources) != count:
        raise ValueError(f"sources must be one per label, got {len(sources)} for {count}")
    odd = sorted(set(sources) - set(get_args(CropSource)))
    if odd:
        raise ValueError(f"a source is one of {get_args(CropSource)}, got {odd[0]!r}")
    return np.asarray(sources, dtype=np.str_)


def _check_name(name: str, label_names: Sequence[str]) -> None:
    if name not in label_names:
        raise ValueError(f"{name!r} is not one of the classes {tuple(label_names)}")
