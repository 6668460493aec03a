"""Operators outside ONNX's default domain, one at a time, against the operators that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import cgir
import frontends
from cgir.typing import AnyArray
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes
from tests.helpers import onnx_runtime

DOMAINS = {"": 23, "com.microsoft": 1, "com.microsoft.nchwc": 1, "ai.onnx.ml": 3}
plain = helper.make_node


def fused(op: str, inputs: str, outputs: str = "y", domain: str = "com.microsoft", **attrs: Any) -> onnx.NodeProto:
    """An operator of onnxruntime; "-" stands for an operand or a result that is left out."""
    names = [["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *names, domain=domain, **attrs)


def random_array(size: Sequence[int] | AnyArray) -> AnyArray:
    """An array as it is, or a random one of a size."""
    if isinstance(size, np.ndarray):
        return size
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def random_arrays(sizes: Mapping[str, Any]) -> dict[str, AnyArray]:
    """The same for several, by name."""
    return {name: random_array(size) for name, size in sizes.items()}


def built(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Any], weights: Mapping[str, Any], outputs: Sequence[str]
) -> onnx.ModelProto:
    """A model without sizes between its inputs and outputs.

    Args:
        nodes: of the graph.
        inputs: arrays, or sizes of random ones, by name.
        weights: the same.
        outputs: names.
    """
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        list(nodes),
        "sample",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in random_arrays(inputs).items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(random_array(size), name) for name, size in weights.items() if name in read],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in DOMAINS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check(
    found: onnx.NodeProto,
    expected: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Any],
    weights: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
    runs: bool = True,
    batch: int | None = 0,
) -> cgir.Graph:
    """Compare an operator with others, and its sizes with onnxruntime's.

    Args:
        found: the operator.
        expected: those that compute the same results.
        inputs: sizes or arrays by name; what the expected nodes do not read is left out there.
        weights: of both.
        more: weights of the expected nodes alone, or in other forms.
        runs: whether onnxruntime has the operator on the CPU.
        batch: the batch axis of the inputs, None for none.
    """
    outputs = [name for name in found.output if name]
    proto = built([found], inputs, weights or {}, outputs)
    given = random_arrays(inputs)
    graph = frontends.trace(proto, given, batch=batch)
    cgir.verify(graph)
    cgir.verify(frontends.trace(proto, given, raw=True, batch=batch))
    numbers = {name: _floating(size) for name, size in inputs.items()}
    same = frontends.trace(built(expected, numbers, {**(weights or {}), **(more or {})}, outputs), batch=batch)
    assert cgir.isomorphic(graph, same), cgir.diff(same, graph)
    assert (graph.num_params, graph.flops, graph.complete) == (same.num_params, same.flops, True)
    if runs:
        check_sizes(proto, given)
    return graph


def check_sizes(model: onnx.ModelProto, given: Mapping[str, AnyArray]) -> None:
    """Compare the sizes of all tensors of the main graph with those that onnxruntime computes from inputs."""
    sizes, computed = tensor_sizes(model, TraceRequest(given)), onnx_runtime.computed_sizes(model, given)
    assert {name: sizes[name] for name in computed} == computed


def _floating(size: Any) -> Any:
    """What stands for quantised numbers in the operators that are expected: random ones of the same size."""
    quantized = isinstance(size, np.ndarray) and size.dtype in (np.uint8, np.int8)
    return size.shape if quantized else size
