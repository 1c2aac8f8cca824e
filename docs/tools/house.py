"""The house in figures: which package may import which, and what the real imports are.

make house      or      .venv/bin/python -m docs.tools.house [ANOTHER CHECKOUT]

`tests/test_architecture.py` holds the rules; `floor_plan.py` draws them. Reads files, imports none.
"""

from __future__ import annotations

import argparse
import ast
import functools
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = "roi_cls"
STAGES = ("roi", "cache", "data", "classifier", "recipes")
"""Folders of the top level that install inside ``roi_cls``."""

FLOORS: tuple[tuple[str, ...], ...] = (
    ("base",),
    ("roi",),
    ("cache",),
    ("data",),
    ("data.demo", "classifier.config"),
    ("classifier.metrics", "classifier.recipe"),
    ("classifier.runs",),
    ("classifier.models", "classifier.augmentation"),
    ("classifier.inference",),
    ("classifier.export",),
    ("classifier.training",),
    ("classifier.evaluation", "classifier.explanation", "classifier.ensembles"),
    ("classifier.experiments",),
    ("console",),
    ("inputs",),
    ("drawing",),
    (
        "commands.crops",
        "commands.datasets",
        "commands.train",
        "commands.predict",
        "commands.explain",
        "commands.experiments",
        "commands.doctor",
        "commands.export",
        "commands.report",
        "commands.serve",
        "python",
    ),
    ("cli",),
)
"""From the ground up: a package imports itself and what stands on a floor below, nothing else."""

FULLEST = 8
"""How many folders are told by name."""
KEPT_APART = {
    ("data.demo", "cache"),
    ("classifier.training", "classifier.inference"),
    ("classifier.explanation", "classifier.export"),
    ("classifier.evaluation", "classifier.export"),
}
"""Further imports that are not made, though their direction is right: from, to."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the product."""

    name: str
    """Without ``roi_cls.``: ``classifier.training.loop``."""
    path: Path
    tree: ast.Module
    lines: int
    place: str
    """As people name it: its path from the repository's root."""


@functools.cache
def read_modules(root: Path = ROOT) -> Mapping[str, Module]:
    """Return every module of the product, by name."""
    found = {}
    for folder in (TOP, *STAGES):
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            place = path.relative_to(root)
            parts = place.with_suffix("").parts
            inside = parts[1:] if parts[0] == TOP else parts
            name = ".".join(inside).removesuffix("__init__").rstrip(".")
            lines = text.count("\n")
            found[name] = Module(name, path, ast.parse(text), lines, place.as_posix())
    return found


def imports_of(module: Module, *, at_once: bool = False) -> Iterator[str]:
    """Yield the full name of all that a module imports, with what follows ``from``.

    Args:
        module: It. Imports that only type checkers see are left out.
        at_once: Only what is imported with the module itself, not later by a function.
    """
    for node in _statements(module.tree, at_once):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST, at_once: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if at_once and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _statements(child, at_once)


@functools.cache
def read_graph(root: Path = ROOT, *, at_once: bool = False) -> Mapping[str, frozenset[str]]:
    """Return the modules of the product that each imports; those within functions count, too."""
    modules = read_modules(root)
    return {
        name: frozenset(_own(imports_of(module, at_once=at_once), modules)) - {name}
        for name, module in modules.items()
    }


def _own(names: Iterable[str], modules: Mapping[str, Module]) -> Iterator[str]:
    for full in names:
        if full != TOP and not full.startswith(f"{TOP}."):
            continue
        name = full.removeprefix(TOP).removeprefix(".")
        while name not in modules:
            name = name.rpartition(".")[0]
        yield name


def package_of(name: str) -> str:
    """Return the package of ``FLOORS`` that a module belongs to, or an empty text."""
    packages = [package for floor in FLOORS for package in floor]
    fitting = (p for p in packages if name == p or name.startswith(f"{p}."))
    return max(fitting, key=len, default="")


