"""How a run fares on groups of pictures, such as sources, and whether its score tells them apart.

Values and their words only; ``grouping`` finds and measures the groups. A model that is sure of a
picture for a frame's border or a source's style is seen here: its score then tells the source
even among pictures that are all without what is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from roi_cls.classifier.metrics.interval import Estimate
from roi_cls.classifier.metrics.measure import FEW_PICTURES

GroupKind = Literal["group", "others", "unnamed"]
"""A group; all groups that are not shown for themselves; the pictures that are of none."""
FEWEST_IN_GROUP = FEW_PICTURES
"""Pictures that a figure of a group rests on: of the target, of the others, or both; of fewer
there is none."""
_MOST_TOLD = 3
"""Groups that a sentence names."""


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """How the pictures of one group fared; a figure of too few pictures is None."""

    name: str | None
    """Of the group; None: several groups, or none."""
    kind: GroupKind
    """What the row stands for: a `group`; all `others`, too small for a row each; or the pictures
    that are of none, `unnamed`."""
    groups: int
    """How many groups it holds: 1, of `others` more, of `unnamed` 0."""
    images: int
    """Pictures scored."""
    targets: int
    """How many of them are of the target."""
    roc_auc: Estimate | None
    """Target against all others within the group; bootstrap."""
    average_precision: Estimate | None
    """Likewise; chance is the group's own share of the target."""
    accuracy: Estimate | None
    """At the run's threshold; Wilson."""
    mean_other: float | None
    """Mean probability of the target, of the pictures that are not of it."""
    mean_target: float | None
    """The same of the pictures that are."""
    told_apart: Estimate | None
    """ROC-AUC with which the score alone tells this group's pictures from those of all other rows,
    among those that are not of the target; 0.5: not at all, above: they score higher."""

    @property
    def title(self) -> str:
        """What a table calls it."""
        if self.name is not None:
            return self.name
        return f"{self.groups} others" if self.kind == "others" else "no source named"

    @property
    def is_told(self) -> bool:
        """Whether the score clearly tells its pictures from those of the others."""
        return self.told_apart is not None and not self.told_apart.holds(0.5)

    def to_dict(self) -> dict[str, Any]:
        """Return strict JSON values; ``from_dict`` reads them back."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {k: v.to_dict() if isinstance(v, Estimate) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GroupMetrics:
        """Return the row that ``to_dict`` wrote.

        Raises:
            KeyError, TypeError, ValueError: The values are not of that form.
        """
        if values["kind"] not in get_args(GroupKind):
            raise ValueError(f"kind must be one of {get_args(GroupKind)}, got {values['kind']!r}")

        def number(name: str) -> float | None:
            return None if values[name] is None else float(values[name])

        return cls(
            name=None if values["name"] is None else str(values["name"]),
            kind=cast(GroupKind, values["kind"]),
            groups=int(values["groups"]),
            images=int(values["images"]),
            targets=int(values["targets"]),
            roc_auc=_read(values["roc_auc"]),
            average_precision=_read(values["average_precision"]),
            accuracy=_read(values["accuracy"]),
            mean_other=number("mean_other"),
            mean_target=number("mean_target"),
            told_apart=_read(values["told_apart"]),
        )


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """All scored pictures by group."""

    regex: str | None
    """Pattern that names a picture's group in its path; None: the data name it otherwise."""
    found: int
    """Different groups among the pictures, also those that have no row of their own."""
    confidence: float
    """Of the intervals of `told_apart`: higher than elsewhere where there are several, so that
    all of them together are as sure as one."""
    within: Estimate | None
    """ROC-AUC where each picture is compared with those of its own group alone: what is left of
    that of all pictures when nothing is gained by telling the groups. Bootstrap."""
    rows: tuple[GroupMetrics, ...]
    """The largest groups first, then `others`, then `unnamed`."""

    @property
    def is_told(self) -> bool:
        """Whether the score clearly tells one of the groups."""
        return any(row.is_told for row in self.rows)

    @property
    def remark(self) -> str:
        """Which groups have no row of their own; empty: all have one."""
        shown = sum(row.kind == "group" for row in self.rows)
        if shown == self.found:
            return ""
        return f"Of {self.found} sources the {shown} largest have a row each, the others one."

    def verdict(self, target: str, titles: Sequence[str] | None = None) -> str:
        """Return what the score tells of a picture's group, in plain sentences.

        Args:
            target: What the class that is looked for is called.
            titles: What the rows are called; None: their titles.
        """
        titles = [row.title for row in self.rows] if titles is None else titles
        called = [_called(row, title) for row, title in zip(self.rows, titles, strict=True)]
        if len(self.rows) < 2:
            return "All pictures are of one source: there is nothing to compare."
        if all(row.told_apart is None for row in self.rows):
            return (
                "Whether the score tells the sources apart cannot be said: that takes "
                f"{FEWEST_IN_GROUP} pictures that are not {target!r} in each of two."
            )
        if not self.is_told:
            return (
                f"Among pictures that are not {target!r} the score does not clearly tell the "
                f"sources apart{self._chance()}.{self._spread(called)}{self._within()}"
            )
        return (
            f"The score tells the source: of pictures that are not {target!r}, "
            f"{self._told(called)}. So the run may be sure for a reason that is not the face, like "
            f"a frame's border or a source's style: look at these pictures."
            f"{self._spread(called)}{self._within()}"
        )

    def _spread(self, called: Sequence[str]) -> str:
        """Return where the ranking is best and worst, if that is clear: intervals do not meet."""
        pairs = zip(self.rows, called, strict=True)
        known = [(row.roc_auc, name) for row, name in pairs if row.roc_auc is not None]
        known.sort(key=lambda pair: pair[0].value)
        if not known or known[0][0].high >= known[-1][0].low:
            return ""
        (low, worst), (high, best) = known[0], known[-1]
        return f" ROC-AUC differs clearly: {high} for {best}, {low} for {worst}."

    def _within(self) -> str:
        if self.within is None:
            return ""
        return f" With pictures compared only within their source, ROC-AUC is {self.within}."

    def _chance(self) -> str:
        if len(self.rows) == 2:
            return f": ROC-AUC between them {self.rows[0].told_apart}, chance is 0.5"
        return ": no interval of ROC-AUC between one and the others excludes 0.5"

    def _told(self, called: Sequence[str]) -> str:
        told = [(row, name) for row, name in zip(self.rows, called, strict=True) if row.is_told]
        if len(self.rows) == 2:
            higher, lower = sorted(
                zip(self.rows, called, strict=True), key=lambda pair: -_value(pair[0])
            )
            return (
                f"those of {higher[1]} score higher than those of {lower[1]} "
                f"(ROC-AUC between them {higher[0].told_apart}, chance is 0.5)"
            )
        told.sort(key=lambda pair: -abs(_value(pair[0]) - 0.5))
        parts: list[str] = []
        for row, name in told[:_MOST_TOLD]:
            way = "higher" if _value(row) > 0.5 else "lower"
            parts.append(
                f"those of {name} {way} ({row.told_apart})"
                if parts
                else f"those of {name} score {way} than all others "
                f"(ROC-AUC {row.told_apart}, chance is 0.5)"
            )
        if left := len(told) - len(parts):
            parts.append(f"and {left} more differ{'s' if left == 1 else ''}, too")
        return ", ".join(parts)

    def to_dict(self, target: str) -> dict[str, Any]:
        """Return strict JSON values; ``from_dict`` reads them back. ``target``: its name."""
        return {
            "verdict": self.verdict(target),
            "regex": self.regex,
            "found": self.found,
            "confidence": self.confidence,
            "within": self.within.to_dict() if self.within else None,
            "rows": [row.to_dict() for row in self.rows],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GroupComparison:
        """Return the comparison that ``to_dict`` wrote.

        Raises:
            KeyError, TypeError, ValueError: The values are not of that form.
        """
        return cls(
            regex=None if values["regex"] is None else str(values["regex"]),
            found=int(values["found"]),
            confidence=float(values["confidence"]),
            within=_read(values["within"]),
            rows=tuple(map(GroupMetrics.from_dict, values["rows"])),
        )


def _read(values: Mapping[str, float | None] | None) -> Estimate | None:
    return None if values is None else Estimate.from_dict(values)


def _called(row: GroupMetrics, title: str) -> str:
    """Return what a sentence calls the group whose pictures it tells of."""
    if row.kind == "group":
        return repr(title)
    return f"the {row.groups} smaller sources" if row.kind == "others" else "no named source"


def _value(row: GroupMetrics) -> float:
    return 0.5 if row.told_apart is None else row.told_apart.value
