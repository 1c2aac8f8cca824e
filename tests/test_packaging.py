"""Every folder with code is declared in pyproject.toml: a wheel would lack it without a word."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import roi_cls

ROOT = Path(__file__).parents[1]
NO_PACKAGES = {"tests", "benchmarks", "docs", "artifacts", "build", "dist"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def folders_of(project: dict[str, Any]) -> dict[str, Path]:
    """Return the folder of each declared package, found as setuptools finds it."""
    mapped = project["tool"]["setuptools"]["package-dir"]
    folders = {}
    for package in project["tool"]["setuptools"]["packages"]:
        words = package.split(".")
        heads = {n: ".".join(words[:n]) for n in range(1, len(words) + 1)}
        n = max((n for n, head in heads.items() if head in mapped), default=0)
        folders[package] = ROOT.joinpath(*([mapped[heads[n]]] if n else []), *words[n:])
    return folders


def test_every_folder_with_code_is_a_declared_package(project: dict[str, Any]) -> None:
    declared = {folder.relative_to(ROOT).as_posix() for folder in folders_of(project).values()}
    tops = [top for top in ROOT.iterdir() if top.is_dir() and top.name[0] != "."]
    modules = [path for top in tops if top.name not in NO_PACKAGES for path in top.rglob("*.py")]
    assert declared == {path.parent.relative_to(ROOT).as_posix() for path in modules}


def test_every_package_has_an_init(project: dict[str, Any]) -> None:
    folders = folders_of(project).values()
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_only_one_name_is_installed(project: dict[str, Any]) -> None:
    packages = project["tool"]["setuptools"]["packages"]
    assert {name.split(".")[0] for name in packages} == {"roi_cls"}


def test_what_is_no_code_is_shipped(project: dict[str, Any]) -> None:
    """Types, pages, templates, recipes: each file beside the code fits a pattern of its package."""
    folders = folders_of(project)
    shipped = set()
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            found = set(folders[package].glob(pattern))
            assert found, f"{package}: {pattern}"
            shipped |= found
    files = {path for folder in folders.values() for path in folder.iterdir() if path.is_file()}
    assert {path for path in files - shipped if path.suffix != ".py"} == set()


def test_editors_and_type_checkers_see_every_folder(project: dict[str, Any]) -> None:
    """`make links` links into roi_cls what pyproject.toml maps there, and git ignores the links."""
    folders = sorted(project["tool"]["setuptools"]["package-dir"].values())
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    stages = re.search(r"^STAGES := (.*)$", makefile, re.M)
    assert stages is not None
    assert sorted([*stages[1].split(), "recipes"]) == folders
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert [line for line in ignored if line.startswith("/roi_cls/")] == [
        f"/roi_cls/{folder}" for folder in folders
    ]


def test_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="roi-cls")
    assert command.value == "roi_cls.cli:main"


def test_version_is_the_installed_one(project: dict[str, Any]) -> None:
    assert roi_cls.__version__ == project["project"]["version"]


def test_package_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "roi_cls", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "predict" in done.stdout


def test_nothing_that_is_code_is_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert not {"data", "data/", "/data/", "cache", "cache/", "/cache/"} & set(ignored)
    assert "/artifacts/" in ignored
