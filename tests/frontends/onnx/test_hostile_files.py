"""Damaged and hostile ONNX files: one clear error, quickly, and nothing outside the file is opened."""

from __future__ import annotations

import builtins
import io
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_samples import model, small

import frontends
from cgir import CgirError, TraceError
from frontends.onnx.weight_stripping import from_bytes

node = helper.make_node


def external(location: str) -> onnx.ModelProto:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"x": [2, 4]}, ["y"])
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 5], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    proto.graph.initializer.append(tensor)
    return proto


@pytest.mark.parametrize(
    "location", ["../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\data", "..\\up", "\\\\host\\share", ""]
)
def test_external_data_outside_the_folder_are_refused(location: str) -> None:
    with pytest.raises(
        TraceError, match=r"'w' says that its contents lie outside the model's folder, in .*; the file was not opened"
    ):
        frontends.trace(external(location))


def test_external_data_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(external("weights.bin").SerializeToString())
    (tmp_path / "weights.bin").symlink_to("/etc/passwd")
    opened: list[str] = []
    for owner, name in ((builtins, "open"), (io, "open"), (os, "open")):
        original = getattr(owner, name)
        monkeypatch.setattr(
            owner,
            name,
            lambda file, *args, original=original, **kwargs: (
                opened.append(str(file)),
                original(file, *args, **kwargs),
            )[1],
        )
    assert frontends.trace(path).num_params == 20
    assert not [file for file in opened if "weights.bin" in file or "passwd" in file]


def broken() -> dict[str, tuple[onnx.ModelProto, str]]:
    """Models that cannot be followed, and what the message says."""
    relu = node("Relu", ["x"], ["y"])
    x: dict[str, Any] = {"x": [2, 3]}
    negative = model([node("Add", ["x", "w"], ["y"])], x, ["y"], {"w": (3,)})
    negative.graph.initializer[0].dims[0] = -5
    twice = model([relu], x, ["y"], {"w": (3,)})
    twice.graph.initializer.append(twice.graph.initializer[0])
    result = [helper.make_empty_tensor_value_info("y")]
    nested = leaf = helper.make_graph([relu], "leaf", [], result)
    for _ in range(20):
        nested = helper.make_graph([node("If", ["c"], ["y"], then_branch=nested, else_branch=leaf)], "body", [], result)
    condition = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["c"], to=TensorProto.BOOL)]
    deep = model([*condition, node("If", ["c"], ["z"], then_branch=nested, else_branch=leaf)], x, ["z"])
    function = helper.make_function(
        "local", "f", ["a"], ["b"], [node("f", ["a"], ["b"], domain="local")], [helper.make_opsetid("local", 1)]
    )
    recursive = model([node("f", ["x"], ["y"], domain="local")], x, ["y"])
    recursive.functions.append(function)
    recursive.opset_import.append(helper.make_opsetid("local", 1))
    return {
        "cycle": (
            model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], x, ["b"]),
            "the nodes go in a circle",
        ),
        "missing input": (model([node("Add", ["x", "ghost"], ["y"])], x, ["y"]), "reads 'ghost', which nobody makes"),
        "made twice": (model([relu, relu], x, ["y"]), "makes 'y', which is there already"),
        "missing output": (model([relu], x, ["z"]), "the model's output 'z' is made by no node"),
        "no output": (model([relu], x, []), "there is no graph with outputs"),
        "negative": (negative, r"initializer 'w' has size \(-5,\)"),
        "two initializers": (twice, "two initializers 'w'"),
        "deep": (deep, "nested more than"),
        "recursive function": (recursive, "cannot be inlined: Cycle"),
        "no operands": (model([node("Conv", [], ["y"])], x, ["y"]), r"node 0 \(Conv -> y\)"),
        "shapes that do not fit": (
            model([node("MatMul", ["x", "w"], ["y"])], x, ["y"], {"w": (7, 7)}),
            "shape inference refuses",
        ),
        "unknown opset": (
            model([node("Relu", ["x"], ["y"], domain="nowhere")], x, ["y"]),
            "operators of domain 'nowhere' are unknown",
        ),
        "reshape by external data": (
            model([node("Reshape", ["x", "s"], ["y"])], x, ["y"], {"s": (2,)}),
            "shape inference refuses",
        ),
    }


@pytest.mark.parametrize("name", list(broken()))
def test_broken_models_give_one_clear_line(name: str) -> None:
    proto, message = broken()[name]
    begin = time.perf_counter()
    with pytest.raises(TraceError, match=message) as error:
        frontends.trace(proto)
    assert "\n" not in str(error.value)
    assert time.perf_counter() - begin < 5


