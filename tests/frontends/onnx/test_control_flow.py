"""Control flow of ONNX: bodies of loops and branches are part of the graph, with the number of times that they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_samples import model

import cgir
import frontends
from cgir import TraceError
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes

node = helper.make_node


def body(
    nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, Any]], outputs: dict[str, tuple[int, Any]]
) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "body",
        *([helper.make_tensor_value_info(n, *kind) for n, kind in side.items()] for side in (inputs, outputs)),
    )


FLOAT, BOOL, INT = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def test_loops_count_their_rounds() -> None:
    inner = body(
        [node("MatMul", ["h", "w"], ["out"]), node("Identity", ["go"], ["again"])],
        {"i": (INT, []), "go": (BOOL, []), "h": (FLOAT, None)},
        {"again": (BOOL, None), "out": (FLOAT, None), "each": (FLOAT, None)},
    )
    inner.node.append(node("Relu", ["out"], ["each"]))
    loop = node("Loop", ["rounds", "", "x"], ["last", "all"], body=inner, name="steps")
    proto = model(
        [loop, node("Relu", ["last"], ["y"])], {"x": [2, 4]}, ["y", "all"], {"w": (4, 4), "rounds": np.array(5)}
    )
    graph = frontends.trace(proto)
    assert graph.op_counts()["Loop"] == 1
    assert (graph.num_params, graph.flops) == (16, 5 * 32)
    assert tensor_sizes(proto, TraceRequest())["all"] == (5, 2, 4)
    assert next(n for n in graph.nodes if n.op == "Linear").module == "steps.body"


def test_both_branches_of_a_condition_are_kept() -> None:
    branches = [
        body([node("MatMul", ["x", weight], [f"{weight}.out"])], {}, {f"{weight}.out": (FLOAT, None)})
        for weight in ("w", "v")
    ]
    nodes = [
        node("ReduceMax", ["x"], ["top"], keepdims=0), node("Greater", ["top", "zero"], ["flag"]),
        node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]  # fmt: skip
    graph = frontends.trace(
        model(nodes, {"x": [2, 4]}, ["y"], {"w": (4, 4), "v": (4, 4), "zero": np.array(0, np.float32)})
    )
    assert (graph.op_counts()["If"], graph.op_counts()["Linear"], graph.num_params) == (1, 2, 32)
    known = model([nodes[2]], {"x": [2, 4]}, ["y"], {"w": (4, 4), "v": (4, 4), "flag": np.array(True)})
    assert frontends.trace(known).op_counts() == {"Input": 1, "Linear": 1, "Output": 1}


def test_scan_runs_once_for_every_element() -> None:
    inner = body([node("MatMul", ["h", "w"], ["m"]), node("Add", ["m", "t"], ["n"]), node("Identity", ["n"], ["each"])],
                 {"h": (FLOAT, [4]), "t": (FLOAT, [4])}, {"n": (FLOAT, [4]), "each": (FLOAT, [4])})  # fmt: skip
    proto = model(
        [node("Scan", ["h0", "x"], ["last", "all"], body=inner, num_scan_inputs=1)],
        {"h0": [4], "x": [7, 4]},
        ["last", "all"],
        {"w": (4, 4)},
    )
    assert tensor_sizes(proto, TraceRequest())["all"] == (7, 4)
    assert frontends.trace(proto).flops == 7 * 2 * 4 * 4


def test_example_inputs_decide_a_condition_and_the_other_branch_is_not_walked() -> None:
    branches = [
        body([node("MatMul", ["x", "w"], ["a"])], {}, {"a": (FLOAT, None)}),
        body([node("MatMul", ["x", "v"], ["b"])], {}, {"b": (FLOAT, None)}),  # of another size, which does not fit
    ]
    decide = [
        node("Equal", ["rate", "fast"], ["flag"]),
        node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    weights = {"w": (4, 4), "v": (5, 4), "fast": np.array(16000)}
    proto = model(decide, {"x": [2, 4]}, ["y"], weights)
    proto.graph.input.add().CopyFrom(helper.make_tensor_value_info("rate", INT, []))
    graph = frontends.trace(proto, inputs={"x": np.zeros((2, 4), np.float32), "rate": np.array(16000)})
    assert (graph.op_counts()["Linear"], graph.num_params, "If" in graph.op_counts()) == (1, 16, False)
    with pytest.raises(TraceError, match="MatMul"):
        frontends.trace(proto, inputs={"x": np.zeros((2, 4), np.float32), "rate": np.array(8000)})


@pytest.mark.parametrize("kind", ["initializer", "constant"])
@pytest.mark.parametrize("widths", [(4, 4), (4, 5)])
def test_weights_of_two_subgraphs_may_have_the_same_name(kind: str, widths: tuple[int, int]) -> None:
    branches = []
    for width in widths:
        weight = numpy_helper.from_array(np.ones((4, width), np.float32), "w")
        nodes = [node("Constant", [], ["w"], value=weight)] if kind == "constant" else []
        branches.append(body([*nodes, node("MatMul", ["x", "w"], ["a"])], {}, {"a": (FLOAT, None)}))
        branches[-1].initializer.extend([weight] if kind == "initializer" else [])
    proto = model([node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])], {"x": [2, 4]}, ["y"])
    proto.graph.input.add().CopyFrom(helper.make_tensor_value_info("c", BOOL, []))
    graph = frontends.trace(proto)
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (4 * sum(widths), 2 * 4 * sum(widths))


def test_a_sequence_map_costs_every_element() -> None:
    inner = body([node("MatMul", ["e", "w"], ["o"])], {"e": (FLOAT, None)}, {"o": (FLOAT, None)})
    for length, complete in ((2, True), (3, False)):  # 8 elements along the axis: parts of 3, 3 and 2
        nodes = [
            node("SplitToSequence", ["x", "length"], ["parts"], axis=1),
            node("SequenceMap", ["parts"], ["all"], body=inner),
            node("ConcatFromSequence", ["all"], ["y"], axis=1),
        ]
        graph = frontends.trace(model(nodes, {"x": [1, 8, 4]}, ["y"], {"w": (4, 5), "length": np.array(length)}))
        assert (graph.num_params, graph.complete) == (20, complete)
        assert graph.flops == (2 * 8 * 20 if complete else 2 * 3 * 20)


def test_an_element_of_a_split_tensor_at_an_unknown_place() -> None:
    """The list of chunks that a loop goes through: each round reads one of them."""
    body = helper.make_graph(
        [
            node("SequenceAt", ["parts", "i"], ["part"]),
            node("MatMul", ["part", "w"], ["product"]),
            node("SequenceInsert", ["before", "product"], ["after"]),
            node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_sequence_value_info("before", TensorProto.FLOAT, None),
        ],
        [helper.make_empty_tensor_value_info(name) for name in ("on", "after")],
    )
    nodes = [
        node("SplitToSequence", ["x"], ["parts"], axis=1),
        node("SequenceEmpty", [], ["empty"]),
        node("SequenceLength", ["parts"], ["length"]),
        node("Loop", ["length", "", "empty"], ["products"], body=body),
        node("ConcatFromSequence", ["products"], ["y"], axis=1),
    ]
    for level in ("module", "inference"):
        graph = frontends.trace(model(nodes, {"x": [1, 8, 16]}, ["y"], {"w": (16, 12)}), level=level)
        cgir.verify(graph)
        assert (graph.num_params, graph.flops, graph.complete) == (16 * 12, 8 * 2 * 16 * 12, True)
        assert [n.shape for n in graph.nodes if n.op == "Output"] == [(12, 8)]
