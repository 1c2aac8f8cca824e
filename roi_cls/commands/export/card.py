"""A model's card: what it is for, how good it is, how it is used, where it ends. Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

from roi_cls.base.rows import markdown_table
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.experiments.comparison import metric_title
from roi_cls.classifier.metrics.interval import Estimate
from roi_cls.classifier.runs.bundle import ModelBundle, shareable_facts
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.console.words import describe_recipe

SHOWN = ("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "macro_f1", "mcc")
"""Metrics of the card."""
_HUB_NAMES = {"macro_f1": "f1", "mcc": "matthews_correlation"}
"""What the hub of models calls a metric, where that is another name."""


def render_card(run: RunFolder, bundle: ModelBundle, license_name: str | None = None) -> str:
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
        yield from ((name, getattr(evaluation.overall, name)) for name in SHOWN)


def _metrics_table(evaluation: Evaluation) -> str:
    parts = [("all", evaluation.overall), *evaluation.slices]
    header = ["", *(f"{name.replace('_', ' ')} ({part.images})" for name, part in parts)]
    rows = [
        [metric_title(name), *(str(getattr(part, name)) for _, part in parts)] for name in SHOWN
    ]
    return markdown_table(header, rows)


def _classes_table(evaluation: Evaluation) -> str:
    rows = [
        [one.label, str(one.precision), str(one.recall), str(one.f1), str(one.support)]
        for one in evaluation.overall.classes
    ]
    return markdown_table(["class", "precision", "recall", "F1", "pictures"], rows)
