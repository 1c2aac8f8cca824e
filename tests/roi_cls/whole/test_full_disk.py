"""A disk that is full, or may not be written: what the message says to do is done, and works."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Command = Callable[..., CompletedProcess[str]]
FullAt = Callable[[str], AbstractContextManager[None]]
AGAIN = (
    "the disk is full. Free space or give another folder (for crops with --cache DIR), then run "
    "the same command again: what is finished is kept."
)


@pytest.fixture
def full_at() -> FullAt:
    """Let the disk have no room for files of a name, in a ``with`` block."""

    @contextmanager
    def full(name: str) -> Iterator[None]:
        move = os.replace

        def replace(source: str, target: str | Path) -> None:
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            move(source, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", replace)
            yield

    return full


@pytest.fixture
def runs(tiny_runs: Path, tmp_path: Path) -> Path:
    """A copy of the tiny runs, twice the run ``tiny``, to write into."""
    found = Path(shutil.copytree(tiny_runs, tmp_path / "runs"))
    shutil.copytree(found / "tiny", found / "other")
    return found


@pytest.mark.parametrize("name", ["settings.json", "split.csv", "best.safetensors", "config.json"])
@pytest.mark.parametrize("more", [[], ["--folds", "2"]], ids=["one", "folds"])
def test_training_goes_on_as_its_message_says(
    command: Command,
    full_at: FullAt,
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
    name: str,
    more: list[str],
) -> None:
    places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    words = ["train", tiny_set, *tiny_train_arguments, *more, *places]
    with full_at(name):
        failed = command(*words)
    assert failed.returncode == 1
    advice = failed.stderr.splitlines()[-1].partition("the disk is full. ")[2]
    begun = re.fullmatch(
        r"Free space, then run the same command with (--run \S+ --resume): "
        r"what is finished is kept\.",
        advice,
    )
    # Where nothing could be written yet, nothing is there to go on with.
    assert begun or (name == "settings.json" and AGAIN.endswith(advice))
    done = command(*words, *(begun[1].split() if begun else ()))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_full_cache_is_no_matter_of_the_run(
    command: Command,
    full_at: FullAt,
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
) -> None:
    places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    words = ["train", tiny_set, *tiny_train_arguments, *places, "--run", "one"]
    with full_at("CACHEDIR.TAG"):
        failed = command(*words)
    assert failed.stderr.splitlines()[-1].endswith(AGAIN)
    assert command(*words).returncode == 0


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["evaluate", "DATA", "--run", "tiny"], "mistakes.csv"),
        (["ensemble", "--run", "tiny", "--run", "other", "--name", "both"], "config.json"),
        (
            ["ensemble", "--run", "tiny", "--run", "other", "--name", "both"],
            "scores_validation.csv",
        ),
        (["report", "--run", "tiny", "--no-audit"], "report.html"),
        (["export", "--run", "tiny", "--format", "timm"], "README.md"),
        (["export", "--run", "tiny", "--format", "timm"], "config.json"),
    ],
)
def test_same_command_works_once_there_is_room(
    command: Command,
    full_at: FullAt,
    tiny_set: Path,
    runs: Path,
    tmp_path: Path,
    words: list[str],
    name: str,
) -> None:
    words = [*words, "--runs", str(runs)]
    if words[0] in ("evaluate", "report"):
        words += ["--cache", str(tmp_path / "cache"), "--device", "cpu"]
    called = [str(tiny_set) if word == "DATA" else word for word in words]
    with full_at(name):
        failed = command(*called)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith(AGAIN)
    done = command(*called)
    assert done.returncode == 0, done.stderr


def test_evaluation_of_a_run_that_may_not_be_written_goes_elsewhere(
    command: Command,
    tiny_set: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, output = runs / "tiny", tmp_path / "evaluation"
    words = ["evaluate", tiny_set, "--run", run, "--cache", tmp_path / "cache", "--device", "cpu"]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    ask = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run and ask(path, mode))
    refused = command(*words)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"error: Cannot write {str(run)!r}: it may not be written to, and an evaluation is kept "
        "there. Give another folder for it with --output DIR.\n"
    )
    done = command(*words, "-o", output)
    assert done.returncode == 0, done.stderr
    assert f"scores_test.csv in {output}\n" in done.stderr
    assert "Report: " not in done.stderr
    written = {path.name for path in output.iterdir()}
    assert {"evaluation.json", "scores_test.csv", "mistakes.csv", "test_openings.jsonl"} <= written
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    again = command(*words, "-o", output)
    assert "These test pictures were scored once before" in again.stderr


def test_evaluation_elsewhere_is_counted_in_the_run(
    command: Command, tiny_set: Path, runs: Path, tmp_path: Path
) -> None:
    openings, names = runs / "tiny" / "test_openings.jsonl", os.listdir(runs / "tiny")
    before = openings.read_bytes().count(b"\n") if openings.exists() else 0
    words = ["evaluate", tiny_set, "--run", runs / "tiny", "--cache", tmp_path / "cache"]
    done = command(*words, "--device", "cpu", "-o", tmp_path / "evaluation")
    assert done.returncode == 0, done.stderr
    assert openings.read_bytes().count(b"\n") == before + 1
    assert {path.name for path in (runs / "tiny").iterdir()} == {*names, openings.name}
