"""The benchmarks, and the script of the README's picture, still fit the code."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.crops.run import RESULTS, render
from benchmarks.portraits import draw_portrait
from benchmarks.training.results_page import make_page

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("benchmarks", "docs/tools")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_loads(name: str) -> None:
    import_module(name)


def test_table_of_the_page_is_that_of_the_results() -> None:
    table = render(json.loads(RESULTS.read_text()))
    page = (ROOT / "benchmarks" / "README.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) >= 8
    assert [row for row in rows if row not in page] == []


def test_portraits_are_what_they_are_called() -> None:
    picture = draw_portrait(3)
    assert picture.shape == (1024, 1024, 3)
    assert 20 < picture.mean() < 235


def test_page_of_results_names_its_commands_and_holds_both_tables() -> None:
    page = make_page([["data", "demo", "a b"]], "# Systems\n\n## Costs\n", "# Inputs\n")
    assert page.startswith("# Results on the demo set\n")
    assert "```\nroi-cls data demo 'a b'\n```" in page
    assert "\n## Systems\n\n### Costs\n\n## Inputs\n" in page
