"""The work behind ``roi-cls report``: what a run left, gathered and written as one HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.version import __version__
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import Device
from roi_cls.classifier.explanation.explain import Explainer
from roi_cls.classifier.inference.prediction import PredictOptions
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.runs.bundle import ENSEMBLE, ModelBundle, load_bundle, member_folders
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.openings import read_openings
from roi_cls.classifier.training.record import read_metrics
from roi_cls.commands.report.data import (
    PART_TEXT,
    FoundData,
    ReportedScores,
    audit_data,
    find_scores,
    group_scores,
    locate_data,
)
from roi_cls.commands.report.facts import (
    calibration_table,
    course_table,
    digests_table,
    machine_tables,
    model_table,
    openings_table,
    read_record,
    recipe_tables,
    settings_table,
)
from roi_cls.commands.report.figures import draw_training
from roi_cls.commands.report.outcome import judge_scores
from roi_cls.commands.report.page import Report, render_report
from roi_cls.commands.report.parts import Drawing, Gallery, Missing, Table
from roi_cls.commands.report.shots import (
    Choice,
    Photographer,
    Shots,
    bare_cards,
    choose_pictures,
    fill_galleries,
)
from roi_cls.commands.report.slices import Seen, find_seen
from roi_cls.console.terminal import progress
from roi_cls.console.words import count_text
from roi_cls.roi.recipe import open_recipe

MOST_MEMBERS = 8
"""Members of an ensemble whose training is drawn."""


@dataclass(frozen=True, slots=True)
class ReportJob:
    """What to report on, and what may be looked at for it."""

    run: RunFolder
    output: Path
    options: BuildOptions
    source: Path | None = None
    """Where the data set lies; None: where it lay when the run was trained."""
    device: Device = "auto"
    detector_model: Path | None = None
    pictures: bool = True
    """Show pictures; without, the report holds nobody's face."""
    audit: bool = True
    """Read every picture of the data set to say whether it is sound."""
    group_regex: str | None = None
    """Names a picture's source in its path; None: as evaluation or training named it."""


def write_report(job: ReportJob, now: datetime | None = None) -> Report:
    """Write the report to ``job.output``, whole or not at all, and return what it says.

    Raises:
        RoiClsError: The run cannot be used, or the file cannot be written.
    """
    bundle = load_bundle(job.run.path)
    found = find_scores(job.run, bundle)
    scores = None
    if isinstance(found, ReportedScores):
        scores = group_scores(found, job.run, bundle, job.group_regex)
    root = locate_data(job.source, job.run, bundle, scores.table if scores else None)
    shown = _show_pictures(job, scores, root) if scores else _Shown()
    openings = read_openings(job.run.test_openings)
    record = read_record(job.run)
    training = _draw_members(job.run, bundle)
    report = Report(
        run=job.run.path.name,
        facts=_describe(bundle, scores),
        made=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC with roi-cls {__version__}",
        target=repr(bundle.labels.target),
        outcome=judge_scores(scores, _see(job, bundle, scores, root)) if scores else None,
        doubt=scores.doubt if scores else found if isinstance(found, Missing) else None,
        training=training,
        untrained="" if training else f"There are no epochs to draw: {_why_no_epochs(bundle)}.",
        course=course_table(record),
        galleries=shown.galleries,
        picture_notes=shown.notes,
        data=_audit(job, bundle, root),
        calibration=calibration_table(bundle),
        openings=openings_table(openings) if openings else None,
        details=_details(bundle, record),
    )
    write_atomically(job.output, render_report(report))
    return report


@dataclass(slots=True)
class _Shown:
    """Galleries, and what there is to say of them."""

    galleries: list[Gallery] = field(default_factory=list)
    notes: list[Missing] = field(default_factory=list)


def _show_pictures(job: ReportJob, scores: ReportedScores, root: Path | Missing) -> _Shown:
    choice = choose_pictures(scores.pictures)
    if not job.pictures or isinstance(root, Missing):
        note = root if isinstance(root, Missing) else Missing("Left out, as asked (--no-pictures).")
        return _Shown(fill_galleries(choice, bare_cards(scores, choice), scores.evaluation), [note])
    options = PredictOptions(max_pixels=job.options.max_pixels, detector_model=job.detector_model)
    with (
        # Gradients, which draw the heat, are torch's.
        open_predictor([job.run.path], job.device, runtime="torch", options=options) as predictor,
        progress("Looking at pictures") as advance,
    ):
        photographer = Photographer(scores, root, predictor, Explainer(predictor))
        shots = photographer.take(choice, advance)
    galleries = fill_galleries(
        choice, shots, scores.evaluation, photographer.method, photographer.most
    )
    return _Shown(galleries, _doubt_pictures(job.run, choice, shots))


def _doubt_pictures(run: RunFolder, choice: Choice, shots: Shots) -> list[Missing]:
    notes = []
    lost = sum(1 for card in shots.cards.values() if card.problem)
    if lost:
        told = f"{lost} of the {len(choice.all)} pictures chosen cannot be shown; each says why."
        notes.append(Missing(told))
    if shots.differing:
        notes.append(
            Missing(
                f"{count_text(shots.differing, 'picture')} got another probability now than when "
                "they were scored: something in the way from file to score has changed.",
                "Look into it:",
                f"roi-cls verify {shlex.quote(run.path.name)}",
            )
        )
    return notes


def _see(
    job: ReportJob, bundle: ModelBundle, scores: ReportedScores, root: Path | Missing
) -> list[Seen | None]:
    if bundle.crop.crop == "full":
        return [Seen(None, None, None)] * len(scores.table.paths)
    recipe = open_recipe(bundle.crop, job.detector_model, (job.run.detector,))
    return find_seen(job.run, recipe, scores.table, root, job.options)


def _audit(job: ReportJob, bundle: ModelBundle, root: Path | Missing) -> FoundData | Missing:
    if not job.audit:
        return Missing("The data were not read, as asked (--no-audit).")
    if isinstance(root, Missing):
        return root
    with progress("Reading the data") as advance:
        return audit_data(job.run, root, bundle.labels.target, job.options, advance)


def _draw_members(run: RunFolder, bundle: ModelBundle) -> list[tuple[str, list[Drawing]]]:
    """Return the curves of the run, or of each of its first members, with the member's name."""
    folders = member_folders(run.path, bundle)
    members = [(folder.name, RunFolder(folder)) for folder in folders[:MOST_MEMBERS]]
    drawn = []
    for i, (name, folder) in enumerate(members or [("", run)]):
        if epochs := read_metrics(folder.metrics):
            drawn.append((name, draw_training(epochs, f"epochs-{i}")))
    return drawn


def _why_no_epochs(bundle: ModelBundle) -> str:
    if bundle.network.get("kind") == ENSEMBLE:
        return "the members were joined without the lines of their epochs"
    method = bundle.training.get("config", {}).get("method", "this method")
    return f"{method} is fitted in one step, or metrics.jsonl is gone"


def _describe(bundle: ModelBundle, scores: ReportedScores | None) -> str:
    facts = [f"{bundle.model}, looking for {bundle.labels.target!r}"]
    if scores:
        facts.append(f"{scores.evaluation.overall.images} {PART_TEXT[scores.part]}")
    if learned := bundle.training.get("train_images"):
        facts.append(f"learned from {learned} pictures")
    return ", ".join(facts) + "."


def _details(bundle: ModelBundle, record: Mapping[str, Any]) -> list[Table]:
    tables = [model_table(bundle), *recipe_tables(bundle)]
    tables += [settings] if (settings := settings_table(bundle)) else []
    return [*tables, *machine_tables(record), digests_table(bundle)]
