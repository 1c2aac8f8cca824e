"""What our pages, the Makefile, CI and the code's words name is there: files, names, modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.tools.house import STAGES, TOP, read_modules

ROOT = Path(__file__).parents[2]
FOLDERS = (TOP, *STAGES, "benchmarks", "docs", "tests", ".ci")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)
TEXTS = [*PAGES, "Makefile", ".ci/run", "pyproject.toml", ".gitignore"]
SUFFIXES = ("py", "md", "toml", "svg", "cff")
"""Of files without a folder that are ours: what a run or a user's own folder holds has others."""
NAMED_ALIKE = {"command.py", "run.py"}
"""Files that several folders have, named without one."""
MADE = {f"{TOP}/{stage}" for stage in STAGES}
"""Links that ``make links`` makes; a fresh checkout has none."""
LOGGERS = {".fitting"}
"""Names below ``roi_cls`` that are no modules."""
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?<![\w./*-])\.?[\w-][\w./-]*")
_WORD = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*\w")
_MODULE = re.compile(r"-m ((?:benchmarks|docs)(?:\.\w+)+)")
_DOTTED = re.compile(rf"(?<![\w./-]){TOP}((?:\.\w+)+)")


def code_files(*folders: str) -> list[str]:
    """Return the modules of the product, and the Python files in these folders."""
    found = {module.place for module in read_modules().values()}
    for folder in folders:
        found |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
    return sorted(found)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def is_there(path: str, page: str) -> bool:
    if any(path == link or path.startswith(f"{link}/") for link in MADE):
        path = path.removeprefix(f"{TOP}/")
    return any((base / path).exists() for base in (ROOT, (ROOT / page).parent))


def named_files(text: str) -> Iterator[str]:
    """Yield what a page's inline code names that looks like a file of this repository."""
    for code in _CODE.findall(text):
        for path in _PATH.findall(code):
            first, slash, _ = path.partition("/")
            if first in FOLDERS if slash else path.rpartition(".")[2] in SUFFIXES:
                yield path


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    names = {name for name in named_files(read(page)) if name not in NAMED_ALIKE}
    assert sorted(name for name in names if not is_there(name, page)) == []


def test_pages_name_files_at_all() -> None:
    assert {"cache/store.py", "docs/tools/house.py", "pyproject.toml"} <= set(
        named_files(read("docs/developing.md"))
    )
    assert list(named_files("`roi/gone.py:x`, `python old.py`, `a.jpg`, photos/a.md")) == [
        "roi/gone.py",
        "old.py",
    ]


def test_every_name_that_a_page_gives_with_its_file_is_defined_there() -> None:
    found = [
        (page, path, name)
        for page in PAGES
        for path, name in re.findall(r"`([\w./-]+\.py):(\w+)`", read(page))
    ]
    assert len(found) > 15
    assert [names for names in found if names[2] not in definitions(names[1])] == []


def definitions(path: str) -> set[str]:
    found = set()
    for node in ast.parse(read(path)).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", "pyproject.toml", ".gitignore"])
def test_every_path_that_builds_and_ci_name_exists(name: str) -> None:
    paths = {path.rstrip(".") for path in _WORD.findall(read(name))}
    assert sorted(path for path in paths if not is_there(path, name)) == []


def test_every_file_that_the_code_speaks_of_exists() -> None:
    """In comments, docstrings and messages of the product, the benchmarks and the tools."""
    assert [
        f"{code}: {path}"
        for code in code_files("benchmarks", "docs")
        for path in _WORD.findall(read(code))
        if path.rpartition(".")[2] in SUFFIXES and not is_there(path, code)
    ] == []


def test_every_module_that_is_run_by_its_name_exists() -> None:
    texts = [*TEXTS, *code_files("benchmarks", "docs")]
    named = {name for text in texts for name in _MODULE.findall(read(text))}
    assert len(named) > 8
    assert [name for name in named if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


@pytest.mark.parametrize("text", TEXTS)
def test_every_module_of_ours_that_is_named_exists(text: str) -> None:
    modules = read_modules()
    unknown = []
    for dotted in _DOTTED.findall(read(text)):
        parent, _, last = dotted[1:].rpartition(".")
        is_known = dotted[1:] in {*modules, *STAGES} or dotted in LOGGERS
        if not is_known and not last.startswith("__"):
            words = read(modules[parent].place) if parent in modules else ""
            if not re.search(rf"\b{last}\b", words):
                unknown.append(f"{TOP}{dotted}")
    assert unknown == []


def test_every_make_target_that_is_named_exists() -> None:
    named = {
        target
        for text in (*TEXTS, *code_files("benchmarks", "docs", "tests"))
        for target in re.findall(r"(?:`|run: )make ([a-z][a-z-]*)", read(text))
    }
    targets = set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.M))
    assert {"setup", "floor-plan", "reference"} <= named
    assert sorted(named - targets) == []
