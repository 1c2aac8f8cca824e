"""The ways that docs/developing.md shows from a command to a place lead there in the code."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from docs.tools.house import reach, read_graph, read_modules

PAGE = Path(__file__).parents[2] / "docs" / "developing.md"
FOLDERS = {"evaluate": "train", "data": "datasets", "tune": "experiments"}
"""Of commands that do not stand in the folder of their name."""
_PATH = re.compile(r"`([\w./-]+\.py)(?::\w+)?`")


def ways() -> list[tuple[str, list[str], list[str]]]:
    """Return of each change its command, the files on the way, and those to open."""
    table = PAGE.read_text(encoding="utf-8").partition("| to change | open |")[2]
    rows = re.findall(r"^\| (?!-)[^|]* \| ([^|]*) \| `([a-z]+)[^`]*` → ([^|]*) \|$", table, re.M)
    return [(command, _PATH.findall(way), _PATH.findall(places)) for places, command, way in rows]


def test_each_row_of_the_table_is_read() -> None:
    assert len(ways()) == 27


@pytest.mark.parametrize(("command", "way", "places"), ways())
def test_each_file_on_the_way_imports_the_next(
    command: str, way: list[str], places: list[str]
) -> None:
    graph = read_graph()
    names = {module.place: name for name, module in read_modules().items()}
    start = f"roi_cls/commands/{FOLDERS.get(command, command)}/command.py"
    assert names[way[0]] in reach(graph, names[start]) | {names[start]}
    for one, other in pairwise(way):
        assert names[other] in graph[names[one]], f"{one} does not import {other}"
    ends = {names[place] for place in places}
    assert graph[names[way[-1]]] & ends, f"{way[-1]} imports none of {places}"
