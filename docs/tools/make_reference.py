"""Write docs/reference.md from the code: commands, settings, variables, exit codes, fields, files.

.venv/bin/python -m docs.tools.make_reference

What a table says is said once, in the code: a help text, or the string under a field.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from docs.tools.command_words import all_commands
from docs.tools.reference_fields import json_fields, recipe_files, run_files
from docs.tools.reference_http import http_addresses
from docs.tools.reference_words import default_words, doc, escape, field_default, table, type_words
from roi_cls.classifier.config import TrainConfig
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams

TARGET = Path(__file__).resolve().parents[1] / "reference.md"
SETTINGS = {"Crop": CropParams, "Training": TrainConfig, "Split": SplitParams}
"""Panels of options that several commands share, each read off its class."""
EXIT_CODES = {
    0: "Done.",
    1: "Failed; one line on standard error says what, why, and what to do.",
    2: "Wrong usage: an unknown option, or a value that is not allowed.",
    3: "Done, but some inputs were in error; each is a row with its reason.",
    130: "Interrupted with Ctrl-C; what is finished is kept.",
}
OTHER_VARIABLES = {
    "ROI_CLS_MODEL_DIR": ("Folder of the face detector's model files.", "`doctor`, all that crop"),
}
"""Environment variables that no option reads."""
_HEAD = """# Reference

Written by `make reference` from the code; a test holds that it is up to date. What to choose when
is said by the [how-to pages](README.md) and [training.md](training.md).

Contents: [commands](#commands), [settings](#settings),
[environment variables](#environment-variables), [exit codes](#exit-codes),
[JSON fields](#json-fields), [HTTP](#http), [recipe files](#recipe-files),
[files of a run](#files-of-a-run).
"""


_HELP = """`roi-cls COMMAND --help` is one screen: the options that most people use, a line each.
`--help-all` shows every option of the command with its full text, its default and its variable, as
the tables below do. A mistyped option or command is answered with the nearest that there is.

`roi-cls --install-completion` lets your shell (bash, zsh, fish, PowerShell) complete commands,
options, names of runs and of training recipes, and values like those of `--device`, in terminals
opened from then on; `roi-cls --show-completion` prints what it would install.
"""


def render() -> str:
    """Return the whole page."""
    parts = [
        _HEAD,
        *_commands(),
        *_settings(),
        *_variables(),
        *_exit_codes(),
        *json_fields(),
        *http_addresses(),
        *recipe_files(),
        *run_files(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield _HELP
    yield from table(
        ("command", "what it does"),
        (
            (f"[`roi-cls {name}`](#roi-cls-{name.replace(' ', '-')})", _summary(command))
            for name, command in all_commands().items()
        ),
    )
    for name, command in all_commands().items():
        yield from _command(name, command)


def _summary(command: Any) -> str:
    return " ".join(inspect.cleandoc(command.help).split("\n\n")[0].split())


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"### roi-cls {name}\n"
    text, _, example = inspect.cleandoc(command.help).partition("Example: ")
    yield "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n")) + "\n"
    yield f"    {example.strip()}\n"
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    rows = []
    panels = []
    for parameter in command.params:
        panel = getattr(parameter, "rich_help_panel", None)
        if panel in SETTINGS:
            panels.append(panel)
        elif not parameter.hidden:
            rows.append(_option_row(parameter, hints[parameter.name]))
    yield from table(("argument or option", "value", "default", "meaning"), rows)
    if panels:
        links = [f"[{p.lower()} settings](#{p.lower()}-settings)" for p in dict.fromkeys(panels)]
        yield f"And the {', '.join(links)}.\n"


def _option_row(parameter: Any, hint: Any) -> tuple[str, str, str, str]:
    names = " ".join(f"`{name}`" for name in _spellings(parameter))
    meaning = escape(parameter.help)
    if parameter.envvar:
        meaning += f" Variable: `{parameter.envvar}`."
    if parameter.opts[0][0] != "-":
        many = "…" if parameter.nargs == -1 else ""
        names = f"`{parameter.name.upper()}{many}`"
    is_required = parameter.required or parameter.default is ...
    default = "required" if is_required else default_words(parameter.default)
    return names, _value(parameter, hint), default, meaning


def _spellings(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def _value(parameter: Any, hint: Any) -> str:
    if parameter.metavar:
        words = parameter.metavar.strip("<>").split("|")
        return ", ".join(
            word if word.islower() and word != "auto" else f"`{word}`" for word in words
        )
    if hint is bool:
        return ""
    return type_words(hint)


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield (
        "The options of `crops`, `train` and `ablate`, by the name that they have in a "
        "[recipe file](#recipe-files); the option is the name with dashes, without its unit "
        "(`size_px`: `--size`).\n"
    )
    crops = all_commands()["train"].params
    for panel, settings in SETTINGS.items():
        yield f"### {panel} settings\n"
        options = {p.name: p for p in crops if getattr(p, "rich_help_panel", None) == panel}
        hints = typing.get_type_hints(settings)
        rows = []
        for entry in fields(settings):
            option = options.get(entry.name)
            names = " ".join(f"`{name}`" for name in _spellings(option)) if option else "found out"
            row = (f"`{entry.name}`", names, type_words(hints[entry.name]), field_default(entry))
            rows.append((*row, doc(settings, entry.name)))
        yield from table(("name", "option", "value", "default", "meaning"), rows)


def _variables() -> Iterator[str]:
    yield "## Environment variables\n"
    yield "Each is the default of an option; the option wins.\n"
    found: dict[str, list[tuple[str, Any]]] = {}
    for name, command in all_commands().items():
        for parameter in command.params:
            if parameter.envvar:
                found.setdefault(parameter.envvar, []).append((name, parameter))
    rows = [
        (
            f"`{variable}`",
            f"`{uses[0][1].opts[0]}`",
            escape(uses[0][1].help),
            ", ".join(f"`{name}`" for name, _ in uses),
        )
        for variable, uses in found.items()
    ]
    rows += [(f"`{name}`", "", text, where) for name, (text, where) in OTHER_VARIABLES.items()]
    yield from table(("variable", "option", "meaning", "commands"), sorted(rows))


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield from table(("code", "meaning"), ((str(code), text) for code, text in EXIT_CODES.items()))


def main() -> int:
    """Write the page."""
    TARGET.write_text(render(), encoding="utf-8")
    print(f"Wrote {TARGET}")  # noqa: T201  (a script's result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
