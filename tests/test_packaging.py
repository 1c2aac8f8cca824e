"""Every folder with code is declared in pyproject.toml: a wheel would lack it without a word."""

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


def test_every_folder_with_code_is_a_declared_package(project: dict[str, Any]) -> None:
    setuptools = project["tool"]["setuptools"]
    folders = setuptools["package-dir"]
    declared = {folders.get(name, name.replace(".", "/")) for name in setuptools["packages"]}
    tops = [top for top in ROOT.iterdir() if top.is_dir() and top.name[0] != "."]
    modules = [path for top in tops if top.name not in NO_PACKAGES for path in top.rglob("*.py")]
    assert declared == {path.parent.relative_to(ROOT).as_posix() for path in modules}


def test_every_package_has_an_init(project: dict[str, Any]) -> None:
    folders = project["tool"]["setuptools"]["package-dir"]
    for name in project["tool"]["setuptools"]["packages"]:
        assert (ROOT / folders.get(name, name.replace(".", "/")) / "__init__.py").is_file(), name


def test_only_one_name_is_installed(project: dict[str, Any]) -> None:
    packages = project["tool"]["setuptools"]["packages"]
    assert {name.split(".")[0] for name in packages} == {"roi_cls"}


def test_types_pages_and_templates_are_shipped(project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]["roi_cls"]
    assert patterns == ["py.typed", "page/*", "templates/*"]
    assert all(list((ROOT / "roi_cls").glob(pattern)) for pattern in patterns)


def test_recipes_are_shipped(project: dict[str, Any]) -> None:
    assert project["tool"]["setuptools"]["package-data"]["roi_cls.recipes"] == ["*.toml"]
    assert list((ROOT / "recipes").glob("*.toml"))


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
