"""``roi-cls models``: a table that can be read, and JSON."""

import json
from dataclasses import replace

import pytest
import typer.testing

from roi_cls.classifier.models.catalogue import ListedModel, WeightsPlace
from roi_cls.cli import app
from roi_cls.commands.experiments import models

FACTS = (
    ListedModel("tf_efficientnet_lite0", "package", 3_371_008, 224),
    ListedModel("a_model", "none", 12_345_678, 64),
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "list_models", lambda pattern: FACTS)
    monkeypatch.setattr(models, "measure_rate", lambda facts, backend: facts.size_px / 30)


def run(*arguments: str) -> str:
    done = typer.testing.CliRunner().invoke(app, ["models", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_common_models_are_measured() -> None:
    assert run().splitlines() == [
        "model                  parameters   px  pictures/s  weights",
        "tf_efficientnet_lite0       3.4 M  224         7.5  installed, the default",
        "a_model                    12.3 M   64         2.1  none",
    ]


@pytest.mark.parametrize(("place", "is_told"), [("hub", True), ("package", False)])
def test_hub_is_explained_where_a_row_names_it(
    monkeypatch: pytest.MonkeyPatch, place: WeightsPlace, is_told: bool
) -> None:
    monkeypatch.setattr(models, "list_models", lambda _: (replace(FACTS[0], weights=place),))
    told = typer.testing.CliRunner().invoke(app, ["models", "x*"]).stderr
    line = (
        "hub: from the Hugging Face hub when first used; `roi-cls doctor` says whether it can be "
        "reached from here.\n"
    )
    assert told == (line if is_told else "")


@pytest.mark.parametrize(
    ("arguments", "is_measured"),
    [(["x*"], False), (["x*", "--speed"], True), (["--no-speed"], False), ([], True)],
)
def test_speed_is_measured_where_it_is_asked_for(arguments: list[str], is_measured: bool) -> None:
    assert ("pictures/s" in run(*arguments)) is is_measured


def test_json_has_every_field() -> None:
    assert json.loads(run("--json"))[0] == {
        "name": "tf_efficientnet_lite0",
        "weights": "package",
        "parameters": 3_371_008,
        "size_px": 224,
        "images_per_second": 7.5,
    }
