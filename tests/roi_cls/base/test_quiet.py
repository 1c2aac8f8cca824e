"""Libraries are told of folders that can be written, only where their own cannot."""

import os
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from roi_cls.base import quiet as quiet_module
from roi_cls.base.location import find_temporary_folder
from roi_cls.base.quiet import settle_libraries, stderr_held

_VARIABLES = ("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "JOBLIB_MULTIPROCESSING", "TMPDIR")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, and nothing said to libraries."""
    for name in (*_VARIABLES, "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def _no_folder() -> NoReturn:
    raise FileNotFoundError(2, "No usable temporary directory found")


def _said() -> dict[str, str]:
    settle_libraries.__wrapped__()
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def test_usual_machine_is_left_as_it_is() -> None:
    assert _said() == {}


def test_home_that_cannot_be_written_gives_a_private_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setattr(quiet_module, "_can_be_written", lambda folder: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = Path(_said()["MPLCONFIGDIR"])
    assert folder == tmp_path / f"roi-cls-matplotlib-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("MPLCONFIGDIR")
    assert Path(_said()["MPLCONFIGDIR"]) == folder  # again, for what was cached there
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    assert _said()["MPLCONFIGDIR"] == "mine"


def test_folder_that_somebody_else_made_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(quiet_module, "_can_be_written", lambda folder: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    taken = tmp_path / f"roi-cls-matplotlib-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir()
    taken.symlink_to(tmp_path / "elsewhere")
    folder = Path(_said()["MPLCONFIGDIR"])
    assert folder != taken
    assert folder.parent == tmp_path
    assert folder.is_dir()


def test_without_a_temporary_folder_torch_is_given_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quiet_module, "find_temporary_folder", lambda: None)
    assert _said() == {"TORCHINDUCTOR_CACHE_DIR": "/"}


def test_memory_serves_where_python_finds_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "_get_default_tempdir", _no_folder)
    assert find_temporary_folder(tmp_path / "absent") is None
    assert find_temporary_folder(tmp_path) == tmp_path
    assert (tempfile.gettempdir(), os.environ["TMPDIR"]) == (str(tmp_path), str(tmp_path))


def test_stderr_is_held_without_a_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", _no_folder)
    with pytest.raises(FileNotFoundError), stderr_held():
        os.write(2, b"said inside") and _no_folder()
    assert capfd.readouterr().err == ""
