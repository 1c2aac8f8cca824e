"""The work behind ``roi-cls crops``: crop what is named, sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from roi_cls.cache import CropRecord
from roi_cls.cache.build import BuildOptions, CropSummary, build_crops
from roi_cls.cache.manifest import check_manifest_path, write_manifest
from roi_cls.console import note, progress, rate_text
from roi_cls.errors import StorageError
from roi_cls.inputs import expand_paths
from roi_cls.roi import REASON_TEXT, CropParams

SHOWN_ERRORS = 5


def crop_inputs(
    inputs: Sequence[str],
    params: CropParams,
    options: BuildOptions,
    detector_model: Path | None,
    manifest: Path | None,
) -> CropSummary:
    """Crop every picture named, write the manifest, return the summary.

    Raises:
        RoiClsError: The run as a whole cannot go on; finished crops are kept.
    """
    from roi_cls.roi.mediapipe_detector import MediapipeDetector
    from roi_cls.roi.models import resolve_models

    if manifest:
        check_manifest_path(manifest)
        if manifest.is_dir():
            raise StorageError(manifest, "it is a folder")
    paths = list(expand_paths(inputs))
    if params.crop == "face":
        models = resolve_models(params.detector, given=detector_model)
        params = replace(params, detector_sha256=tuple(model.sha256 for model in models))
        open_detector = partial(MediapipeDetector, models, params)
    else:
        open_detector = partial(MediapipeDetector, (), params)
    summary, records = CropSummary(), []
    with progress("Cropping") as advance:
        for result in build_crops(paths, params, open_detector, options):
            summary.add(result)
            records.append(result.record)
            advance(summary.images, len(paths), "")
    if manifest:
        write_manifest(manifest, records)
    show_errors(
        [record for record in records if record.status == "error"],
        "--manifest rows.csv lists every picture",
    )
    return summary


def show_errors(errors: Sequence[CropRecord], rest: str) -> None:
    """Name the first pictures that could not be cropped, on stderr, and count the rest.

    Args:
        errors: Rows in error.
        rest: Where the others can be seen, as a sentence without its full stop.
    """
    for record in errors[:SHOWN_ERRORS]:
        note(f"error: {record.error}")
    if len(errors) > SHOWN_ERRORS:
        note(f"… and {len(errors) - SHOWN_ERRORS} more; {rest}.")


def summary_text(summary: dict[str, Any]) -> str:
    """Return the summary in a few lines for people."""
    reasons = ", ".join(
        f"{count} because {REASON_TEXT[reason]}" for reason, count in summary["reasons"].items()
    )
    lines = [
        f"{_count(summary['images'], 'picture')}: {_count(summary['face'], 'face crop')}, "
        f"{_count(summary['full_frame'], 'full frame')}{f' ({reasons})' if reasons else ''}, "
        f"{_count(summary['errors'], 'error')}",
        f"detected {summary['detected']}, cropped {summary['cropped']}, "
        f"reused {summary['reused']} in {summary['seconds']:.1f} s "
        f"({rate_text(summary['images_per_second'], 'pictures')})",
    ]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
