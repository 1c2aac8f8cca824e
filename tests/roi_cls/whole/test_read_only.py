"""A machine without a home or a folder for temporary files: it works, or says so in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_START = """
import os, sys, tempfile
from pathlib import Path
from roi_cls.base import location


def no_folder():
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")


tempfile._get_default_tempdir = no_folder
location.find_temporary_folder.__defaults__ = (Path("/proc/nowhere"),)
from roi_cls.cli import main

main()
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``roi-cls`` where no folder can be written; /proc makes none, not even for root."""
    gone = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    return subprocess.run(
        [sys.executable, "-c", _START, *map(str, arguments)],
        env={**kept, "HOME": "/proc/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_predict_needs_no_folder(tiny_runs: Path, tiny_set: Path) -> None:
    done = run("predict", tiny_set, "--runs", tiny_runs, "--run", "tiny", "--workers", "2", "--csv")
    assert done.returncode == 0, done.stderr
    (engine,) = done.stderr.splitlines()
    assert engine.startswith("Computing with torch on cpu (fp32): ")
    assert len(done.stdout.splitlines()) == 1 + 40


@pytest.mark.parametrize("command", ["report", "train"])
def test_what_draws_figures_is_refused_in_one_line(
    command: str, tiny_runs: Path, tiny_set: Path, tmp_path: Path
) -> None:
    words = {
        "report": ["--run", "tiny", "--runs", tiny_runs, "-o", tmp_path / "report.html"],
        "train": [tiny_set, "--run", "new", "--runs", tmp_path],
    }
    done = run(command, *words[command])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Cannot ")
    assert line.endswith(
        ": there is no folder for temporary files: neither /tmp nor any other can be written. "
        "Mount one (docker run --tmpfs /tmp), or set TMPDIR to a folder that can be written."
    )
    assert list(tmp_path.iterdir()) == []
