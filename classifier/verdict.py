"""What the numbers of an evaluation say, in words. Knows estimates, no scores and no pictures."""

from __future__ import annotations

from roi_cls.classifier.metrics.interval import Estimate, format_number
from roi_cls.classifier.metrics.metrics import Metrics


def judge_accuracy(accuracy: Estimate, baseline: float, majority_label: str) -> str:
    """Return how the accuracy compares with that of a constant answer."""
    return (
        f"Accuracy {format_number(accuracy.value)} against {format_number(baseline)} for "
        f"always answering {majority_label!r}{_compare(accuracy, baseline)}"
    )


def judge_ranking(roc_auc: Estimate, target: str) -> str:
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


def judge_abstention(overall: Metrics, decided: Metrics | None) -> str:
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


def count_lost(errors: int, skipped: int) -> list[str]:
    """Return a part of the verdict for each reason why pictures are in no metric."""
    parts = []
    if errors:
        noun = "picture was" if errors == 1 else "pictures were"
        parts.append(f"{errors} unreadable {noun} not scored")
    if skipped:
        noun = "picture" if skipped == 1 else "pictures"
        parts.append(f"{skipped} {noun} without a face skipped, as the recipe says")
    return parts


def _compare(accuracy: Estimate, baseline: float) -> str:
    if accuracy.value == baseline:
        return ", no difference"
    if accuracy.holds(baseline):
        return ", a difference within its interval"
    return ", clearly better" if accuracy.low > baseline else ", clearly worse"
