"""``roi-cls train``, ``evaluate`` and ``verify``: what they leave, say and refuse."""

import csv
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from roi_cls.classifier.ensembles.train import EnsembleJob
from roi_cls.classifier.training.job import EpochReport, Observers, TrainJob
from roi_cls.classifier.training.run import TrainOutcome
from roi_cls.console import terminal

Command = Callable[..., CompletedProcess[str]]
METRICS = [
    *("roc_auc", "average_precision", "micro_f1", "macro_f1", "balanced_accuracy", "mcc"),
    *("accuracy", "majority_accuracy"),
]


@pytest.fixture
def train(
    command: Command, tiny_set: Path, tiny_train_arguments: list[str], tmp_path: Path
) -> Command:
    """Train on the tiny set, or another, below ``tmp_path``."""

    def run(*arguments: object, source: Path = tiny_set) -> CompletedProcess[str]:
        places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
        return command("train", source, *tiny_train_arguments, *places, *arguments)

    return run


@pytest.fixture
def copied_runs(tiny_runs: Path, tmp_path: Path) -> Path:
    """A copy of the tiny runs that a test may break."""
    return Path(shutil.copytree(tiny_runs, tmp_path / "copies"))


def test_run_folder_holds_what_is_promised(tiny_runs: Path) -> None:
    files = {path.name for path in (tiny_runs / "tiny").iterdir()}
    assert {"config.json", "metrics.jsonl", "model.safetensors", "split.csv"} <= files
    assert not {name for name in files if name.startswith((".tmp", "checkpoint", "best"))}


def test_training_tells_data_target_epochs_and_what_comes_next(
    train: Command, tiny_set: Path, tmp_path: Path
) -> None:
    done = train("--run", "one", "--epochs", "2")
    runs = tmp_path / "runs"
    assert (done.returncode, done.stdout) == (0, f"Run 'one' is ready in {runs / 'one'}\n")
    # Whether there are formats to time depends on the machine.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Timing ")]
    assert lines[:5] == [
        "     train: 7 odd, 20 plain",
        "validation: 1 odd, 4 plain",
        "      test: 2 odd, 6 plain",
        "Looking for 'odd' (rarest of 2 classes: 10 of 40).",
        "Crops: 0 of 32 show a face, the others the full frame.",
    ]
    assert lines.pop(5) == (
        "note: the last epoch is kept: validation has 1 of the target and 4 others, too few to "
        "choose one by."
    )
    began = "Training test_efficientnet (0.1 M parameters, random weights) on cpu"
    assert lines[5].startswith(began)
    assert [line[:11] for line in lines[6:8]] == ["epoch   1/2", "epoch   2/2"]
    assert all(line.endswith(" crops/s") for line in lines[6:8])
    assert lines[8] == "On validation (5 pictures, 1 of them 'odd'), which is no test:"
    assert lines[9].startswith("Accuracy ")
    assert " ".join(lines[10:-1]).endswith(
        " The run was tuned on them (scale, threshold, perhaps epoch), so "
        "they flatter it. Note: Few pictures of 'odd' (1), 'plain' (4): bootstrap intervals come "
        "out too narrow."
    )
    cache = tmp_path / "cache"
    assert lines[-1].endswith(f" evaluate {tiny_set} --run one --runs {runs} --cache {cache}")
    assert len(lines) <= 16
    assert max(map(len, lines[8:-1])) <= 80


def test_training_ends_with_an_export_unless_it_is_not_wanted(
    train: Command, tiny_runs: Path, tmp_path: Path
) -> None:
    done = train("--run", "whole", "--export")
    assert done.returncode == 0, done.stderr
    assert "Exported to model.onnx in " in done.stderr
    assert (tmp_path / "runs" / "whole" / "model.onnx").is_file()
    assert not (tiny_runs / "tiny" / "model.onnx").exists()  # ROI_CLS_EXPORT=0


def test_run_without_a_test_part_is_followed_by_its_report(
    command: Command, train: Command, tmp_path: Path
) -> None:
    done = train("--run", "one", "--test-share", "0")
    words = shlex.split(done.stderr.splitlines()[-1])
    words = words[words.index("report") :]
    assert words[1:5] == ["--run", "one", "--runs", str(tmp_path / "runs")]
    assert command(*words, "--no-pictures").returncode == 0


