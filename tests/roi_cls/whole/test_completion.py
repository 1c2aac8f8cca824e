"""What shells are told to complete, and that nothing heavy is loaded for it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from roi_cls.classifier.recipe import recipe_names

Command = Callable[..., CompletedProcess[str]]
HEAVY = ("torch", "mediapipe", "numpy", "cv2", "timm", "PIL", "sklearn")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the finished runs ``first`` and ``fine``, and of ``begun``."""
    folder = tmp_path / "kept"
    for name in ("first/config.json", "fine/config.json", "begun/settings.json", "other/x.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    monkeypatch.setenv("ROI_CLS_RUNS", str(folder))
    return folder


def typed_in_bash(typed: str) -> dict[str, str]:
    """Return what bash's completion sets where Tab is pressed behind these words."""
    words = f"roi-cls {typed}".split(" ")
    return {
        "_ROI_CLS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("pre", ["predict"]),
        ("cr", ["crops", "crops show"]),
        ("data ", ["demo", "import", "audit", "labels", "spoil"]),
        ("train x --ep", ["--epochs"]),
        ("train x --no-cal", ["--no-calibrate"]),
        ("crops show --det", ["--detector", "--detector-model"]),
        ("crops show --layer", [""]),
        ("predict --help", ["--help", "--help-all"]),
        ("train x --augmentation ", ["none", "light", "strong"]),
        ("train x --device c", ["cpu", "cuda"]),
        ("predict --run ", ["fine", "first"]),
        ("predict --run first --run fi", ["fine", "first"]),
        ("evaluate x --run=fir", ["first"]),
        ("verify fin", ["fine"]),
        ("ensemble --run fir", ["first"]),
        ("train x --resume --run ", ["begun"]),
        ("predict --runs nowhere --run ", [""]),
        ("train --recipe ", list(recipe_names())),
        ("train --recipe best-", ["best-ensemble"]),
        ("compare x --recipes best,classi", ["best,classical"]),
    ],
)
def test_tab_completes_commands_options_and_values(
    command: Command, runs: Path, monkeypatch: pytest.MonkeyPatch, typed: str, told: list[str]
) -> None:
    for name, value in typed_in_bash(typed).items():
        monkeypatch.setenv(name, value)
    done = command()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:-1] == told


def ask(variables: dict[str, str]) -> CompletedProcess[str]:
    """Return what the program tells a shell, and on stderr what heavy modules it has loaded."""
    code = (
        "import sys, roi_cls.cli\n"
        "sys.argv = ['roi-cls']\n"
        "try: roi_cls.cli.main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    words = [sys.executable, "-c", code]
    environment = {**os.environ, **variables}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("typed", ["predict x --run ", "train x --recipe ", "train x --"])
def test_completion_loads_nothing_heavy(runs: Path, typed: str) -> None:
    done = ask(typed_in_bash(typed))
    assert done.stdout.strip()
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("fish", "--epochs\tEpochs at most, both phases together"),
        ("zsh", '"--epochs":"Epochs at most, both phases together"'),
    ],
)
def test_shells_that_show_texts_get_one_line_for_each_option(shell: str, line: str) -> None:
    done = ask(
        {
            "_ROI_CLS_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": "roi-cls train x --",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
    )
    lines = done.stdout.splitlines()
    assert line in lines
    assert [text for text in lines if "--" not in text] == []


def test_script_for_the_shell_is_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = command("--show-completion", "bash")
    assert done.returncode == 0
    assert "complete -o default -F _roi_cls_completion roi-cls" in done.stdout