def test_huge_declared_shapes_cost_nothing() -> None:
    huge = 2**40
    nodes = [
        node("ConstantOfShape", ["s"], ["big"]), node("Expand", ["x", "s"], ["wide"]),
        node("Add", ["big", "wide"], ["sum"]),
        node("Tile", ["x", "t"], ["tiled"]), node("ReduceSum", ["sum"], ["y"], keepdims=0),
        node("ReduceMax", ["tiled"], ["z"], keepdims=0),
        node("Range", ["zero", "many", "one"], ["r"]), node("OneHot", ["r", "many", "pair"], ["h"]),
        node("ReduceMax", ["h"], ["q"], keepdims=0),
    ]  # fmt: skip
    weights = {
        "s": np.array([huge, 1]),
        "t": np.array([huge, 1]),
        "zero": np.array(0),
        "many": np.array(huge),
        "one": np.array(1),
        "pair": np.array([0, 1]),
    }
    graph = frontends.trace(model(nodes, {"x": [1, 1]}, ["y", "z", "q"], weights), raw=True)
    assert any(huge in n.shape for n in graph.nodes)


def test_a_long_chain_in_reverse_order_is_sorted_quickly() -> None:
    nodes = [node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(3000)]
    proto = model(nodes[::-1], {"t0": [1, 2]}, ["t3000"])
    begin = time.perf_counter()
    assert frontends.trace(proto).op_counts()["ReLU"] == 3000
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 100, b"PK\x03\x04 not a model", b"<html></html>", b"\xff" * 1000, b"\x3a\xff\xff\xff\xff\x0f"],
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"other\.onnx"):
        frontends.trace(path)


def test_damaged_bytes_never_raise_anything_else() -> None:
    """Truncated at every length, and with bytes changed at random: a graph or a `CgirError`, never anything else."""
    data = small().SerializeToString()
    rng = random.Random(0)
    damaged = [data[:length] for length in range(0, len(data), 7)]
    for _ in range(300):
        copy = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            copy[rng.randrange(len(copy) if rng.random() < 0.3 else 400)] = rng.randrange(256)
        damaged.append(bytes(copy))
    outcomes = set()
    for content in damaged:
        try:
            frontends.trace(content)
            outcomes.add("graph")
        except CgirError:
            outcomes.add("error")
    assert outcomes == {"graph", "error"}


REFUSED: dict[str, tuple[onnx.NodeProto, dict[str, Any], str]] = {
    "no operator": (node("Erfc", ["x"], ["y"], name="e"), {}, r"node 'e' \(Erfc\): .* Erfc is no operator of ONNX"),
    "later operator": (node("Swish", ["x"], ["y"]), {}, "Swish is an operator of ONNX since opset 24, .* has opset 20"),
    "endless range": (
        node("Range", ["a", "b", "c"], ["y"], name="r"),
        {"a": np.array(0), "b": np.array(16), "c": np.array(0)},
        r"node 'r' \(Range\): Range has a delta of 0, expected another number",
    ),
    "endless range of floats": (
        node("Range", ["a", "b", "c"], ["y"], name="r"),
        {"a": np.array(0.0), "b": np.array(16.0), "c": np.array(0.0)},
        r"node 'r' \(Range\): Range has a delta of 0",
    ),
    "window": (node("Conv", ["x", "w"], ["y"], name="c"), {"w": (4, 4, 9)}, r"window of \(9,\) does not fit .*4, 8\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_model_can_have_is_named(name: str) -> None:
    operator, weights, message = REFUSED[name]
    with pytest.raises(TraceError, match=message):
        frontends.trace(model([operator], {"x": [2, 4, 8]}, ["y"], weights))


def test_attributes_of_many_numbers_are_read_quickly() -> None:
    """Trees have millions of numbers, each of which is a field of its own in the file."""
    numbers = np.arange(300_000, dtype=np.float32)
    tree = node("TreeEnsembleRegressor", ["x"], ["t"], domain="ai.onnx.ml", nodes_values=numbers.tolist())
    proto = model([tree, node("Relu", ["x"], ["y"])], {"x": [2, 4]}, ["y"])
    data = proto.SerializeToString()
    start = time.perf_counter()
    stripped = from_bytes(data)
    assert time.perf_counter() - start < 1
    assert len(stripped.graph.node[0].attribute[0].floats) == 300_000


def test_sizes_that_no_machine_has_are_an_error() -> None:
    value = helper.make_tensor_value_info
    sizes = value("x", 1, [1] + [2**62] * 29)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [sizes], [value("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(TraceError, match="2\\^63 or more"):
        frontends.trace(model.SerializeToString())
