"""The benchmarks still fit the code that they measure."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a script import its neighbours, as it can when it is run."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_loads(name: str) -> None:
    runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name=name)


def test_table_of_the_readme_is_that_of_the_results() -> None:
    render = runpy.run_path(str(BENCHMARKS / "run.py"), run_name="run")["render"]
    table = render(json.loads((BENCHMARKS / "results.json").read_text()))
    readme = (BENCHMARKS.parent / "README.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) >= 8
    assert [row for row in rows if row not in readme] == []


def test_portraits_are_what_they_are_called() -> None:
    portraits = runpy.run_path(str(BENCHMARKS / "portraits.py"), run_name="portraits")
    picture = portraits["draw_portrait"](3)
    assert picture.shape == (1024, 1024, 3)
    assert 20 < picture.mean() < 235
