"""What the functions of a TensorFlow loop say about it: which variables stay the same, and how often it goes round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tensorflow.core.framework import function_pb2

from .graph_def import Item, NodeDef, data_inputs, source_of
from .shape_inference import constant

Functions = Mapping[str, function_pb2.FunctionDef]
PASSING = frozenset(("Identity", "Cast", "ReadVariableOp", "StopGradient"))


class Body:
    """A function of a loop, looked at backwards from its results."""

    def __init__(self, definition: function_pb2.FunctionDef) -> None:
        self.arguments = {arg.name: place for place, arg in enumerate(definition.signature.input_arg)}
        self.nodes = {node.name: node for node in definition.node_def}
        self.results = [definition.ret.get(arg.name, arg.name) for arg in definition.signature.output_arg]

    def origin(self, ref: str) -> str:
        """The argument or node that a tensor comes from, identities skipped."""
        name = source_of(ref)
        for _ in range(len(self.nodes) + 1):
            node = self.nodes.get(name)
            if node is None or node.op not in PASSING or not data_inputs(node):
                break
            name = source_of(data_inputs(node)[0])
        return name

    def argument(self, ref: str) -> int | None:
        """The place of the argument that a tensor is."""
        return self.arguments.get(self.origin(ref))

    def node(self, ref: str) -> NodeDef | None:
        """The node that computes a tensor."""
        return self.nodes.get(self.origin(ref))

    def number(self, ref: str, items: Sequence[Item], fixed: set[int]) -> int | None:
        """A tensor's value where it is a constant, or an argument that stays as it is and is known."""
        place = self.argument(ref)
        item = items[place] if place is not None and place in fixed else None
        node = self.node(ref)
        if node is not None and node.op == "Const":
            item = constant(node)
        return (
            int(np.asarray(item.data).ravel()[0])
            if item is not None and item.data is not None and item.data.size == 1
            else None
        )


def invariants(functions: Functions, body: str) -> set[int]:
    """Places of the loop variables that every round hands on unchanged."""
    if body not in functions:
        return set()
    found = Body(functions[body])
    return {place for place, ref in enumerate(found.results) if found.argument(ref) == place}


def iterations(functions: Functions, condition: str, body: str, items: Sequence[Item]) -> int | None:
    """How often a loop goes round, if it counts: conditions `i < n` joined by "and", where i grows by a constant; else
    None.
    """
    if condition not in functions or body not in functions:
        return None
    test, rounds = Body(functions[condition]), Body(functions[body])
    fixed = invariants(functions, body)
    found: list[int] = []
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
        trips = _counted(test, rounds, left, right[0], items, fixed, node.op == "LessEqual")
        if trips is None:
            return None
        found.append(trips)
    return min(found)


def _counted(
    test: Body, rounds: Body, counter: str, bound: str, items: Sequence[Item], fixed: set[int], inclusive: bool
) -> int | None:
    place, stop = test.argument(counter), test.number(bound, items, fixed)
    if place is None or stop is None or items[place].data is None:
        return None
    step = _step(rounds, place, items, fixed)
    start = np.asarray(items[place].data).ravel()
    if step is None or step <= 0 or start.size != 1:
        return None
    return max(-(-(stop + inclusive - int(start[0])) // step), 0)


def _step(rounds: Body, place: int, items: Sequence[Item], fixed: set[int]) -> int | None:
    """How much the loop variable at `place` grows in a round."""
    node = rounds.node(rounds.results[place])
    if node is None or node.op not in ("Add", "AddV2"):
        return None
    left, right = data_inputs(node)
    if rounds.argument(left) != place:
        left, right = right, left
    return rounds.number(right, items, fixed) if rounds.argument(left) == place else None
