"""The house keeps its rules: directions, sizes, names, and what stays light.

Each test lists all offenders. What the rules are for: docs/developing.md.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from docs.tools.house import (
    FLOORS,
    KEPT_APART,
    ROOT,
    STAGES,
    TOP,
    Module,
    find_cycles,
    floor_of,
    folders_of,
    imports_of,
    package_edges,
    package_of,
    read_graph,
    read_modules,
)

MOST_ENTRIES = 14
MOST_LINES = 450
MOST_FUNCTION_LINES = 40
LEAST_LINES = 50
"""A shorter module that only one other of its package uses is no idea of its own."""
OUTSIDE = {"", "__main__", "commands", "classifier", "recipes"}
"""Modules of no package: doors that lead in, and folders' descriptions."""
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "sklearn",
    "scipy",
    "mediapipe",
    "matplotlib",
    "onnxruntime",
    "kornia_rs",
}
LIGHT = {
    "cli": {*HEAVY, "numpy", "cv2", "rich"},
    "roi": {*HEAVY, "numpy", "cv2"},
    "roi.recipe": {*HEAVY, "typer"},
    "roi.detection.detector": {*HEAVY, "typer"},
    "roi.detection.models": {*HEAVY, "numpy", "cv2", "typer"},
    "classifier.config": {*HEAVY, "numpy", "cv2", "typer"},
    "classifier.recipe": {*HEAVY, "numpy", "cv2", "typer"},
    "classifier.runs.bundle": {"torch", "timm", "sklearn", "typer"},
    "classifier.runs.folder": {"torch", "timm", "sklearn", "typer"},
    "classifier.inference.cropping": {"torch", "timm", "sklearn", "typer"},
    "classifier.inference.onnx_model": {"torch", "timm", "sklearn", "typer"},
    "classifier.inference.predictor": {"torch", "timm", "sklearn", "typer"},
    "classifier.explanation.heat": {"torch", "timm", "sklearn", "typer"},
    "classifier.explanation.occlusion": {"torch", "timm", "sklearn", "typer"},
    "commands.crops.run": HEAVY,
    "commands.crops.show": HEAVY,
    "commands.predict.run": HEAVY,
    "commands.explain.run": HEAVY,
    "commands.serve.run": HEAVY,
    "commands.doctor.run": HEAVY,
    "python.crops": {"torch", "timm", "sklearn", "typer"},
    "python.estimator": {"torch", "timm"},
}
"""What must start at once, or without torch, and what it therefore does not import."""


