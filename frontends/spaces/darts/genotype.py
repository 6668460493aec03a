"""Genotypes (Liu et al. 2019, the authors' cnn/genotypes.py): a normal and a reduction cell, and their strings.

A cell is a list of (operation, input) pairs.
A cell has two inputs, states 0 and 1, the results of the two cells before it. Pairs 2k and 2k + 1 make node k, which is
state k + 2: the sum of an operation on one earlier state and an operation on another. The cell's result is a
concatenation of nodes.
"""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from cgir.errors import SpecError
from frontends.spaces.choices import check_text

SYNTAX = "Genotype(normal=[('op', state), ...], normal_concat=..., reduce=[('op', state), ...], reduce_concat=...)"
CELLS = ("normal", "reduce")
FIELDS = tuple(name for cell in CELLS for name in (cell, f"{cell}_concat"))


class Edge(NamedTuple):
    """An operation on an earlier state."""

    op: str
    source: int


Cell = tuple[Edge, ...]


class Genotype(NamedTuple):
    """The pairs of both cells.

    Which nodes are concatenated follows from the space: all, or those that no other node reads.
    """

    normal: Cell
    reduce: Cell


class ParsedGenotype(NamedTuple):
    """A parsed string: a genotype, and the states that each cell concatenates."""

    genotype: Genotype
    concats: tuple[tuple[int, ...], tuple[int, ...]]


def parse_genotype(text: str, space: str, nodes: int, ops: tuple[str, ...]) -> ParsedGenotype:
    """A genotype's string, which is Python but is never run.

    Args:
        text: as in `SYNTAX`, concatenations as a list or as range(2, n).
        space: the name in errors.
        nodes: nodes in a cell.
        ops: names of the operations.

    Raises:
        SpecError: another syntax, another number of pairs, an unknown operation, a state that does not come earlier.
    """
    fields = _fields(check_text(text, space), space)
    cells = [_cell(fields[cell], space, cell, nodes, ops) for cell in CELLS]
    concats = [_concat(fields[f"{cell}_concat"], space, cell) for cell in CELLS]
    return ParsedGenotype(Genotype(*cells), (concats[0], concats[1]))


def _fields(text: str, space: str) -> dict[str, ast.expr]:
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise SpecError(f"{space}: {_short(text)} cannot be read ({reason}); expected {SYNTAX}") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Genotype" or call.args:
        raise SpecError(f"{space}: {_short(text)} is not a genotype; expected {SYNTAX}")
    names = [keyword.arg or "**" for keyword in call.keywords]
    if sorted(names) != sorted(FIELDS):
        raise SpecError(
            f"{space}: the genotype has the fields {', '.join(names) or 'none'}; expected {', '.join(FIELDS)}"
        )
    return dict(zip(names, (keyword.value for keyword in call.keywords), strict=True))


def _cell(value: ast.expr, space: str, cell: str, nodes: int, ops: tuple[str, ...]) -> Cell:
    where = f"{space}: the {cell} cell"
    if not isinstance(value, (ast.List, ast.Tuple)):
        raise SpecError(f"{where} is {_shown(value)}; expected a list of {2 * nodes} pairs ('op', state)")
    if len(value.elts) != 2 * nodes:
        raise SpecError(f"{where} has {len(value.elts)} pairs; expected {2 * nodes}, two for each of its {nodes} nodes")
    edges = []
    for index, pair in enumerate(value.elts):
        items = [_constant(item) for item in pair.elts] if isinstance(pair, (ast.List, ast.Tuple)) else []
        if [type(item) for item in items] != [str, int]:
            raise SpecError(f"{where}, pair {index}, is {_shown(pair)}; expected ('op', state)")
        edge = Edge(*items)
        if edge.op not in ops:
            raise SpecError(f"{where}, pair {index}, has the operation {edge.op!r}; expected one of {', '.join(ops)}")
        if not 0 <= edge.source < index // 2 + 2:
            raise SpecError(
                f"{where}, pair {index}, reads state {edge.source}; "
                f"expected 0 to {index // 2 + 1}, which come before node {index // 2}"
            )
        edges.append(edge)
    return tuple(edges)


def _concat(value: ast.expr, space: str, cell: str) -> tuple[int, ...]:
    """The states of `[4, 5, 6]` or `range(2, 6)`."""
    is_range = (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "range"
        and not value.keywords
    )
    items: list[ast.expr] = []
    if isinstance(value, ast.Call) and is_range:
        items = value.args
    elif isinstance(value, (ast.List, ast.Tuple)):
        items = value.elts
    numbers = [_constant(item) for item in items]
    if (
        not numbers
        or any(type(number) is not int or not 0 <= number < 100 for number in numbers)
        or (is_range and len(numbers) != 2)
    ):
        raise SpecError(f"{space}: {cell}_concat is {_shown(value)}; expected a list of states, or range(first, end)")
    return tuple(range(*numbers)) if is_range else tuple(numbers)


def _constant(node: ast.expr) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _shown(node: ast.expr) -> str:
    return _short(ast.unparse(node))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
