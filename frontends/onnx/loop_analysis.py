"""Analysis of the bodies of ONNX loops: variables that no round changes, and the number of rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from cgir import CgirError
from cgir.typing import AnyArray

from .graph_walk import OnnxImporter
from .parameters import initializer_tensors
from .tensors import BOOL, INT64, OnnxTensor, Scope, get_attribute
from .topological_order import read_names, topological_order

MAX_SIMULATED = 256  # rounds that are computed one by one; then counters that grow evenly are extrapolated
MAX_EVALUATED = 50_000  # nodes in those rounds
MAX_ROUNDS = 1 << 40  # above any number of rounds that a file means: "until the condition fails"

Numbers = dict[int, AnyArray]  # variables that the condition depends on, by index


def invariant_states(body: onnx.GraphProto, offset: int, count: int) -> set[int]:
    """Indices of the variables of a loop that its body returns as they are.

    Args:
        body: of the loop.
        offset: how many inputs it has before the variables.
        count: the number of variables.
    """
    sources = {node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity" and node.input}
    shift = 1 if offset else 0  # a Loop's body returns the condition first
    results = [_origin(info.name, sources) for info in body.output[shift : shift + count]]
    names = [info.name for info in body.input[offset : offset + count]]
    return {slot for slot, pair in enumerate(zip(names, results, strict=False)) if pair[0] == pair[1]}


def _origin(name: str, sources: Mapping[str, str]) -> str:
    """The tensor that a tensor is, Identity nodes skipped."""
    for _ in range(len(sources) + 1):
        if name not in sources:
            break
        name = sources[name]
    return name


def count_rounds(
    importer: OnnxImporter,
    node: onnx.NodeProto,
    scope: Scope,
    limits: tuple[OnnxTensor | None, OnnxTensor | None],
    states: Sequence[OnnxTensor],
) -> int | None:
    """How often a Loop runs its body, None where that depends on data.

    Args:
        importer: of the model.
        node: the loop.
        scope: tensors outside.
        limits: the largest number of rounds and the condition at the start, None where left out.
        states: the variables as they enter the loop.
    """
    max_trips, condition = limits
    limit: int | None = None
    if max_trips is not None:
        if max_trips.known_value is None:
            return None
        limit = max(int(max_trips.ints()[0]), 0)
    if condition is not None:
        if condition.known_value is None:
            return None
        if not bool(np.asarray(condition.known_value).reshape(-1)[0]):
            return 0
    try:
        rounds = _Condition(importer, node, scope, states).rounds(limit)
    except CgirError:  # a body that does not fit is reported when it is imported
        return None
    return rounds if rounds is None or rounds < MAX_ROUNDS else None


class _Condition:
    """The part of a loop's body that computes whether to continue, evaluated on numbers."""

    def __init__(
        self, importer: OnnxImporter, node: onnx.NodeProto, scope: Scope, states: Sequence[OnnxTensor]
    ) -> None:
        body = get_attribute(node, "body")
        self._importer, self._body, self._states = importer, body, states
        self._names = [info.name for info in body.input]
        self._results = [info.name for info in body.output]
        self._scope: Scope = dict(scope) | initializer_tensors(body, "a subgraph")
        sources = {inner.output[0]: inner.input[0] for inner in body.node if inner.op_type == "Identity"}
        self.is_passed_on = _origin(self._results[0], sources) == self._names[1]
        self._nodes: list[onnx.NodeProto] = []
        self._needed: set[int] = set()

    def rounds(self, limit: int | None) -> int | None:
        """The number of rounds, at most `limit`."""
        if self.is_passed_on:
            return limit
        self._collect()
        numbers: Numbers = {}
        for slot in self._needed:
            known = self._states[slot].known_value
            if known is None:
                return None
            numbers[slot] = known
        history = [numbers]
        for done in range(1, MAX_SIMULATED + 1):
            if limit is not None and done > limit:
                return limit
            if done * len(self._nodes) > MAX_EVALUATED:
                return None
            after = self._round(numbers, done - 1)
            if after is None:
                return None
            keep_going, numbers = after
            if not keep_going:
                return done
            history.append(numbers)
        return self._extrapolated(history, limit)

    def _collect(self) -> None:
        """Find the nodes that the condition depends on, through as many rounds as it takes."""
        producers = {name: inner for inner in self._body.node for name in inner.output if name}
        inputs = {name: slot for slot, name in enumerate(self._names[2 : 2 + len(self._states)])}
        queue, seen, kept = [self._results[0]], set(), set()
        while queue:
            name = queue.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in inputs:
                self._needed.add(inputs[name])
                queue.append(self._results[1 + inputs[name]])
            elif name in producers:
                kept.add(producers[name].output[0])
                queue += read_names(producers[name])
        nodes = [inner for inner in self._body.node if inner.output and inner.output[0] in kept]
        scope = set(self._scope) | set(self._names)
        self._nodes = [inner for _, inner in topological_order(nodes, scope, nested=True)]

    def _round(self, numbers: Numbers, done: int) -> tuple[bool, Numbers] | None:
        """Whether to continue after a round, and the variables then; None where data would be needed."""
        scope = dict(self._scope)
        scope[self._names[0]] = OnnxTensor("iteration", INT64, (), np.array(done, dtype=np.int64))
        scope[self._names[1]] = OnnxTensor("condition", BOOL, (), np.array(True))
        for slot, data in numbers.items():
            scope[self._names[2 + slot]] = OnnxTensor("variable", self._states[slot].elem_type, data.shape, data)
        for inner in self._nodes:
            results = self._importer.fold_node(inner, scope)
            if results is None:
                return None
            scope.update(results)
        keep_going = scope[self._results[0]].known_value
        after = {slot: scope[self._results[1 + slot]].known_value for slot in numbers}
        known = {slot: data for slot, data in after.items() if data is not None}
        if keep_going is None or len(known) < len(after):
            return None
        return bool(np.asarray(keep_going).reshape(-1)[0]), known

    def _extrapolated(self, history: Sequence[Numbers], limit: int | None) -> int | None:
        """The number of rounds of a loop whose counters grow evenly and whose condition fails once and for all."""
        before, last = history[-2:]
        first = history[0]
        steps = {slot: last[slot] - before[slot] for slot in last if last[slot].dtype.kind in "iuf"}
        num_seen = len(history) - 1
        even = len(steps) == len(last) and all(
            np.array_equal(first[slot] + num_seen * step, last[slot]) for slot, step in steps.items()
        )
        if not even:
            return None
        low, high = num_seen, MAX_ROUNDS if limit is None else min(limit, MAX_ROUNDS)
        while low < high:  # the first round after which the condition fails
            middle = (low + high) // 2
            numbers = {slot: first[slot] + (middle - 1) * step for slot, step in steps.items()}
            after = self._round(numbers, middle - 1)
            if after is None:
                return None
            low, high = (middle + 1, high) if after[0] else (low, middle)
        return low
