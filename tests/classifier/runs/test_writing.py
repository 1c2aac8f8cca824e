"""A run has one writer; where nothing was written nothing is left."""

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from roi_cls.base.errors import BundleError, RunInUseError
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.writing import LOCK_NAME, hold_place, hold_run, is_unused


def test_second_writer_is_told_of_the_first_and_what_to_do(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    with hold_run(run), pytest.raises(RunInUseError) as caught, hold_run(run):
        pass
    error = caught.value
    assert f"process {os.getpid()} on " in error.holder
    assert str(error) == (
        f"Cannot write into {str(run.path)!r}: it is in use by {error.holder}. Wait until that is "
        "done, or stop it; another name (--run, --output) makes a run beside it."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_folders_in_which_nothing_was_written_are_gone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "artifacts" / "runs" / "first")
    with pytest.raises(KeyError), hold_run(run):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with hold_run(run):
        run.settings.write_text("{}")
    assert [path.name for path in run.path.iterdir()] == ["settings.json"]


def test_folder_that_another_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = RunFolder(tmp_path / "runs" / "first"), os.open

    def remove_first(*arguments: Any) -> int:
        monkeypatch.setattr(os, "open", real)
        run.path.rmdir()  # as who wrote nothing leaves it
        return real(*arguments)

    monkeypatch.setattr(os, "open", remove_first)
    with hold_run(run):
        assert (run.path / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_was_there_stays(tmp_path: Path) -> None:
    with hold_run(RunFolder(tmp_path)):
        pass
    assert tmp_path.is_dir()


def test_run_is_unused_until_something_lies_in_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    assert is_unused(run.path)
    with hold_run(run):
        assert is_unused(run.path)
        run.settings.write_text("{}")
        assert not is_unused(run.path)
    assert not is_unused(run.settings)


def test_of_several_processes_the_first_one_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with hold_run(run):
        assert (tmp_path / LOCK_NAME).exists()
        monkeypatch.setenv("RANK", "1")
        with hold_run(run):
            pass


def test_file_in_the_runs_place_is_left_to_who_knows_better(tmp_path: Path) -> None:
    file = tmp_path / "first"
    file.write_text("notes")
    with hold_run(RunFolder(file)):
        pass
    assert file.read_text() == "notes"


@pytest.mark.parametrize(
    ("number", "rest"),
    [
        (
            errno.EROFS,
            "Read-only file system. Copy it to a folder that can be written, or give the run "
            "another folder (--runs, in Python run=).",
        ),
        (
            errno.EACCES,
            "Permission denied. Copy it to a folder that can be written, or give the run another "
            "folder (--runs, in Python run=).",
        ),
        (
            errno.ENOTDIR,
            "Not a directory. Give the run another folder (--runs, in Python run=).",
        ),
        (
            errno.ENOSPC,
            "No space left on device. Free space there, or give the run another folder (--runs, "
            "in Python run=).",
        ),
    ],
)
def test_run_that_cannot_be_written_is_refused_before_any_work(
    number: int, rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(number, os.strerror(number))

    run = RunFolder(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BundleError) as caught, hold_run(run, only_unfinished=True):
        pass
    where = f"Cannot write into the run {tmp_path.name!r}: {str(tmp_path)!r}: "
    assert str(caught.value) == where + rest
    (tmp_path / "config.json").write_text("{}")
    with hold_run(run, only_unfinished=True):  # it is finished: nothing will be written
        pass
    with pytest.raises(BundleError), hold_run(run):
        pass


def test_what_is_written_elsewhere_holds_no_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    with hold_run(run):
        with hold_place(run, tmp_path / "report.html"):
            pass
        with pytest.raises(RunInUseError), hold_place(run, run.report):
            pass


def test_what_cannot_be_written_into_a_run_may_lie_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    run = RunFolder(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BundleError) as caught, hold_place(run, run.report):
        pass
    assert str(caught.value).endswith(
        "Read-only file system. Copy it to a folder that can be written, or give another place "
        "with --output."
    )


def test_run_that_is_not_there_is_not_to_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(BundleError) as caught, hold_run(RunFolder(tmp_path / "new")):
        pass
    assert str(caught.value).endswith(
        "Read-only file system. Give the run another folder (--runs, in Python run=)."
    )
