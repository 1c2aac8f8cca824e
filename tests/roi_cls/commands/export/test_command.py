"""The command ``export``: a file or a folder that answers as the run, and what is told of it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from roi_cls.base.torchvision import ensure_torchvision
from roi_cls.classifier.models.saved import load_model
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder

ensure_torchvision()

import timm  # noqa: E402  (timm imports torchvision)

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def exported(
    command: Command, tiny_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CompletedProcess[str]]:
    """The file of the run ``tiny``, with one in int8 beside it, and what was printed."""
    path = tmp_path_factory.mktemp("export") / "tiny.onnx"
    done = command("export", "--run", "tiny", "--runs", tiny_runs, "--int8", "-o", path)
    assert done.returncode == 0, done.stderr
    return path, done


def test_what_was_written_and_what_it_is_worth_is_printed(
    exported: tuple[Path, CompletedProcess[str]],
) -> None:
    path, done = exported
    exact, int8 = done.stdout.splitlines()
    assert re.fullmatch(
        rf"{path}: [0-9.]+ KB, opset 20; answers as the run on \d+ pictures in batches of 1 and "
        r"32: max \|Δp\| = \d\.\de-0[5-9] \(allowed 0\.0001\)",
        exact,
    )
    assert re.fullmatch(
        rf"{path.with_suffix('.int8.onnx')}: [0-9.]+ KB; the same answer as in fp32 for "
        r"[0-9.]+% of \d+ pictures, max \|Δp\| = [0-9.e-]+, mean [0-9.e-]+; \d+ pictures/s after "
        r"\d+; ROC-AUC \d\.\d{3} after \d\.\d{3} on \d+ of them",
        int8,
    )
    assert done.stderr == "Building the graph, and comparing it with the run ...\n"
    sizes = [file.stat().st_size for file in sorted(path.parent.iterdir())]
    assert len(sizes) == 2
    assert sizes[0] < sizes[1]


def test_file_predicts_as_the_run(
    command: Command,
    exported: tuple[Path, CompletedProcess[str]],
    tiny_runs: Path,
    tiny_set: Path,
) -> None:
    def predict(*model: object) -> list[dict[str, Any]]:
        done = command("predict", tiny_set, *model, "--device", "cpu", "--json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    ours = predict("--run", "tiny", "--runs", tiny_runs)
    theirs = predict("--model", exported[0])
    assert len(ours) == 40
    for run, file in zip(ours, theirs, strict=True):
        scores = [list(row.pop("probabilities").values()) for row in (run, file)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
        assert run.pop("score") == pytest.approx(file.pop("score"), abs=1e-6)
        assert (run.pop("runtime"), file.pop("runtime")) == ("torch", "onnx")
        assert run == file


def test_file_lies_in_the_run_unless_told_otherwise(
    command: Command, tiny_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_runs / "tiny", tmp_path / "runs" / "mine")
    done = command("export", "--runs", tmp_path / "runs", "--opset", "18")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mine" / "model.onnx").is_file()
    assert "opset 18" in done.stdout
    assert "Using run 'mine', the newest" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-o", "model.bin"), "--output must end in .onnx, got 'model.bin'"),
        (("--license", "mit"), "--license cannot be used with --format onnx"),
        (("--format", "timm", "--int8"), "--int8 cannot be used with --format timm"),
        (
            ("--format", "timm", "--opset", "20", "--data", "x"),
            "--data, --opset cannot be used with --format timm",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    command: Command, tiny_runs: Path, words: tuple[str, ...], why: str
) -> None:
    done = command("export", "--run", "tiny", "--runs", tiny_runs, *words)
    assert done.returncode == 2
    assert why in done.stderr


@pytest.fixture(scope="module")
def folder(
    command: Command, tiny_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CompletedProcess[str]]:
    """The run ``tiny``, never evaluated, as timm's folder, and what was printed."""
    path = tmp_path_factory.mktemp("export") / "for timm"
    # A copy: another test of this session may evaluate the run that all share.
    run = Path(shutil.copytree(tiny_runs / "tiny", path.parent / "runs" / "tiny"))
    RunFolder(run).evaluation.unlink(missing_ok=True)
    words = ("--format", "timm", "-o", path, "--license", "apache-2.0")
    return path, command("export", "--run", "tiny", "--runs", run.parent, *words)


def test_timm_loads_the_folder_and_gives_the_same_logits(
    folder: tuple[Path, CompletedProcess[str]], tiny_runs: Path
) -> None:
    path, done = folder
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{path}: timm.create_model("local-dir:{path}", pretrained=True)\n'
    assert done.stderr == (
        "warning: the run is not evaluated, and its card says so; `roi-cls evaluate` first.\n"
    )
    model: Any = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    assert model.pretrained_cfg["label_names"] == ["odd", "plain"]
    own = load_model(tiny_runs / "tiny", load_bundle(tiny_runs / "tiny"))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(images), own(images))


