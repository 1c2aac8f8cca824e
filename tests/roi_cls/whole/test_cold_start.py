"""What `roi-cls predict` imports: what it needs, and nothing that only training or pages do."""

import os
import shutil
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
    """Return the row, what is said of the engine and the top-level modules of its own process."""
    words = list(map(str, arguments))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    row, code, modules = done.stdout.splitlines()
    assert code == "0", row
    (engine,) = done.stderr.splitlines()
    return row, engine, set(modules.split())


@pytest.fixture(scope="module")
def picture(tiny_set: Path) -> Path:
    """One picture."""
    return next(tiny_set.rglob("*.png"))


def test_run_needs_torch_and_timm_and_no_more(tiny_runs: Path, picture: Path) -> None:
    row, engine, modules = _imported("predict", picture, "--run", "tiny", "--runs", tiny_runs)
    assert row.startswith(f"{picture}: ")
    assert engine.startswith("Computing with torch on ")
    assert modules >= {"torch", "timm", "cv2"}
    assert not modules & {*UNUSED, "onnxruntime"}


@pytest.fixture(scope="module")
def exported(
    command: Callable[..., CompletedProcess[str]],
    tiny_runs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run with its ONNX file, in a folder of runs by itself."""
    runs = tmp_path_factory.mktemp("exported")
    shutil.copytree(tiny_runs / "tiny", runs / "tiny")
    assert command("export", "--run", "tiny", "--runs", runs).returncode == 0
    return runs / "tiny"


@pytest.mark.parametrize("form", ["the run", "its file alone"])
def test_exported_model_needs_no_torch(exported: Path, picture: Path, form: str) -> None:
    model = ("--run", exported) if form == "the run" else ("--model", exported / "model.onnx")
    row, engine, modules = _imported("predict", picture, *model, "--device", "cpu")
    assert row.startswith(f"{picture}: ")
    assert engine == "Computing with ONNX Runtime on cpu."
    assert modules >= {"onnxruntime", "cv2"}
    assert not modules & {*UNUSED, "torch", "torchvision", "timm"}
