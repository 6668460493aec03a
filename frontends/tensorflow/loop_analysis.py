"""Analysis of the functions of a TensorFlow loop: its invariant variables and its trip count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from tensorflow.core.framework import function_pb2

from .constant_folding import constant_tensor
from .graph_def import NodeDef, TFTensor, data_inputs, source_of

Functions: TypeAlias = Mapping[str, function_pb2.FunctionDef]
IDENTITY_OPS = frozenset(("Identity", "Cast", "ReadVariableOp", "StopGradient"))


class _LoopFunction:
    """The condition or the body of a loop, analysed from its results backwards."""

    def __init__(self, definition: function_pb2.FunctionDef) -> None:
        self.arguments = {arg.name: index for index, arg in enumerate(definition.signature.input_arg)}
        self.nodes = {node.name: node for node in definition.node_def}
        self.results = [definition.ret.get(arg.name, arg.name) for arg in definition.signature.output_arg]

    def origin(self, ref: str) -> str:
        """The argument or node that a tensor comes from, identities skipped."""
        name = source_of(ref)
        for _ in range(len(self.nodes) + 1):
            node = self.nodes.get(name)
            if node is None or node.op not in IDENTITY_OPS or not data_inputs(node):
                break
            name = source_of(data_inputs(node)[0])
        return name

    def argument(self, ref: str) -> int | None:
        """The index of the argument that a tensor is."""
        return self.arguments.get(self.origin(ref))

    def node(self, ref: str) -> NodeDef | None:
        """The node that computes a tensor."""
        return self.nodes.get(self.origin(ref))

    def constant(self, ref: str, inputs: Sequence[TFTensor], invariant: set[int]) -> int | None:
        """The number of a tensor that is a constant, or an invariant argument of known contents.

        Args:
            ref: to the tensor.
            inputs: that enter the loop.
            invariant: indices of the variables that stay the same.
        """
        index = self.argument(ref)
        tensor = inputs[index] if index is not None and index in invariant else None
        node = self.node(ref)
        if node is not None and node.op == "Const":
            tensor = constant_tensor(node)
        if tensor is None or tensor.data is None or tensor.data.size != 1:
            return None
        return int(np.asarray(tensor.data).ravel()[0])


def invariant_variables(functions: Functions, body: str) -> set[int]:
    """Indices of the loop variables that the body returns unchanged."""
    if body not in functions:
        return set()
    function = _LoopFunction(functions[body])
    return {index for index, ref in enumerate(function.results) if function.argument(ref) == index}


def trip_count(functions: Functions, condition: str, body: str, inputs: Sequence[TFTensor]) -> int | None:
    """How often a counting loop runs its body: conditions `i < n` joined by "and", where i grows by a constant.

    Args:
        functions: of the model.
        condition: name of the function that decides whether to continue.
        body: name of the function that is repeated.
        inputs: that enter the loop.

    Returns:
        The number of iterations, None where the loop does not count.
    """
    if condition not in functions or body not in functions:
        return None
    test, step = _LoopFunction(functions[condition]), _LoopFunction(functions[body])
    invariant = invariant_variables(functions, body)
    counts: list[int] = []
    queue = [test.results[0]]
    while queue:
        node = test.node(queue.pop())
        if node is None:
            return None
        left, *right = data_inputs(node)
        if node.op == "LogicalAnd":
            queue += [left, *right]
            continue
        if node.op not in ("Less", "LessEqual"):
            return None
        limit = test.constant(right[0], inputs, invariant)
        counter = test.argument(left)
        if counter is None or limit is None:
            return None
        count = _count(step, counter, limit + (node.op == "LessEqual"), inputs, invariant)
        if count is None:
            return None
        counts.append(count)
    return min(counts)


def _count(
    body: _LoopFunction, counter: int, limit: int, inputs: Sequence[TFTensor], invariant: set[int]
) -> int | None:
    """The number of iterations until the loop variable `counter` reaches a limit."""
    start = inputs[counter].data
    if start is None:
        return None
    increment = _increment(body, counter, inputs, invariant)
    if start.size != 1 or increment is None or increment <= 0:
        return None
    return max(-(-(limit - int(np.asarray(start).ravel()[0])) // increment), 0)


def _increment(body: _LoopFunction, counter: int, inputs: Sequence[TFTensor], invariant: set[int]) -> int | None:
    """How much the loop variable `counter` grows in an iteration."""
    node = body.node(body.results[counter])
    if node is None or node.op not in ("Add", "AddV2"):
        return None
    left, right = data_inputs(node)
    if body.argument(left) != counter:
        left, right = right, left
    return body.constant(right, inputs, invariant) if body.argument(left) == counter else None