def test_folder_is_a_run_that_names_no_place(
    command: Command, folder: tuple[Path, CompletedProcess[str]], tiny_set: Path
) -> None:
    path, _ = folder
    picture = tiny_set / "odd" / "00.png"
    done = command("predict", picture, "--run", path, "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["probabilities"]) == {"odd", "plain"}
    assert load_bundle(path).training["source"] == tiny_set.name
    assert str(tiny_set.parent) not in (path / "config.json").read_text()


def test_card_has_a_head_and_says_what_is_not_known(
    folder: tuple[Path, CompletedProcess[str]], tiny_runs: Path
) -> None:
    card = (folder[0] / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "timm",
        "license": "apache-2.0",
        "model_name": "tiny",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm", "roi-cls", "mediapipe"],
    }
    assert "It has not been evaluated: nothing is known of how good it is." in body
    assert load_bundle(tiny_runs / "tiny").data_digest in body
    assert "Tells **odd** from *plain*" in body
    assert "The full frame (padded), 32 px. The model is right only for crops" in body
    assert "## Responsible use" in body
    assert "## Licence" not in body
    assert "{{" not in body
    assert "{%" not in body


def test_card_of_an_evaluated_run_shows_its_numbers(
    command: Command, tiny_runs: Path, tiny_set: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(tiny_runs / "tiny", runs / "mine")
    places = ("--run", "mine", "--runs", runs)
    done = command(
        "evaluate", tiny_set, *places, "--cache", tmp_path / "c", "--workers", "0", "--json"
    )
    assert done.returncode == 0, done.stderr
    evaluation = json.loads(done.stdout)
    done = command("export", *places, "--format", "timm")
    assert (done.returncode, done.stderr) == (0, "")
    card = (runs / "mine" / "timm" / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n", 2)[1])
    (result,) = head["model-index"][0]["results"]
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert metrics["accuracy"] == round(evaluation["accuracy"]["value"], 4)
    assert metrics["roc_auc"] == round(evaluation["roc_auc"]["value"], 4)
    assert evaluation["verdict"] in card
    assert f"On {evaluation['images']} test pictures" in card
    assert f'Always answering "{evaluation["majority_label"]}" has the accuracy' in card
    assert "## Licence" in card  # none was given


def test_folder_of_something_else_is_left_alone(
    command: Command, tiny_runs: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    words = ("--run", "tiny", "--runs", tiny_runs, "--format", "timm", "-o", tmp_path)
    done = command("export", *words)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: Cannot export to {str(tmp_path)!r}: something else is there. "
        "Give a new or empty folder with --output.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("more", [{}, {"README.md": "# Mine", "config.json": '{"a": 1}'}])
def test_model_of_somebody_else_is_left_alone(
    command: Command, tiny_runs: Path, tmp_path: Path, more: dict[str, str]
) -> None:
    files = {"model.safetensors": "weeks of training", **more}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = command(
        "export", "--run", "tiny", "--runs", tiny_runs, "--format", "timm", "-o", tmp_path
    )
    assert done.returncode == 1
    assert "something else is there" in done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_export_may_be_repeated(
    command: Command, folder: tuple[Path, CompletedProcess[str]], tiny_runs: Path
) -> None:
    words = ("--run", "tiny", "--runs", tiny_runs, "--format", "timm", "-o", folder[0])
    assert command("export", *words, "--license", "apache-2.0").returncode == 0
    assert load_bundle(folder[0]).labels.names == ("odd", "plain")


def test_network_that_timm_cannot_build_is_refused(
    command: Command, tiny_runs: Path, tiny_set: Path, tmp_path: Path
) -> None:
    places = ("--runs", tmp_path / "runs", "--cache", tmp_path / "c", "--workers", "0")
    words = ("--method", "autoencoder", "--crop", "full", "--size", "32", "--epochs", "1")
    done = command("train", tiny_set, "--run", "auto", *words, "--device", "cpu", *places)
    assert done.returncode == 0, done.stderr
    done = command("export", "--run", "auto", "--runs", tmp_path / "runs", "--format", "timm")
    assert done.returncode == 1
    assert done.stderr == (
        "error: Cannot export run 'auto' for timm: it is of the kind 'autoencoder', and timm "
        "builds one network for one crop. Use --format onnx instead.\n"
    )
    done = command("export", "--run", "auto", "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
