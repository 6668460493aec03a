"""Small ONNX files that would take much memory or time, and names that are no text: one error, at once."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_samples import model

import frontends
from cgir import LimitError, TraceError
from cgir.limits import Limits
from frontends.common.constant_folding import LIMIT, fold
from frontends.onnx.module_paths import module_path

node = helper.make_node
X: dict[str, Any] = {"x": [2, 3]}


def with_functions(bodies: dict[str, list[onnx.NodeProto]], called: str) -> onnx.ModelProto:
    """A model that calls one of some functions, each of which makes "b" of "a"."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    proto = model([node(called, ["x"], ["y"], domain="my")], X, ["y"], opset=18)
    proto.opset_import.append(opsets[1])
    proto.functions.extend(
        helper.make_function("my", name, ["a"], ["b"], nodes, opsets) for name, nodes in bodies.items()
    )
    return proto


def calls(function: str, *names: str) -> list[onnx.NodeProto]:
    return [node(function, [a], [b], domain="my") for a, b in pairwise(names)]


def doubling(count: int) -> onnx.ModelProto:
    bodies = {"F0": [node("Relu", ["a"], ["b"])]}
    bodies |= {f"F{i}": calls(f"F{i - 1}", "a", "c", "b") for i in range(1, count + 1)}
    return with_functions(bodies, f"F{count}")


def chain() -> onnx.ModelProto:
    bodies = {f"F{i}": calls(f"F{i - 1}", "a", "b") for i in range(1, 3000)}
    return with_functions({"F0": [node("Relu", ["a"], ["b"])]} | bodies, "F2999")


def many_parts() -> onnx.ModelProto:
    nodes = [node("Expand", ["x", "n"], ["e"]), node("SplitToSequence", ["e"], ["s"])]
    lengths = {"n": np.array([2**40, 3])}
    return model([*nodes, node("SequenceLength", ["s"], ["y"])], {"x": [1, 3]}, ["y"], lengths)


def in_branches(count: int) -> onnx.ModelProto:
    """Functions that call each other in both branches of an If."""
    result = [helper.make_empty_tensor_value_info("r")]
    bodies = {"F0": [node("Relu", ["a"], ["b"])]}
    condition = [node("ReduceMax", ["a"], ["m"], keepdims=0), node("Cast", ["m"], ["c"], to=9)]
    for i in range(1, count + 1):
        branch = helper.make_graph(calls(f"F{i - 1}", "a", "q", "r"), "branch", [], result)
        bodies[f"F{i}"] = [*condition, node("If", ["c"], ["b"], then_branch=branch, else_branch=branch)]
    return with_functions(bodies, f"F{count}")


def long_names() -> onnx.ModelProto:
    name = "n" * 1_000_000
    bodies = {"F0": [node("Relu", ["a"], [name]), node("Relu", [name], ["b"])], "F1": calls("F0", *"adefghijklmb")}
    bodies |= {f"F{i}": calls(f"F{i - 1}", *"adefghijklmb") for i in range(2, 5)}
    return with_functions(bodies, "F4")


def loop_with_sequence(rounds: int) -> onnx.ModelProto:
    value = helper.make_tensor_sequence_value_info("s", 1, None)
    inputs = [
        helper.make_tensor_value_info("i", 7, []),
        helper.make_tensor_value_info("on", 9, []),
        value,
    ]
    nodes = [node("Identity", ["on"], ["more"]), node("SequenceInsert", ["s", "x"], ["after"])]
    results = [helper.make_empty_tensor_value_info(name) for name in ("more", "after")]
    body = helper.make_graph(nodes, "body", inputs, results)
    outer = [
        node("SequenceConstruct", ["x"], ["first"]),
        node("Loop", ["n", "", "first"], ["all"], body=body),
        node("ConcatFromSequence", ["all"], ["y"], axis=0),
    ]
    return model(outer, X, ["y"], {"n": np.array(rounds)})


