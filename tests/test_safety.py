"""Nothing that is read may run code: no pickle, no eval, no YAML, no torch.load of our own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from docs.tools.house import Module, read_modules

RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
ALLOWED = {
    "cache/ray_engine.py": {"pickle.loads", "pickle.dumps"},  # between processes of one run
    "classifier/models/weights.py": {"pickle.UnpicklingError"},  # caught, where one is refused
}
"""What a module may use of them, with the reason."""


def test_nothing_that_is_read_can_run_code() -> None:
    modules = read_modules().values()
    assert len(modules) > 200
    assert [f"{m.place}:{line} {what}" for m in modules for line, what in find_unsafe(m)] == []


def test_what_is_allowed_is_used() -> None:
    used = {module.place: set(used_names(module)) for module in read_modules().values()}
    assert {place: names for place, names in ALLOWED.items() if not names <= used[place]} == {}


def find_unsafe(module: Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of all that could run code from a file."""
    allowed = ALLOWED.get(module.place, set())
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and _root(node.module or "") in RUNS_CODE:
            yield node.lineno, f"from {node.module}"
        elif isinstance(node, ast.Import) and not allowed:
            names = (alias.name for alias in node.names)
            yield from (
                (node.lineno, f"import {name}") for name in names if _root(name) in RUNS_CODE
            )
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name == "torch.load" or (_root(name) in RUNS_CODE and name not in allowed):
                yield node.lineno, name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("eval", "exec", "__import__"):
                yield node.lineno, node.func.id
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if value is not (node.arg == "weights_only"):
                yield node.value.lineno, node.arg


def used_names(module: Module) -> Iterator[str]:
    """Yield every ``module.name`` that is written in a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def _root(name: str) -> str:
    return name.partition(".")[0]
