"""Which run is meant, and what is said where there is none."""

import os
from pathlib import Path

import pytest

from roi_cls.base.errors import BundleError
from roi_cls.classifier.runs.folder import RunFolder, find_run, honest_scores


def _make(root: Path, name: str, *, finished: bool = True, time_s: int = 0) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    if finished:
        (folder / "config.json").write_text("{}")
        os.utime(folder / "config.json", (time_s, time_s))
    return folder


def test_newest_finished_run_is_taken(tmp_path: Path) -> None:
    _make(tmp_path, "a", time_s=20)
    newest = _make(tmp_path, "b", time_s=30)
    _make(tmp_path, "c", time_s=10)
    _make(tmp_path, "z", finished=False)
    (tmp_path / "note.txt").write_text("not a run")
    assert find_run(None, tmp_path) == RunFolder(newest)


@pytest.mark.parametrize("root", ["", "absent"])
def test_no_run_at_all_is_told(tmp_path: Path, root: str) -> None:
    _make(tmp_path, "begun", finished=False)
    with pytest.raises(BundleError) as caught:
        find_run(None, tmp_path / root)
    assert str(caught.value) == (
        f"Cannot choose a run: there is no finished one in {str(tmp_path / root)!r}. "
        "Train one with `make train` or `roi-cls train DATA`, or name one with --run."
    )


def test_run_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _make(tmp_path / "runs", "a")
    assert find_run("a", tmp_path / "runs").path == folder
    assert find_run(str(folder), tmp_path / "elsewhere").path == folder
    monkeypatch.chdir(tmp_path)
    assert find_run("runs/a", Path("elsewhere")).path == Path("runs/a")


@pytest.mark.parametrize("place", ["runs/begun", "begun"])
def test_unfinished_run_is_told_from_an_absent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _make(tmp_path, place, finished=False)
    (tmp_path / place / "settings.json").write_text("{}")
    _make(tmp_path / "runs", "done")
    with pytest.raises(BundleError) as caught:
        find_run("begun", Path("runs"))
    assert str(caught.value) == (
        "Cannot use the run 'begun': it is not finished; go on with `roi-cls train DATA "
        "--run begun --resume`. "
        "Finished runs in 'runs': done."
    )


def test_absent_run_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        find_run("x", tmp_path)
    assert str(caught.value) == (
        f"Cannot use the run 'x': there is none. Finished runs in {str(tmp_path)!r}: none."
    )


def test_files_of_a_run_lie_in_its_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = (
        *(run.settings, run.split, run.crops, run.metrics, run.checkpoint, run.best, run.detector),
        *(run.validation_scores, run.test_scores, run.evaluation),
    )
    assert {path.parent for path in paths} == {tmp_path}
    assert len(set(paths)) == len(paths)
    assert not run.is_finished


def test_honest_scores_are_out_of_fold_where_there_are_folds(tmp_path: Path) -> None:
    run = RunFolder(_make(tmp_path, "a"))
    assert honest_scores(run) == run.validation_scores
    run.oof_scores.touch()
    assert honest_scores(run) == run.oof_scores
