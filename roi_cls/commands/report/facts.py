"""What a run is: recipe, settings, calibration, versions, machine, digests, test openings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.metrics.interval import format_number
from roi_cls.classifier.runs.bundle import ENSEMBLE, MEMBERS_NAME, ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.openings import Opening
from roi_cls.commands.report.parts import Cell, Table
from roi_cls.console.words import describe_recipe, format_bytes, format_span
from roi_cls.data.sample import MOST_LISTED, name_some
from roi_cls.roi import CropParams

_WORDS = frozenset({1})


def model_table(bundle: ModelBundle) -> Table:
    """Return what the model is and how it answers."""
    kind = str(bundle.network.get("kind"))
    rows: list[tuple[Cell, ...]] = [
        ("Architecture", bundle.model),
        ("Kind", kind),
        ("Classes", name_some(bundle.labels.names)),
        ("Looked for", bundle.labels.target),
        ("Mirror image scored, too", "yes" if bundle.mirror else "no"),
        ("Crops it sees of a picture", str(len(bundle.views))),
    ]
    if kind == ENSEMBLE:
        pairs = zip(bundle.network[MEMBERS_NAME], bundle.network["weights"], strict=True)
        rows += [(f"Member {name}", f"weight {weight:.3g}") for name, weight in pairs]
    return Table("The model", ("Fact", "Value"), tuple(rows), _WORDS)


def calibration_table(bundle: ModelBundle) -> Table:
    """Return how scores become probabilities and probabilities an answer."""
    names = bundle.labels.names
    rows: list[tuple[Cell, ...]] = [
        ("Logits divided by (temperature)", f"{bundle.temperature:.4g}")
    ]
    if sum(map(bool, bundle.offsets)) > MOST_LISTED:
        low, high = min(bundle.offsets), max(bundle.offsets)
        rows.append(("then added, another for each class", f"{low:+.4g} to {high:+.4g}"))
    else:
        rows += [
            (f"then added for {name!r}", f"{offset:+.4g}")
            for name, offset in zip(names, bundle.offsets, strict=True)
            if offset
        ]
    if bundle.threshold is None:
        rows.append(("Answer", "the most probable class"))
    else:
        rows += [
            (f"Answer {bundle.labels.target!r} from probability", f"{bundle.threshold:.4g}"),
            ("Rule of the threshold", bundle.threshold_rule),
        ]
    rows.append(("Unsure below a margin of", f"{bundle.abstain:g}" if bundle.abstain else "none"))
    caption = "From the model's scores to an answer; all of it was chosen on validation"
    return Table(caption, ("Step", "Value"), tuple(rows), _WORDS)


def recipe_tables(bundle: ModelBundle) -> list[Table]:
    """Return each crop recipe, in words and field by field."""
    return [
        Table(
            f"Crop {i} of {len(bundle.views)}" if len(bundle.views) > 1 else "The crop",
            ("Setting", "Value"),
            (("In words", describe_recipe(view)), *_fields(view)),
            _WORDS,
        )
        for i, view in enumerate(bundle.views, start=1)
    ]


def _fields(view: CropParams) -> list[tuple[Cell, ...]]:
    return [(name, _plain(value)) for name, value in view.to_dict().items()]


def settings_table(bundle: ModelBundle) -> Table | None:
    """Return the training settings, those that differ from the defaults first."""
    config = bundle.training.get("config")
    if not isinstance(config, Mapping):
        return None
    default = TrainConfig().to_dict()
    rows: list[tuple[Cell, ...]] = [
        (name, _plain(value), _plain(default[name]) if name in default else None)
        for name, value in config.items()
    ]
    rows.sort(key=lambda row: row[1] == row[2])
    words = frozenset({1, 2})
    return Table("Training settings", ("Setting", "Value", "Default"), tuple(rows), words)


def read_record(run: RunFolder) -> dict[str, Any]:
    """Return ``record.json``; nothing where there is none, or none that can be read."""
    try:
        found = json.loads(run.record.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def course_table(record: Mapping[str, Any]) -> Table:
    """Return how training went, from its ``record.json``; what is not in it is left out."""
    git = record.get("git") or {}
    return _facts_table(
        "How it was trained",
        {
            "Started": _time(record["started"]) if record.get("started") else None,
            "Command": shlex.join(record.get("command", ())),
            "Code": git.get("commit", "")
            + (" with uncommitted changes" if git.get("dirty") else ""),
            "Took": _span(record.get("seconds")),
            "Epochs": record.get("epochs"),
            "Crops per second": record.get("images_per_second"),
            "Parameters": f"{record['parameters']:,}" if record.get("parameters") else None,
            "Computed on": record.get("backend"),
            "Processes": record.get("processes"),
            "Peak memory": _bytes(record.get("peak_memory_bytes")),
            "Peak GPU memory": _bytes(record.get("peak_gpu_memory_bytes")),
            "Threshold": record.get("threshold_shortfall"),
        },
    )


def machine_tables(record: Mapping[str, Any]) -> list[Table]:
    """Return where the run was trained, and with which versions."""
    machine = dict(record.get("machine") or {})
    machine["gpus"] = ", ".join(machine.get("gpus", ())) or "none"
    tables = [
        _facts_table("Machine", machine if len(machine) > 1 else {}),
        _facts_table("Versions", record.get("versions") or {}),
    ]
    return [table for table in tables if table.rows]


def digests_table(bundle: ModelBundle) -> Table:
    """Return what names the data, the recipes and the weights."""
    rows = {
        "Weights, SHA-256": bundle.weights_sha256,
        "Data and split": bundle.data_digest,
        **{f"Crop recipe {i}": view.digest for i, view in enumerate(bundle.views, start=1)},
    }
    return _facts_table("Digests", rows)


def openings_table(openings: tuple[Opening, ...]) -> Table:
    """Return each time that the run was scored on labelled pictures."""
    rows = []
    for opening in openings:
        seen = {name: value for name, value in opening.metrics.items() if value is not None}
        told = ", ".join(f"{name} {format_number(value)}" for name, value in seen.items())
        rows.append((_time(opening.time), opening.images, opening.data_digest[:12], told))
    columns = ("Time", "Pictures", "Digest", "What was seen")
    return Table(
        "Times that labelled pictures were scored", columns, tuple(rows), frozenset({2, 3})
    )


def _facts_table(caption: str, facts: Mapping[str, Any]) -> Table:
    rows = tuple((name, _plain(value)) for name, value in facts.items() if value not in (None, ""))
    return Table(caption, ("Fact", "Value"), rows, _WORDS)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "unset" if value is None else str(value)


def _time(text: str) -> str:
    """Return an ISO 8601 time for a reader."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _span(seconds: float | None) -> str | None:
    return None if seconds is None else format_span(seconds)


def _bytes(size: int | None) -> str | None:
    return None if size is None else format_bytes(size)
