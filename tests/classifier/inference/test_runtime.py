"""On a CPU a run's own ONNX file predicts, as the run does; torch does where that cannot be."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from roi_cls.base.errors import BundleError
from roi_cls.base.location import hash_file
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.config import Device, Runtime
from roi_cls.classifier.ensembles.join import join_runs
from roi_cls.classifier.evaluation.run import EvaluateJob, evaluate_run
from roi_cls.classifier.export.onnx import make_graph, quantise, write_bytes
from roi_cls.classifier.inference import runtime as module
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.inference.onnx_model import open_own_onnx
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.inference.runtime import RuntimeChoice, choose_runtime
from roi_cls.classifier.inference.scorer import ROUNDING_TOLERANCE, open_scorer
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.runs.bundle import CONFIG_NAME, WEIGHTS_NAME, load_bundle, write_config
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores

BATCHES = (1, 2, 7, 32)
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """70 crops of the toy runs' size, no two alike."""
    return np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def copy(exported_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of ``exported_run`` that may be changed."""
    return RunFolder(Path(shutil.copytree(exported_run.path, tmp_path / "copy")))


@pytest.fixture(scope="module")
def nested(
    exported_run: RunFolder, toy_run: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """An ensemble of a run and an ensemble, with its file; read only."""
    folder = tmp_path_factory.mktemp("ensembles")
    pair, run = RunFolder(folder / "pair"), RunFolder(folder / "nested")
    join_runs([exported_run, toy_run], pair)
    join_runs([pair, toy_run], run, export=True)
    return run


@pytest.mark.parametrize("threads", [1, 2])
def test_run_s_file_answers_as_the_run_in_batches_of_any_size(
    exported_run: RunFolder, pixels: Pixels, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = load_any(exported_run.path, choose_backend("cpu", "fp32")).probabilities([pixels])
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    opened = open_scorer([exported_run.path], "cpu")
    assert (opened.runtime, opened.engine) == ("onnx", "ONNX Runtime on cpu")
    found = [opened.scorer.probabilities([pixels], size) for size in BATCHES]
    assert max(np.abs(one - wanted).max() for one in found) <= ROUNDING_TOLERANCE
    assert max(np.abs(one - found[0]).max() for one in found) <= 1e-7


def test_its_facts_and_detector_are_the_run_s(exported_run: RunFolder) -> None:
    opened = open_scorer([exported_run.path], "cpu")
    assert opened.scorer.bundle == load_bundle(exported_run.path)
    assert opened.detector_folders == (exported_run.detector,)


def test_evaluation_and_prediction_come_from_one_engine(copy: RunFolder, toy_set: Path) -> None:
    job = EvaluateJob(toy_set, copy, options=_no_cache(copy), device="cpu")
    evaluation = evaluate_run(job).evaluation
    assert evaluation.runtime == "onnx"
    names = load_bundle(copy.path).labels.names
    stored = read_scores(copy.test_scores, names)
    with open_predictor([copy.path], "cpu", options=PredictOptions(batch_size=5)) as predictor:
        rows = list(predictor.predict(Source(str(toy_set / path)) for path in stored.paths))
    assert {row.runtime for row in rows} == {"onnx"}
    found = [[(row.probabilities or {})[name] for name in names] for row in rows]
    assert np.abs(np.array(found) - stored.probabilities).max() <= 1e-7


def _no_cache(run: RunFolder) -> BuildOptions:
    return BuildOptions(run.path.parent / "cache", workers=0)


def test_both_engines_verify_a_run(exported_run: RunFolder) -> None:
    by = {one: verify_run(exported_run, device="cpu", runtime=one) for one in ("onnx", "torch")}
    assert {name: found.engine for name, found in by.items()} == {
        "onnx": "ONNX Runtime on cpu",
        "torch": "torch on cpu (fp32)",
    }
    assert verify_run(exported_run, device="cpu") == by["onnx"]


@pytest.mark.parametrize(
    ("wanted", "device", "half", "has_gpu", "is_onnx"),
    [
        ("auto", "auto", False, False, True),
        ("auto", "cpu", False, True, True),
        ("auto", "auto", False, True, False),
        ("auto", "cuda", False, True, False),
        ("auto", "mps", False, False, False),
        ("auto", "cpu", True, False, False),
        ("torch", "cpu", False, False, False),
        ("onnx", "auto", False, True, True),
        ("onnx", "cuda", False, True, True),
    ],
)
def test_onnx_runtime_is_for_cpus_unless_asked_for(
    exported_run: RunFolder,
    wanted: Runtime,
    device: Device,
    half: bool,
    has_gpu: bool,
    is_onnx: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_has_gpu", lambda: has_gpu)
    found = choose_runtime([exported_run], device, wanted, half=half)
    assert found == RuntimeChoice(is_onnx)


def test_torch_is_asked_of_a_gpu_only_where_one_may_be(
    exported_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "may_have_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "roi_cls.classifier.models.device", None)
    assert choose_runtime([exported_run], "auto", "auto").is_onnx
    monkeypatch.undo()
    monkeypatch.setattr(module, "may_have_gpu", lambda: True)  # and torch sees none here
    is_cpu = choose_backend("auto", "fp32").device.type == "cpu"
    assert choose_runtime([exported_run], "auto", "auto").is_onnx == is_cpu


def test_run_without_the_file_is_torch_s_and_says_why(
    toy_run: RunFolder, exported_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lack = (
        "run 'toy' has no model.onnx (`roi-cls export --run toy` adds it, if the model can be "
        "exported)"
    )
    opened = open_scorer([toy_run.path], "cpu")
    assert (opened.runtime, opened.engine) == ("torch", f"torch on cpu (fp32): {lack}")
    assert choose_runtime([exported_run, toy_run], "cpu", "auto") == RuntimeChoice(False, lack)
    with pytest.raises(BundleError) as caught:
        open_scorer([toy_run.path], "cpu", runtime="onnx")
    assert str(caught.value) == (
        f"Cannot predict with --runtime onnx: {lack}. Or leave --runtime out: torch predicts."
    )


def test_without_onnxruntime_torch_predicts(
    exported_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    opened = open_scorer([exported_run.path], "cpu")
    assert opened.runtime == "torch"
    assert opened.engine.startswith("torch on cpu (fp32): onnxruntime cannot be imported (")
    assert opened.engine.endswith("); install it: pip install onnxruntime")


def test_what_excludes_itself_is_refused(exported_run: RunFolder) -> None:
    with pytest.raises(BundleError) as half:
        open_scorer([exported_run.path], "cpu", half=True, runtime="onnx")
    assert str(half.value) == (
        "Cannot compute in half precision (--half) with --runtime onnx: the file computes in "
        "fp32. Leave one of them out."
    )
    with pytest.raises(BundleError) as torch:
        open_scorer([exported_run.onnx], "cpu", runtime="torch")
    assert str(torch.value) == (
        f"Cannot predict with --runtime torch: {str(exported_run.onnx)!r} is a graph for ONNX "
        "Runtime. Leave --runtime out, or name the --run that it was exported from."
    )


@pytest.mark.parametrize("change", ["weights", {"threshold": 0.25}, {"mirror": True}])
def test_file_of_another_run_is_refused(copy: RunFolder, change: Any) -> None:
    weights, config = copy.path / WEIGHTS_NAME, json.loads((copy.path / CONFIG_NAME).read_bytes())
    if change == "weights":
        doubled = {name: np.asarray(2 * value) for name, value in load_file(weights).items()}
        save_file(doubled, weights)
        change = {"weights_sha256": hash_file(weights)}
    config["roi_cls"] |= change
    write_config(copy.path, config)
    with pytest.raises(BundleError) as caught:
        open_scorer([copy.path], "cpu")
    assert str(caught.value) == (
        f"Cannot use the model {str(copy.onnx)!r}: it was not made of this run's weights and "
        "settings. Write it anew with `roi-cls export --run copy`, or remove it."
    )
    assert open_scorer([copy.path], "cpu", runtime="torch").runtime == "torch"


def test_changed_file_and_changed_weights_are_refused(copy: RunFolder) -> None:
    data = bytearray(copy.onnx.read_bytes())
    data[len(data) // 2] ^= 1
    whole = copy.onnx.read_bytes()
    copy.onnx.write_bytes(data)
    with pytest.raises(BundleError, match=r"its SHA-256 differs"):
        open_scorer([copy.path], "cpu")
    copy.onnx.write_bytes(whole)
    with (copy.path / "model.safetensors").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"model\.safetensors is not the file its config\.json"):
        open_scorer([copy.path], "cpu")


def _change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("member", ["members/toy", "members/pair/members/exported"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_change, "model.safetensors is not the file its config.json describes (its SHA-256"),
        (Path.unlink, "model.safetensors is missing."),
    ],
)
def test_ensemble_is_refused_whose_member_has_other_weights(
    nested: RunFolder, tmp_path: Path, member: str, change: Callable[[Path], None], told: str
) -> None:
    folder = Path(shutil.copytree(nested.path, tmp_path / "nested"))
    assert open_scorer([folder], "cpu").runtime == "onnx"
    change(folder / member / WEIGHTS_NAME)
    wanted = f"Cannot use the model in {str(folder / member)!r}: {told}"
    engines: list[Runtime] = ["auto", "onnx", "torch"]
    for runtime in engines:
        with pytest.raises(BundleError) as caught:
            open_scorer([folder], "cpu", runtime=runtime)
        assert str(caught.value).startswith(wanted)


@pytest.mark.parametrize("proven", [1e-4, float("inf")])
def test_file_that_was_proven_less_predicts_only_where_it_is_asked_for(
    copy: RunFolder, proven: float
) -> None:
    loaded = load_any(copy.path, choose_backend("cpu", "fp32"))
    copy.onnx.write_bytes(write_bytes(make_graph(loaded), loaded, copy.detector, proven=proven))
    opened = open_scorer([copy.path], "cpu")
    assert (opened.runtime, opened.engine) == (
        "torch",
        "torch on cpu (fp32): a run's model.onnx was not proven to answer within 1e-05 of it "
        "(`roi-cls export --run NAME` writes it anew)",
    )
    assert open_scorer([copy.path], "cpu", runtime="onnx").runtime == "onnx"
    assert open_scorer([copy.onnx], "cpu").runtime == "onnx"


def test_file_in_int8_is_not_the_run_s(copy: RunFolder) -> None:
    loaded = load_any(copy.path, choose_backend("cpu", "fp32"))
    small = quantise(make_graph(loaded), 2)
    copy.onnx.write_bytes(write_bytes(small, loaded, copy.detector, quantised=True))
    with pytest.raises(BundleError, match="it was not made of this run's weights"):
        open_own_onnx(copy, "cpu")


def test_several_runs_are_their_mean_on_either_runtime(
    exported_run: RunFolder, copy: RunFolder, pixels: Pixels
) -> None:
    paths = [exported_run.path, copy.path]
    both = {one: open_scorer(paths, "cpu", runtime=one) for one in ("onnx", "torch")}
    assert both["onnx"].scorer.bundle == both["torch"].scorer.bundle
    assert both["onnx"].name == "exported+copy"
    assert both["onnx"].engine == "ONNX Runtime on cpu"
    one, other = (opened.scorer.probabilities([pixels]) for opened in both.values())
    np.testing.assert_allclose(one, other, rtol=0, atol=ROUNDING_TOLERANCE)
