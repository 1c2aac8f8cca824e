"""The work behind ``roi-cls export``: the files, what is told of them, and the model's card.

The card is Markdown: what the model is for, how good it is, how it is used, where it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from roi_cls.base.rows import markdown_table
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.experiments.comparison import metric_title
from roi_cls.classifier.export.parity import BATCHES, Int8Accuracy
from roi_cls.classifier.export.run import (
    ExportJob,
    OnnxExport,
    export_onnx,
    export_timm,
    load_exportable,
)
from roi_cls.classifier.metrics.interval import Estimate
from roi_cls.classifier.runs.bundle import ModelBundle, shareable_facts
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.console.terminal import note, progress, show
from roi_cls.console.words import count_text, describe_recipe, format_bytes

_CARD_METRICS = ("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "macro_f1", "mcc")
"""Metrics of the card."""
_HUB_NAMES = {"macro_f1": "f1", "mcc": "matthews_correlation"}
"""What the hub of models calls a metric, where that is another name."""


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
        f"max |Δp| = {parity.largest_difference:.1e} (allowed {job.tolerance:g})"
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
    card = _render_card(run, bundle, license_name)
    export_timm(run, bundle, output, card)
    if not run.evaluation.is_file():
        note("warning: the run is not evaluated, and its card says so; `roi-cls evaluate` first.")
    show(f'{output}: timm.create_model("local-dir:{output}", pretrained=True)')


def _render_card(run: RunFolder, bundle: ModelBundle, license_name: str | None = None) -> str:
    """Return the card of a run, with its last evaluation if there is one.

    Args:
        run: A finished run.
        bundle: Its facts.
        license_name: As the hub writes it, like ``apache-2.0``; None: none was given.

    Raises:
        BundleError: The evaluation is of another version.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("roi_cls.commands.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is Markdown, of the user's own run
    )
    evaluation = _read_evaluation(run)
    labels = bundle.labels
    return environment.get_template("model_card.md").render(
        head=_head(run.path.name, evaluation, license_name),
        name=run.path.name,
        bundle=bundle,
        labels=labels,
        others=" and ".join(f"*{name}*" for name in labels.names if name != labels.target),
        offsets=[round(value, 6) for value in bundle.offsets],
        recipe=describe_recipe(bundle.crop),
        evaluation=evaluation,
        metrics_table=_metrics_table(evaluation) if evaluation else "",
        classes_table=_classes_table(evaluation) if evaluation else "",
        training=shareable_facts(bundle)["training"],
        versions=", ".join(f"{name} {number}" for name, number in bundle.versions.items()),
        license=license_name,
    )


def _read_evaluation(run: RunFolder) -> Evaluation | None:
    if not run.evaluation.is_file():
        return None
    return Evaluation.from_dict(json.loads(run.evaluation.read_text(encoding="utf-8")))


def _head(name: str, evaluation: Evaluation | None, license_name: str | None) -> str:
    """Return the YAML by which the hub of models lists it."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="imagefolder",
            dataset_name="test part of its own data set",
            metric_type=_HUB_NAMES.get(metric, metric),
            metric_name=metric_title(metric),
            metric_value=round(estimate.value, 4),
        )
        for metric, estimate in _estimates(evaluation)
        if estimate.is_defined
    ]
    data = ModelCardData(
        library_name="timm",
        license=license_name,
        tags=["image-classification", "timm", "roi-cls", "mediapipe"],
        pipeline_tag="image-classification",
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=name,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _estimates(evaluation: Evaluation | None) -> Iterator[tuple[str, Estimate]]:
    if evaluation:
        yield from ((name, getattr(evaluation.overall, name)) for name in _CARD_METRICS)


def _metrics_table(evaluation: Evaluation) -> str:
    parts = [("all", evaluation.overall), *evaluation.slices]
    header = ["", *(f"{name.replace('_', ' ')} ({part.images})" for name, part in parts)]
    rows = [
        [metric_title(name), *(str(getattr(part, name)) for _, part in parts)]
        for name in _CARD_METRICS
    ]
    return markdown_table(header, rows)


def _classes_table(evaluation: Evaluation) -> str:
    rows = [
        [one.label, str(one.precision), str(one.recall), str(one.f1), str(one.support)]
        for one in evaluation.overall.classes
    ]
    return markdown_table(["class", "precision", "recall", "F1", "pictures"], rows)
