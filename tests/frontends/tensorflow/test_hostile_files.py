"""TensorFlow graphs and files that must be refused in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cgir
import frontends
from cgir.limits import Limits

import tensorflow as tf  # isort: skip
from google.protobuf import text_format  # isort: skip
from tensorflow.core.framework import function_pb2, graph_pb2  # isort: skip
from tensorflow.core.protobuf import saved_model_pb2  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip
from tensorflow_samples import SPEC, WEIGHT, counted, function, graph_of, quiet  # isort: skip

from frontends.tensorflow import loop_analysis  # isort: skip
from frontends.tensorflow.graph_def import INT32, TFTensor  # isort: skip


BROKEN = {
    "waits for itself": graph_of(("b", "AddV2", ("a", "c")), ("c", "AddV2", ("a", "b")), ("d", "Relu", ("b",))),
    "is read but not there": graph_of(("b", "Relu", ("nowhere",))),
    "nothing computes it": graph_of(("b", "Relu", ("a:3",))),
    "refuses operands": graph_of(("b", "MatMul", ("a", "a"))),
    "two nodes are called": graph_of(("b", "Relu", ("a",)), ("b", "Tanh", ("a",))),
    "has no nodes": graph_pb2.GraphDef(),
    "not one of TensorFlow's": graph_of(("b", "MadeUpOperator", ("a",))),
    "no node of the graph is a result": graph_of(("b", "Relu", ("c",)), ("c", "Relu", ("b",))),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_graphs(message: str) -> None:
    with pytest.raises(cgir.CgirError, match=message):
        frontends.trace(BROKEN[message])


def test_nodes_may_stand_in_any_order() -> None:
    graph = graph_of(("c", "Tanh", ("b",)), ("b", "Relu", ("a", "^c0")), ("c0", "NoOp", ()))
    assert list(frontends.trace(graph).op_counts()) == ["Input", "ReLU", "Tanh", "Output"]


def test_unknown_operators_with_known_sizes_are_opaque() -> None:
    graph = graph_of(("b", "MadeUpOperator", ("a",)))
    graph.node[1].attr["_output_shapes"].list.shape.add().dim.add(size=5)
    found = frontends.trace(graph)
    assert found.op_counts()["Opaque:tf.MadeUpOperator"] == 1
    with pytest.raises(cgir.UnsupportedOpError, match="MadeUpOperator"):
        frontends.trace(graph, strict=True)


@pytest.mark.parametrize("content", [b"", b"this is text\n" * 20, b"\x0a\xff\xff\xff\xff\x0f"])
def test_broken_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pb").write_bytes(content)
    (tmp_path / "saved_model.pb").write_bytes(content)
    for path in (tmp_path / "model.pb", tmp_path):
        with pytest.raises(cgir.TraceError, match=str(tmp_path)):
            frontends.trace(path)


def test_truncated_files(tmp_path: Path) -> None:
    made = convert_variables_to_constants_v2(function(counted).get_concrete_function(), lower_control_flow=False)
    content = made.graph.as_graph_def().SerializeToString()
    for place in range(0, len(content), len(content) // 40):
        (tmp_path / "cut.pb").write_bytes(content[:place])
        with pytest.raises(cgir.CgirError):
            frontends.trace(tmp_path / "cut.pb")


def test_signatures(tmp_path: Path) -> None:
    module = tf.Module()
    module.weight = WEIGHT
    module.one, module.two = function(lambda x: x @ WEIGHT), function(lambda x: tf.nn.relu(x @ WEIGHT))
    with quiet():
        tf.saved_model.save(module, str(tmp_path / "two"), signatures={"one": module.one, "two": module.two})
    with pytest.raises(cgir.TraceError, match=r"\['one', 'two'\]"):
        frontends.trace(tmp_path / "two")
    with quiet():
        loaded = tf.saved_model.load(str(tmp_path / "two"))
    assert frontends.trace(loaded.signatures["two"]).op_counts()["ReLU"] == 1
    with quiet():
        tf.saved_model.save(module, str(tmp_path / "one"), signatures={"only": module.one})
    assert frontends.trace(tmp_path / "one").num_params == 16
    with quiet():
        tf.saved_model.save(module, str(tmp_path / "none"))
    with pytest.raises(cgir.TraceError, match=r"no signature; it has the functions \['one', 'two'\]"):
        frontends.trace(tmp_path / "none")
    with quiet():
        loaded = tf.saved_model.load(str(tmp_path / "none"))
    with pytest.raises(cgir.TraceError, match=r"no signature; it has the functions \['one', 'two'\]"):
        frontends.trace(loaded)
    assert frontends.trace(loaded.two).op_counts()["ReLU"] == 1
    with pytest.raises(cgir.TraceError, match=r"trace one of its functions \['one', 'two'\]"):
        frontends.trace(module)


class Callable(tf.Module):  # type: ignore[misc]
    """A module with a call that is no tf.function."""

    def __call__(self, x: Any) -> Any:
        return tf.nn.relu(x @ WEIGHT)


class CallableFunction(tf.Module):  # type: ignore[misc]
    """A module with a call that is a tf.function."""

    @tf.function(input_signature=[SPEC])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        return tf.nn.relu(x @ WEIGHT)


def test_modules_that_can_be_called(tmp_path: Path) -> None:
    twin = frontends.trace(function(lambda x: tf.nn.relu(x @ WEIGHT)))
    assert cgir.isomorphic(frontends.trace(Callable(), input_shape=(1, 4)), twin)
    assert cgir.isomorphic(frontends.trace(CallableFunction()), twin)
    with pytest.raises(cgir.TraceError, match="input_shape="):
        frontends.trace(Callable())
    module = CallableFunction()
    module.weight = WEIGHT
    with quiet():
        tf.saved_model.save(module, str(tmp_path))
        loaded = tf.saved_model.load(str(tmp_path))
    assert cgir.isomorphic(frontends.trace(loaded), twin)


def test_graphs_as_text(tmp_path: Path) -> None:
    made = convert_variables_to_constants_v2(function(counted).get_concrete_function())
    tf.io.write_graph(made.graph, str(tmp_path), "graph.pbtxt", as_text=True)
    assert cgir.isomorphic(frontends.trace(tmp_path / "graph.pbtxt"), frontends.trace(made))
    for content in ("node { name: 'a", "this is text", "node {} node {}"):
        (tmp_path / "graph.pbtxt").write_text(content)
        with pytest.raises(cgir.CgirError, match="graph"):
            frontends.trace(tmp_path / "graph.pbtxt")
    module = tf.Module()
    module.weight, module.run = WEIGHT, function(lambda x: x @ WEIGHT)
    with quiet():
        tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.run)
    binary = tmp_path / "saved" / "saved_model.pb"
    graph = frontends.trace(binary)
    text = text_format.MessageToString(saved_model_pb2.SavedModel.FromString(binary.read_bytes()))
    (tmp_path / "saved" / "saved_model.pbtxt").write_text(text)
    binary.unlink()
    for path in (tmp_path / "saved", tmp_path / "saved" / "saved_model.pbtxt"):
        assert cgir.isomorphic(frontends.trace(path), graph)


@pytest.mark.parametrize(
    ("model", "kwargs", "message"),
    [
        (tf.function(lambda x: x), {}, "input_signature"),
        (function(lambda x: tf.boolean_mask(x, x[:, 0] > 0)), {}, "depends on values"),
        (function(tf.nn.relu), {"input_shape": (1, 5)}, "cannot be traced|does not take"),
        (function(tf.nn.relu), {"input_shape": ((1, 4), (1, 4))}, "cannot be traced|inputs"),
        (tf.Module(), {}, "cannot be called; trace a tf.function"),
        (
            tf.function(tf.nn.relu, input_signature=[tf.TensorSpec((None, None), tf.float32)]),
            {},
            "only the batch may be open",
        ),
    ],
)
def test_refusals(model: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(cgir.TraceError, match=message):
        frontends.trace(model, **kwargs)


FUNCTION = """signature {{ name: "{0}" input_arg {{ name: "i" type: DT_INT32 }}
output_arg {{ name: "r" type: DT_INT32 }} }}
node_def {{ name: "a" op: "PartitionedCall" input: "i" {1} }}
node_def {{ name: "b" op: "PartitionedCall" input: "a:output:0" {1} }}
ret {{ key: "r" value: "b:output:0" }}"""
CALL = """attr {{ key: "f" value {{ func {{ name: "f{}" }} }} }}
attr {{ key: "Tin" value {{ list {{ type: DT_INT32 }} }} }}
attr {{ key: "Tout" value {{ list {{ type: DT_INT32 }} }} }}"""


def test_conditions_of_loops_that_call_functions_exponentially_often(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = {
        f"f{depth}": text_format.Parse(FUNCTION.format(f"f{depth}", CALL.format(depth + 1)), function_pb2.FunctionDef())
        for depth in range(40)
    }
    functions["f40"] = functions["f39"].__deepcopy__()
    functions["f40"].ret["r"] = "i"
    monkeypatch.setattr(loop_analysis, "MAX_EVALUATIONS", 500)
    counter = TFTensor((), INT32, np.array(1))
    assert loop_analysis.trip_count(functions, "f0", "f39", [counter]) is None


def doubling(count: int) -> Any:
    """A GraphDef of functions each of which calls the one before twice."""
    graph = graph_pb2.GraphDef()
    for number in range(count):
        function = graph.library.function.add()
        function.signature.name = f"f{number}"
        function.signature.input_arg.add(name="x", type=1)
        function.signature.output_arg.add(name="y", type=1)
        last = "x"
        for call in range(2):
            node = function.node_def.add(name=f"c{call}", op="PartitionedCall" if number else "Relu", input=[last])
            if number:
                _call(node, f"f{number - 1}")
            else:
                node.attr["T"].type = 1
            last = f"c{call}:output:0" if number else f"c{call}:activations:0"
        function.ret["y"] = last
    first = graph.node.add(name="a", op="Placeholder")
    first.attr["dtype"].type = 1
    first.attr["shape"].shape.dim.add(size=2)
    _call(graph.node.add(name="b", op="PartitionedCall", input=["a"]), f"f{count - 1}")
    return graph


def _call(node: Any, function: str) -> None:
    node.attr["f"].func.name = function
    for key in ("Tin", "Tout"):
        node.attr[key].list.type.append(1)


def test_functions_are_counted_before_they_are_expanded() -> None:
    with pytest.raises(cgir.errors.LimitError, match=r"functions expanded: takes .* nodes"):
        frontends.trace(doubling(90))
    with pytest.raises(cgir.errors.LimitError, match="depth"):
        frontends.trace(doubling(150))
    assert frontends.trace(doubling(3)).op_counts()["ReLU"] == 8
    with pytest.raises(cgir.errors.LimitError, match="nodes"):
        frontends.trace(doubling(3), limits=Limits(nodes=10))


def test_what_would_end_the_process_is_refused() -> None:
    """Shape functions of TensorFlow abort on these."""
    wide = graph_of(("b", "CollectiveGather", ("a",)))
    wide.node[1].attr["group_size"].i = -(2**63)
    with pytest.raises(cgir.TraceError, match="hand tensors to other devices or programs"):
        frontends.trace(wide)
    split = graph_of(("b", "SplitV", ("a", "sizes", "axis")))
    split.node[1].attr["num_split"].i, split.node[1].attr["Tlen"].type = 1, 6
    for name, dtype in (("sizes", 6), ("axis", 3)):
        node = split.node.add(name=name, op="Const")
        node.attr["dtype"].type = node.attr["value"].tensor.dtype = dtype
        node.attr["value"].tensor.int_val.append(2 if dtype == 6 else 0)
        if dtype == 6:
            node.attr["value"].tensor.tensor_shape.dim.add(size=1)
    with pytest.raises(cgir.TraceError, match="'b'"):
        frontends.trace(split)
    split.node[1].attr["Tlen"].type = split.node[2].attr["dtype"].type = 3
    split.node[2].attr["value"].tensor.dtype = 3
    split.node[2].attr["value"].tensor.tensor_shape.dim.add(size=1)
    with pytest.raises(cgir.TraceError, match="sizes have 2 axes, expected one"):
        frontends.trace(split)
    many = graph_of(("b", "Unpack", ("a",)))
    many.node[1].attr["num"].i = 10**12
    with pytest.raises(cgir.TraceError, match="results, more than can be followed"):
        frontends.trace(many)
    gathered = graph_of(("b", "GatherV2", ("a", "a", "a")))
    gathered.node[1].attr["batch_dims"].i, gathered.node[1].attr["Tparams"].type = 2**31 - 1, 1
    gathered.node[1].attr["Tindices"].type = gathered.node[1].attr["Taxis"].type = 3
    with pytest.raises(cgir.TraceError, match="at most 254 axes"):
        frontends.trace(gathered)
    pooled = graph_of(("b", "MaxPool", ("a",)))
    pooled.node[1].attr["ksize"].list.i.extend([1, 2**40, 1, 1])
    with pytest.raises(cgir.TraceError, match="expected a number of 32 bits"):
        frontends.trace(pooled)
