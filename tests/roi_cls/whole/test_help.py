"""The help of every command, and that it comes at once."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest
import typer.main

import roi_cls
from roi_cls.cli import app
from roi_cls.commands.crops import run as crops_run
from roi_cls.commands.doctor import run as doctor_run

Command = Callable[..., CompletedProcess[str]]


def walk(group: object, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    children: dict[str, object] = getattr(group, "commands", {})
    if not children:
        yield words, group
    for name, child in children.items():
        yield from walk(child, (*words, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


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
    parameters = getattr(COMMANDS[words], "params")  # noqa: B009  (click's class is not typed here)
    bare = [p.name for p in parameters if not getattr(p, "help", None)]
    assert not bare


def test_environment_variables_of_options_are_named_alike(words: tuple[str, ...]) -> None:
    parameters = getattr(COMMANDS[words], "params")  # noqa: B009  (as above)
    names = [p.envvar for p in parameters if getattr(p, "envvar", None)]
    assert all(name.startswith("ROI_CLS_") for name in names)


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
        (["trian"], "No such command 'trian'"),
        (["crops"], "Missing argument 'inputs'"),
        (["crops", "x", "--marign", "1"], "No such option: --marign"),
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
        (["train", "x", "--metric", "f1"], "not one of 'average_precision', 'roc_auc', 'loss'"),
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
