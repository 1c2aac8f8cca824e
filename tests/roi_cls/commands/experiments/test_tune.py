"""``roi-cls tune`` as its user sees it: words, JSON, usage, a kill, and two at once."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Command = Callable[..., CompletedProcess[str]]
PATIENCE_S = 240  # far more than is needed, on a machine that does other things, too
TINY = """
description = "Tiny."
[train]
model = "test_efficientnet"
weights = "none"
epochs = 2
precision = "fp32"
[crop]
crop = "full"
size_px = 32
"""


@pytest.fixture
def words(tmp_path: Path, tiny_set: Path) -> list[str]:
    base = tmp_path / "tiny.toml"
    base.write_text(TINY)
    return [
        *("tune", str(tiny_set), "--base", str(base), "--over", "lr,size", "--folds", "2"),
        *("--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")),
        *("--workers", "0", "--device", "cpu", "--name", "first"),
    ]


@pytest.fixture
def search(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text("[train]\nlr = {low = 1e-3, high = 1e-2, log = true}\nepochs = [1, 2]\n")
    return path


def with_search(words: list[str], search: Path) -> list[str]:
    place = words.index("--over")
    return [*words[:place], "--search", str(search), *words[place + 2 :]]


@pytest.mark.slow
def test_trials_are_told_and_the_recipe_trains(
    command: Command, words: list[str], search: Path, tmp_path: Path, tiny_set: Path
) -> None:
    words = [*with_search(words, search), "--trials", "2", "-o", str(tmp_path / "mine.toml")]
    words += ["--split-seed", "3", "--no-near-duplicates", "--target", "odd"]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "Trial 1: lr " in done.stderr
    assert re.search(r"^Trial 0: ROC-AUC [\d.]+ out of fold, the best so far$", done.stderr, re.M)
    assert lines[-1].startswith(f"Next: roi-cls train {tiny_set} --recipe ")
    # The same split and cache, else the test part would hold what the recipe was chosen by.
    same = "--split-seed 3 --no-near-duplicates --target odd"
    where = f"--cache {tmp_path / 'cache'} --run mine --runs {tmp_path / 'runs'}"
    assert lines[-1].endswith(f"mine.toml {same} {where}")
    folder = tmp_path / "runs" / "first"
    assert f"Saved tuning.md, tuning.csv, tuning.json in {folder}" in lines
    page = (folder / "tuning.md").read_text()
    assert done.stdout == page.rstrip() + "\n"
    assert page.startswith("# Tuning on set\n\n- Best of 2 finished trials: trial ")
    assert "| trial | ROC-AUC |" in page
    assert (
        "\n\nTrials: 2 finished. The same command with more --trials or --budget goes on." in page
    )
    assert len((folder / "tuning.csv").read_text().splitlines()) == 3

    again = command(*words, "--json")
    found = json.loads(again.stdout)
    assert "out of fold" not in again.stderr
    assert found == json.loads((folder / "tuning.json").read_text())
    assert [row["state"] for row in found["trials"]] == ["finished", "finished"]
    assert found["best"]["score"] == max(row["score"] for row in found["trials"])
    assert found["best"]["optimism"] == pytest.approx(
        found["best"]["estimate"]["value"] - found["best"]["corrected"]["value"]
    )
    assert (found["images"], found["targets"], found["target"]) == (32, 8, "odd")

    trained = command(*shlex.split(lines[-1])[2:], "--workers", "0", "--device", "cpu")
    assert trained.returncode == 0, trained.stderr
    kept = json.loads((tmp_path / "runs" / "mine" / "settings.json").read_bytes())
    for name, value in found["best"]["settings"].items():
        assert kept["config"][name] == value
    # The best trial's models can be used as they are.
    places = ["--cache", tmp_path / "cache", "--device", "cpu"]
    judged = command("evaluate", tiny_set, "--run", found["run"], *places)
    assert judged.returncode == 0, judged.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "give --budget, like 2h, or --trials, or both"),
        (["--budget", "2"], "'2' is no span of time; write it like 12h, 30d or 2w"),
        (["--trials", "0"], "'--trials': Input should be greater than or equal to 1"),
        (
            ["--trials", "1", "--folds", "1"],
            "'--folds': Input should be greater than or equal to 2",
        ),
        (["--trials", "1", "--search", "x.toml"], "--over and --search exclude each other"),
        (["--trials", "1", "-o", "best.json"], "--output must end in .toml, got 'best.json'"),
        (["--trials", "1", "--score", "f1"], "'f1' is not one of"),
    ],
)
def test_wrong_usage_is_told(
    command: Command, words: list[str], changes: list[str], message: str
) -> None:
    done = command(*words, *changes)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("--over", "lr,colour", "error: Cannot tune over 'colour': there is no such setting."),
        ("--over", "seed", "error: Cannot tune over 'seed': the best seed is the luckiest one."),
        ("--base", "bset", "error: Cannot use the recipe 'bset': there is none of this name; did "),
        ("--base", "ensemble-all", "error: Cannot tune the recipe 'ensemble-all': it has members,"),
    ],
)
def test_what_cannot_be_tuned_is_told_in_a_line(
    command: Command, words: list[str], tmp_path: Path, name: str, value: str, message: str
) -> None:
    words[words.index(name) + 1] = value
    done = command(*words, "--trials", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_missing_optuna_is_told_before_anything_is_done(
    command: Command, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = command(*words, "--trials", "1")
    assert (done.returncode, done.stderr) == (
        1,
        "error: Cannot tune: optuna is not installed. Install it: pip install 'roi-cls[tune]'.\n",
    )
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache").exists()


def start(words: list[str], file: Path) -> "subprocess.Popen[bytes]":
    with file.open("wb") as stream:
        return subprocess.Popen([sys.executable, "-m", "roi_cls", *words], stderr=stream)


def read_rows(tmp_path: Path) -> list[dict[str, object]]:
    found = json.loads((tmp_path / "runs" / "first" / "tuning.json").read_bytes())
    rows: list[dict[str, object]] = found["trials"]
    return rows


@pytest.mark.slow
def test_killed_in_a_trial_the_same_command_goes_on_where_it_was(
    command: Command, words: list[str], tmp_path: Path
) -> None:
    members = tmp_path / "runs" / "first" / "trial-0" / "members"
    metrics = members / "fold-2" / "metrics.jsonl"
    words = [*words, "--trials", "1"]
    (tmp_path / "tiny.toml").write_text(TINY.replace("epochs = 2", "epochs = 12"))
    with start(words, tmp_path / "log") as process:
        deadline = time.monotonic() + PATIENCE_S
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 2):
            assert time.monotonic() < deadline
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    lines = metrics.read_bytes().count(b"\n")
    assert 2 <= lines < 12
    first = (members / "fold-1" / "model.safetensors").stat()
    done = command(*words)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path)
    assert [(row["state"], row.get("repeats")) for row in rows] == [
        ("failed", None),
        ("finished", 0),
    ]
    assert rows[0]["settings"] == rows[1]["settings"]
    assert (members / "fold-1" / "model.safetensors").stat().st_mtime_ns == first.st_mtime_ns
    assert metrics.read_bytes().count(b"\n") == 12
    assert "Trials: 1 finished." in done.stdout


@pytest.mark.slow
def test_two_processes_share_the_trials_of_one_tuning(words: list[str], tmp_path: Path) -> None:
    words = [*words, "--trials", "4"]
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    processes = [start(words, log) for log in logs]
    codes = [process.wait(PATIENCE_S) for process in processes]
    texts = [log.read_text() for log in logs]
    assert codes == [0, 0], texts
    begun = [set(re.findall(r"^Trial (\d+): lr", text, re.M)) for text in texts]
    assert begun[0].isdisjoint(begun[1])
    assert begun[0] | begun[1] == {"0", "1", "2", "3"}
    assert all(begun), "one of them found no trial to do"
    command = [sys.executable, "-m", "roi_cls", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [row["state"] for row in found["trials"]] == ["finished"] * 4
    whole = [p.parent.name for p in (tmp_path / "runs" / "first").glob("trial-*/config.json")]
    assert whole == [Path(found["run"]).name]
