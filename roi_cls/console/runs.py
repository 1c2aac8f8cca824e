"""Which run a command means, and how the next command names it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from roi_cls.console.arguments import RUNS
from roi_cls.console.terminal import note

if TYPE_CHECKING:
    from roi_cls.classifier.runs.folder import RunFolder


def choose_run(name: str | None, runs: Path) -> RunFolder:
    """Return the run of this name; without one the newest, which is told.

    Raises:
        BundleError: There is no such run, or it is not finished.
    """
    from roi_cls.classifier.runs.folder import find_run

    run = find_run(name, runs)
    if name is None:
        note(f"Using run {run.path.name!r}, the newest in {runs}.")
    return run


def choose_models(names: Sequence[str] | None, model: Path | None, runs: Path) -> tuple[Path, ...]:
    """Return the folders of the runs of these names, or the exported file in their place.

    Without either the newest run, which is told.

    Raises:
        BundleError: There is no such run, or it is not finished.
        typer.BadParameter: Both were given.
    """
    if names and model:
        raise typer.BadParameter("--run and --model exclude each other")
    if model:
        return (model,)
    if not names:
        return (choose_run(None, runs).path,)
    return tuple(choose_run(name, runs).path for name in names)


def run_arguments(run: Path, runs: Path) -> list[str]:
    """Return the words that name a run on the command line."""
    if run.parent != runs:  # a run may be named by its folder, anywhere
        return ["--run", str(run)]
    return ["--run", run.name, *([] if runs == RUNS else ["--runs", str(runs)])]
