"""An exported file: what it holds, what is refused, and that torch stays away."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from roi_cls.base.errors import BundleError, LibraryError, TrainingError
from roi_cls.classifier.export.onnx import check_exportable
from roi_cls.classifier.inference.onnx_model import (
    OUTPUT,
    OnnxProperties,
    from_texts,
    open_onnx,
    seal,
    to_texts,
)
from roi_cls.classifier.inference.scorer import open_scorer
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation, describe_bundle, to_facts
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams

BUNDLE = ModelBundle(
    model="mean brightness",
    views=(CropParams(size_px=8, detector_sha256=("ab",)),),
    labels=LabelSet(("dark", "bright"), "bright"),
    normalisation=Normalisation((0.0,) * 3, (1.0,) * 3),
    temperature=1.0,
    offsets=(0.0, 0.0),
    threshold=0.25,
    data_digest="ff",
    versions={"torch": "1"},
)
DETECTORS = {"short.tflite": b"model 1", "yunet.onnx": bytes(range(256))}
AGAIN = "Export it again with `roi-cls export --run NAME`, or copy it again."
Change = Callable[[bytes], bytes]


def _write(path: Path, **changes: Any) -> Path:
    """Write a file whose probability of ``bright`` is a crop's mean brightness."""
    shape: list[str | int | None] = ["pictures", 8, 8, 3]
    nodes = [
        helper.make_node("Cast", ["crops"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "largest"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["dark", "bright"], ["pair"], axis=0),
        helper.make_node("Reshape", ["pair", "halves"], ["rows"]),
        helper.make_node("Transpose", ["rows"], [OUTPUT], perm=[1, 0]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["pictures", 2])],
        [
            onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            onnx.numpy_helper.from_array(np.array(255, np.float32), "largest"),
            onnx.numpy_helper.from_array(np.array(1, np.float32), "one"),
            onnx.numpy_helper.from_array(np.array([2, -1]), "halves"),
        ],
    )
    opset = helper.make_opsetid("", changes.pop("opset", 20))
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    facts = to_facts(BUNDLE, "00") | changes.pop("facts", {})
    texts = to_texts(OnnxProperties(describe_bundle(BUNDLE, facts), DETECTORS)) | changes
    helper.set_model_props(model, texts)
    data = model.SerializeToString()
    path.write_bytes(seal(data) if texts.get("roi_cls_sha256") else data)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A whole file."""
    return _write(tmp_path / "m.onnx")


def _bright(*levels: int) -> np.ndarray:
    return np.array([np.full((8, 8, 3), level) for level in levels], np.uint8)


def test_file_alone_gives_facts_and_probabilities(file: Path) -> None:
    model = open_onnx(file, "cpu")
    assert (model.views, model.bundle.labels) == (BUNDLE.views, BUNDLE.labels)
    assert (model.bundle.threshold, model.bundle.model) == (0.25, "mean brightness")
    for size in (1, 2, 32):
        scores = model.probabilities([_bright(0, 51, 255)], size)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, [[1.0, 0.0], [0.8, 0.2], [0.0, 1.0]], atol=1e-7)


def test_detector_is_laid_out_and_removed_with_the_model(file: Path) -> None:
    model = open_onnx(file)
    folder = model.detector_folder
    assert folder == model.detector_folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == DETECTORS
    del model
    assert not folder.exists()


def test_detector_file_cannot_lie_elsewhere(tmp_path: Path) -> None:
    name = "roi_cls_detector/../../outside.tflite"
    model = open_onnx(_write(tmp_path / "m.onnx", **{name: "AAAA"}))
    assert (model.detector_folder / "outside.tflite").read_bytes() == bytes(3)
    assert not list(tmp_path.glob("**/outside.tflite"))


def test_one_way_opens_runs_and_files(file: Path) -> None:
    opened = open_scorer([file], "cpu")
    assert opened.scorer.bundle.labels == BUNDLE.labels
    (folder,) = opened.detector_folders
    assert sorted(path.name for path in folder.iterdir()) == sorted(DETECTORS)


def test_half_precision_is_refused(file: Path) -> None:
    with pytest.raises(BundleError) as caught:
        open_scorer([file], half=True)
    assert str(caught.value) == (
        f"Cannot compute in half precision (--half): {str(file)!r} computes in the numbers that it "
        "was exported with. Leave --half out, or name a --run."
    )


@pytest.mark.parametrize("function", [open_onnx, check_exportable])
def test_onnxruntime_tells_nobody_that_it_runs(
    file: Path, tmp_path: Path, function: Callable[..., object]
) -> None:
    # Built with telemetry it opens a session for it in the temporary folder, and sends it.
    code = {
        open_onnx: f"from pathlib import Path; open_onnx(Path({str(file)!r}))",
        check_exportable: "check_exportable(SimpleNamespace(bundle=SimpleNamespace(network="
        "{'kind': 'x'}), members=()))",
    }
    line = f"from {function.__module__} import {function.__name__}; {code[function]}"
    # Its own tests and CI are left alone by it anyway.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "GITHUB", "PYTEST"))}
    folders = {"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", f"from types import SimpleNamespace; {line}"],
        env={**kept, **folders},
        check=True,
        capture_output=True,
    )
    assert done.stdout == b""
    assert {path.name for path in tmp_path.iterdir()} <= {file.name, "torchinductor_root"}


def test_neither_torch_nor_onnx_is_imported(file: Path) -> None:
    code = f"""
