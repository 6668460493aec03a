"""Analysis of the functions of a TensorFlow loop: its invariant variables and its trip count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from tensorflow.core.framework import function_pb2

from cgir import TraceError

from .constant_folding import constant_tensor, evaluate, is_foldable
from .graph_def import NodeDef, TFTensor, data_inputs, get_attribute, op_def_of, result_specs, source_of
from .shape_inference import ShapeInference
from .topological_order import topological_order

Functions: TypeAlias = Mapping[str, function_pb2.FunctionDef]
IDENTITY_OPS = frozenset(("Identity", "Cast", "ReadVariableOp", "StopGradient"))
CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
MAX_ROUNDS = 1000  # that are followed one by one, of loops that do not count up to a limit
MAX_EVALUATIONS = 20_000  # of nodes for one loop, those of functions at every call


class _LoopFunction:
    """The condition or the body of a loop, analysed from its results backwards."""

    def __init__(self, name: str, functions: Functions, budget: Iterator[int]) -> None:
        self.functions, definition = functions, functions[name]
        self.name = name
        self.arguments = {arg.name: index for index, arg in enumerate(definition.signature.input_arg)}
        self.nodes = {node.name: node for node in definition.node_def}
        self.results = [definition.ret.get(arg.name, arg.name) for arg in definition.signature.output_arg]
        self._sizes: dict[str, list[tuple[int, ...]]] = {}
        self._orders: dict[tuple[str, ...], list[NodeDef]] = {}
        self._inference = ShapeInference()
        self._budget = budget

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

    def order(self, refs: Sequence[str]) -> list[NodeDef]:
        """The nodes that tensors depend on, each behind those that it reads."""
        key = tuple(refs)
        if key not in self._orders:
            label = f"function {self.name!r}"
            self._orders[key] = topological_order(self.nodes.values(), refs, self.arguments, label)
        return self._orders[key]

    def values(self, refs: Sequence[str], arguments: Sequence[TFTensor]) -> list[TFTensor | None]:
        """Tensors computed from arguments, None where their contents are not known.

        Args:
            refs: to the tensors.
            arguments: of the function, of which sizes and some contents are known.

        Raises:
            TraceError: the budget is spent.
        """
        known: dict[str, TFTensor | None] = {name: arguments[index] for name, index in self.arguments.items()}
        for node in self.order(refs):
            if next(self._budget, None) is None:
                raise TraceError(f"function {self.name!r} has more nodes than are followed")
            known[node.name] = self._value(node, [known.get(source_of(ref)) for ref in data_inputs(node)])
        found = [known.get(source_of(ref)) for ref in refs]
        return [None if tensor is None or tensor.data is None else tensor for tensor in found]

    def _value(self, node: NodeDef, inputs: list[TFTensor | None]) -> TFTensor | None:
        """The only result of a node, None if it has several, or its contents are not known."""
        definition = op_def_of(node)
        operands = [tensor for tensor in inputs if tensor is not None]
        if node.op == "Const":
            return constant_tensor(node)
        if definition is None or len(operands) < len(inputs):
            return None
        specs = result_specs(node, definition)
        if node.op == "Shape":
            return TFTensor((len(operands[0].size),), specs[0][1], np.asarray(operands[0].size, np.int64))
        if node.op in CALLS and (name := str(get_attribute(node, "f").name)) in self.functions and len(specs) == 1:
            inner = _LoopFunction(name, self.functions, self._budget)
            return inner.values(inner.results, operands)[0]
        if len(specs) != 1 or not is_foldable(definition, operands, specs):
            return None
        if node.name not in self._sizes:
            self._sizes[node.name] = self._inference.result_sizes(node, definition, operands, specs)[0]
        results = evaluate(node, definition, operands, specs, self._sizes[node.name])
        return results[0] if results else None


def invariant_variables(functions: Functions, body: str) -> set[int]:
    """Indices of the loop variables that the body returns unchanged."""
    if body not in functions:
        return set()
    function = _LoopFunction(body, functions, iter(()))  # nothing is evaluated
    return {index for index, ref in enumerate(function.results) if function.argument(ref) == index}


def trip_count(functions: Functions, condition: str, body: str, inputs: Sequence[TFTensor]) -> int | None:
    """How often a loop runs its body, if that follows from sizes and constants.

    Conditions `i < n` joined by "and", where i grows by a constant, are solved; others are followed round by round.

    Args:
        functions: of the model.
        condition: name of the function that decides whether to continue.
        body: name of the function that is repeated.
        inputs: that enter the loop.

    Returns:
        The number of iterations, None where it depends on values, or it takes too long to find out.
    """
    if condition not in functions or body not in functions:
        return None
    budget = iter(range(MAX_EVALUATIONS))
    test, step = (_LoopFunction(name, functions, budget) for name in (condition, body))
    try:
        count = _counted(test, step, _without_contents(inputs, invariant_variables(functions, body)), inputs)
        return count if count is not None else _followed(test, step, inputs)
    except (TraceError, RecursionError):  # no budget; operands of other sizes in later rounds; endless recursion
        return None


def _without_contents(inputs: Sequence[TFTensor], kept: set[int]) -> list[TFTensor]:
    """The tensors that enter a loop as all rounds see them: only those that stay the same are known."""
    return [tensor if index in kept else TFTensor(tensor.size, tensor.dtype) for index, tensor in enumerate(inputs)]


def _counted(
    test: _LoopFunction, step: _LoopFunction, invariant: Sequence[TFTensor], inputs: Sequence[TFTensor]
) -> int | None:
    """The number of iterations of a counting loop.

    Args:
        test: the condition.
        step: the body.
        invariant: the loop variables, with the contents of those that stay the same.
        inputs: that enter the loop.
    """
    counts: list[int] = []
    queue = [test.results[0]]
    while queue:
        ref = queue.pop()
        [decided] = test.values([ref], invariant)
        node = test.node(ref)
        if decided is not None and np.all(decided.data):
            continue
        if decided is not None or node is None:
            return 0 if decided is not None else None
        if node.op == "LogicalAnd":
            queue += data_inputs(node)
            continue
        if node.op not in ("Less", "LessEqual"):
            return None
        left, right = data_inputs(node)
        counter, limit = test.argument(left), _integer(test, right, invariant)
        if counter is None or limit is None:
            return None
        count = _count(step, counter, limit + (node.op == "LessEqual"), invariant, inputs)
        if count is None:
            return None
        counts.append(count)
    return min(counts, default=None)


def _integer(function: _LoopFunction, ref: str, arguments: Sequence[TFTensor]) -> int | None:
    """The integer that a tensor is, None if it is not known or none."""
    [tensor] = function.values([ref], arguments)
    if tensor is None or tensor.data is None or tensor.data.size != 1 or tensor.data.dtype.kind not in "iu":
        return None
    return int(np.asarray(tensor.data).ravel()[0])


def _count(
    body: _LoopFunction, counter: int, limit: int, invariant: Sequence[TFTensor], inputs: Sequence[TFTensor]
) -> int | None:
    """The number of iterations until a loop variable reaches a limit.

    Args:
        body: of the loop.
        counter: index of the variable.
        limit: that it has to reach.
        invariant: the loop variables, with the contents of those that stay the same.
        inputs: that enter the loop.
    """
    node, start = body.node(body.results[counter]), inputs[counter].data
    if start is None or start.size != 1 or node is None or node.op not in ("Add", "AddV2"):
        return None
    left, right = data_inputs(node)
    if body.argument(left) != counter:
        left, right = right, left
    increment = _integer(body, right, invariant) if body.argument(left) == counter else None
    if increment is None or increment <= 0:
        return None
    return max(-(-(limit - int(np.asarray(start).ravel()[0])) // increment), 0)


def _followed(test: _LoopFunction, step: _LoopFunction, inputs: Sequence[TFTensor]) -> int | None:
    """The number of iterations, by computing all that the condition depends on again and again."""
    needed = _arguments(test, test.results)
    while True:
        more = needed | _arguments(step, [step.results[index] for index in sorted(needed)])
        if more == needed:
            break
        needed = more
    indices = sorted(needed)
    refs = [step.results[index] for index in indices]
    state = list(inputs)
    for rounds in range(MAX_ROUNDS + 1):
        [goes_on] = test.values(test.results, state)
        if goes_on is None:
            return None
        if not np.all(goes_on.data):
            return rounds
        for index, tensor in zip(indices, step.values(refs, state), strict=True):
            state[index] = tensor or TFTensor(state[index].size, state[index].dtype)
    return None


def _arguments(function: _LoopFunction, refs: Sequence[str]) -> set[int]:
    """Indices of the arguments that tensors are computed from."""
    sources = [source_of(ref) for node in function.order(refs) for ref in data_inputs(node)]
    names = [*sources, *map(source_of, refs)]
    return {function.arguments[name] for name in names if name in function.arguments}
