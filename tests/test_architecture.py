"""The stages point one way, modules and functions stay small, and heavy things stay in place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = ("errors", "closing", "location", "atomic", "memory", "json_text", "parquet")
STAGES = ("roi", "cache", "data", "classifier")
FOLDERS = ("roi_cls", *STAGES)
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MOST_LINES = 300
MOST_FUNCTION_LINES = 40


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports: at its top, in functions, for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(path: Path) -> set[str]:
    """Return the first names below ``roi_cls`` that a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("roi_cls.")}


def modules_of(folder: str) -> list[Path]:
    return [path for path in MODULES if path.parent.name == folder]


def test_modules_are_found() -> None:
    assert all(modules_of(folder) for folder in FOLDERS)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_imports_only_itself_and_earlier_stages(stage: str) -> None:
    allowed = {*BASE, *STAGES[: STAGES.index(stage) + 1]}
    for module in modules_of(stage):
        assert own_parts(module) <= allowed, name_of(module)


@pytest.mark.parametrize("name", BASE)
def test_base_module_imports_no_stage(name: str) -> None:
    assert own_parts(ROOT / "roi_cls" / f"{name}.py") <= set(BASE)


def test_only_one_module_imports_mediapipe() -> None:
    users = {name_of(m) for m in MODULES for name in imported(m) if name.startswith("mediapipe")}
    assert users == {"roi/mediapipe_detector.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_folder_is_flat(stage: str) -> None:
    assert not list((ROOT / stage).glob("*/*.py"))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_is_small_and_says_what_it_is(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MOST_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_functions_are_small(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # The signature and what a docstring explains are no code.
            first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            assert lines < MOST_FUNCTION_LINES, node.name


@pytest.mark.parametrize("stage", STAGES)
def test_stage_init_lists_names_and_does_nothing_else(stage: str) -> None:
    docstring, *body = ast.parse((ROOT / stage / "__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    for node in body:
        is_listing = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert isinstance(node, ast.ImportFrom) or is_listing, ast.unparse(node)
