"""``recipes``, ``compare``, ``ablate``, ``ensemble``, ``train --folds`` and ``data labels``."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from roi_cls.classifier.recipe import recipe_names

Command = Callable[..., CompletedProcess[str]]
TINY = """
description = "Tiny."
[train]
model = "test_efficientnet"
weights = "none"
epochs = 1
device = "cpu"
[crop]
crop = "full"
size_px = 32
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("places")
    return ["--runs", folder / "runs", "--cache", folder / "cache", "--workers", "0"]


@pytest.fixture(scope="module")
def folded(command: Command, tiny_set: Path, recipe: Path, places: list[object]) -> str:
    """A finished run over two folds; read only."""
    done = command(
        "train", tiny_set, "--recipe", recipe, "--folds", "2", "--run", "folded", *places
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def runs_of(places: list[object]) -> Path:
    assert isinstance(places[1], Path)
    return places[1]


def test_recipes_are_listed_with_what_they_are(command: Command) -> None:
    done = command("recipes")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(recipe_names())
    assert all(line.endswith(".") for line in lines)


def test_recipes_are_listed_without_a_wait_for_torch() -> None:
    code = (
        "import sys; from roi_cls.commands.experiments.command import recipes; recipes(); "
        "print(sorted({'torch', 'sklearn', 'timm'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (len(done.stdout.splitlines()), done.stderr) == (len(recipe_names()), "[]\n")


def test_settings_record_the_recipe_and_what_replaced_it(
    command: Command, tiny_set: Path, recipe: Path, places: list[object]
) -> None:
    words = ["--recipe", recipe, "--lr", "0.01", "--run", "one", *places]
    assert command("train", tiny_set, *words).returncode == 0
    kept = json.loads((runs_of(places) / "one" / "settings.json").read_bytes())
    assert kept["recipe"]["name"] == "tiny"
    assert kept["recipe"]["train"]["model"] == kept["config"]["model"] == "test_efficientnet"
    assert kept["config"]["lr"] == 0.01
    assert kept["crop"]["size_px"] == 32


def test_training_over_folds_names_its_members(folded: str, places: list[object]) -> None:
    lines = folded.splitlines()
    assert "Member 1 of 2: fold-1" in lines
    assert "Member 2 of 2: fold-2" in lines
    assert sum(line.startswith("epoch   1/1") for line in lines) == 2
    assert (runs_of(places) / "folded" / "scores_oof.csv").is_file()
    verdict = " ".join(folded.partition("Out of fold ")[2].split())
    assert verdict.startswith(
        "(32 pictures, 8 of them 'odd'; each scored by models that did not learn from it), which "
        "is no test: Accuracy "
    )


def test_finished_folds_are_left_alone(
    command: Command, tiny_set: Path, recipe: Path, places: list[object], folded: str
) -> None:
    words = ["--recipe", recipe, "--folds", "2", "--run", "folded", "--resume", *places]
    done = command("train", tiny_set, *words)
    assert done.returncode == 0
    assert "Run 'folded' is finished already" in done.stderr


@pytest.mark.parametrize("name", ["train", "compare", "ablate"])
def test_one_fold_is_wrong_usage(command: Command, tiny_set: Path, name: str) -> None:
    done = command(name, tiny_set, "--folds", "1")
    assert done.returncode == 2
    assert "must be 0, or 2 or more, got 1" in " ".join(done.stderr.split())


def test_comparison_prints_and_saves_one_table(
    command: Command, tiny_set: Path, recipe: Path, places: list[object], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(TINY.replace("test_efficientnet", "resnet999"))
    words = ["--recipes", f"{recipe},{broken}", "--device", "cpu", "-o", tmp_path / "out", *places]
    done = command("compare", tiny_set, *words)
    assert done.returncode == 3  # done, but one could not be run
    assert done.stdout == (tmp_path / "out" / "results.md").read_text()
    assert done.stdout.startswith(f"# Systems compared on {tiny_set.name}\n")
    assert "| always plain |" in done.stdout
    assert "- `broken`: " in done.stdout
    assert "tiny: ROC-AUC " in done.stderr
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["always plain", "tiny", "broken"]
    values = json.loads((tmp_path / "out" / "results.json").read_bytes())
    assert [result["status"] for result in values["results"]] == ["ok", "not run"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "x", "--recipes", "bst"], "did you mean 'best'?"),
        (["compare", "x", "--recipes", "best,best"], "--recipes names one twice"),
        (["ablate", "x", "--inputs", "roi"], "--inputs must be two or more of roi, full, both"),
        (["ablate", "x", "--inputs", "roi,frame"], "got 'roi,frame'"),
        (["ensemble", "--name", "x"], "Missing option '--run'"),
        (["data", "labels", "--json", "--csv"], "--json and --csv exclude each other"),
    ],
)
def test_wrong_usage_is_told(command: Command, words: list[str], message: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_two_recipes_of_one_name_are_wrong_usage(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "best.toml"
    file.write_text(TINY)
    done = command("compare", "x", "--recipes", f"best,{file}")
    assert done.returncode == 2
    assert "--recipes names two files alike; rename one" in " ".join(done.stderr.split())


def test_inputs_are_ablated(
    command: Command,
    tiny_set: Path,
    recipe: Path,
    places: list[object],
    tmp_path: Path,
    white_faces: None,
) -> None:
    words = ["--recipe", recipe, "--inputs", "roi,full", "-o", tmp_path / "out", *places]
    done = command("ablate", tiny_set, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "out" / "ablation.md").read_text()
    assert "| full - roi |" in done.stdout
    values = json.loads((tmp_path / "out" / "ablation.json").read_bytes())
    # No picture has a face: both inputs are the full frame, and nothing differs.
    assert values["pairs"][0]["differences"]["roc_auc"]["difference"] == 0
    assert "show no clear difference" in values["verdicts"][0]


def test_runs_of_one_split_become_an_ensemble(
    command: Command, tiny_set: Path, recipe: Path, places: list[object], folded: str
) -> None:
    for seed in ("1", "2"):
        words = ["--recipe", recipe, "--seed", seed, "--run", f"seed{seed}", *places]
        assert command("train", tiny_set, *words).returncode == 0
    runs = ["--runs", runs_of(places)]
    named = ["--run", "seed1", "--run", "seed2", "--run", "folded"]
    done = command("ensemble", *named, "--name", "joined", *runs)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Run 'joined' is ready in {runs_of(places) / 'joined'}\n"
    assert "seed1: weight 0.33" in done.stderr
    verified = command("verify", "joined", *runs)
    assert verified.returncode == 0, verified.stderr
    evaluated = command("evaluate", tiny_set, "--run", "joined", "--json", *places)
    assert evaluated.returncode == 0, evaluated.stderr
    greedy = command("ensemble", *named[:4], "--name", "chosen", "--combine", "greedy", *runs)
    assert greedy.returncode == 0, greedy.stderr
    assert command("verify", "chosen", *runs).returncode == 0
    again = command("ensemble", *named, "--name", "joined", *runs)
    assert again.returncode == 1
    assert "is there already. Choose another --name" in again.stderr


def test_runs_of_another_split_are_not_joined(
    command: Command, tiny_set: Path, recipe: Path, places: list[object], folded: str
) -> None:
    words = ["--recipe", recipe, "--split-seed", "5", "--run", "other", *places]
    assert command("train", tiny_set, *words).returncode == 0
    runs = ["--runs", runs_of(places)]
    done = command("ensemble", "--run", "folded", "--run", "other", "--name", "mixed", *runs)
    assert done.returncode == 1
    assert "may have learned from the other's test pictures" in done.stderr
    assert not (runs_of(places) / "mixed").exists()
    one = command("ensemble", "--run", "folded", "--run", "folded", "--name", "mixed", *runs)
    assert "name two or more different ones" in one.stderr


def test_labels_are_reviewed_in_three_forms(
    command: Command, places: list[object], folded: str
) -> None:
    runs = ["--run", "folded", "--runs", runs_of(places)]
    text = command("data", "labels", *runs, "--top", "3")
    assert text.stdout.startswith("| picture ")
    assert "labels look wrong to models that did not learn from them" in text.stdout
    values = json.loads(command("data", "labels", *runs, "--top", "3", "--json").stdout)
    assert [set(one) for one in values] == [
        {"path", "label", "suggested", "doubt", "probability"}
    ] * 3
    rows = list(
        csv.DictReader(command("data", "labels", *runs, "--top", "3", "--csv").stdout.splitlines())
    )
    assert [row["path"] for row in rows] == [one["path"] for one in values]


def test_labels_need_out_of_fold_scores(command: Command, tiny_runs: Path) -> None:
    done = command("data", "labels", "--run", "tiny", "--runs", tiny_runs)
    assert done.returncode == 1
    assert "it has no out-of-fold scores" in done.stderr
    assert "Train with --folds 5" in done.stderr


@pytest.mark.slow
def test_planted_label_errors_are_found(
    command: Command, places: list[object], tmp_path: Path
) -> None:
    """Of ten flipped labels at least seven stand among the twenty most doubtful."""
    source, flipped = tmp_path / "set", set()
    random = np.random.default_rng(0)
    for i in range(200):
        is_odd, is_flipped = i % 4 == 0, i % 20 in (8, 13) and i < 100
        pixels = random.integers(0, 160, (32, 32, 3))
        if is_odd:
            row, column = random.integers(0, 13, 2)
            pixels[row : row + 20, column : column + 20] += 95
        name = f"{i:03}.png"
        folder = source / ("odd" if is_odd != is_flipped else "plain")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        if is_flipped:
            flipped.add(name)
    assert len(flipped) == 10
    words = ["--model", "test_efficientnet", "--weights", "none", "--crop", "full", "--size", "32"]
    words += ["--epochs", "8", "--lr", "3e-3", "--patience", "0", "--test-share", "0"]
    words += ["--augmentation", "none", "--no-near-duplicates", "--device", "cpu"]
    done = command("train", source, "--folds", "4", "--run", "flipped", *words, *places)
    assert done.returncode == 0, done.stderr
    runs = ["--run", "flipped", "--runs", runs_of(places)]
    found = json.loads(command("data", "labels", *runs, "--top", "20", "--json").stdout)
    assert len(flipped & {Path(one["path"]).name for one in found}) >= 7
