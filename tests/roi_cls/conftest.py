"""Shared by the tests of the application: prediction by the tiny run."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def predict(command: Command, tiny_runs: Path) -> Command:
    """Run ``roi-cls predict`` with the run ``tiny``, ``stdin`` being the bytes piped into it."""

    def run(*arguments: object, stdin: bytes = b"") -> CompletedProcess[str]:
        places = ["--runs", tiny_runs, "--run", "tiny", "--device", "cpu"]
        return command("predict", *arguments, *places, stdin=stdin)

    return run
