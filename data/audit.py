"""What is wrong with a data set: duplicates, leaks, conflicts, and tell-tale statistics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from roi_cls.data.near import find_near_duplicates
from roi_cls.data.picture_facts import PictureFacts
from roi_cls.data.sample import SPLIT_NAMES, Sample, name_some
from roi_cls.data.units import Pair, equal_bytes, find_conflicts, find_leaks, find_shared_groups

Level = Literal["fail", "warn"]
PARTS = (*SPLIT_NAMES, "undecided")
_FEW_PICTURES = 20  # pictures of a class in a part: fewer leave intervals of +- 0.2 and more
STRONG_ROC_AUC = 0.6
"""ROC-AUC from which a statistic says something worth knowing."""
SIGNIFICANT_P = 0.01
"""Corrected p below which it is no accident."""
_FEW_ALIKE = 5
"""Pictures: a value of fewer tells too little of its class to be told from others as rare."""
_RARE = "rare values"
_DEALS = 20_000
_DEALT_AT_ONCE = 1000
MOST_EXAMPLES = 5
"""Examples of each finding, and statistics beyond those that betray the label."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    """Like ``leaks``: the field of the audit that lists it."""
    level: Level
    """``fail``: scores on these data would be wrong; ``warn``: look at it."""
    text: str


@dataclass(frozen=True, slots=True)
class LabelStatistic:
    """How well one statistic alone tells one class from the others."""

    name: str
    """Like ``bits_per_pixel``."""
    label: str
    """The class that is told from the others."""
    roc_auc: float
    """0.5 to 1: of the statistic in the better direction; of categories, of their best grouping."""
    p: float
    """Chance of as much in labels dealt at random: Mann-Whitney, or dealt again for categories."""
    p_corrected: float
    """By Holm, for all the tests of one audit."""
    detail: str
    """The difference in words."""

    @property
    def betrays(self) -> bool:
        """Whether the statistic tells the label, beyond accident."""
        return self.roc_auc >= STRONG_ROC_AUC and self.p_corrected < SIGNIFICANT_P


@dataclass(frozen=True, slots=True)
class Audit:
    """All there is to say about a data set before training on it."""

    pictures: int
    unreadable: tuple[tuple[Path, str], ...]
    """Path and error."""
    damaged: tuple[Path, ...]
    """The unreadable ones that are pictures, but not whole."""
    parts: dict[str, dict[str, int]]
    """Part to class to pictures; ``undecided``: the data give none."""
    color_profiles: dict[str, dict[str, int]]
    """Colour profile to class to pictures, readable ones; ``none``: the file says nothing."""
    exact_duplicates: tuple[tuple[Path, ...], ...]
    """Groups of files of equal bytes."""
    near_duplicates: tuple[tuple[Path, ...], ...]
    """Groups of pictures that look alike, of which two at least differ in bytes."""
    leaks: tuple[Pair, ...]
    """Equal bytes in two parts."""
    near_leaks: tuple[Pair, ...]
    """Pictures that look alike in two parts."""
    shared_groups: tuple[str, ...]
    """Groups in two parts."""
    conflicts: tuple[Pair, ...]
    """Equal bytes with two labels."""
    near_conflicts: tuple[Pair, ...]
    """Pictures that look alike with two labels."""
    statistics: tuple[LabelStatistic, ...]
    """What else differs between the classes, the strongest first."""
    findings: tuple[Finding, ...]
    passed_over: dict[str, int]
    """How often what else is in the folder, by suffix or kind: see ``Found``."""

    @property
    def failed(self) -> bool:
        """Whether scores on these data would be wrong."""
        return any(finding.level == "fail" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values under the names of the fields, and ``failed``."""
        values = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        values["unreadable"] = [
            {"path": str(path), "error": error} for path, error in self.unreadable
        ]
        values["statistics"] = [asdict(one) | {"betrays": one.betrays} for one in self.statistics]
        values["findings"] = [asdict(one) for one in self.findings]
        return values | {"failed": self.failed}


def audit_samples(
    samples: Sequence[Sample],
    facts: Sequence[PictureFacts],
    target: str | None = None,
    passed_over: Mapping[str, int] = MappingProxyType({}),
) -> Audit:
    """Return what is wrong with labelled samples.

    Args:
        samples: With the parts and groups that the data give.
        facts: One of each sample's file.
        target: The class that is looked for.
        passed_over: What else is in their folder.
    """
    exact = equal_bytes([fact.sha256 for fact in facts])
    alike = find_near_duplicates([fact.fingerprint for fact in facts])
    near = [group for group in alike if len({facts[i].sha256 for i in group}) > 1]
    leaks, conflicts = find_leaks(samples, exact), find_conflicts(samples, exact)
    near_leaks = tuple(pair for pair in find_leaks(samples, near) if pair not in set(leaks))
    near_conflicts = tuple(p for p in find_conflicts(samples, near) if p not in set(conflicts))
    readable = [i for i, fact in enumerate(facts) if fact.error is None]
    found: dict[str, Any] = {
        "unreadable": tuple((fact.path, fact.error) for fact in facts if fact.error is not None),
        "damaged": tuple(fact.path for fact in facts if fact.damaged),
        "parts": _count(samples),
        "color_profiles": _count_profiles(samples, facts),
        "exact_duplicates": _paths(samples, exact),
        "near_duplicates": _paths(samples, near),
        "leaks": leaks,
        "near_leaks": near_leaks,
        "shared_groups": find_shared_groups(samples),
        "conflicts": conflicts,
        "near_conflicts": near_conflicts,
        "statistics": _measure(
            [samples[i] for i in readable], [facts[i] for i in readable], target
        ),
    }
    return Audit(
        pictures=len(samples), **found, findings=_judge(found), passed_over=dict(passed_over)
    )