BOMBS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "functions that call twice": (lambda: doubling(60), r"functions, expanded: takes .* nodes, more than .*1,000,000"),
    "functions in branches": (lambda: in_branches(30), r"functions, expanded: takes .* nodes"),
    "functions with long names": (long_names, r"functions, expanded: takes .* bytes"),
    "functions in functions": (chain, "takes 101 depth, more than the limit of 100"),
    "sequence of many parts": (many_parts, r"node 1 \(SplitToSequence -> s\): .* takes 1,099,511,627,776 nodes"),
    "sequence that a loop fills": (lambda: loop_with_sequence(2**39), r"Loop.*a sequence in a loop: takes .* nodes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str) -> None:
    make, message = BOMBS[name]
    data = make().SerializeToString()
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(LimitError, match=message):
            frontends.trace(data)
        assert time.process_time() - begin < 10
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_limits_count_what_functions_expand_to() -> None:
    assert frontends.trace(doubling(4)).op_counts()["ReLU"] == 16
    proto = doubling(4)
    with pytest.raises(LimitError, match="takes 47 nodes, more than the limit of 46"):
        frontends.trace(proto, limits=Limits(nodes=46))
    assert len(frontends.trace(proto, limits=Limits(nodes=47)))
    assert len(frontends.trace(proto, limits=Limits(depth=5)))
    with pytest.raises(LimitError, match="takes 5 depth, more than the limit of 4"):
        frontends.trace(proto, limits=Limits(depth=4))


def test_limits_count_nodes_without_functions() -> None:
    proto = model([node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(20)], {"t0": [1, 2]}, ["t20"])
    with pytest.raises(LimitError, match="the model: takes 20 nodes, more than the limit of 19"):
        frontends.trace(proto, limits=Limits(nodes=19))


def test_number_of_scanned_sequences() -> None:
    identity = [node("Identity", ["a"], ["o"])]
    value = helper.make_tensor_value_info("a", 1, [3])
    body = helper.make_graph(identity, "body", [value], [helper.make_empty_tensor_value_info("o")])
    for number in (10**9, 0, -1):
        scan = node("Scan", ["x"], ["y"], body=body, num_scan_inputs=number)
        with pytest.raises(TraceError, match=f"num_scan_inputs is {number}, expected 1 to 1"):
            frontends.trace(model([scan], X, ["y"]))


COLUMN, ROW = np.arange(LIMIT).reshape(-1, 1), np.arange(LIMIT).reshape(1, -1)
FOLDS: dict[str, tuple[str, tuple[np.ndarray, ...], dict[str, Any]]] = {
    **{name: (name, (COLUMN, ROW), {}) for name in ("add", "mul", "max", "equal", "pow", "mod", "div", "and")},
    "where": ("where", (COLUMN > 3, COLUMN, ROW), {}),
    "clip": ("clip", (COLUMN,), {"a_min": ROW, "a_max": None}),
    "tile": ("tile", (np.arange(9),), {}),
    "one_hot": ("one_hot", (np.zeros(0, np.int64),), {"depth": 10**8}),
}


@pytest.mark.parametrize("name", FOLDS)
def test_folding_makes_nothing_large(name: str) -> None:
    function, arrays, settings = FOLDS[name]
    more = (np.array([10**8, 0]),) if name == "tile" else ()
    tracemalloc.start()
    try:
        assert fold(function, *arrays, *more, **settings) is None
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


# --- names and nesting


def renamed(proto: onnx.ModelProto, name: bytes) -> bytes:
    data: bytes = proto.SerializeToString().replace(name, b"\xff\xfe" + name[2:])
    return data


def test_names_that_are_no_text_are_shown_with_escapes(tmp_path: Path) -> None:
    proto = model([node("Relu", ["x"], ["y"], name="nnnn/relu")], X, ["y"])
    proto.graph.name = "gggg"
    proto.graph.node[0].metadata_props.add(key="namespace", value="vvvv: A/b: B/c")
    graph = frontends.trace(renamed(onnx.load_from_string(renamed(proto, b"gggg")), b"nnnn"))
    assert graph.name == r"\xff\xfegg"
    graph.save(tmp_path / "graph.json")
    assert len(frontends.trace(renamed(proto, b"vvvv"))) == 3


@pytest.mark.parametrize("name", [b"iiii", b"oooo", b"wwww", b"Relu", b"unknown.domain"])
def test_names_that_are_no_text_are_refused(name: bytes) -> None:
    nodes = [node("Add", ["iiii", "wwww"], ["s"]), node("Relu", ["s"], ["r"]), node("Abs", ["r"], ["oooo"])]
    proto = model(
        [*nodes, node("Abs", ["oooo"], ["q"], domain="unknown.domain")], {"iiii": [2]}, ["oooo"], {"wwww": (2,)}
    )
    proto.opset_import.add(domain="unknown.domain", version=1)
    with pytest.raises(TraceError, match=r"\\xff\\xfe") as error:
        frontends.trace(renamed(proto, name))
    assert str(error.value).isprintable()


def test_long_names_leave_room_for_the_reason() -> None:
    with pytest.raises(TraceError, match=r"node 'AAA.* \.\.\. A.*no operator of ONNX") as error:
        frontends.trace(model([node("Nope", ["x"], ["y"], name="A" * 10**6)], X, ["y"]))
    assert len(str(error.value)) < 400


def field(number: int, content: bytes) -> bytes:
    """A field of a message in protobuf's wire format."""
    out = bytearray()
    for value in (number << 3 | 2, len(content)):
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out) + content


@pytest.mark.parametrize("rest", [b"", b"\x00" * 200_000])
def test_deeply_nested_files(rest: bytes, tmp_path: Path) -> None:
    graph = rest
    for _ in range(1000):
        attribute = field(1, b"body") + field(6, graph)
        graph = field(1, field(5, attribute) + field(4, b"If") + field(2, b"y")) + field(12, field(1, b"y"))
    path = tmp_path / "nested.onnx"
    path.write_bytes(field(7, graph))
    for source in (path, path.read_bytes()):
        with pytest.raises(TraceError, match="no ONNX model, or a damaged one"):
            frontends.trace(source)


def test_scopes_are_read_and_not_evaluated() -> None:
    relu = node("Relu", ["x"], ["y"])
    entry = relu.metadata_props.add(key="pkg.torch.onnx.name_scopes")
    texts = {
        "['', 'layer1', 'layer1.0', 'relu']": "layer1.0",
        '["", "it\'s", \'relu\']': "it's",
        "['', 'relu']": "",
        "['relu']": "",
        "[]": "",
        "[1, 'a', 'b']": "",
        "-" * 1_000_000 + "1": "",
        "[" * 1_000_000: "",
        "['a', " * 200_000: "",
    }
    for text, path in texts.items():
        entry.value = text
        assert module_path(relu) == path
