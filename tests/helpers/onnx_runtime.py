"""What onnxruntime computes, writes and quantises: files of its optimisers and quantisers, sizes of all tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from tests.helpers import onnx_samples

LEVELS = {
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
FORMATS = {"qdq": quantization.QuantFormat.QDQ, "operators": quantization.QuantFormat.QOperator}


def computed_sizes(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The size of every tensor of the main graph as onnxruntime computes it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {info.name for info in copy.graph.output}
    names = [name for node in copy.graph.node for name in node.output if name and name not in present]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(copy.SerializeToString(), _options("none"), ["CPUExecutionProvider"])
    outputs = [info.name for info in session.get_outputs()]
    values = session.run(outputs, dict(inputs))
    return {name: np.shape(value) for name, value in zip(outputs, values, strict=True) if isinstance(value, np.ndarray)}


def optimized(model: onnx.ModelProto, level: str, folder: Path) -> onnx.ModelProto:
    """The file that onnxruntime writes after its optimisations."""
    path = folder / f"{level}.onnx"
    options = _options(level)
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return onnx.load(path)


def quantized(model: onnx.ModelProto, how: str, folder: Path, **options: Any) -> onnx.ModelProto:
    """The model quantised dynamically, in the form `qdq` or that of `operators`, or its weights in `blocks`."""
    source, path = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(model, source)
    with onnx_samples.quiet():  # the quantisers log advice as warnings
        if how == "blocks":
            quantizer = MatMulNBitsQuantizer(model, block_size=16, **options)
            quantizer.process()
            return quantizer.model.model
        if how == "dynamic":
            quantization.quantize_dynamic(source, path, **options)
        else:
            reader = _Examples(model)
            quantization.quantize_static(source, path, reader, quant_format=FORMATS[how], **options)
    return onnx.load(path)


class _Examples(quantization.CalibrationDataReader):
    def __init__(self, model: onnx.ModelProto) -> None:
        self.rows = iter([random_inputs(model), random_inputs(model)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rows, None)


def random_inputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Random numbers for every input, of floating-point numbers."""
    rng, given = np.random.default_rng(0), {tensor.name for tensor in model.graph.initializer}
    return {
        info.name: rng.normal(size=[dim.dim_value for dim in info.type.tensor_type.shape.dim]).astype(np.float32)
        for info in model.graph.input
        if info.name not in given
    }


def _options(level: str) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return options
