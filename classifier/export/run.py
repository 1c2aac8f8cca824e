"""A run handed on: as an ONNX file, or as a folder that timm loads by itself, and roi-cls as a run.

An ONNX file is made, compared with the run on real crops, and only then written. timm's folder
holds the run's own weights, and its card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import ExportError
from roi_cls.base.location import hash_file
from roi_cls.classifier.export.onnx import OPSET, check_exportable, make_graph, write_bytes
from roi_cls.classifier.export.parity import (
    EXPORT_TOLERANCE,
    Int8Accuracy,
    Parity,
    check_parity,
    crop_real_pictures,
    find_pictures_to_compare,
    measure_int8,
)
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.inference.onnx_model import read_onnx
from roi_cls.classifier.inference.scorer import ROUNDING_TOLERANCE
from roi_cls.classifier.models.device import choose_backend
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
from roi_cls.roi.detection.models import model_files

_CARD_NAME = "README.md"


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What to export, where to, and what to compare it on."""

    run: RunFolder
    output: Path
    """The .onnx file; one in int8 is written beside it."""
    int8: bool = False
    """Whether to write that, too."""
    opset: int = OPSET
    data: Path | None = None
    """Where the run's data lie now, or other pictures; None: where it was trained from."""
    detector_model: Path | None = None

    @property
    def tolerance(self) -> float:
        """Largest difference of a probability; smaller for what the run itself predicts with."""
        is_own = self.output.resolve() == self.run.onnx.resolve()
        return ROUNDING_TOLERANCE if is_own else EXPORT_TOLERANCE

    @property
    def int8_output(self) -> Path:
        """The file in int8."""
        return self.output.with_suffix(".int8.onnx")


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written, and what it was found to be."""

    bytes: int
    parity: Parity
    int8_bytes: int | None = None
    int8: Int8Accuracy | None = None


def export_onnx(
    job: ExportJob, on_picture: Callable[[int, int], None] = lambda done, total: None
) -> OnnxExport:
    """Write the file, or both; a file that does not answer as the run is not written.

    Raises:
        ExportError: The run cannot be exported, or not be compared, or answers otherwise.
        RoiClsError: The run or the pictures cannot be used.
    """
    loaded = load_any(job.run.path, choose_backend("cpu", "fp32"))
    check_exportable(loaded, job.opset)
    samples = find_pictures_to_compare(job.run, loaded, job.data)
    crops = crop_real_pictures(job.run, loaded, samples, job.detector_model, on_picture)
    graph = make_graph(loaded, job.opset)
    data = write_bytes(graph, loaded, job.run.detector, proven=job.tolerance)
    # What is compared are the bytes that are written, read as prediction reads them.
    exported = read_onnx(data, job.output, "cpu")
    parity = check_parity(loaded, exported, crops, job.tolerance)
    write_atomically(job.output, data, durable=True)
    if not job.int8:
        return OnnxExport(len(data), parity)
    from roi_cls.classifier.export.onnx import quantise

    small = quantise(graph, len(loaded.bundle.labels.names))
    int8_data = write_bytes(small, loaded, job.run.detector, quantised=True)
    int8 = measure_int8(exported, read_onnx(int8_data, job.int8_output, "cpu"), crops)
    write_atomically(job.int8_output, int8_data, durable=True)
    return OnnxExport(len(data), parity, len(int8_data), int8)


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
    _check_free(run, folder)
    # Without its configuration a folder is no model: none with old facts and new weights.
    (folder / CONFIG_NAME).unlink(missing_ok=True)
    write_atomically(folder / WEIGHTS_NAME, (run.path / WEIGHTS_NAME).read_bytes())
    detector = RunFolder(folder).detector
    for path in model_files(run.detector):
        write_atomically(detector / path.name, path.read_bytes())
    write_atomically(folder / _CARD_NAME, card.encode())
    config = json.loads((run.path / CONFIG_NAME).read_text(encoding="utf-8"))
    write_config(folder, {**config, "roi_cls": shareable_facts(bundle)})


def _check_free(run: RunFolder, folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    is_used = bool(names) or folder.is_file()
    if is_used and not (_is_export(folder, names) or _is_begun(run, folder, names)):
        raise ExportError(
            f"Cannot export to {str(folder)!r}: something else is there. "
            "Give a new or empty folder with --output."
        )


def _is_export(folder: Path, names: Set[str]) -> bool:
    """Whether an earlier export is there; models of others have a card and weights, too."""
    if not {_CARD_NAME, WEIGHTS_NAME, CONFIG_NAME} <= names:
        return False
    try:
        config = json.loads((folder / CONFIG_NAME).read_bytes())
    except ValueError:
        return False
    return isinstance(config, dict) and "roi_cls" in config


def _is_begun(run: RunFolder, folder: Path, names: Set[str]) -> bool:
    """Whether it is what a full disk left: these weights come first, the configuration last."""
    if not WEIGHTS_NAME in names <= {WEIGHTS_NAME, RunFolder(folder).detector.name, _CARD_NAME}:
        return False
    card = (folder / _CARD_NAME).read_bytes() if _CARD_NAME in names else b""
    weights = [hash_file(place / WEIGHTS_NAME) for place in (run.path, folder)]
    return weights[0] == weights[1] or b"\n- roi-cls\n" in card
