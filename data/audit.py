"""What is wrong with a data set: duplicates, leaks, conflicts, and statistics that betray labels.

Sees samples and the facts of their files; opens none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from roi_cls.data.faults import (
    Pair,
    equal_bytes,
    find_conflicts,
    find_leaks,
    find_shared_groups,
)
from roi_cls.data.label_statistics import LabelStatistic, measure_statistics
from roi_cls.data.near import find_near_duplicates
from roi_cls.data.picture_facts import PictureFacts
from roi_cls.data.sample import Sample

Level = Literal["fail", "warn"]
PARTS = ("train", "validation", "test", "undecided")
_FEW = 20  # pictures of a class in a part: fewer leave intervals of +- 0.2 and more


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    """Like ``leaks``: the field of the audit that lists it."""
    level: Level
    """``fail``: scores on these data would be wrong; ``warn``: look at it."""
    text: str


@dataclass(frozen=True, slots=True)
class Audit:
    """All there is to say about a data set before training on it."""

    pictures: int
    unreadable: tuple[tuple[Path, str], ...]
    """Path and error."""
    parts: dict[str, dict[str, int]]
    """Part to class to pictures; ``undecided``: the data give none."""
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
    samples: Sequence[Sample], facts: Sequence[PictureFacts], target: str | None = None
) -> Audit:
    """Return what is wrong with labelled samples.

    Args:
        samples: With the parts and groups that the data give.
        facts: One of each sample's file.
        target: The class that is looked for.
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
        "parts": _count(samples),
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
    return Audit(pictures=len(samples), **found, findings=_judge(found))


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
        few = [f"{count} {label}" for label, count in counts.items() if count < _FEW]
        if few:
            text = f"The part {part!r} has only {', '.join(few)}: numbers on it will be uncertain."
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
