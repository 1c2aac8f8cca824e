"""What a whole report holds, and its one HTML file, which needs no other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from roi_cls.classifier.metrics.interval import Estimate, format_number
from roi_cls.commands.report.data import FoundData
from roi_cls.commands.report.parts import Cell, Drawing, Gallery, Key, Missing, Table


@dataclass(frozen=True, slots=True)
class GroupsPart:
    """What the scores say by source."""

    verdict: str
    """Whether the score tells the source."""
    is_told: bool
    """Whether it does."""
    remark: str
    """Which sources have no row; empty: all have one."""
    table: Table


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the scores say."""

    verdict: str
    standing: str
    """``better``, ``same`` or ``worse`` than a constant answer."""
    sentences: list[str]
    cautions: list[str]
    keys: list[Key]
    labels: tuple[str, ...]
    classes: Table
    confusion: tuple[tuple[int, ...], ...]
    """Rows are true classes, columns answers."""
    mix_ups: Table | None
    """What is most often taken for what, in place of a matrix of many classes; None: of few."""
    ranking: list[Drawing]
    reliability: Drawing
    class_scores: list[Drawing]
    risk_coverage: Drawing
    slices: Table
    unseen: str
    """Why some slices are not there; empty: all are."""
    groups: GroupsPart | None = None
    """None: no source is known."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows, in the order of the page."""

    run: str
    facts: str
    """What run it is, in a line."""
    made: str
    target: str
    outcome: Outcome | None
    doubt: Missing | None
    """Why there is no outcome, or none on the test part."""
    training: list[tuple[str, list[Drawing]]]
    """Of the run, or of each member: its name and its curves."""
    untrained: str
    """Why there are no curves."""
    course: Table
    """How training went."""
    galleries: list[Gallery]
    picture_notes: list[Missing]
    data: FoundData | Missing
    calibration: Table
    openings: Table | None
    details: list[Table] = field(default_factory=list)


def render_report(report: Report) -> bytes:
    """Return the page, UTF-8."""
    environment = _environment()
    script = _source("report.js")
    page = environment.get_template("report.html").render(
        report=report,
        style=Markup(_source("report.css")),
        script=Markup(script),
        # Nothing else may run, and nothing may be fetched: the browser holds the page to it.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    # A file's name need not be text.
    return page.encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("roi_cls.commands.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "number": format_number, "share": _share}
    environment.tests["estimate"] = lambda value: isinstance(value, Estimate)
    return environment


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _cell(value: Cell) -> str:
    """Return what a table's cell says."""
    if value is None:
        return "none"
    if not isinstance(value, Estimate):
        return str(value)
    if not value.is_defined:
        return "undefined"
    number = format_number(value.value)
    interval = f"{format_number(value.low)} to {format_number(value.high)}"
    return Markup('{} <span class="interval">{}</span>').format(number, interval)


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
