"""The notebook is kept without outputs, and runs from its first cell to its last."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from roi_cls.roi.detection.models import resolve_models

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
SMALL = """
from pathlib import Path

DATA = Path("demo")
IMAGES = 40
RUN = Path("run")
CACHE = Path("crops")
SETTINGS = {
    "model": "test_efficientnet",
    "weights": "none",
    "size_px": 64,
    "epochs": 2,
    "batch_size": 16,
    "device": "cpu",
    "settings": {"threshold_rule": "f1"},  # the default finds no target of one, and says so
}
"""
SHOWN = {
    "set-up": [],
    "look": ["image/png"],
    "crops": ["text/html", "image/jpeg"],
    "margin": ["text/html"],
    "train": ["text/html", "text/html", "text/html"],
    "curves": ["image/png"],
    "evaluate": ["text/html", "text/html"],
    "panels": ["image/png"],
    "mistakes": ["text/html"],
    "load": ["text/html"],
    "predict": ["text/html"],
    "one": ["text/html"],
    "explain": ["text/html"],
    "occlusion": ["image/png"],
}
"""What stands below a cell, by its name: lines that were bars of progress, then its result."""


def read_notebook() -> Any:
    return nbformat.read(PAGE, as_version=4)  # type: ignore[no-untyped-call]  # typed in part


def parameters_of(notebook: Any) -> Any:
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return cell


def names_in(text: str) -> list[str]:
    return re.findall(r"^([A-Z]+) = ", text, re.M)


def test_it_is_kept_without_outputs() -> None:
    notebook = read_notebook()
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []
    assert PAGE.stat().st_size < 20_000


def test_its_first_cell_has_the_defaults_of_a_reader() -> None:
    cell = parameters_of(read_notebook())
    assert cell == next(c for c in read_notebook().cells if c.cell_type == "code")
    assert names_in(cell.source) == names_in(SMALL)
    assert "SETTINGS = {}" in cell.source


@pytest.mark.slow
def test_it_runs_from_the_top_and_from_predict(tmp_path: Path) -> None:
    resolve_models("auto")  # else fetching them is told below a cell, once on a machine
    notebook = read_notebook()
    parameters_of(notebook).source = SMALL
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    shown: dict[str, list[str]] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "stream", output
            kinds = [kind for kind in output.data if kind != "text/plain"]
            shown.setdefault(cell.id, []).extend(kinds)
    assert shown == SHOWN
    assert len(json.dumps(notebook)) < 5_000_000

    late = read_notebook()
    parameters_of(late).source = SMALL
    names = [cell.id for cell in late.cells]
    kept = {"parameters", "set-up", *names[names.index("predict-words") :]}
    late.cells = [cell for cell in late.cells if cell.id in kept]
    NotebookClient(late, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
