"""How many nodes a program has once its functions are expanded, counted without expanding them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tensorflow.core.framework import function_pb2

from cgir.limits import Limits

from .graph_def import NodeDef, Program


class _Size(NamedTuple):
    """Nodes of a graph with all that it calls, and how deep calls are in each other."""

    nodes: int
    depth: int


def check_expanded_size(program: Program, limits: Limits) -> None:
    """Refuse a program whose functions, bodies of branches and loops included, make too many nodes.

    Functions that call each other twice make 2^n nodes of n; each function is counted once.

    Args:
        program: the model.
        limits: of them `nodes`, and `depth` for functions in functions.

    Raises:
        LimitError: it has more.
    """
    sizes: dict[str, _Size] = {}
    for name in _callees_first(program):
        sizes[name] = _size(program.functions[name].node_def, program.functions, sizes)
        limits.check("depth", sizes[name].depth, f"{program.name}: function {name[:80]!r}")
    total = _size(program.nodes, program.functions, sizes)
    limits.check("nodes", total.nodes, f"{program.name}: the graph with its functions expanded")


def _size(
    nodes: Iterable[NodeDef], functions: Mapping[str, function_pb2.FunctionDef], sizes: Mapping[str, _Size]
) -> _Size:
    """The size of a graph; functions that call themselves, which the import refuses, count nothing."""
    count, depth = 0, 0
    for node in nodes:
        count += 1
        for name in _called(node, functions):
            inner = sizes.get(name, _Size(0, 0))
            count, depth = count + inner.nodes, max(depth, inner.depth)
    return _Size(count, depth + 1)


def _callees_first(program: Program) -> Iterator[str]:
    """The functions that the graph reaches, each behind those that it calls."""
    entered: set[str] = set()
    stack = [(name, False) for node in program.nodes for name in _called(node, program.functions)]
    while stack:
        name, is_done = stack.pop()
        if is_done:
            yield name
        elif name not in entered:
            entered.add(name)
            stack.append((name, True))
            for node in program.functions[name].node_def:
                stack += [(inner, False) for inner in _called(node, program.functions) if inner not in entered]


def _called(node: NodeDef, functions: Mapping[str, function_pb2.FunctionDef]) -> list[str]:
    """The functions that a node calls, those of branches and loops, or the one that its operator is."""
    names = [node.op]
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "func":
            names.append(value.func.name)
        elif kind == "list":
            names += [function.name for function in value.list.func]
    return [name for name in names if name in functions]