def _measure(
    samples: Sequence[Sample], facts: Sequence[PictureFacts], target: str | None
) -> tuple[LabelStatistic, ...]:
    quantities: defaultdict[str, list[float]] = defaultdict(list)
    categories: defaultdict[str, list[str]] = defaultdict(list)
    for fact in facts:
        for name, number in fact.quantities:
            quantities[name].append(number)
        for name, text in fact.categories:
            categories[name].append(text)
    # A header that Pillow does not read leaves a gap: of what is not known of all, nothing is said.
    return measure_statistics(
        [str(sample.label) for sample in samples],
        {name: values for name, values in quantities.items() if len(values) == len(facts)},
        {name: values for name, values in categories.items() if len(values) == len(facts)},
        target,
    )


def _count(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    counts = Counter((str(s.split or "undecided"), str(s.label)) for s in samples)
    labels = sorted({label for _, label in counts})
    parts = [part for part in PARTS if any(found == part for found, _ in counts)]
    return {part: {label: counts[part, label] for label in labels} for part in parts}


def _count_profiles(
    samples: Sequence[Sample], facts: Sequence[PictureFacts]
) -> dict[str, dict[str, int]]:
    readable = [pair for pair in zip(samples, facts, strict=True) if pair[1].error is None]
    counts = Counter((dict(f.categories)["color_profile"], str(s.label)) for s, f in readable)
    labels = sorted({str(sample.label) for sample in samples})
    names = sorted({name for name, _ in counts})
    return {name: {label: counts[name, label] for label in labels} for name in names}


def _judge(found: dict[str, Any]) -> tuple[Finding, ...]:
    rules: tuple[tuple[str, Level, str], ...] = (
        ("leaks", "fail", "Pictures with the same bytes in two parts"),
        ("near_leaks", "fail", "Pictures that look alike in two parts"),
        ("shared_groups", "fail", "Groups in two parts"),
        ("conflicts", "fail", "Pictures with the bytes of another and another label"),
        ("near_conflicts", "warn", "Pictures that look like another with another label"),
        ("exact_duplicates", "warn", "Sets of files with the same bytes"),
        ("near_duplicates", "warn", "Sets of pictures that look alike"),
        ("unreadable", "warn", "Files that cannot be read"),
        ("damaged", "warn", "Pictures among them that are cut off or damaged"),
    )
    findings = [
        Finding(kind, level, f"{text}: {len(found[kind])}.")
        for kind, level, text in rules
        if found[kind]
    ]
    findings += [
        Finding("statistics", "warn", _tell(one)) for one in found["statistics"] if one.betrays
    ]
    for part, counts in found["parts"].items():
        few = [f"{count} {label}" for label, count in counts.items() if count < _FEW_PICTURES]
        if few:
            text = f"The part {part!r} has only {name_some(few)}: numbers on it will be uncertain."
            findings.append(Finding("parts", "warn", text))
    return tuple(findings)


def _tell(one: LabelStatistic) -> str:
    return (
        f"{one.name} alone tells {one.label!r} from the others with ROC-AUC {one.roc_auc:.2f} "
        f"({one.detail}; corrected p {one.p_corrected:.1g}): a model may learn it instead."
    )


def _paths(
    samples: Sequence[Sample], groups: Sequence[Sequence[int]]
) -> tuple[tuple[Path, ...], ...]:
    return tuple(tuple(samples[i].path for i in group) for group in groups)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def audit_verdict(audit: Audit) -> str:
    """Return in a sentence whether the data are sound."""
    fails = sum(finding.level == "fail" for finding in audit.findings)
    what = f"{audit.pictures} pictures, {len(audit.unreadable)} of them unreadable"
    what += f" ({len(audit.damaged)} damaged)." if audit.damaged else "."
    if fails:
        return f"{what} Scores on these data would be wrong: {fails} finding(s) below fail."
    return f"{what} Nothing leaks from one part into another, and no equal files differ in label."


def name_examples(audit: Audit, finding: Finding, root: Path) -> Iterator[str]:
    """Yield a line for each of the first things found, paths relative to ``root`` if below it.

    None for what the finding's own text says.
    """
    if finding.kind in ("statistics", "parts"):
        return
    found: tuple[object, ...] = getattr(audit, finding.kind)
    for item in found[:MOST_EXAMPLES]:
        parts = item if isinstance(item, tuple) else (item,)
        words = [_short(part, root) for part in parts[:MOST_EXAMPLES]]
        more = f" and {len(parts) - MOST_EXAMPLES} more" if len(parts) > MOST_EXAMPLES else ""
        yield "  ".join(words) + more
    if len(found) > MOST_EXAMPLES:
        yield f"and {len(found) - MOST_EXAMPLES} more (`roi-cls data audit --json` lists all)"


def _short(part: object, root: Path) -> str:
    if isinstance(part, Path) and part.is_relative_to(root):
        return part.relative_to(root).as_posix()
    return str(part)


def measure_statistics(
    labels: Sequence[str],
    quantities: Mapping[str, Sequence[float]],
    categories: Mapping[str, Sequence[str]],
    target: str | None = None,
) -> tuple[LabelStatistic, ...]:
    """Return how well each statistic tells each class from the others, the strongest first.

    What is alike in all pictures is left out. Of two classes only ``target``, else the first by
    name, is told from the other.

    Args:
        labels: (N) class names.
        quantities: Name to N numbers.
        categories: Name to N texts.
        target: The class that is looked for.
    """
    classes = sorted(set(labels))
    if len(classes) == 2:
        classes = [target if target in classes else classes[0]]
    names = np.array(labels)
    found = []
    for label in classes if len(set(labels)) > 1 else ():
        chosen = names == label
        for name, numbers in quantities.items():
            if len(set(numbers)) > 1:
                found.append(_measure_quantity(name, np.array(numbers, float), chosen, label))
        for name, texts in categories.items():
            shared = _pool_rare(texts)
            if len(set(shared)) > 1:
                found.append(_measure_category(name, shared, chosen, label))
    return tuple(sorted(_correct(found), key=lambda one: (-one.betrays, -one.roc_auc, one.name)))


def _measure_quantity(
    name: str, values: NDArray[np.float64], chosen: NDArray[np.bool_], label: str
) -> LabelStatistic:
    inside, outside = values[chosen], values[~chosen]
    test = mannwhitneyu(inside, outside)
    roc_auc = float(test.statistic) / (len(inside) * len(outside))
    detail = f"median {_figure(np.median(inside))} against {_figure(np.median(outside))}"
    return LabelStatistic(name, label, max(roc_auc, 1 - roc_auc), float(test.pvalue), 1, detail)


def _figure(value: np.floating[Any]) -> str:
    """Return four digits of a number, all of a larger one: ``1.051e+04`` is hard to read."""
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.0f}"


