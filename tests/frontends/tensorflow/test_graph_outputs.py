"""Outputs of frozen graphs: what nodes that nothing reads return, if they return anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import frontends

import tensorflow as tf  # isort: skip

v1, ops = tf.compat.v1, tf.raw_ops


def written(x: Any) -> Any:
    ops.WriteFile(filename="a", contents=tf.strings.as_string(tf.reduce_sum(x)))
    return x


def counted(x: Any) -> Any:
    v1.get_variable("count", [], use_resource=True).assign_add(tf.reduce_sum(x), read_value=False)
    return x


def summarised(x: Any) -> Any:
    v1.summary.scalar("sum", tf.reduce_sum(x))
    v1.summary.merge_all()
    return x


def called(x: Any) -> Any:
    tf.function(lambda t: [tf.print(t)][1:])(x)
    return x


def printed(x: Any) -> Any:
    return ops.Print(input=x, data=[x])


@pytest.mark.parametrize("between", [written, counted, summarised, called, printed])
def test_nodes_without_results_are_no_outputs(between: Callable[[Any], Any]) -> None:
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (1, 4))
        tf.nn.relu(between(tf.matmul(x, tf.constant([[1.0, 2.0]] * 4))))
    found = frontends.trace(graph.as_graph_def())
    assert (found.num_params, found.flops) == (4 * 2, 2 * 4 * 2)
    assert found.op_counts() == {"Input": 1, "Linear": 1, "ReLU": 1, "Output": 1}
