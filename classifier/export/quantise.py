"""A graph in int8: weights of a byte, and activations of a byte whose range each run measures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from roi_cls.base.quiet import quiet

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


_RGB = 3


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
