"""The work behind ``roi-cls crops``: crop what is named, sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.build import CropSummary, build_crops
from roi_cls.cache.builder import open_builder
from roi_cls.cache.manifest import check_manifest_path, open_manifest
from roi_cls.cache.options import BuildOptions
from roi_cls.console.cropping import SHOWN_ERRORS, show_errors
from roi_cls.console.terminal import note, progress, rate_text
from roi_cls.console.words import count_text, describe_recipe
from roi_cls.inputs.names import check_not_input, expand_paths
from roi_cls.roi import REASON_TEXT, CropParams
from roi_cls.roi.recipe import OpenedRecipe, open_recipe

_STEP_NAMES = {"short": "short range", "full": "full range", "tiles": "tiles"}


@dataclass(frozen=True, slots=True)
class CropJob:
    """What to crop, how, and what to leave beside the crops."""

    inputs: Sequence[str]
    params: CropParams
    options: BuildOptions
    detector_model: Path | None = None
    manifest: Path | None = None
    """Where all rows go."""
    contact_sheet: Path | None = None
    """Where a page of crops goes."""


def crop_inputs(job: CropJob) -> CropSummary:
    """Crop every picture named, write the manifest and the page, return the summary.

    Raises:
        RoiClsError: The run as a whole cannot go on; finished crops are kept.
    """
    _check_outputs(job)
    paths = _list_inputs(job)
    for output in (job.manifest, job.contact_sheet):
        if output:
            check_not_input(output, [*map(as_path, job.inputs), *paths])
    recipe = open_recipe(job.params, job.detector_model)
    summary = CropSummary()
    errors: list[CropRecord] = []
    drawn: list[CropRecord] = []
    with ExitStack() as stack:
        add_row = stack.enter_context(open_manifest(job.manifest)) if job.manifest else None
        advance = stack.enter_context(progress("Cropping"))
        for result in build_crops(paths, recipe.params, recipe.open_detector, job.options):
            summary.add(result)
            if add_row:
                add_row(result.record)
            if result.record.status == "error" and len(errors) < SHOWN_ERRORS:
                errors.append(result.record)
            if job.contact_sheet:
                drawn.append(result.record)
            advance(summary.images, len(paths), "")
    show_errors(errors, "--manifest rows.csv lists every picture", summary.errors)
    if job.contact_sheet:
        _draw_sheet(job.contact_sheet, drawn, recipe, job.options)
    return summary


def _check_outputs(job: CropJob) -> None:
    """Refuse a manifest or a page that cannot be written, before the work is done."""
    from roi_cls.drawing.file import check_drawing_path

    if job.manifest:
        check_manifest_path(job.manifest)
    if job.contact_sheet:
        check_drawing_path(job.contact_sheet, "contact sheet")


def _list_inputs(job: CropJob) -> list[Path]:
    """Return the pictures that the inputs name, of them those of the shard, which may be none.

    Raises:
        DataError: The inputs name none.
    """
    paths = list(expand_paths(job.inputs))
    shard = job.options.shard
    if shard is None:
        return paths
    held = [path for path in paths if shard.holds(path)]
    if not held:  # by chance, where parts are many: no reason for a scheduler to stop
        note(
            f"Shard {shard.number}/{shard.count} has nothing to do: all of the "
            f"{count_text(len(paths), 'picture')} are in other shards."
        )
    return held


def _draw_sheet(
    path: Path,
    records: Sequence[CropRecord],
    recipe: OpenedRecipe,
    options: BuildOptions,
) -> None:
    from roi_cls.drawing.sheet import write_contact_sheet

    with open_builder(recipe.params, recipe.open_detector, options) as builder:
        sheet = write_contact_sheet(path, records, builder.load, describe_recipe(recipe.params))
    note(f"Drew {sheet.shown} of {sheet.crops} crops on {path}")


def summary_text(summary: dict[str, Any]) -> str:
    """Return the summary in a few lines for people."""
    reasons = ", ".join(
        f"{count} because {REASON_TEXT[reason]}" for reason, count in summary["reasons"].items()
    )
    images, faces = summary["images"], summary["face"]
    parts = [f"{count_text(images, 'picture')}: {count_text(faces, 'face crop')}"]
    if summary["full_frame"] or not summary["skipped"]:
        parts.append(count_text(summary["full_frame"], "full frame"))
    if summary["skipped"]:
        parts.append(f"{summary['skipped']} skipped")
    if reasons:
        parts[-1] += f" ({reasons})"
    lines = [", ".join([*parts, count_text(summary["errors"], "error")])]
    if steps := summary["steps"]:
        needed = ", ".join(f"{_STEP_NAMES[step]} {count}" for step, count in steps.items())
        lines.append(f"last step the detector needed: {needed}")
    lines.append(
        f"detected {summary['detected']}, cropped {summary['cropped']}, "
        f"reused {summary['reused']} in {summary['seconds']:.1f} s "
        f"({rate_text(summary['images_per_second'], 'pictures')})"
    )
    return "\n".join(lines)
