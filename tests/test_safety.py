"""Nothing that is read may run code: no pickle, no eval, no YAML, no torch.load of our own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path
    for folder in ("roi_cls", "roi", "cache", "data", "classifier", "recipes")
    for path in (ROOT / folder).rglob("*.py")
)
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
ALLOWED = {
    "cache/ray_engine.py": {"pickle.loads", "pickle.dumps"},  # between processes of one run
    "classifier/models/weights.py": {"pickle.UnpicklingError"},  # caught, where one is refused
}
"""What a module may use of them, with the reason."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_nothing_that_is_read_can_run_code(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in RUNS_CODE
        elif isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            assert not names & RUNS_CODE or name_of(module) in ALLOWED
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "__import__")
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            safe = node.arg == "weights_only"
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is safe
    assert {name for name in used if name.partition(".")[0] in RUNS_CODE} <= ALLOWED.get(
        name_of(module), set()
    )
    assert "torch.load" not in used
