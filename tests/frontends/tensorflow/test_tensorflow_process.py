"""Shape functions of operators that no network has run in a process of their own: what ends it is an error here."""

from __future__ import annotations

from typing import Any

import pytest

import cgir
import frontends

import tensorflow as tf  # isort: skip
from tensorflow.core.framework import graph_pb2, node_def_pb2  # isort: skip
from tensorflow.python.framework import op_def_registry  # isort: skip
from tensorflow_samples import graph_of  # isort: skip

from frontends.tensorflow import shape_inference, tensorflow_process  # isort: skip
from frontends.tensorflow.operator_checks import REFUSED  # isort: skip
from frontends.tensorflow.tried_operators import TRIED  # isort: skip


def infeed(shapes: int) -> Any:
    """A GraphDef of an operator that writes a shape for each that it is given, also beyond its one result."""
    graph = graph_pb2.GraphDef()
    node = graph.node.add(name="n", op="InfeedDequeueTuple")
    node.attr["dtypes"].list.type.append(1)
    for _ in range(shapes):
        node.attr["shapes"].list.shape.add().dim.add(size=2)
    return graph


def test_operators_that_end_their_process() -> None:
    assert "InfeedDequeueTuple" not in TRIED
    for _ in range(2):
        assert frontends.trace(infeed(1)).nodes[-1].shape == (2,)
        with pytest.raises(cgir.TraceError, match=r"node 'n' \(InfeedDequeueTuple\): TensorFlow's own code ended with"):
            frontends.trace(infeed(2))


def test_answers_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = [graph_of(("b", op, ("a",))) for op in ("Softmax", "Diag", "XlaSharding", "L2Loss")]
    graphs += [graph_of(("b", "MatMul", ("a", "a")))]
    graphs.append(graph_of(("b", "Tile", ("a", "c")), ("c", "Const", ())))
    graphs[-1].node[2].attr["dtype"].type = 3
    graphs[-1].node[2].attr["value"].tensor.CopyFrom(tf.make_tensor_proto([3]))
    results = []
    for tried in (TRIED | {"XlaSharding"}, frozenset()):
        monkeypatch.setattr(shape_inference, "TRIED", tried)
        found: list[Any] = []
        for graph in graphs:
            try:
                found.append([node.shape for node in frontends.trace(graph).nodes])
            except cgir.TraceError as error:
                found.append(str(error).partition(" for '")[0])
        results.append(found)
    assert results[0] == results[1]
    assert results[0][5][-1] == (3,)  # of an example of one number
    assert any(isinstance(item, str) for item in results[0])


def test_operators_of_loaded_libraries_are_inferred_here() -> None:
    node = node_def_pb2.NodeDef(name="n", op="OfALibrary")
    assert tensorflow_process.result_shapes(node, (), cgir.limits.DEFAULT) is None


def test_names_are_those_of_operators() -> None:
    """A name that is misspelled would start a process for nothing."""
    assert all(op_def_registry.get(name) is not None for name in TRIED)
    assert not any(REFUSED.fullmatch(name) for name in TRIED)