def _pool_rare(texts: Sequence[str]) -> list[str]:
    """Return the values with the rare ones as one.

    Else a size that each picture has for itself would tell all labels, whichever they are.
    """
    counts = Counter(texts)
    return [text if counts[text] >= _FEW_ALIKE else _RARE for text in texts]


def _measure_category(
    name: str, texts: Sequence[str], chosen: NDArray[np.bool_], label: str
) -> LabelStatistic:
    values, codes = np.unique(np.array(texts), return_inverse=True)
    totals = np.bincount(codes, minlength=len(values))
    inside = np.bincount(codes[chosen], minlength=len(values))
    apart = _difference(inside, totals)
    rng = np.random.default_rng(0)
    as_far = 0
    for _ in range(_DEALS // _DEALT_AT_ONCE):
        dealt = rng.multivariate_hypergeometric(totals, int(inside.sum()), _DEALT_AT_ONCE)
        as_far += int((_difference(dealt, totals) >= apart - 1e-12).sum())
    shares = inside / inside.sum(), (totals - inside) / (totals - inside).sum()
    most = int(np.abs(shares[0] - shares[1]).argmax())
    detail = f"{values[most]}: {shares[0][most]:.0%} against {shares[1][most]:.0%}"
    # The best grouping of categories is right for 1/2 + difference/2, a ROC-AUC with one step.
    p = (as_far + 1) / (_DEALS + 1)
    return LabelStatistic(name, label, 0.5 + float(apart) / 2, p, 1, detail)


def _difference(inside: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return half the summed differences of the shares of categories, (..., C) to (...)."""
    outside = totals - inside
    shares = inside / inside.sum(-1, keepdims=True) - outside / outside.sum(-1, keepdims=True)
    return np.asarray(np.abs(shares).sum(-1) / 2)


def _correct(found: Sequence[LabelStatistic]) -> list[LabelStatistic]:
    """Return the statistics with p corrected for their number, by Holm."""
    corrected, least = [], 0.0
    for i, one in enumerate(sorted(found, key=lambda one: one.p)):
        least = max(least, min(1.0, one.p * (len(found) - i)))
        corrected.append(replace(one, p_corrected=least))
    return corrected