def test_run_is_ready_also_where_its_own_scores_are_gone(train: Command, tmp_path: Path) -> None:
    train("--run", "one")
    (tmp_path / "runs" / "one" / "scores_validation.csv").unlink()
    done = train("--run", "one", "--resume")
    assert done.returncode == 0
    assert "warning: Cannot read the stored scores " in done.stderr


def test_run_without_a_name_gets_the_time_and_the_model(train: Command, tmp_path: Path) -> None:
    assert train().returncode == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-test_efficientnet")


def test_existing_run_is_not_written_over(train: Command, tmp_path: Path) -> None:
    train("--run", "one")
    config = tmp_path / "runs" / "one" / "config.json"
    before = config.read_bytes()
    done = train("--run", "one")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot train as run 'one': {str(config.parent)!r} is there already. "
        "Choose another --run NAME, go on with it by --resume, or delete the folder.\n"
    )
    assert config.read_bytes() == before


def test_finished_run_is_left_when_resumed(train: Command, tmp_path: Path) -> None:
    train("--run", "one")
    metrics = tmp_path / "runs" / "one" / "metrics.jsonl"
    before = metrics.stat().st_mtime_ns
    done = train("--run", "one", "--resume")
    assert done.returncode == 0
    told = done.stderr.partition("Run 'one' is finished already, with these data and settings.\n")
    assert told[2].startswith("On validation (5 pictures, 1 of them 'odd'), which is no test:\n")
    assert metrics.stat().st_mtime_ns == before


