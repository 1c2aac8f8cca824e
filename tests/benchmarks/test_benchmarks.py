"""The benchmarks, and the script of the README's picture, still fit the code."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DOCS = BENCHMARKS.parent / "docs"
SCRIPTS = sorted([*BENCHMARKS.glob("*.py"), *DOCS.glob("*.py")])


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a script import its neighbours, as it can when it is run."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), str(DOCS), *sys.path])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_loads(path: Path) -> None:
    runpy.run_path(str(path), run_name=path.stem)


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


def test_page_of_results_names_its_commands_and_holds_both_tables() -> None:
    make_page = runpy.run_path(str(BENCHMARKS / "results_page.py"), run_name="page")["make_page"]
    page = make_page([["data", "demo", "a b"]], "# Systems\n\n## Costs\n", "# Inputs\n")
    assert page.startswith("# Results on the demo set\n")
    assert "```\nroi-cls data demo 'a b'\n```" in page
    assert "\n## Systems\n\n### Costs\n\n## Inputs\n" in page
