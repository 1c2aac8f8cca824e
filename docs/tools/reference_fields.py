"""The parts of the reference that are read off result classes: JSON fields, recipe files, runs."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin

from docs.tools.reference_words import doc, escape, field_default, table, type_words
from roi_cls.cache.build import CropSummary
from roi_cls.cache.record import CropRecord
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.evaluation.groups import GroupComparison, GroupMetrics
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.classifier.metrics.measure import ClassMetrics, Metrics
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.classifier.runs.folder import RunFolder


def json_fields() -> Iterator[str]:
    """Yield the section's lines."""
    yield "## JSON fields\n"
    yield "### A prediction\n"
    yield "Of `predict --json`, `--jsonl` and `--csv`, and of the server's answers.\n"
    yield from _field_table(Prediction, [entry.name for entry in fields(Prediction)])
    yield "### The summary of crops\n"
    yield "Of `crops --json`: how many pictures.\n"
    yield from table(
        ("field", "meaning"),
        (
            (f"`{name}`", _SUMMARY.get(name, "") or doc(CropSummary, name))
            for name in CropSummary().to_dict()
        ),
    )
    yield "### A row of the manifest\n"
    yield "Of `crops --manifest`, and of a run's `crops.jsonl`.\n"
    yield from _field_table(CropRecord, [entry.name for entry in fields(CropRecord)])
    yield "### An evaluation\n"
    yield (
        "Of `evaluate --json` and a run's `evaluation.json`. A metric is an object with `value` "
        "and the interval `low` to `high`; undefined, it is null. A slice has the fields from "
        "`images` on.\n"
    )
    yield from table(("field", "value", "meaning"), _evaluation_rows())
    yield "An entry of `classes`:\n"
    yield from _field_table(ClassMetrics, [entry.name for entry in fields(ClassMetrics)])
    yield "Of `groups`:\n"
    words = ("`verdict`", "text", "What the score tells of a picture's group, in words.")
    rows = _field_rows(GroupComparison, [entry.name for entry in fields(GroupComparison)])
    yield from table(("field", "value", "meaning"), (words, *rows))
    yield "An entry of its `rows`:\n"
    yield from _field_table(GroupMetrics, [entry.name for entry in fields(GroupMetrics)])


def _evaluation_rows() -> Iterator[tuple[str, str, str]]:
    for name, (value, text) in _COMPUTED.items():
        yield f"`{name}`", value, text
    own = [f.name for f in fields(Evaluation) if f.name not in ("overall", "slices")]
    yield from _field_rows(Evaluation, own)
    for name, value, text in _field_rows(Metrics, [entry.name for entry in fields(Metrics)]):
        yield name, "`labels` and `counts`" if name == "`confusion_matrix`" else value, text


_COMPUTED = {
    "version": ("whole number", "Of this form."),
    "verdict": ("text", "What the numbers say, in one sentence."),
    "abstained": (
        "{value, low, high}",
        "Share of the pictures that are too close to call; Wilson.",
    ),
    "slices": ("object", "By `face`, `full_frame` and, with an abstain band, `decided`."),
}
"""Fields of an evaluation that its class computes, or writes otherwise."""
_SUMMARY = {
    "images": "Looked at.",
    "face": "Whose crop is a face.",
    "full_frame": "Whose crop is the full frame.",
    "reasons": "Full frames by reason.",
    "errors": "That could not be read.",
    "seconds": "That the call took.",
    "images_per_second": "The rate of the call.",
}
"""Meaning of the fields that the summary computes."""


def _field_table(owner: type, names: Iterable[str]) -> Iterator[str]:
    yield from table(("field", "value", "meaning"), _field_rows(owner, names))


def _field_rows(owner: type, names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    hints = typing.get_type_hints(owner)
    for name in names:
        hint = hints[name]
        can_lack = get_origin(hint) is types.UnionType and type(None) in get_args(hint)
        value = "true or false" if hint is bool else type_words(hint)
        meaning = doc(owner, name) or _PLAIN.get(name, "")
        yield f"`{name}`", value + (", null" if can_lack else ""), meaning


_PLAIN = {
    "path": "The picture, as it was given.",
    "error": "Why there is no answer.",
    "label": "The answer.",
}
"""Meaning of fields whose names say it already."""


def run_files() -> Iterator[str]:
    """Yield the section's lines."""
    yield "## Files of a run\n"
    yield "In `artifacts/runs/NAME`, beside the model (`config.json`, `model.safetensors`).\n"
    run = RunFolder(Path("run"))
    rows = []
    for name, value in vars(RunFolder).items():
        if isinstance(value, property) and isinstance(getattr(run, name), Path):
            text = " ".join(inspect.cleandoc(value.__doc__ or "").split())
            rows.append((f"`{getattr(run, name).name}`", escape(text)))
    yield from table(("file", "meaning"), rows)


def recipe_files() -> Iterator[str]:
    """Yield the section's lines."""
    yield "## Recipe files\n"
    yield (
        "A TOML file given to `--recipe`, or one of those that `roi-cls recipes` lists. `[train]` "
        "and `[crop]` take the names of the [settings](#settings).\n"
    )
    hints = typing.get_type_hints(TrainingRecipe)
    rows = []
    for entry in fields(TrainingRecipe):
        if entry.name != "name":  # the file's
            key = f"[{entry.name}]" if entry.name in ("train", "crop") else entry.name
            default = field_default(entry) if entry.default != "" else "empty"
            rows.append(
                (
                    f"`{key}`",
                    type_words(hints[entry.name]),
                    default,
                    doc(TrainingRecipe, entry.name),
                )
            )
    yield from table(("key", "value", "default", "meaning"), rows)
