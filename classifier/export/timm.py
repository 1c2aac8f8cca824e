"""A run as a folder that timm loads by itself, with its card; and roi-cls as a run."""

from __future__ import annotations

import json
from pathlib import Path

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import ExportError
from roi_cls.classifier.runs.bundle import (
    CONFIG_NAME,
    PLAIN,
    WEIGHTS_NAME,
    ModelBundle,
    load_bundle,
    shareable_facts,
    write_config,
)
from roi_cls.classifier.runs.folder import RunFolder

CARD_NAME = "README.md"


def load_exportable(run: RunFolder) -> ModelBundle:
    """Return the facts of a run whose network timm builds by itself.

    Raises:
        ExportError: It is of another kind.
        BundleError: The run cannot be used.
    """
    bundle = load_bundle(run.path)
    kind = bundle.network["kind"]
    if kind != PLAIN:
        remedy = "Copy the run's folder" if kind == "svm" else "Use --format onnx"
        raise ExportError(
            f"Cannot export run {run.path.name!r} for timm: it is of the kind {kind!r}, and timm "
            f"builds one network for one crop. {remedy} instead."
        )
    return bundle


def export_timm(run: RunFolder, bundle: ModelBundle, folder: Path, card: str) -> None:
    """Write weights, the detector's files and the card, the configuration last.

    Args:
        run: A finished run.
        bundle: From ``load_exportable``.
        folder: Made where it is missing; an earlier export in it is replaced.
        card: Markdown with a YAML head.

    Raises:
        ExportError: The folder holds something else.
        StorageError: The disk is full or the folder cannot be written.
    """
    _check_free(folder)
    # Without its configuration a folder is no model: none with old facts and new weights.
    (folder / CONFIG_NAME).unlink(missing_ok=True)
    write_atomically(folder / WEIGHTS_NAME, (run.path / WEIGHTS_NAME).read_bytes())
    detector = RunFolder(folder).detector
    for path in sorted(run.detector.glob("*.tflite")):
        write_atomically(detector / path.name, path.read_bytes())
    write_atomically(folder / CARD_NAME, card.encode())
    config = json.loads((run.path / CONFIG_NAME).read_text(encoding="utf-8"))
    write_config(folder, {**config, "roi_cls": shareable_facts(bundle)})


def _check_free(folder: Path) -> None:
    is_export = (folder / CARD_NAME).is_file() and (folder / WEIGHTS_NAME).is_file()
    is_used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_used and not is_export:
        raise ExportError(
            f"Cannot export to {str(folder)!r}: something else is there. "
            "Give a new or empty folder with --output."
        )
