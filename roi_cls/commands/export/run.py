"""The work behind ``roi-cls export``: the files, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roi_cls.classifier.export.parity import BATCHES, EXPORT_TOLERANCE, Int8Accuracy
from roi_cls.classifier.export.run import (
    ExportJob,
    OnnxExport,
    export_onnx,
    export_timm,
    load_exportable,
)
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.commands.export.card import render_card
from roi_cls.console.terminal import note, progress, show
from roi_cls.console.words import count_text, format_bytes


def export_onnx_and_tell(job: ExportJob) -> None:
    """Export to ONNX, with progress on stderr, and print what was written.

    Raises:
        RoiClsError: See ``export_onnx``.
    """
    with progress("Cropping") as advance:

        def on_picture(done: int, total: int) -> None:
            advance(done, total, "")
            if done == total:
                note("Building the graph, and comparing it with the run ...")

        export = export_onnx(job, on_picture)
    for line in _describe(job, export):
        show(line)


def _describe(job: ExportJob, export: OnnxExport) -> Iterator[str]:
    """Yield what was written, one file a line, and of one in int8 what it costs."""
    parity = export.parity
    batches = " and ".join(map(str, BATCHES))
    yield (
        f"{job.output}: {format_bytes(export.bytes)}, opset {job.opset}; answers as the run on "
        f"{count_text(parity.pictures, 'picture')} in batches of {batches}: "
        f"max |Δp| = {parity.largest_difference:.1e} (allowed {EXPORT_TOLERANCE:g})"
    )
    if export.int8 and export.int8_bytes:
        yield f"{job.int8_output}: {format_bytes(export.int8_bytes)}; {_int8_text(export.int8)}"


def _int8_text(found: Int8Accuracy) -> str:
    before, after = found.images_per_second
    text = (
        f"the same answer as in fp32 for {found.agreement:.1%} of "
        f"{count_text(found.pictures, 'picture')}, max |Δp| = {found.largest_difference:.2g}, "
        f"mean {found.mean_difference:.2g}; {after:.0f} pictures/s after {before:.0f}"
    )
    if found.roc_auc is None:
        return text
    exact, small = found.roc_auc
    return f"{text}; ROC-AUC {small:.3f} after {exact:.3f} on {found.labelled} of them"


def export_timm_and_tell(run: RunFolder, output: Path, license_name: str | None) -> None:
    """Write a folder for timm and print how it is loaded.

    Raises:
        RoiClsError: The run cannot be used, or timm cannot build its network.
    """
    bundle = load_exportable(run)
    card = render_card(run, bundle, license_name)
    export_timm(run, bundle, output, card)
    if not run.evaluation.is_file():
        note("warning: the run is not evaluated, and its card says so; `roi-cls evaluate` first.")
    show(f'{output}: timm.create_model("local-dir:{output}", pretrained=True)')