def test_run_is_not_resumed_with_other_settings(train: Command) -> None:
    train("--run", "one")
    done = train("--run", "one", "--resume", "--lr", "0.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it was started with other settings (lr 0.0005 then, 0.1 now)" in done.stderr


def test_unreadable_picture_is_named_and_the_run_exits_3(
    train: Command, tiny_set: Path, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    shutil.copytree(tiny_set, source)
    (source / "odd" / "torn.png").write_bytes(b"")
    done = train("--run", "one", source=source)
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: Cannot read {str(source / 'odd' / 'torn.png')!r}: ")
    assert done.stdout.startswith("Run 'one' is ready in ")


def test_leaks_and_conflicts_of_given_parts_are_told(train: Command, tmp_path: Path) -> None:
    source = tmp_path / "set"
    random = np.random.default_rng(3)
    for part, label in ((p, x) for p in ("train", "validation", "test") for x in ("a", "b")):
        for i in range(4):
            path = source / part / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    for twin in ("test/a/9.png", "validation/b/9.png"):
        shutil.copy(source / "train/a/0.png", source / twin)
    done = train("--run", "one", source=source)
    assert done.returncode == 0
    assert "warning: the same bytes stand in two parts: " in done.stderr
    assert ", and 1 more pairs. The one in the earlier part is left out." in done.stderr
    assert "warning: the same bytes have two labels: " in done.stderr
    # Only the copy in the test part is left, and so the test part can be scored.
    assert "     train: 3 a, 4 b" in done.stderr
    assert "validation: 4 a, 4 b" in done.stderr
    assert "      test: 5 a, 4 b" in done.stderr


def test_group_in_two_parts_is_told(train: Command, tiny_set: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    rows = ["path,label,split,group"]
    for i, path in enumerate(sorted(tiny_set.rglob("*.png"))):
        part = ("train", "validation", "test")[i % 3]
        rows.append(f"{path},{path.parent.name},{part},{'anna' if i < 3 else ''}")
    table.write_text("\n".join(rows))
    done = train("--run", "one", source=table)
    assert done.returncode == 0, done.stderr
    assert (
        "warning: 1 groups stand in two parts, like 'anna'; scores will flatter the model."
        in done.stderr
    )


def test_progress_of_a_resumed_run_goes_on_where_it_was(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roi_cls.commands.train import run as module

    seen: list[tuple[int, int, str]] = []
    run = tmp_path / "runs" / "one"

    def resume(job: TrainJob, observers: Observers) -> TrainOutcome:
        run.mkdir(parents=True)
        job.run.metrics.write_text("{}\n{}\n")  # two epochs are done
        job.run.split.write_text("path,label,split,group,sha256\nx.png,odd,test,,\n")
        observers.on_step(5, 10)
        observers.on_epoch(EpochReport(3, "all", 0.1, 0.5, 0.5, 0.5, 0.5, False, 1.0, 9.0))
        observers.on_step(5, 10)
        return TrainOutcome(0, trained=True)

    monkeypatch.setattr(module, "train_run", resume)
    monkeypatch.setattr(terminal, "_plain", lambda *names: lambda *facts: seen.append(facts))
    assert train("--run", "one", "--epochs", "4").returncode == 0
    assert seen == [(25, 40, "epoch 3"), (35, 40, "epoch 4")]


@pytest.mark.parametrize(
    ("options", "told"), [((), "epoch   3 all "), (("--epochs", "4"), "epoch   3/4 all ")]
)
def test_epochs_are_counted_of_all_where_members_have_as_many(
    command: Command,
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    told: str,
) -> None:
    from roi_cls.commands.train import run as module

    def learn(ensemble: EnsembleJob, observers: Observers) -> TrainOutcome:
        ensemble.job.run.path.mkdir(parents=True)
        ensemble.job.run.split.write_text("path,label,split,group,sha256\nx.png,odd,test,,\n")
        observers.on_epoch(EpochReport(3, "all", 0.1, 0.5, 0.5, 0.5, 0.5, False, 1.0, 9.0))
        return TrainOutcome(0, trained=True)

    monkeypatch.setattr(module, "train_ensemble", learn)
    run = ("--runs", tmp_path / "runs", "--run", "both", "--recipe", "roi-plus-frame")
    done = command("train", tiny_set, *run, "--weights", "none", *options)
    assert done.returncode == 0, done.stderr
    assert told in done.stderr


def test_evaluation_as_json_has_the_fields_of_the_contract(
    command: Command, tiny_set: Path, copied_runs: Path, tmp_path: Path
) -> None:
    places = ["--runs", copied_runs, "--run", "tiny", "--cache", tmp_path / "cache"]
    done = command("evaluate", tiny_set, *places, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(METRICS) | {"classes", "confusion_matrix", "slices"} <= set(report)
    for metrics in (report, *report["slices"].values()):
        for name in METRICS:
            assert {"value", "low", "high"} <= set(metrics[name]), name
    assert np.sum(report["confusion_matrix"]["counts"]) == 8
    assert json.loads((copied_runs / "tiny" / "evaluation.json").read_text()) == report


def test_evaluation_for_people_names_the_next_command(
    command: Command, tiny_set: Path, copied_runs: Path, tmp_path: Path
) -> None:
    run = copied_runs / "tiny"
    places = ["--run", run, "--runs", "elsewhere", "--cache", tmp_path / "cache"]
    done = command("evaluate", tiny_set, *places)
    assert done.returncode == 0
    assert "8 pictures scored; 2 of them 'odd', the target, answered from" in done.stdout
    assert done.stderr.endswith(f" --run {run}\n")  # --runs would not find it
    notes = done.stderr.splitlines()
    assert notes[-3] == f"All numbers: --full, or evaluation.json and scores_test.csv in {run}"
    assert notes[-2].startswith("Report: ")
    assert notes[-2].endswith(f" report --run {run} --cache {tmp_path / 'cache'}")
    last = shlex.split(notes[-1])
    example = Path(last[last.index("predict") + 1])
    assert example.is_relative_to(tiny_set)
    assert example.is_file()


@pytest.mark.parametrize(
    ("words", "shown", "left_out"),
    [
        ([], "to be compared with", "log loss"),
        (["--full"], "log loss (0 is best)", "to be compared with"),
        (["--full", "--json"], '"log_loss": {', "to be compared with"),
    ],
)
def test_evaluation_prints_what_matters_or_all(
    command: Command,
    tiny_set: Path,
    copied_runs: Path,
    tmp_path: Path,
    words: list[str],
    shown: str,
    left_out: str,
) -> None:
    places = ["--runs", copied_runs, "--run", "tiny", "--cache", tmp_path / "cache"]
    done = command("evaluate", tiny_set, *places, *words)
    assert done.returncode == 0
    assert shown in done.stdout
    assert left_out not in done.stdout
    assert ("All numbers: --full" in done.stderr) == (not words)
    assert (" report --run tiny" in done.stderr) == ("--json" not in words)


def test_evaluation_is_told_by_source_where_asked(
    command: Command, tiny_set: Path, copied_runs: Path, tmp_path: Path
) -> None:
    places = ["--runs", copied_runs, "--run", "tiny", "--cache", tmp_path / "cache"]
    assert json.loads(command("evaluate", tiny_set, *places, "--json").stdout)["groups"] is None
    by_tens = ["--group-regex", "/([0-9])[0-9]"]
    groups = json.loads(command("evaluate", tiny_set, *places, *by_tens, "--json").stdout)["groups"]
    assert groups["regex"] == "/([0-9])[0-9]"
    assert {row["name"] for row in groups["rows"]} <= set("0123")
    assert sum(row["images"] for row in groups["rows"]) == 8
    assert {row["roc_auc"] for row in groups["rows"]} == {None}  # too few
    text = command("evaluate", tiny_set, *places, *by_tens).stdout
    assert re.search(r"^source +pictures +target +ROC-AUC +accuracy +others' score$", text, re.M)
    assert "Whether the score tells the sources apart cannot be said" in text


@pytest.mark.parametrize(
    ("regex", "code", "words"),
    [
        ("person_", 1, "Cannot group by --group-regex 'person_': it matches none of the 8 paths"),
        ("(", 2, "must be a regular expression, got '('"),
        ("x*", 2, "must not match the empty text, which 'x*' does"),
    ],
)
def test_pattern_that_names_no_source_is_refused_before_the_test_part_is_opened(
    command: Command,
    tiny_set: Path,
    copied_runs: Path,
    tmp_path: Path,
    regex: str,
    code: int,
    words: str,
) -> None:
    places = ["--runs", copied_runs, "--run", "tiny", "--cache", tmp_path / "cache"]
    done = command("evaluate", tiny_set, *places, "--group-regex", regex)
    assert done.returncode == code
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert not (copied_runs / "tiny" / "test_openings.jsonl").exists()


def test_mistakes_are_listed_drawn_and_told(
    command: Command, tiny_set: Path, copied_runs: Path, tmp_path: Path
) -> None:
    run = copied_runs / "tiny"
    swapped = tmp_path / "swapped"
    for label, name in (("odd", "plain"), ("plain", "odd")):
        shutil.copytree(tiny_set / label, swapped / name)
    for i, path in enumerate(sorted(swapped.rglob("*.png"))):  # other bytes than in training
        with Image.open(path) as picture:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path, compress_level=i % 9)
    places = ["--run", run, "--runs", copied_runs, "--cache", tmp_path / "cache"]
    told = command("evaluate", swapped, *places).stderr.splitlines()
    report = next(line for line in told if line.startswith("Report: "))
    assert report.endswith(f" --data {swapped} --cache {tmp_path / 'cache'}")
    done = command("evaluate", swapped, *places, "--json")
    counts = np.array(json.loads(done.stdout)["confusion_matrix"]["counts"])
    wrong = int(counts.sum() - np.trace(counts))
    with (run / "mistakes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == wrong > 0
    assert all(row["label"] != row["answer"] for row in rows)
    assert all((swapped / row["path"]).is_file() for row in rows)
    with Image.open(run / "mistakes.jpg") as sheet:
        assert sheet.width == 1600
    assert (
        f"Answered wrongly: {wrong} of 40 pictures, see {run / 'mistakes.jpg'} and mistakes.csv."
        in done.stderr.splitlines()
    )


def test_pictures_that_came_after_the_split_are_told(
    command: Command, train: Command, tiny_set: Path, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    shutil.copytree(tiny_set, source)
    train("--run", "one", source=source)
    Image.new("RGB", (40, 40)).save(source / "odd" / "new.png")
    places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    done = command("evaluate", source, *places)
    assert done.returncode == 0
    assert (
        "warning: 1 pictures came after the run's split was made and are in no part; train a new "
        "run to use them." in done.stderr
    )


def test_unreadable_test_picture_is_named_counted_and_exits_3(
    command: Command, copied_runs: Path, tmp_path: Path
) -> None:
    for label, colour in (("odd", "white"), ("plain", "black")):
        (tmp_path / "other" / label).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (30 + i, 30), colour).save(tmp_path / "other" / label / f"{i}.png")
    torn = tmp_path / "other" / "odd" / "torn.png"
    torn.write_text("no picture")
    places = ["--runs", copied_runs, "--run", "tiny", "--cache", tmp_path / "cache"]
    done = command("evaluate", tmp_path / "other", *places)
    assert done.returncode == 3
    assert f"error: Cannot read {str(torn)!r}: " in done.stderr
    assert "1 unreadable picture was not scored" in " ".join(done.stdout.split())


@pytest.mark.parametrize("words", [["tiny"], ["--run", "tiny"], ["tiny", "--run", "tiny"]])
def test_verified_run_says_so(command: Command, tiny_runs: Path, words: list[str]) -> None:
    done = command("verify", *words, "--runs", tiny_runs)
    assert done.returncode == 0
    assert done.stdout.startswith(
        "Run 'tiny' predicts as it was trained: 5 validation pictures, max |Δp| = "
    )


@pytest.mark.parametrize("name", ["verify", "report", "export"])
def test_run_is_named_by_a_word_or_by_the_option(
    command: Command, tiny_runs: Path, name: str
) -> None:
    for words in (["none"], ["--run", "none"]):
        done = command(name, *words, "--runs", tiny_runs)
        assert done.returncode == 1
        assert "error: Cannot use the run 'none': there is none. " in done.stderr
    both = command(name, "tiny", "--run", "none", "--runs", tiny_runs)
    assert both.returncode == 2
    assert "two runs are named, 'tiny' and --run none; name one" in both.stderr


def test_data_set_in_place_of_a_run_is_no_unfinished_run(
    command: Command, tiny_set: Path, tiny_runs: Path
) -> None:
    done = command("evaluate", tiny_set, "--run", tiny_set, "--runs", tiny_runs)
    assert done.stderr == (
        f"error: Cannot use the run {str(tiny_set)!r}: there is none, and the folder of that name "
        f"holds no run. Finished runs in {str(tiny_runs)!r}: tiny.\n"
    )


def test_verify_refuses_a_run_whose_pictures_changed(
    command: Command, train: Command, tiny_set: Path, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    shutil.copytree(tiny_set, source)
    train("--run", "one", source=source)
    for i, path in enumerate(source.rglob("*.png")):
        Image.new("RGB", (40, 40), (0, i, 250)).save(path)
    done = command("verify", "one", "--runs", tmp_path / "runs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "validation pictures" in done.stderr


def test_verify_finds_a_data_set_that_moved(
    command: Command, train: Command, tiny_set: Path, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    shutil.copytree(tiny_set, source)
    train("--run", "one", source=source)
    source.rename(tmp_path / "moved")
    lost = command("verify", "one", "--runs", tmp_path / "runs")
    assert lost.returncode == 1
    assert "If the data set moved, name its folder with --data." in lost.stderr
    found = command("verify", "one", "--runs", tmp_path / "runs", "--data", tmp_path / "moved")
    assert found.returncode == 0


def test_missing_run_is_told_with_those_there_are(command: Command, tiny_runs: Path) -> None:
    done = command("predict", "x.png", "--run", "none", "--runs", tiny_runs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Cannot use the run 'none': there is none. "
        f"Finished runs in {str(tiny_runs)!r}: tiny.\n"
    )


@pytest.mark.parametrize("words", [["predict", "x.png"], ["verify"], ["evaluate", "x"]], ids=str)
def test_no_run_at_all_is_told(command: Command, tmp_path: Path, words: list[str]) -> None:
    done = command(*words, "--runs", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot choose a run: there is no finished one in {str(tmp_path)!r}. "
        "Train one with `make train` or `roi-cls train DATA`, or name one with --run.\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "config.json cannot be read ("),
        ("[]", "config.json describes no model. Give the folder of a run."),
        ('{"architecture": "x"}', "its facts have format None, this program reads 3."),
        ("\x00", "config.json cannot be read ("),
    ],
)
def test_corrupted_config_is_told(
    command: Command, copied_runs: Path, tiny_set: Path, text: str, reason: str
) -> None:
    (copied_runs / "tiny" / "config.json").write_text(text)
    done = command("predict", tiny_set / "odd" / "00.png", "--runs", copied_runs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: Cannot use the model in ")
    assert reason in done.stderr


def test_weights_of_another_model_are_refused(
    command: Command, copied_runs: Path, tiny_set: Path
) -> None:
    with (copied_runs / "tiny" / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    done = command("predict", tiny_set / "odd" / "00.png", "--runs", copied_runs)
    assert (done.returncode, done.stdout) == (1, "")
    assert "(its SHA-256 differs). Copy the whole folder again." in done.stderr


def test_newest_run_is_the_one_finished_last(command: Command, copied_runs: Path) -> None:
    shutil.copytree(copied_runs / "tiny", copied_runs / "another")
    os.utime(copied_runs / "another" / "config.json", (1, 1))
    done = command("verify", "--runs", copied_runs)
    assert done.stderr == f"Using run 'tiny', the newest in {copied_runs}.\n"
