"""Which group each scored picture is of, and how each group fared.

A group is what the pictures of one source share in their paths, or what the data call so. What
keeps persons apart in a split is a group as well, and is none here unless it is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import DataError
from roi_cls.classifier.evaluation.groups import (
    FEWEST_IN_GROUP,
    GroupComparison,
    GroupKind,
    GroupMetrics,
)
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.metrics.interval import CONFIDENCE, Estimate
from roi_cls.classifier.metrics.weighted import ranking_interval
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.data.table import read_split
from roi_cls.data.units import match_groups

MOST_GROUPS = 12
"""Groups with a row of their own, and the most that are taken for sources without being asked."""
FEWEST_PER_SOURCE = 20
"""Pictures that groups have on the average which are taken for sources without being asked."""

Names = tuple[str | None, ...]
"""The group of each of N pictures; None: it is of none."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of N pictures."""

    names: Names
    regex: str | None
    """What found them in the paths; None: the data name them otherwise."""


def find_grouping(
    run: RunFolder,
    training: Mapping[str, Any],
    table: ScoreTable,
    group_regex: str | None = None,
    known: Mapping[str, str] | None = None,
) -> Grouping | None:
    """Return the groups of scored pictures; None where they have none that may be sources.

    Those that the regular expression names. Without one, those that kept pictures together when
    the run was split (a column ``group``, or its own ``--group-regex``): but only if they are few
    and large, for then they are sources; many small ones are persons.

    Args:
        run: Its split names the groups of pictures that it knows.
        training: The settings it was trained with, which know its own regular expression.
        table: The pictures.
        group_regex: What is asked for; it is looked for in the table's paths.
        known: Path to group, as the data that were scored call it themselves.

    Raises:
        DataError: No path matches what is asked for, or the split is damaged.
        ValueError: It is no regular expression.
    """
    if group_regex is not None:
        return Grouping(match_groups(table.paths, group_regex), group_regex)
    own = training.get("group_regex")
    regex = own if isinstance(own, str) else None
    kept, known = _split_groups(run), known or {}
    names: Names = tuple(
        known.get(path) or kept.get(digest)
        for path, digest in zip(table.paths, table.sha256, strict=True)
    )
    if regex is not None and not any(names):  # other pictures, called like those of the run
        names = _match_any(table.paths, regex)
    return Grouping(names, regex) if _are_sources(names) else None


def _split_groups(run: RunFolder) -> dict[str, str]:
    """Return the group of each picture of the run's split, by the SHA-256 of its bytes."""
    if not run.split.is_file():
        return {}
    samples, digests = read_split(run.split)
    pairs = zip(samples, digests, strict=True)
    return {digest: sample.group for sample, digest in pairs if digest and sample.group}


def _match_any(paths: Sequence[str], regex: str) -> Names:
    try:
        return match_groups(paths, regex)
    except (DataError, ValueError):
        return (None,) * len(paths)


def _are_sources(names: Names) -> bool:
    counts = Counter(filter(None, names))
    return 2 <= len(counts) <= MOST_GROUPS and counts.total() >= FEWEST_PER_SOURCE * len(counts)


def judge_groups(pictures: ScoredPictures, grouping: Grouping | None) -> ScoredPictures:
    """Return the pictures with an evaluation that holds their groups, or none."""
    groups = _compare(pictures, grouping) if grouping else None
    return replace(pictures, evaluation=replace(pictures.evaluation, groups=groups))


def _compare(pictures: ScoredPictures, grouping: Grouping) -> GroupComparison:
    """Return how each group of the scored pictures fared, and whether the score tells it."""
    names = np.array([name or "" for name in grouping.names], np.object_)
    counts = Counter(filter(None, grouping.names))
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    # One left over would be a row of others as well: it is shown.
    shown = ranked if len(ranked) <= MOST_GROUPS + 1 else ranked[:MOST_GROUPS]
    left = len(ranked) - len(shown)
    named = np.asarray(names != "", np.bool_)
    members: list[tuple[GroupKind, str | None, int, NDArray[np.bool_]]] = [
        ("group", name, 1, np.asarray(names == name, np.bool_)) for name in shown
    ]
    if left:
        members.append(("others", None, left, named & ~np.isin(names, shown)))
    if not named.all():
        members.append(("unnamed", None, 0, ~named))
    confidence, told = _tell_apart(pictures, [at for *_, at in members])
    rows = tuple(
        _measure(pictures, kind, name, count, at, apart)
        for (kind, name, count, at), apart in zip(members, told, strict=True)
    )
    within = _rank_within(pictures, names)
    return GroupComparison(grouping.regex, len(ranked), confidence, within, rows)


def _measure(
    pictures: ScoredPictures,
    kind: GroupKind,
    name: str | None,
    groups: int,
    at: NDArray[np.bool_],
    told_apart: Estimate | None,
) -> GroupMetrics:
    target, scores = pictures.is_target[at], pictures.scores[at]
    metrics, targets = pictures.measure(at), int(target.sum())
    both = min(targets, len(target) - targets) >= FEWEST_IN_GROUP

    def mean(of: NDArray[np.bool_]) -> float | None:
        return float(scores[of].mean()) if of.sum() >= FEWEST_IN_GROUP else None

    return GroupMetrics(
        name=name,
        kind=kind,
        groups=groups,
        images=len(target),
        targets=targets,
        roc_auc=metrics.roc_auc if both else None,
        average_precision=metrics.average_precision if both else None,
        accuracy=metrics.accuracy if len(target) >= FEWEST_IN_GROUP else None,
        mean_other=mean(~target),
        mean_target=mean(target),
        told_apart=told_apart,
    )


def _tell_apart(
    pictures: ScoredPictures, members: Sequence[NDArray[np.bool_]]
) -> tuple[float, list[Estimate | None]]:
    """Return the confidence, and for each group how the score tells it from the others.

    Among pictures that are not of the target: what is looked for cannot be what tells them.
    """
    clean = ~pictures.is_target
    inside = [at[clean] for at in members]
    enough = [min(at.sum(), (~at).sum()) >= FEWEST_IN_GROUP for at in inside]
    # Of two groups one comparison is the other's mirror image. Of more, each could find a
    # difference where there is none: Bonferroni's share for each.
    comparisons = 1 if len(members) == 2 else max(1, sum(enough))
    confidence = 1 - (1 - CONFIDENCE) / comparisons
    scores = pictures.scores[clean]
    return confidence, [
        ranking_interval(at, scores, confidence=confidence) if is_enough else None
        for at, is_enough in zip(inside, enough, strict=True)
    ]


def _rank_within(pictures: ScoredPictures, names: NDArray[np.object_]) -> Estimate | None:
    """Return ``GroupComparison.within``; the pictures of no group are compared as if of one."""
    _, group = np.unique(names.astype(str), return_inverse=True)
    is_target = pictures.is_target
    both = np.bincount(group, is_target) * np.bincount(group, ~is_target) > 0
    at = both[group]
    sides = is_target[at]
    if min(sides.sum(), (~sides).sum()) < FEWEST_IN_GROUP:
        return None
    return ranking_interval(sides, pictures.scores[at], groups=group[at])
