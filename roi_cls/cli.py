"""Command line: parse, call one function, print. No logic lives here."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from roi_cls.base.errors import RoiClsError
from roi_cls.base.location import NO_TEMPORARY_FOLDER, find_temporary_folder
from roi_cls.base.machine import look_for_less_garbage
from roi_cls.base.quiet import settle_libraries
from roi_cls.base.version import __version__
from roi_cls.commands.crops import command as crop_commands
from roi_cls.commands.datasets import command as data_commands
from roi_cls.commands.doctor import command as doctor_commands
from roi_cls.commands.experiments import command as experiment_commands
from roi_cls.commands.explain import command as explain_commands
from roi_cls.commands.export import command as export_commands
from roi_cls.commands.predict import command as predict_commands
from roi_cls.commands.report import command as report_commands
from roi_cls.commands.serve import command as serve_commands
from roi_cls.commands.train import command as train_commands
from roi_cls.console.help import App, Group, usual_options
from roi_cls.console.terminal import note, show


class _Commands(Group):
    """Lets a command be named by two words where the first alone is one, too: ``crops show``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        pair = " ".join(args[:2])
        if pair in self.commands:
            return pair, self.commands[pair], args[2:]
        return super().resolve_command(ctx, args)


_PICTURES, _TRAIN, _JUDGE, _USE = "Pictures and crops", "Train", "Judge a run", "Use a run"
app = App(cls=_Commands, pretty_exceptions_enable=False)
app.command("crops", rich_help_panel=_PICTURES)(crop_commands.crops)
app.command("crops show", rich_help_panel=_PICTURES)(crop_commands.crops_show)
app.command("train", rich_help_panel=_TRAIN)(train_commands.train)
app.command("evaluate", rich_help_panel=_JUDGE)(train_commands.evaluate)
app.command("predict", rich_help_panel=_USE)(predict_commands.predict)
app.command("export", rich_help_panel=_USE)(export_commands.export)
app.command("explain", rich_help_panel=_JUDGE)(explain_commands.explain)
app.command("report", rich_help_panel=_JUDGE)(report_commands.report)
app.command("serve", rich_help_panel=_USE)(serve_commands.serve)
for _command in ("recipes", "models", "compare", "ablate", "tune", "ensemble"):
    app.command(_command, rich_help_panel=_TRAIN)(getattr(experiment_commands, _command))
app.command("verify", rich_help_panel=_JUDGE)(train_commands.verify)
app.command("doctor", rich_help_panel="Machine")(doctor_commands.doctor)
app.add_typer(
    crop_commands.cache_app,
    name="cache",
    rich_help_panel=_PICTURES,
    help="See, check and prune the crops kept.",
)
app.add_typer(
    data_commands.data_app,
    name="data",
    rich_help_panel=_PICTURES,
    help="Make and inspect data sets.",
)

INTERRUPTED = 130
"""Typer's exit code after Ctrl-C, as shells have it: 128 + SIGINT.

Workers are deaf to it (`base/pool.py`), threads are not waited for (`base/background.py`), a server
finishes what is begun (`commands/serve/run.py`).
"""


def _show_version(wanted: bool) -> None:
    if wanted:
        show(f"roi-cls {__version__}")
        raise typer.Exit


@app.callback()
@usual_options(options="--version --install-completion")
def roi_cls(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """The face first, then the frame: crop faces with MediaPipe, classify the crops with timm.

    First steps: roi-cls doctor, then roi-cls train photos --run first
    """


def main() -> None:
    """Run the app; show expected errors as one line and exit with 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may be any bytes
    look_for_less_garbage()
    settle_libraries()
    try:
        app()
    except RoiClsError as error:
        note(f"error: {error}", always=True)
        raise SystemExit(1) from None
    except OSError:
        if find_temporary_folder() is not None:
            raise
        note(f"error: Cannot go on: {NO_TEMPORARY_FOLDER}", always=True)
        raise SystemExit(1) from None
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            note(
                "Interrupted. Finished crops and epochs are kept; run it again (train with "
                "--resume)."
            )
        raise
