"""The command that checks this machine: doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from roi_cls.console.arguments import Json
from roi_cls.console.terminal import show


def doctor(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch missing detector models.")] = False,
    as_json: Json = False,
) -> None:
    """Check this machine: versions, conflicts, devices, models, folders; name the remedies.

    Example: roi-cls doctor --fetch
    """
    from roi_cls.commands.doctor.run import checks_to_json, exit_code, render_checks, run_checks

    checks = run_checks(fetch)
    show(checks_to_json(checks) if as_json else render_checks(checks))
    raise typer.Exit(exit_code(checks))
