"""A run as one ONNX file that needs nothing else: graph, recipe, labels, threshold, detector.

In int8, weights take a byte, and activations one whose range each run measures.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from roi_cls.base.errors import ExportError
from roi_cls.base.quiet import quiet
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.classifier.inference.onnx_model import (
    OUTPUT,
    OnnxProperties,
    import_onnx_package,
    input_names,
    seal,
    to_texts,
)
from roi_cls.classifier.runs.bundle import ModelBundle, describe_bundle, shareable_facts
from roi_cls.roi.detection.models import model_files

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


OPSET = 20
"""Of the operators, unless another is asked for: onnxruntime has it since 1.17."""
LEAST_OPSET = 18
"""The first with the shrinking of pictures that an autoencoder needs."""
_EXAMPLES = 3  # pictures in the batch that is traced: 1 would be taken for a constant
_RGB = 3  # channels of a picture
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_exportable(loaded: LoadedModel, opset: int = OPSET) -> None:
    """Raise ``ExportError`` where the model has no ONNX form, or a package is missing."""
    for name in _PACKAGES:
        try:
            import_onnx_package(name)
        except ImportError as error:
            raise ExportError(
                f"Cannot export to ONNX: {name} is not installed. Install it: pip install {name}."
            ) from error
    if opset < LEAST_OPSET:
        raise ExportError(
            f"Cannot export with opset {opset}: the graph needs {LEAST_OPSET} or later. "
            f"Leave --opset out ({OPSET})."
        )
    if any(kind == "svm" for kind in _kinds(loaded)):
        raise ExportError(
            "Cannot export an SVM to ONNX: its features are computed by scikit-image, outside of "
            "any graph. Predict with the run itself, or export a run of another --method."
        )


def _kinds(loaded: LoadedModel) -> Iterator[str]:
    yield loaded.bundle.network["kind"]
    for member in loaded.members:
        yield from _kinds(member)


def make_graph(loaded: LoadedModel, opset: int = OPSET) -> ModelProto:
    """Return the graph of a model on the CPU: uint8 crops of each view -> probabilities.

    Raises:
        ExportError: torch cannot export the network, or not with this opset.
    """
    names = input_names(len(loaded.views))
    crops = tuple(
        torch.zeros((_EXAMPLES, view.size_px, view.size_px, 3), dtype=torch.uint8)
        for view in loaded.views
    )
    pictures = torch.export.Dim("pictures")
    try:
        with quiet():
            program = torch.onnx.export(
                _probability_graph(loaded),
                crops,
                dynamo=True,
                dynamic_shapes=(tuple({0: pictures} for _ in crops),),
                input_names=names,
                output_names=[OUTPUT],
                opset_version=opset,
                external_data=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            f"Cannot export {loaded.bundle.model!r} to ONNX: {_cause(error)}. "
            "Use another --opset or a newer torch, or train another --model."
        ) from error
    if program is None:
        raise AssertionError("torch gives a program where dynamo is used")
    graph: ModelProto = program.model_proto
    _strip(graph)
    return graph


def _probability_graph(loaded: LoadedModel) -> nn.Module:
    """Return a module in evaluation mode: a uint8 (N, S, S, 3) tensor per view -> (N, K) float32.

    loaded: On the CPU.
    """
    return _Rounded(_as_module(loaded)).eval()


def _as_module(loaded: LoadedModel) -> nn.Module:
    if loaded.model is not None:
        return _NetworkGraph(loaded.model, loaded.bundle)
    return _EnsembleGraph([_as_module(m) for m in loaded.members], loaded)


class _Rounded(nn.Module):
    """Probabilities are computed in float64, as in numpy, and given in float32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner  # not "graph": torch.export makes a GraphModule, which has one

    def forward(self, *crops: Tensor) -> Tensor:
        probabilities: Tensor = self.inner(*crops)
        return probabilities.float()


class _NetworkGraph(nn.Module):
    """One network: normalise, score, scale."""

    def __init__(self, network: nn.Module, bundle: ModelBundle) -> None:
        super().__init__()
        self.network, self._mirror = network, bundle.mirror
        self.scaling = _Scaling(bundle)
        scale = bundle.normalisation
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(scale.mean) * 255)
        self.register_buffer("std", torch.tensor(scale.std) * 255)

    def forward(self, *crops: Tensor) -> Tensor:
        """Return (N, K) float64 probabilities."""
        # (N, S, S, 3) per view -> (N*V, S, S, 3): the views of a picture next to each other
        pixels = crops[0] if len(crops) == 1 else torch.stack(crops, 1).flatten(0, 1)
        images = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        if not self._mirror:
            return self.scaling(self.network(images))  # type: ignore[no-any-return]  # a module's
        # One pass for both: the graph holds the network once.
        logits = self.network(torch.cat((images, images.flip(-1))))
        return self.scaling(logits.unflatten(0, (2, -1)).mean(0))  # type: ignore[no-any-return]  # as above


