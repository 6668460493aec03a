"""FLOPs of an ONNX file from the sizes that onnxruntime computes, by formulas of its own."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx

Sizes = dict[str, tuple[int, ...]]
_NO_FORMULA = {"If", "Loop", "Scan", "SequenceMap", "Attention", "DeformConv"}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def values(model: onnx.ModelProto, inputs: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]] | None:
    """What onnxruntime computes for every tensor of the main graph, None where it cannot.

    Args:
        model: whole, with its weights.
        inputs: arrays by name.
    """
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {info.name for info in copy.graph.output}
    names = [name for node in copy.graph.node for name in node.output if name and name not in present]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run([output.name for output in session.get_outputs()], inputs)
    except Exception:  # operators, types and opsets that onnxruntime does not have
        return None
    outputs = zip((output.name for output in session.get_outputs()), found, strict=True)
    return {name: value for name, value in outputs if isinstance(value, np.ndarray)}


def flops(model: onnx.ModelProto, computed: dict[str, np.ndarray[Any, Any]], inputs: dict[str, Any]) -> int | None:
    """2 FLOPs per multiply-add of all products; None where an operator has no formula here.

    Args:
        model: whole, with its weights.
        computed: by `values`.
        inputs: arrays by name.
    """
    if not all(_has_formula(node) for node in model.graph.node):
        return None
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    sizes |= {name: np.shape(value) for name, value in (computed | inputs).items()}
    return sum(_node_flops(node, sizes) for node in model.graph.node)


def _has_formula(node: onnx.NodeProto) -> bool:
    if node.op_type == "Einsum" and (len(node.input) != 2 or "." in _equation(node)):
        return False
    return node.op_type not in _NO_FORMULA and node.domain in ("", "ai.onnx")


def _node_flops(node: onnx.NodeProto, sizes: Sizes) -> int:
    given = [sizes.get(name, ()) for name in node.input]
    result = sizes.get(node.output[0], ())
    if node.op_type in ("Conv", "ConvInteger"):
        return 2 * prod(result) * prod(given[1][1:])
    if node.op_type == "QLinearConv":
        return 2 * prod(result) * prod(given[3][1:])
    if node.op_type == "ConvTranspose":
        return 2 * prod(given[0]) * prod(given[1][1:])
    if node.op_type in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return 2 * prod(result) * given[0][-1]
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return 2 * prod(result) * given[0][0 if transposed else -1]
    if node.op_type in _GATES:
        directions, rows, width = given[1]
        steps, batch = given[0][:2]
        return 2 * directions * steps * batch * rows * (width + rows // _GATES[node.op_type])
    if node.op_type == "Einsum":
        return _einsum_flops(node, given)
    return 0


def _einsum_flops(node: onnx.NodeProto, given: list[tuple[int, ...]]) -> int:
    """All letters of two operands, if one of them is summed over."""
    operands, _, result = _equation(node).partition("->")
    letters = {
        letter: size
        for term, shape in zip(operands.split(","), given, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return 2 * prod(letters.values()) if set(letters) - set(result) else 0


def _equation(node: onnx.NodeProto) -> str:
    equation: bytes = next(attribute.s for attribute in node.attribute if attribute.name == "equation")
    return equation.decode().replace(" ", "")


def zeros(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays for all inputs; open dimensions are 1 where nothing else is said.

    Args:
        model: with its inputs.
        shapes: of some inputs, by name.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    arrays = {}
    for info in model.graph.input:
        if info.name in given:
            continue
        tensor = info.type.tensor_type
        shape = shapes.get(info.name, tuple(max(dim.dim_value, 1) for dim in tensor.shape.dim))
        arrays[info.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return arrays
