"""How a help text becomes one line, and which options a command shows."""

import re
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from roi_cls.console.help import App, short_text, usual_options

TEXT = "In place of a face: the frame, or its centre; unset: the frame. Stored with the model."


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        (TEXT, 90, TEXT.removesuffix(".")),
        (TEXT, 70, "In place of a face: the frame, or its centre; unset: the frame"),
        (TEXT, 60, "In place of a face: the frame, or its centre"),
        (TEXT, 30, "In place of a face"),
        (TEXT, 10, "In place…"),
        ("Files, folders, patterns.", 24, "Files, folders, patterns"),
        ("Files, folders, patterns.", 23, "Files, folders"),
        ("Does it help? It may.", 20, "Does it help? It may"),
        ("Does it help? It may.", 13, "Does it help?"),
        ("", 5, ""),
        ("Any", 0, "…"),
    ],
)
def test_line_holds_as_many_clauses_as_there_is_room_for(text: str, width: int, line: str) -> None:
    assert short_text(text, width) == line


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        ("Where to compute; auto: a GPU.", 40, "Where to compute: auto, cpu"),
        ("How: on the cpu, or auto.", 40, "How: on the cpu, or auto"),
        ("How: on the cpu, or auto.", 14, "How: auto, cpu"),
        ("Where to compute; auto: a GPU.", 20, "Where to compute"),
    ],
)
def test_choices_are_named_where_there_is_room(text: str, width: int, line: str) -> None:
    assert short_text(text, width, ("auto", "cpu")) == line


Size = Annotated[int, typer.Option(help="Of a side.")]


def make_app() -> App:
    app = App()

    @app.command("cut")
    @usual_options(crop="--size --align")
    def cut(
        source: Annotated[str, typer.Argument(help="A picture.")],
        size: Size = 3,
        align: Annotated[bool, typer.Option(help="Turn it.")] = True,
        seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    ) -> None:
        """Cut it."""

    @app.command("keep")
    def keep(
        name: Annotated[str, typer.Option(help="Of the [bold] file.")], size: Size = 3
    ) -> None:
        """Keep it."""

    return app


def rows(*words: str) -> list[list[str]]:
    done = CliRunner().invoke(make_app(), list(words))
    lines = [line for line in done.stdout.splitlines() if line[:1] in ("╭", "│")]
    return [re.split("  +", line.strip("╭─╮│ ")) for line in lines]


def test_usual_options_stand_below_their_headings() -> None:
    assert rows("cut", "--help") == [
        ["Arguments"],
        ["source", "A picture"],
        ["Crop"],
        ["--size", "Of a side [3]"],
        ["--[no-]align", "Turn it [on]"],
    ]


def test_command_that_names_no_usual_options_shows_all() -> None:
    assert [row[0] for row in rows("keep", "--help")] == ["Options", "--name", "--size"]


def test_help_all_shows_every_option_below_the_headings_of_the_code() -> None:
    told = rows("cut", "--help-all")
    assert told[:4] == [["Arguments"], ["source <str>"], ["A picture. [required]"], ["Options"]]
    for row in ("--align / --no-align", "Turn it. [default: on]", "--seed <int>"):
        assert [row] in told


@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_terminal_of_no_width_gets_help(option: str) -> None:
    done = CliRunner().invoke(make_app(), ["cut", option], env={"COLUMNS": "1"})
    assert done.exit_code == 0
    assert "--size" in done.stdout


@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_both_helps_say_what_is_required_and_take_no_text_for_markup(option: str) -> None:
    words = " ".join(part for row in rows("keep", option) for part in row)
    assert re.search(r"Of the \[bold\] file\.? \[required\]", words)
