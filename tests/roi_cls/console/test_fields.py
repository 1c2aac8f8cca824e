"""Options are read off the settings: one name, one default, one help text."""

import inspect
from dataclasses import dataclass, fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from roi_cls.classifier.config import TrainConfig
from roi_cls.console import fields as field_options
from roi_cls.console.fields import field_docs, settings_options
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams

SETTINGS = (CropParams, TrainConfig, SplitParams)


@dataclass(frozen=True, slots=True)
class Paint:
    """How to paint."""

    width_px: int = 3
    """Of the ``brush``,
    in pixels."""
    is_dry: bool = False
    """Dry it."""
    max_pixels: int = 7
    """Set elsewhere."""

    def __post_init__(self) -> None:
        if self.width_px < 1:
            raise ValueError(f"width_px must be at least 1, got {self.width_px}")


def make_app(monkeypatch: pytest.MonkeyPatch, seen: list[Any]) -> typer.Typer:
    monkeypatch.setitem(field_options._PANELS, "Paint", "Paint")
    app = typer.Typer()

    @app.command()
    @settings_options
    def paint(target: str, settings: Paint, twice: bool = False) -> None:
        seen.extend([target, settings, twice])

    return app


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["wall"], ["wall", Paint(), False]),
        (["wall", "--width", "5", "--is-dry", "--twice"], ["wall", Paint(5, True), True]),
        (["wall", "--no-is-dry"], ["wall", Paint(), False]),
    ],
)
def test_options_become_the_settings(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[Any]
) -> None:
    seen: list[Any] = []
    result = CliRunner().invoke(make_app(monkeypatch, seen), words)
    assert result.exit_code == 0, result.output
    assert seen == expected


def test_value_that_the_settings_refuse_is_a_usage_error_that_names_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    result = CliRunner().invoke(make_app(monkeypatch, seen), ["wall", "--width", "0"])
    assert result.exit_code == 2
    assert "--width must be at least 1, got 0" in result.output
    assert seen == []


def test_field_that_is_set_elsewhere_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(make_app(monkeypatch, []), ["wall", "--max-pixels", "9"])
    assert result.exit_code == 2
    assert "--max-pixels" in result.output


def test_help_is_the_text_under_the_field_on_one_line() -> None:
    assert field_docs(Paint) == {
        "width_px": "Of the 'brush', in pixels.",
        "is_dry": "Dry it.",
        "max_pixels": "Set elsewhere.",
    }


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_field_of_the_settings_has_a_text(settings: type[Any]) -> None:
    assert set(field_docs(settings)) == {field.name for field in fields(settings)}


def test_no_two_settings_of_a_command_share_a_name() -> None:
    names = [field.name for settings in SETTINGS for field in fields(settings)]
    assert len(names) == len(set(names))


def test_defaults_are_those_of_the_settings() -> None:
    @settings_options
    def command(params: CropParams) -> None:
        pass

    parameters = inspect.signature(command).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        field.name: field.default for field in fields(CropParams) if field.name in parameters
    }
    assert "detector_sha256" not in parameters
    assert "params" not in parameters