def packages() -> list[str]:
    return [package for floor in FLOORS for package in floor]


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count lines but for the signature and what a docstring explains, which are no code."""
    has_more = ast.get_docstring(function) and function.body[1:]
    first = function.body[1] if has_more else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1


def test_every_module_belongs_to_a_package() -> None:
    known = packages()
    assert len(set(known)) == len(known)
    placed = Counter(package_of(name) for name in read_modules())
    assert {name for name in read_modules() if not package_of(name)} == OUTSIDE
    assert [package for package in known if not placed[package]] == []


def test_packages_import_only_what_stands_below_them() -> None:
    edges = package_edges()
    assert len(edges) > len(packages())
    upwards = [(a, b) for a, b in edges if floor_of(b) >= floor_of(a) or (a, b) in KEPT_APART]
    graph = read_graph()
    assert [
        f"{name} -> {other}"
        for name, imported in graph.items()
        for other in imported
        if (package_of(name), package_of(other)) in upwards
    ] == []


def test_nothing_imports_in_a_circle() -> None:
    assert find_cycles(read_graph()) == []
    edges: defaultdict[str, set[str]] = defaultdict(set)
    for a, b in package_edges():
        edges[a].add(b)
    assert find_cycles(edges) == []


def test_imports_are_absolute() -> None:
    assert [
        f"{module.place}:{node.lineno}"
        for module in read_modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ] == []


def test_folders_are_not_crowded() -> None:
    folders = folders_of(ROOT, TOP, *STAGES, "tests", "benchmarks", "docs")
    crowded = {name: entries for name, entries in folders.items() if entries > MOST_ENTRIES}
    assert crowded == {"recipes": 17}  # one file per system: a shelf, not a room


def test_modules_tell_one_story_and_say_which() -> None:
    modules = read_modules().values()
    assert [(m.place, m.lines) for m in modules if m.lines >= MOST_LINES] == []
    assert [m.place for m in modules if not ast.get_docstring(m.tree)] == []


def test_functions_are_small() -> None:
    assert [
        f"{module.place}:{function.lineno} {function.name}"
        for module in read_modules().values()
        for function in functions(module)
        if code_lines(function) >= MOST_FUNCTION_LINES
    ] == []


def test_what_is_private_to_a_module_is_used_there_alone() -> None:
    assert [
        f"{module.place}: {full}"
        for module in read_modules().values()
        for full in imports_of(module)
        if full.startswith(f"{TOP}.")
        and full.rpartition(".")[2].strip("_") != full.rpartition(".")[2]
        and not full.endswith("__")
    ] == []


def test_packages_name_their_public_surface() -> None:
    """Each module that other packages use stands in the description of its own."""
    modules, missing = read_modules(), []
    for name, imported in read_graph().items():
        for other in imported:
            parent, _, own = other.rpartition(".")
            if package_of(name) != package_of(other) and parent:
                listed = ast.get_docstring(modules[parent].tree) or ""
                if f"`{own}`" not in listed and modules[other].path.name != "__init__.py":
                    missing.append(f"{modules[parent].place}: `{own}`")
    assert sorted(set(missing)) == []


def test_modules_are_ideas_of_their_own() -> None:
    users: defaultdict[str, set[str]] = defaultdict(set)
    for name, imported in read_graph().items():
        for other in imported:
            users[other].add(name)
    modules = read_modules()
    assert [
        f"{modules[name].place} ({modules[name].lines} lines) is part of {modules[user].place}"
        for name, of_name in users.items()
        if len(of_name) == 1
        for user in of_name
        if modules[name].lines < LEAST_LINES
        and modules[name].path.parent == modules[user].path.parent
    ] == []


def test_no_two_ideas_share_a_name() -> None:
    """Public functions and classes; a command has the name of the function that does its work."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in read_modules().values():
        if module.path.name != "command.py":
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                    places[node.name].append(module.place)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_public_functions_are_used_elsewhere() -> None:
    """What only its own file names is private to it; a command's function is named by its own."""
    files = [module.path for module in read_modules().values()]
    files += [
        path for top in ("tests", "benchmarks", "docs") for path in (ROOT / top).rglob("*.py")
    ]
    named: defaultdict[str, set[Path]] = defaultdict(set)
    for path in files:
        for word in set(re.findall(r"\w+", path.read_text(encoding="utf-8"))):
            named[word].add(path)
    assert [
        f"{module.place}: {node.name}"
        for module in read_modules().values()
        if module.path.name != "command.py"
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name[0] != "_"
        and named[node.name] <= {module.path}
    ] == []


def test_only_one_module_imports_mediapipe() -> None:
    assert [
        module.place
        for module in read_modules().values()
        if any(name.startswith("mediapipe") for name in imports_of(module))
    ] == ["roi/detection/mediapipe.py"]


def test_light_modules_import_nothing_heavy() -> None:
    graph, modules = read_graph(at_once=True), read_modules()
    heavy = []
    for start, refused in LIGHT.items():
        reached, ahead = {start}, [start]
        while ahead:
            name = ahead.pop()
            parents = {".".join(name.split(".")[:i]) for i in range(len(name.split(".")))}
            new = (graph[name] | (parents & modules.keys())) - reached
            reached |= new
            ahead += new
        heavy += [
            f"{start}: {modules[name].place} imports {full}"
            for name in sorted(reached)
            for full in imports_of(modules[name], at_once=True)
            if full.partition(".")[0] in refused
        ]
    assert heavy == []


def test_descriptions_of_packages_do_nothing() -> None:
    """An ``__init__.py`` lists names, and at most imports them; the top one loads them late."""
    busy = []
    for name, module in read_modules().items():
        if module.path.name == "__init__.py" and name:
            for node in module.tree.body[1:]:
                is_listing = (
                    isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
                )
                if not (isinstance(node, ast.ImportFrom) or is_listing):
                    busy.append(f"{module.place}:{node.lineno}")
    assert busy == []
