"""Loops of ONNX: what their bodies cost in all rounds, where the number of rounds can be known."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_samples import exported, model
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

import cgir
import frontends
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes

node = helper.make_node
FLOAT, BOOL, INT = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
STEP = [node("MatMul", ["s", "w"], ["m"]), node("Tanh", ["m"], ["s2"])]
ROUND = 2 * 8 * 16 * 16  # FLOPs of STEP on (1, 8, 16)
FOREVER = np.array(np.iinfo(np.int64).max)


def body(nodes: list[onnx.NodeProto], inputs: dict[str, int], outputs: list[str]) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )


def loop(
    nodes: list[onnx.NodeProto],
    operands: list[str],
    weights: dict[str, Any],
    counter: bool = False,
    before: tuple[onnx.NodeProto, ...] = (),
) -> onnx.ModelProto:
    """A loop with a variable s, and perhaps a counter c, of a network of x (1, 8, 16)."""
    extra = {"c": INT} if counter else {}
    inner = body(nodes, {"i": INT, "go": BOOL, "s": FLOAT, **extra}, ["on", "s2", *(["c2"] if counter else [])])
    outputs = ["y", "last"] if counter else ["y"]
    return model(
        [*before, node("Loop", operands, outputs, body=inner)], {"x": [1, 8, 16]}, ["y"], {"w": (16, 16), **weights}
    )


def cost(proto: onnx.ModelProto, **more: Any) -> tuple[int, int, bool]:
    graph = frontends.trace(proto, **more)
    cgir.verify(graph)
    return graph.num_params, graph.flops, graph.complete


PASS_ON = node("Identity", ["go"], ["on"])
COUNT = [node("Add", ["c", "step"], ["c2"]), node("Less", ["c2", "end"], ["on"])]


def counting(start: int, step: int, end: int) -> dict[str, np.ndarray]:
    return {"t": np.array(True), "start": np.array(start), "step": np.array(step), "end": np.array(end)}


def test_a_number_of_rounds_from_the_shape() -> None:
    before = (node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "one"], ["n"]))
    proto = loop([*STEP, PASS_ON], ["n", "", "x"], {"one": np.array(1)}, before=before)
    assert cost(proto) == (256, 8 * ROUND, True)


@pytest.mark.parametrize(
    ("start", "step", "end", "rounds"), [(0, 1, 7, 7), (0, 2, 7, 4), (3, 5, 4, 1), (0, 2, 100_001, 50_001)]
)
def test_a_condition_on_a_counter(start: int, step: int, end: int, rounds: int) -> None:
    proto = loop([*STEP, *COUNT], ["", "t", "x", "start"], counting(start, step, end), counter=True)
    assert cost(proto) == (256, rounds * ROUND, True)


def test_a_condition_on_the_iteration_and_on_a_product() -> None:
    nodes = [node("Add", ["i", "step"], ["next"]), node("Less", ["next", "end"], ["on"])]
    proto = loop([*STEP, *nodes], ["n", "t", "x"], {**counting(0, 1, 7), "n": FOREVER})
    assert cost(proto) == (256, 7 * ROUND, True)
    doubling = [node("Mul", ["c", "step"], ["c2"]), COUNT[1]]
    proto = loop([*STEP, *doubling], ["n", "t", "x", "start"], {**counting(1, 2, 1000), "n": FOREVER}, counter=True)
    assert cost(proto) == (256, 10 * ROUND, True)
    proto = loop([*STEP, *doubling], ["n", "t", "x", "start"], {**counting(1, 2, 9), "n": np.array(3)}, counter=True)
    assert cost(proto) == (256, 3 * ROUND, True)


def test_no_rounds() -> None:
    for limit in ({"n": np.array(0), "t": np.array(True)}, {"n": np.array(4), "t": np.array(False)}):
        assert cost(loop([*STEP, PASS_ON], ["n", "t", "x"], limit)) == (0, 0, True)


@pytest.mark.parametrize("limit", [FOREVER, np.array(4)])
def test_a_condition_on_data_makes_the_cost_a_lower_bound(limit: np.ndarray) -> None:
    nodes = [node("ReduceMax", ["s2"], ["top"], keepdims=0), node("Less", ["top", "end"], ["on"])]
    weights = {"n": limit, "t": np.array(True), "end": np.array(7, np.float32)}
    assert cost(loop([*STEP, *nodes], ["n", "t", "x"], weights)) == (256, ROUND, False)


def test_an_example_input_decides_the_number_of_rounds() -> None:
    proto = loop([*STEP, PASS_ON], ["n", "", "x"], {})
    proto.graph.input.add().CopyFrom(helper.make_tensor_value_info("n", INT, []))
    assert cost(proto) == (256, ROUND, False)
    assert cost(proto, inputs={"x": np.zeros((1, 8, 16), np.float32), "n": np.array(6)}) == (256, 6 * ROUND, True)


def test_loops_in_loops_multiply() -> None:
    inner = node("Loop", ["n", "", "s"], ["s2"], body=body([*STEP, PASS_ON], {"i": INT, "go": BOOL, "s": FLOAT},
                                                            ["on", "s2"]))  # fmt: skip
    proto = loop([inner, node("Identity", ["go"], ["on"])], ["m", "", "x"], {"n": np.array(3), "m": np.array(4)})
    assert cost(proto) == (256, 12 * ROUND, True)


def test_weights_that_a_loop_carries_stay_weights() -> None:
    nodes = [node("MatMul", ["s", "v"], ["m"]), node("MatMul", ["m", "u"], ["s2"]), node("Identity", ["v"], ["v2"])]
    inner = body([*nodes, PASS_ON], {"i": INT, "go": BOOL, "s": FLOAT, "v": FLOAT}, ["on", "s2", "v2"])
    proto = model(
        [node("Loop", ["n", "", "x", "w"], ["h", "after"], body=inner), node("MatMul", ["h", "after"], ["y"])],
        {"x": [1, 8, 16]},
        ["y"],
        {"w": (16, 24), "u": (24, 16), "n": np.array(5)},
    )
    assert cost(proto) == (2 * 16 * 24, (5 * 2 + 1) * 2 * 8 * 16 * 24, True)
    assert frontends.trace(proto).op_counts()["Linear"] == 3


@pytest.mark.parametrize("start", ["zeros", "constant", "initializer", "trained"])
def test_recurrences_that_start_from_a_constant(start: str) -> None:
    nodes = [
        node("MatMul", ["e", "w"], ["a"]), node("MatMul", ["s", "u"], ["b"]), node("Add", ["a", "b"], ["c"]),
        node("Tanh", ["c"], ["s2"]), node("Identity", ["s2"], ["each"]),
    ]  # fmt: skip
    scan = node("Scan", ["h", "x"], ["last", "y"], num_scan_inputs=1, body=body(nodes, {"s": FLOAT, "e": FLOAT},
                                                                                  ["s2", "each"]))  # fmt: skip
    weights: dict[str, Any] = {"w": (16, 12), "u": (12, 12)}
    before = []
    if start == "zeros":
        before, weights["size"] = [node("ConstantOfShape", ["size"], ["h"])], np.array([1, 12])
    elif start == "constant":
        before = [node("Constant", [], ["h"], value=helper.make_tensor("h", FLOAT, [1, 12], [0.0] * 12))]
    else:
        weights["h"] = np.zeros((1, 12), np.float32) if start == "initializer" else (1, 12)
    proto = model([*before, scan], {"x": [8, 1, 16]}, ["y"], weights)
    trained = 12 if start == "trained" else 0
    assert cost(proto) == (16 * 12 + 12 * 12 + trained, 2 * 8 * (16 * 12 + 12 * 12), True)


def test_a_state_of_zeros_meets_what_the_body_captures() -> None:
    nodes = [node("Add", ["s", "x"], ["a"]), node("MatMul", ["a", "w"], ["s2"]), PASS_ON]
    proto = loop(nodes, ["n", "", "h"], {"n": np.array(3), "h": np.zeros((1, 8, 16), np.float32)})
    assert cost(proto) == (256, 3 * ROUND, True)


def test_variables_that_grow_have_their_last_size_and_the_cost_of_the_first_round() -> None:
    nodes = [node("Concat", ["s", "x"], ["s2"], axis=1), node("MatMul", ["s2", "w"], ["m"]), PASS_ON]
    proto = loop(nodes, ["n", "", "x"], {"n": np.array(3)})
    assert tensor_sizes(proto, TraceRequest())["y"] == (1, 32, 16)
    assert not frontends.trace(proto).complete


def test_sequences_that_grow_have_the_elements_of_all_rounds() -> None:
    nodes = [
        node("Gather", ["x", "i"], ["e"], axis=1), node("MatMul", ["e", "w"], ["m"]),
        node("SequenceInsert", ["s", "m"], ["s2"]), PASS_ON,
    ]  # fmt: skip
    inner = body(nodes, {"i": INT, "go": BOOL}, ["on", "s2"])
    inner.input.append(helper.make_tensor_sequence_value_info("s", FLOAT, None))
    proto = model(
        [
            node("SequenceEmpty", [], ["none"]),
            node("Loop", ["n", "", "none"], ["all"], body=inner),
            node("ConcatFromSequence", ["all"], ["y"], axis=1, new_axis=1),
        ],
        {"x": [1, 8, 16]},
        ["y"],
        {"w": (16, 4), "n": np.array(8)},
    )
    assert cost(proto) == (64, 8 * 2 * 16 * 4, True)
    assert tensor_sizes(proto, TraceRequest())["y"] == (1, 8, 4)


def test_what_only_its_size_is_read_of_has_no_cost() -> None:
    """Keras computes a first step of a masked layer for the size of its result."""
    nodes = [
        node("MatMul", ["x", "v"], ["a"]), node("Shape", ["a"], ["n"]), node("ConstantOfShape", ["n"], ["zeros"]),
        node("MatMul", ["x", "w"], ["b"]), node("Add", ["b", "zeros"], ["y"]),
    ]  # fmt: skip
    proto = model(nodes, {"x": [1, 8, 16]}, ["y"], {"v": (16, 16), "w": (16, 16)})
    for level in ("module", "inference"):
        assert cost(proto, level=level) == (256, ROUND, True)
    nodes[4] = node("Add", ["b", "a"], ["y"])  # read as well
    assert cost(model(nodes, {"x": [1, 8, 16]}, ["y"], {"v": (16, 16), "w": (16, 16)})) == (512, 2 * ROUND, True)


class Scanned(nn.Module):
    """A recurrence by PyTorch's own scan, from a state of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.element = nn.Linear(4, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        def step(state: Tensor, element: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(self.state(state) + self.element(element))
            return state, state.clone()

        return scan(step, torch.zeros(x.shape[1], 4), x, dim=0)[1]


def test_a_scan_of_pytorch_and_its_file() -> None:
    module, x = Scanned().eval(), torch.zeros(7, 2, 6)
    of_module = frontends.trace(module, x, batch=1)
    of_file = frontends.trace(exported(module, (x,), "dynamo"), batch=1)
    assert of_file.flops == 7 * 2 * (4 * 4 + 4 * 6)
    assert cgir.isomorphic(of_module, of_file), cgir.diff(of_module, of_file)
