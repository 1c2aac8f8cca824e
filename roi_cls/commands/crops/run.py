"""The work behind ``roi-cls crops`` and ``roi-cls cache``.

Crop what is named and sum it up; say what the cache holds, prove it, give space back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from roi_cls.base.location import as_path
from roi_cls.cache import CropRecord
from roi_cls.cache.build import CropSummary, build_crops
from roi_cls.cache.builder import open_builder
from roi_cls.cache.manifest import check_manifest_path, open_manifest
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.upkeep import (
    Part,
    Pruned,
    PruneJob,
    find_damaged,
    list_parts,
    measure_index,
    prune,
)
from roi_cls.console.cropping import SHOWN_ERRORS, show_errors
from roi_cls.console.terminal import note, progress, rate_text, show
from roi_cls.console.words import (
    count_text,
    describe_recipe,
    format_bytes,
    format_span,
    parse_bytes,
    parse_span,
)
from roi_cls.inputs.names import check_not_input, expand_paths
from roi_cls.roi import REASON_TEXT, CropParams
from roi_cls.roi.recipe import OpenedRecipe, open_recipe

_STEP_NAMES = {
    "short": "short range",
    "full": "full range",
    "tiles": "tiles",
    "yunet": "YuNet",
    "turned": "turned frame",
}


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
    shard = job.options.shard
    if shard is None:
        return expand_paths(job.inputs)
    paths = expand_paths(job.inputs, shard.holds)
    held = [path for path in paths if shard.holds(path)]
    if not held:  # by chance, where parts are many: no reason for a scheduler to stop
        what = f"all of the {count_text(len(paths), 'picture')}" if paths else "all archives"
        note(f"Shard {shard.number}/{shard.count} has nothing to do: {what} are in other shards.")
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
    if summary["damaged"]:
        told = "--manifest says why, --damaged read takes what can be read"
        lines.append(f"{count_text(summary['damaged'], 'damaged picture')} ({told})")
    if steps := summary["steps"]:
        needed = ", ".join(f"{_STEP_NAMES[step]} {count}" for step, count in steps.items())
        lines.append(f"last step the detector needed: {needed}")
    lines.append(
        f"detected {summary['detected']}, cropped {summary['cropped']}, "
        f"reused {summary['reused']} in {summary['seconds']:.1f} s "
        f"({rate_text(summary['images_per_second'], 'pictures')})"
    )
    return "\n".join(lines)


def tell_cache(cache: Path, as_json: bool) -> None:
    """Print what the cache holds, by recipe.

    Raises:
        CacheError: There is no cache in this folder.
    """
    parts = list_parts(cache)
    total, index = sum(part.bytes for part in parts), measure_index(cache)
    if as_json:
        rows = [part.to_dict() for part in parts]
        show(json.dumps({"bytes": total, "index_bytes": index, "parts": rows}))
        return
    now = time.time()
    for part in parts:
        show(_part_line(part, now))
    show(f"{format_bytes(total)} in {str(cache)!r}, besides an index of {format_bytes(index)}")


def _part_line(part: Part, now: float) -> str:
    described = {
        "detections": "what was seen in the pictures",
        "old": "left by an older roi-cls",
    }.get(part.kind, describe_recipe(part.recipe) if part.recipe else "recipe unreadable")
    return (
        f"{part.name:<16}  {part.kind:<10}  {part.entries:>8} entries  "
        f"{format_bytes(part.bytes):>8}  used {format_span(now - part.last_used)} ago  {described}"
    )


def verify_cache(cache: Path, as_json: bool) -> int:
    """Check every entry, name and remove the damaged ones; return how many there were.

    Raises:
        CacheError: An entry cannot be read or removed.
    """
    total = sum(part.entries for part in list_parts(cache) if part.kind != "old")
    damaged = []
    with progress("Checking", unit="entries") as advance:
        for path in find_damaged(cache, lambda done: advance(done, total, "")):
            damaged.append(str(path))
            if not as_json:
                show(f"damaged, removed: {path}")
    if as_json:
        show(json.dumps({"entries": total, "damaged": damaged}))
    else:
        end = "They are made again when next needed." if damaged else "All are sound."
        show(f"{total} entries checked, {len(damaged)} damaged. {end}")
    return len(damaged)


def choose_pruning(
    recipes: Sequence[str] | None, unused_for: str | None, max_size: str | None
) -> PruneJob:
    """Return what the options ask to remove.

    Raises:
        typer.BadParameter: They ask for nothing, or a value cannot be read.
    """
    if not (recipes or unused_for or max_size):
        raise typer.BadParameter("say what is to go: --recipe, --unused-for or --max-size")
    return PruneJob(
        tuple(recipes or ()),
        parse_span(unused_for) if unused_for else None,
        parse_bytes(max_size) if max_size else None,
    )


def prune_cache(cache: Path, pruning: PruneJob, dry_run: bool, as_json: bool) -> None:
    """Remove parts of the cache and print which.

    Raises:
        CacheError: There is no cache, or a part cannot be removed.
    """
    pruned = prune(cache, pruning, dry_run=dry_run)
    freed = sum(one.part.bytes for one in pruned if not one.in_use)
    for one in pruned:
        if one.in_use:
            note(f"kept, a run uses it: {one.part.kind} {one.part.name}")
    if as_json:
        show(json.dumps({"bytes": freed, "dry_run": dry_run, "parts": _pruned_rows(pruned)}))
        return
    now = time.time()
    for one in pruned:
        if not one.in_use:
            show(f"{'would remove' if dry_run else 'removed'}: {_part_line(one.part, now)}")
    show(f"{format_bytes(freed)} {'would be freed' if dry_run else 'freed'}")


def _pruned_rows(pruned: Sequence[Pruned]) -> list[dict[str, object]]:
    return [{**one.part.to_dict(), "in_use": one.in_use} for one in pruned]