import sys, numpy, pathlib
from {open_scorer.__module__} import open_scorer
opened = open_scorer([pathlib.Path({str(file)!r})])
print(opened.scorer.probabilities([numpy.zeros((1, 8, 8, 3), numpy.uint8)]).tolist())
print(sorted({{"torch", "timm", "onnx", "sklearn", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[[1.0, 0.0]]", "[]"]
    assert done.stderr == ""


def _edit(old: bytes, new: bytes) -> Change:
    def edit(data: bytes) -> bytes:
        assert data.count(old) >= 1
        return data.replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: b"", "it is no ONNX file"),
        (lambda data: b"\x89PNG" + data, "it is no ONNX file"),
        (
            lambda data: data[:200],
            "`roi-cls export` did not write it: it says nothing of crops and classes",
        ),
        (
            _edit(b'"threshold": 0.25', b'"threshold": 0.95'),
            "it was changed after it was written (its SHA-256 differs)",
        ),
        (
            _edit(np.float32(255).tobytes(), np.float32(128).tobytes()),
            "it was changed after it was written (its SHA-256 differs)",
        ),
        (lambda data: data + b"\0", "it was changed after it was written (its SHA-256 differs)"),
        (lambda data: data[:-70] + b"0" * 70, "`roi-cls export` did not write it"),
    ],
)
def test_changed_file_is_refused(file: Path, change: Change, why: str) -> None:
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BundleError) as caught:
        open_onnx(file)
    assert str(caught.value).startswith(f"Cannot use the model {str(file)!r}: {why}")
    assert str(caught.value).endswith(AGAIN)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"roi_cls_layout": "2"}, "it has layout '2', this program reads 1"),
        ({"roi_cls": "null"}, "it does not describe its model"),
        ({"roi_cls": '{"roi_cls": {"format": 2}}'}, "its facts have format 2, this program"),
        ({"roi_cls": "{}"}, "its facts have format None, this program"),
        ({"roi_cls_detector/x": "?"}, "Only base64 data is allowed"),
        ({"opset": 999}, "onnxruntime "),
    ],
)
def test_other_format_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    file = _write(tmp_path / "m.onnx", **changes)
    with pytest.raises(BundleError) as caught:
        open_onnx(file)
    assert str(caught.value).startswith(f"Cannot use the model {str(file)!r}: {why}")
    assert str(caught.value).endswith(AGAIN)


def test_damaged_facts_are_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "m.onnx", facts={"temperature": -1})
    with pytest.raises(BundleError, match="its description is damaged"):
        open_onnx(file)


def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "m.onnx", roi_cls_sha256="")
    with pytest.raises(BundleError, match="`roi-cls export` did not write it"):
        open_onnx(file)


def test_missing_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    with pytest.raises(BundleError) as caught:
        open_onnx(path)
    assert str(caught.value) == (
        f"Cannot use the model {str(path)!r}: No such file or directory. "
        "Write it with `roi-cls export --run NAME`."
    )


def test_missing_runtime_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BundleError) as caught:
        open_onnx(file)
    assert str(caught.value) == (
        f"Cannot use the model {str(file)!r}: onnxruntime is not installed. "
        "Install it: pip install onnxruntime."
    )


@pytest.mark.parametrize(
    "name", ["EPFail", "Fail", "InvalidArgument", "NoModel", "RuntimeException", "MemoryError"]
)
def test_errors_of_onnxruntime_are_told(
    file: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    def fail(*_: object, **__: object) -> None:
        raise (MemoryError if name == "MemoryError" else getattr(native, name))(
            "bad allocation.\nx"
        )

    model = open_onnx(file, "cpu")
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
    with pytest.raises(LibraryError) as caught:
        model.probabilities([_bright(0)])
    assert str(caught.value) == (
        "Cannot predict with ONNX Runtime: bad allocation. Give a smaller --batch, or name the run "
        "with --runtime torch."
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(LibraryError, match=r"ONNX Runtime: bad allocation\. Free memory, or name"):
        open_onnx(file, "cpu")


@pytest.mark.parametrize(("device", "provider"), [("cuda", "CUDA"), ("mps", "CoreML")])
def test_device_that_onnxruntime_lacks_is_told(
    file: Path, device: Any, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    only_cpu = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: only_cpu)
    with pytest.raises(TrainingError) as caught:
        open_onnx(file, device)
    assert str(caught.value) == (
        f"Cannot use the device {device!r}: onnxruntime {onnxruntime.__version__} cannot, as it "
        f"was built without {provider}ExecutionProvider. Use --device auto, or install the "
        "onnxruntime built for it."
    )


def test_properties_are_read_back() -> None:
    for quantised in (False, True):
        wanted = OnnxProperties({"architecture": "ü", "roi_cls": {}}, DETECTORS, quantised, 1e-5)
        assert from_texts(to_texts(wanted)) == wanted