def floor_of(package: str) -> int:
    """Return on which floor a package of ``FLOORS`` stands, from 0."""
    return next(i for i, floor in enumerate(FLOORS) if package in floor)


def package_edges() -> dict[tuple[str, str], int]:
    """Return how many imports of modules lead from one package to another."""
    edges: dict[tuple[str, str], int] = {}
    for name, imported in read_graph().items():
        for other in imported:
            pair = package_of(name), package_of(other)
            if pair[0] != pair[1] and all(pair):
                edges[pair] = edges.get(pair, 0) + 1
    return edges


def reach(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Return the nodes that a node leads to, by any way; itself where it stands in a cycle."""
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        new = set(graph.get(ahead.pop(), ())) - reached
        reached |= new
        ahead += new
    return reached


def find_cycles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            start = stack.index(node)
            if len(stack) - start > 1:
                found.append(sorted(stack[start:]))
            del stack[start:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def count_floors(graph: Mapping[str, Iterable[str]]) -> int:
    """Return how many nodes the longest chain of imports has; a cycle counts as one."""
    one_of = {node: cycle[0] for cycle in find_cycles(graph) for node in cycle}
    below: dict[str, set[str]] = {}
    for node, others in graph.items():
        own = one_of.get(node, node)
        below.setdefault(own, set()).update({one_of.get(other, other) for other in others} - {own})

    @functools.cache
    def depth(node: str) -> int:
        return 1 + max(map(depth, below.get(node, ())), default=0)

    return max(map(depth, below))


def entries_of(folder: Path) -> list[Path]:
    """Return what a visitor sees in a folder: no ``__init__.py``, nothing hidden, no links."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.name[:2] != "__" and entry.name[0] != "." and not entry.is_symlink()
    )


def folders_of(root: Path, *names: str) -> dict[str, int]:
    """Return how many entries each of these folders has, and each folder within."""
    found = {}
    ahead = [root / name for name in names if (root / name).is_dir()]
    while ahead:
        folder = ahead.pop()
        entries = entries_of(folder)
        found[folder.relative_to(root).as_posix()] = len(entries)
        ahead += [entry for entry in entries if entry.is_dir()]
    return dict(sorted(found.items()))


def describe(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the house's figures: what, and how much.

    Raises:
        ValueError: There is no product in this folder.
    """
    modules = read_modules(root)
    if "" not in modules:
        raise ValueError(f"{root} holds no {TOP}: name the root of a checkout")
    graph = read_graph(root)
    largest = max(modules.values(), key=lambda module: module.lines)
    users = Counter(other for imported in graph.values() for other in imported)
    folders = folders_of(root, TOP, *STAGES)
    cycles = find_cycles(graph)
    yield "modules", f"{len(modules)}"
    yield "lines", f"{sum(module.lines for module in modules.values()):,}"
    median = statistics.median(module.lines for module in modules.values())
    yield "lines of a module", f"{median:.0f} at the median, {largest.lines} in {largest.place}"
    yield "used by one other alone", f"{sum(n == 1 for n in users.values())} modules"
    words = ", ".join(f"of {len(cycle)} modules" for cycle in cycles)
    yield "circles of imports", words or "none"
    yield "longest chain of imports", f"{count_floors(graph)} modules"
    entries = statistics.median(folders.values())
    yield "folders", f"{len(folders)}, with {entries:.0f} entries at the median; the fullest:"
    for name, entries in sorted(folders.items(), key=lambda item: (-item[1], item[0]))[:FULLEST]:
        yield f"  {name}", f"{entries}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of this checkout, or of another one."""
    parser = argparse.ArgumentParser(description="Measure how the house is built.")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="Unset: this checkout.")
    try:
        figures = list(describe(parser.parse_args(arguments).root.resolve()))
    except ValueError as error:
        parser.error(str(error))
    for what, how_much in figures:
        print(f"{what:<36}{how_much}")  # noqa: T201  (a script's result)


if __name__ == "__main__":
    main()
