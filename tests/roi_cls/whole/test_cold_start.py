"""What `roi-cls predict` imports: what it needs, and nothing that only training or pages do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

UNUSED = ("sklearn", "scipy", "matplotlib", "rich", "jinja2", "fastapi", "onnx", "pandas", "ray")
_RUN = """
import sys
from roi_cls.cli import main
try:
    main()
except SystemExit as stop:
    print(stop.code or 0)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _imported(*arguments: object) -> tuple[str, str, set[str]]:
    """Return the row, the exit code and the top-level modules of a run of its own process."""
    words = list(map(str, arguments))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    row, code, modules = done.stdout.splitlines()
    return row, code, set(modules.split())


@pytest.fixture(scope="module")
def picture(tiny_set: Path) -> Path:
    """One picture."""
    return next(tiny_set.rglob("*.png"))


def test_run_needs_torch_and_timm_and_no_more(tiny_runs: Path, picture: Path) -> None:
    row, code, modules = _imported("predict", picture, "--run", "tiny", "--runs", tiny_runs)
    assert code == "0", row
    assert row.startswith(f"{picture}: ")
    assert modules >= {"torch", "timm", "cv2"}
    assert not modules & {*UNUSED, "onnxruntime"}


def test_exported_model_needs_no_torch(
    command: Callable[..., CompletedProcess[str]], tiny_runs: Path, picture: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")  # of the extra `export`
    exported = tmp_path / "tiny.onnx"
    assert command("export", "--run", "tiny", "-o", exported, "--runs", tiny_runs).returncode == 0
    row, code, modules = _imported("predict", picture, "--model", exported)
    assert code == "0", row
    assert row.startswith(f"{picture}: ")
    assert modules >= {"onnxruntime", "cv2"}
    assert not modules & {*UNUSED, "torch", "torchvision", "timm"}
