"""The benchmarks, and the script of the README's picture, still fit the code."""

import json
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.crops.run import RESULTS, render
from benchmarks.portraits import cut_square, draw_portrait, write_real
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


@pytest.mark.parametrize(
    ("height", "width", "centre"), [(8, 12, slice(2, 10)), (8, 8, slice(8)), (1500, 2000, None)]
)
def test_real_portrait_is_the_square_in_the_middle(
    height: int, width: int, centre: slice | None
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = cut_square(picture)
    assert square.shape == (1024, 1024, 3)
    if centre is None:
        assert abs(square.mean() - picture.mean()) < 1
        assert square.std() < picture.std()  # shrunk by the mean, not by leaving pixels out
    else:
        small = cv2.resize(square, (8, 8), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - picture[:, centre]).mean() < 20


def test_real_portraits_are_written_in_both_formats_and_no_more_than_asked_for(
    tmp_path: Path,
) -> None:
    for name, level in {"b/one.png": 40, "a.jpg": 200, "c.png": 90}.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "mine" / name), np.full((30, 20, 3), level, np.uint8))
    paths = write_real(tmp_path / "mine", tmp_path / "space", 2)
    for kind, files in paths.items():
        assert [path.name for path in files] == [f"00000.{kind}", f"00001.{kind}"]
        pictures = [cv2.imread(str(path)) for path in files]
        assert [p is not None and (p.shape, int(p.mean())) for p in pictures] == [
            ((1024, 1024, 3), level) for level in (200, 40)
        ]


def test_real_portraits_have_columns_of_their_own() -> None:
    results = json.loads(RESULTS.read_text())
    drawn = {kind: dict(figures) for kind, figures in results["speed"]["formats"].items()}
    real = {kind: figures | {"cold_per_second": 7.4} for kind, figures in drawn.items()}
    results["speed"]["real"] = {"pictures": 248, "formats": real}
    table = render(results).splitlines()
    assert " and 248 real portraits of 1024 px" in table[0]
    assert table[2] == "| | PNG | JPEG | PNG of real portraits | JPEG of real portraits |"
    (row,) = (line for line in table if line.startswith("| roi-cls, empty cache"))
    assert row.endswith(" | 7 | 7 |")
    assert {line.count("|") for line in table if line.startswith("|")} == {6}


def test_page_of_results_names_its_commands_and_holds_both_tables() -> None:
    page = make_page([["data", "demo", "a b"]], "# Systems\n\n## Costs\n", "# Inputs\n")
    assert page.startswith("# Results on the demo set\n")
    assert "```\nroi-cls data demo 'a b'\n```" in page
    assert "\n## Systems\n\n### Costs\n\n## Inputs\n" in page
