"""Local functions of ONNX models: what they compute counts in every call, their weights once."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_samples import model

import frontends

node = helper.make_node
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("my", 1)]
PRODUCT = 2 * 8 * 16 * 16


def weight(seed: int = 0) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(seed).random((16, 16), dtype=np.float32), "w")


def with_functions(nodes: list[onnx.NodeProto], *functions: onnx.FunctionProto) -> onnx.ModelProto:
    proto = model(nodes, {"x": [1, 8, 16]}, ["y"])
    proto.functions.extend(functions)
    proto.opset_import.append(OPSETS[1])
    return proto


def dense(name: str = "Dense", seed: int = 0) -> onnx.FunctionProto:
    nodes = [node("Constant", [], ["w"], value=weight(seed)), node("MatMul", ["a", "w"], ["b"])]
    return helper.make_function("my", name, ["a"], ["b"], nodes, OPSETS)


def call(name: str, source: str, result: str, **attrs: onnx.TensorProto) -> onnx.NodeProto:
    return node(name, [source], [result], domain="my", **attrs)


def cost(proto: onnx.ModelProto) -> tuple[int, int]:
    before = proto.SerializeToString()
    costs = {(graph.num_params, graph.flops) for graph in map(frontends.trace, (proto, before))}
    assert proto.SerializeToString() == before
    assert len(costs) == 1
    return costs.pop()


def test_a_weight_in_a_function_that_is_called_twice_counts_once() -> None:
    calls = [call("Dense", "x", "z"), call("Dense", "z", "y")]
    assert cost(with_functions(calls, dense())) == (256, 2 * PRODUCT)
    others = [call("Dense", "x", "z"), call("Other", "z", "y")]
    assert cost(with_functions(others, dense(), dense("Other", 1))) == (512, 2 * PRODUCT)


def test_sparse_weights_and_lists_of_numbers_in_a_function_count_once() -> None:
    places = helper.make_tensor("i", TensorProto.INT64, [2], [3, 200])
    sparse = helper.make_sparse_tensor(helper.make_tensor("v", TensorProto.FLOAT, [2], [0.5, 2]), places, [16, 16])
    nodes = [
        node("Constant", [], ["w"], sparse_value=sparse), node("MatMul", ["a", "w"], ["c"]),
        node("Constant", [], ["v"], value_floats=[0.5] * 16), node("Add", ["c", "v"], ["b"]),
    ]  # fmt: skip
    function = helper.make_function("my", "Sparse", ["a"], ["b"], nodes, OPSETS)
    calls = [call("Sparse", "x", "z"), call("Sparse", "z", "y")]
    assert cost(with_functions(calls, function)) == (256 + 16, 2 * PRODUCT)


def test_functions_that_call_functions() -> None:
    inner = [call("Dense", "a", "c"), call("Dense", "c", "b")]
    twice = helper.make_function("my", "Twice", ["a"], ["b"], inner, OPSETS)
    calls = [call("Twice", "x", "z"), call("Dense", "z", "y")]
    assert cost(with_functions(calls, dense(), twice)) == (256, 3 * PRODUCT)


def test_weights_that_the_calls_hand_over_are_different() -> None:
    inner = [node("Constant", [], ["w"]), node("MatMul", ["a", "w"], ["b"])]
    attribute = inner[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.ref_attr_name = "value"
    function = helper.make_function("my", "Dense", ["a"], ["b"], inner, OPSETS, ["value"])
    calls = [call("Dense", "x", "z", value=weight(1)), call("Dense", "z", "y", value=weight(2))]
    assert cost(with_functions(calls, function)) == (512, 2 * PRODUCT)
