"""The floor plan is what the imports are now, and the figures of the house are its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.tools.floor_plan import TARGET, find_ways, lead_ways, render
from docs.tools.house import FLOORS, count_floors, describe, find_cycles, folders_of, main


def test_floor_plan_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run: make floor-plan"


def test_drawing_depends_on_nothing_but_the_code() -> None:
    script = "from docs.tools.floor_plan import render; print(render(), end='')"
    drawn = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONHASHSEED": "1"},
        cwd=TARGET.parents[2],
        check=True,
        capture_output=True,
    )
    assert drawn.stdout == render().encode()


def test_every_package_has_a_room_and_a_row() -> None:
    drawing = render()
    for package in (package for floor in FLOORS for package in floor):
        name = package.rpartition(".")[2]
        assert f">{name}</text>" in drawing
        assert drawing.count(f">{package}</text>") >= 2


def test_arrows_are_left_out_where_others_lead_there() -> None:
    edges = {("data", "cache"): 2, ("cache", "roi"): 3, ("data", "roi"): 1, ("data", "base"): 1}
    assert find_ways(edges) == {("data", "cache"): 2, ("cache", "roi"): 3, ("data", "base"): 1}


def test_arrows_to_one_package_share_the_gaps_between() -> None:
    pieces = lead_ways({("cache", "base"): 2, ("data", "base"): 1})
    assert [(a.package, b.package, b.is_passage, n) for (a, b), n in pieces.items()] == [
        ("cache", "base", True, 2),
        ("base", "base", False, 3),
        ("data", "base", True, 1),
        ("base", "base", True, 1),
    ]


def test_figures_tell_another_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "roi_cls/__init__.py": "",
        "roi_cls/a.py": "import roi_cls.roi.b\n",
        "roi/__init__.py": "",
        "roi/b.py": "def late():\n    from roi_cls import a\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "roi_cls" / "roi").symlink_to("../roi")
    assert dict(describe(tmp_path)) == {
        "modules": "4",
        "lines": "3",
        "lines of a module": "0 at the median, 2 in roi/b.py",
        "used by one other alone": "2 modules",
        "circles of imports": "of 2 modules",
        "longest chain of imports": "1 modules",
        "folders": "2, with 1 entries at the median; the fullest:",
        "  roi": "1",
        "  roi_cls": "1",
    }
    main([str(tmp_path)])
    assert capsys.readouterr().out.startswith("modules                             4\n")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "roi")])
    assert "holds no roi_cls: name the root of a checkout" in capsys.readouterr().err


def test_a_circle_counts_as_one_floor() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []}
    assert find_cycles(graph) == [["b", "c"]]
    assert count_floors(graph) == 3


def test_entries_are_what_a_visitor_sees(tmp_path: Path) -> None:
    for name in ("a/__init__.py", "a/b.py", "a/.hidden", "a/__pycache__/b.pyc", "a/c/d.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert folders_of(tmp_path, "a", "missing") == {"a": 2, "a/c": 1}
