"""The two helps of every command, that they come at once, and what wrong usage is told."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import roi_cls
from roi_cls.classifier.config import TrainConfig
from roi_cls.cli import app
from roi_cls.commands.crops import run as crops_run
from roi_cls.commands.doctor import run as doctor_run
from roi_cls.console.help import WIDEST

Command = Callable[..., CompletedProcess[str]]


def walk(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, group
    for name, child in getattr(group, "commands", {}).items():
        yield from walk(child, (*words, name))


ALL = dict(walk(typer.main.get_command(app)))
COMMANDS = {words: one for words, one in ALL.items() if not hasattr(one, "commands")}
SCREEN = (50, 80)
"""Lines and columns that a help may take."""


@pytest.fixture(params=list(COMMANDS), ids=" ".join)
def words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


def test_the_commands_of_the_contract_are_there() -> None:
    contract = {
        *("crops", "train", "evaluate", "predict", "verify", "doctor", "data demo"),
        *("explain", "report", "export", "serve", "compare", "ablate", "ensemble", "recipes"),
        *("data audit", "data import", "data labels"),
        *("crops show", "cache info", "cache verify", "cache prune"),
    }
    assert contract <= {" ".join(words) for words in COMMANDS}


def test_help_works_and_has_an_example(command: Command, words: tuple[str, ...]) -> None:
    done = command(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"roi-cls {' '.join(words)}" in done.stdout.partition("Example:")[2]


def test_every_option_and_argument_has_a_help_text(words: tuple[str, ...]) -> None:
    bare = [p.name for p in COMMANDS[words].params if not getattr(p, "help", None)]
    assert not bare


def test_environment_variables_of_options_are_named_alike(words: tuple[str, ...]) -> None:
    names = [p.envvar for p in COMMANDS[words].params if getattr(p, "envvar", None)]
    assert all(name.startswith("ROI_CLS_") for name in names)


@pytest.fixture(params=list(ALL), ids=lambda words: " ".join(words) or "roi-cls")
def any_words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


def lines_of(words: tuple[str, ...], help_option: str) -> list[str]:
    """Return what is printed on a screen of 80 columns, or into a pipe where COLUMNS is 80."""
    arguments = [word for name in words for word in name.split()]
    done = CliRunner().invoke(
        app, [*arguments, help_option], prog_name="roi-cls", env={"COLUMNS": str(SCREEN[1])}
    )
    assert (done.exit_code, done.stderr) == (0, "")
    lines: list[str] = done.stdout.splitlines()
    assert max(map(len, lines)) <= SCREEN[1]
    return lines


def rows_of(lines: list[str]) -> list[str]:
    return [line.strip("│ ") for line in lines if line.startswith("│")]


def spellings(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def test_help_fits_one_screen_and_says_where_the_rest_is(any_words: tuple[str, ...]) -> None:
    lines = lines_of(any_words, "--help")
    assert len(lines) <= SCREEN[0]
    *_, last, empty = lines
    assert last.endswith("--help-all shows every option · docs/reference.md explains them")
    assert not empty


def test_each_line_of_help_is_one_option_and_none_is_cut(any_words: tuple[str, ...]) -> None:
    shown = ALL[any_words]
    names = {name for param in shown.params for name in spellings(param)}
    names |= {param.name for param in shown.params if param.param_type_name == "argument"}
    names |= set(getattr(shown, "commands", {}))
    rows = rows_of(lines_of(any_words, "--help"))
    assert len(rows) == len(set(rows))
    for row in rows:
        name, _, text = row.partition("  ")
        assert name.replace("[no-]", "").removesuffix("...").split(", ")[-1] in names
        assert text.strip()
        assert not re.search(r"(?<!s3://)…( \[|$)", text), f"begin this with a clause: {row}"


def test_help_shows_all_that_is_required(any_words: tuple[str, ...]) -> None:
    text = "\n".join(rows_of(lines_of(any_words, "--help")))
    needed = [param for param in ALL[any_words].params if param.required]
    assert [param.name for param in needed if max(spellings(param), key=len) not in text] == []


def test_help_all_has_every_option_with_its_whole_text(any_words: tuple[str, ...]) -> None:
    rows = rows_of(lines_of(any_words, "--help-all"))
    heads = {word for row in rows if row.startswith("-") for word in re.split(r"[ ,/]+", row)}
    text = " ".join(" ".join(rows).split())
    for param in ALL[any_words].params:
        if param.param_type_name == "option":
            assert set(spellings(param)) <= heads
        assert " ".join(param.help.split()) in text
        assert not param.envvar or f"[env var: {param.envvar}]" in text
    assert {"--help", "--help-all"} <= heads


def test_help_all_breaks_no_fact(any_words: tuple[str, ...]) -> None:
    rows = rows_of(lines_of(any_words, "--help-all"))
    assert [row for row in rows if row.count("[") != row.count("]")] == []
    assert [row for row in rows if row.count("<") > row.count(">")] == []


def test_examples_stand_on_one_line(words: tuple[str, ...]) -> None:
    (example,) = [line for line in lines_of(words, "--help") if line.startswith(" Example: ")]
    text = " ".join(ALL[words].help.partition("Example:")[2].split())
    assert example.strip() == f"Example: {text}"


def test_most_options_of_train_are_left_to_help_all() -> None:
    short = "\n".join(lines_of(("train",), "--help"))
    assert "--epochs" in short
    assert "--layer-decay" not in short
    assert f"[{TrainConfig().model}]" in short
    assert "--layer-decay" in "\n".join(lines_of(("train",), "--help-all"))


def test_lines_are_not_longer_on_a_wide_screen(command: Command) -> None:
    done = command("train", "--help-all")  # with 300 columns
    assert max(map(len, done.stdout.splitlines())) == WIDEST


@pytest.mark.parametrize("arguments", [(), ("data",)], ids=["roi-cls", "data"])
def test_without_a_command_the_help_is_shown(command: Command, arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "Usage: roi-cls" in done.stdout + done.stderr


HEAVY = ("torch", "mediapipe", "numpy", "cv2", "timm", "PIL", "sklearn")


def test_building_the_app_imports_nothing_heavy() -> None:
    code = (
        "import sys, typer.main, roi_cls.cli; typer.main.get_command(roi_cls.cli.app);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_nothing_heavy() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "roi_cls", "train", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["data", "adit"], "No such command 'adit'. Did you mean 'audit'?"),
        (["audit", "x"], "No such command 'audit'. Did you mean 'data audit'?"),
        (["--verison"], "No such option: --verison. Did you mean --version?"),
        (["train", "x", "--epohcs", "3"], "No such option: --epohcs. Did you mean --epochs?"),
        (["train", "x", "--epoch=3"], "No such option: --epoch. Did you mean --epochs?"),
        (["train", "x", "-epochs", "3"], "No such option: -epochs. Did you mean --epochs?"),
        (["train", "x", "--no-calibrat"], "Did you mean --no-calibrate?"),
        (["train", "x", "--layer-deca", "1"], "Did you mean --layer-decay?"),
        (["predict", "x", "--out", "y"], "No such option: --out. Did you mean --output?"),
        (["train", "x", "--help-al"], "No such option: --help-al. Did you mean --help-all?"),
        (["crops", "show", "x", "--hlep"], "No such option: --hlep. Did you mean --help?"),
        (["crops"], "Missing argument 'inputs'"),
        (["crops", "x", "--marign", "1"], "No such option: --marign. Did you mean --margin?"),
        (["crops", "x", "--margin", "wide"], "Invalid value for '--margin'"),
        (["crops", "x", "--size", "3"], "--size must be between 8 and 4096, got 3"),
        (["crops", "x", "--margin", "-1"], "--margin must be between 0 and 5, got -1.0"),
        (["crops", "x", "--min-score", "2"], "--min-score must be between 0 and 1, got 2.0"),
        (["crops", "x", "--min-face", "-1"], "--min-face must not be negative, got -1"),
        (["crops", "x", "--crop", "head"], "'head' is not one of 'face', 'full'"),
        (["crops", "x", "--face", "two"], "'two' is not one of 'largest', 'confident', 'central'"),
        (["crops", "x", "--shard", "9/8"], "--shard: a shard is i/n with 1 <= i <= n, such as 1/8"),
        (["crops", "x", "--engine", "spark"], "'spark' is not one of 'local', 'ray'"),
        (["cache", "prune"], "say what is to go: --recipe, --unused-for or --max-size"),
        (["cache", "prune", "--max-size", "big"], "'big' is no size; write it like 500MB"),
        (["cache", "prune", "--unused-for", "3"], "'3' is no span of time; write it like 12h"),
        (["crops", "show"], "Missing argument 'picture'"),
        (["crops", "x", "--workers", "-1"], "Invalid value for '--workers'"),
        (["train", "x", "--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["train", "x", "--lr", "0"], "--lr must be above 0, got 0.0"),
        (["train", "x", "--metric", "f1"], "not one of 'auto', 'average_precision', 'roc_auc'"),
        (["train", "x", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'"),
        (["train", "x", "--validation-share", "0"], "--validation-share must be above 0"),
        (["predict", "x", "--json", "--csv"], "--jsonl, --csv and --parquet exclude each other"),
        (["predict", "x", "--batch", "0"], "Invalid value for '--batch'"),
        (["data", "demo", "x", "--images", "0"], "Invalid value for '--images'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage_exits_2_and_names_what_is_allowed(
    command: Command, arguments: list[str], message: str
) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "x", "-z"], "No such option: -z"),
        (["train", "x", "--qqqqq"], "No such option: --qqqqq"),
        (["qqqqq"], "No such command 'qqqqq'."),
        (["train", "x", "--epochs"], "Option '--epochs' requires an argument."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_near_to_nothing_gets_no_suggestion(
    command: Command, arguments: list[str], message: str
) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert f"│ {message} " in done.stderr
    assert "Did you mean" not in done.stderr


def test_version_is_told(command: Command) -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"roi-cls {roi_cls.__version__}\n")


def test_interrupt_is_told_and_exits_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crops_run, "crop_inputs", stop)
    done = command("crops", "x")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == (
        "Interrupted. Finished crops and epochs are kept; run it again (train with --resume)."
    )


def test_doctor_answers_in_json_alone(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_run, "run_checks", lambda fetch: [])
    assert command("doctor", "--json").stdout == "[]\n"
    assert command("doctor").returncode == 0