class _EnsembleGraph(nn.Module):
    """Several networks: the weighted mean of their probabilities, scaled."""

    def __init__(self, members: Sequence[nn.Module], loaded: LoadedModel) -> None:
        super().__init__()
        bundle = loaded.bundle
        self.members = nn.ModuleList(members)
        self._views = loaded.member_views
        weights = torch.tensor(bundle.network["weights"], dtype=torch.float64)
        self._weights: list[float] = (weights / weights.sum()).tolist()
        is_scaled = bundle.temperature != 1.0 or any(bundle.offsets)
        self.scaling = _Scaling(bundle) if is_scaled else None

    def forward(self, *crops: Tensor) -> Tensor:
        """Return (N, K) float64 probabilities."""
        parts = [
            weight * member(*(crops[i] for i in views))
            for member, views, weight in zip(self.members, self._views, self._weights, strict=True)
        ]
        mean = torch.stack(parts).sum(0)
        return mean if self.scaling is None else self.scaling(mean.log())


class _Scaling(nn.Module):
    """Softmax of logits over the temperature, with the offsets, in float64."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        self._temperature = bundle.temperature
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor(bundle.offsets, dtype=torch.float64))

    def forward(self, logits: Tensor) -> Tensor:
        """Return (N, K) probabilities."""
        return (logits.double() / self._temperature + self.offsets).softmax(1)


def _strip(graph: ModelProto) -> None:
    """Remove what the exporter notes of its way, paths of this machine among it."""
    inner = graph.graph
    del inner.metadata_props[:]
    for part in (*inner.node, *inner.value_info, *inner.input, *inner.output, *inner.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _cause(error: BaseException) -> str:
    """Return what lies at the bottom of the exporter's report of several pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def quantise(graph: ModelProto, classes: int) -> ModelProto:
    """Return the graph with its convolutions and matrix products in int8 where that does good.

    Left as they are: the convolutions that see pixels, those of one channel each, and the layers
    that answer. Of a MobileNetV2 trained on portraits the largest change of a probability was 0.33
    with all in int8 and is 0.06 so; convolutions of one channel are slower in int8 besides.

    Weights are unsigned: onnxruntime multiplies signed ones four times slower on x86, and without
    VNNI (before 2019) with sums that overflow.

    Args:
        graph: From ``make_graph``; left as it is.
        classes: Outputs of the layers that answer.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, quiet():
        folded = _fold(graph, Path(folder))
        place = Path(folder) / "int8.onnx"
        quantize_dynamic(
            folded,
            place,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=[node.name for node in _sensitive(folded, classes)],
        )
        return onnx.load(place)


def _fold(graph: ModelProto, folder: Path) -> ModelProto:
    """Return the graph with its batch norms in the convolutions before them."""
    import onnx
    import onnxruntime

    plain, folded = folder / "plain.onnx", folder / "folded.onnx"
    onnx.save(graph, plain)
    options = onnxruntime.SessionOptions()
    # The level that changes no numbers' layout: its result runs on every machine.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3  # see onnx_model
    onnxruntime.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
    found = onnx.load(folded)
    del found.graph.value_info[:]  # shapes of before: some weights were turned
    return found


def _sensitive(graph: ModelProto, classes: int) -> Iterator[NodeProto]:
    """Yield the nodes that lose more in int8 than they win."""
    weights = {weight.name: weight for weight in graph.graph.initializer}
    for node in graph.graph.node:
        weight = next((weights[name] for name in node.input[1:2] if name in weights), None)
        if weight is not None and _is_sensitive(node, weight, classes):
            yield node


def _is_sensitive(node: NodeProto, weight: TensorProto, classes: int) -> bool:
    if node.op_type == "Conv":
        grouped = any(a.name == "group" and a.i > 1 for a in node.attribute)
        return grouped or weight.dims[1] == _RGB
    return node.op_type in ("MatMul", "Gemm") and classes in weight.dims


def write_bytes(
    graph: ModelProto,
    loaded: LoadedModel,
    detector: Path,
    *,
    quantised: bool = False,
    proven: float = math.inf,
) -> bytes:
    """Return a graph as the bytes of a file, sealed, with all that predicting with it needs.

    Args:
        graph: From ``make_graph``, or ``quantise``.
        loaded: The model that it was made of.
        detector: Folder of the face detector's model files; need not exist.
        quantised: Whether the graph is ``quantise``'s.
        proven: Largest difference of a probability that the caller will write the file with.

    Raises:
        ExportError: It is larger than one file can be.
    """
    config = describe_bundle(loaded.bundle, shareable_facts(loaded.bundle))
    detectors = {path.name: path.read_bytes() for path in model_files(detector)}
    del graph.metadata_props[:]
    for key, value in to_texts(OnnxProperties(config, detectors, quantised, proven)).items():
        graph.metadata_props.add(key=key, value=value)
    try:
        return seal(graph.SerializeToString())
    except ValueError as error:  # protobuf's limit
        raise ExportError(
            "Cannot export the model to ONNX: it is larger than 2 GB, the most that one file can "
            "hold. Export a smaller model, or fewer members of the ensemble."
        ) from error
