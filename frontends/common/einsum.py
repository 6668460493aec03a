"""Einstein sums as transposes, reshapes and batched products, so that every spelling of one product gives one graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from .tape import OpCall, Operand, Tape, Value

Tensor = Any  # of whichever framework
Axes = tuple[int, ...]


class TensorOps(NamedTuple):
    """What einsum is made of: the framework's own operations, each returning a new tensor."""

    size: Callable[..., Axes]
    transpose: Callable[..., Tensor]  # (tensor, permutation)
    reshape: Callable[..., Tensor]  # (tensor, size)
    sum: Callable[..., Tensor]  # (tensor, axes)
    matmul: Callable[..., Tensor]  # (tensor, tensor)
    mul: Callable[..., Tensor]  # (tensor, tensor)


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of every operand and of the result, with ellipses spelled out and an implicit result made explicit.

    Raises:
        ValueError: the equation does not fit the operands, or takes a diagonal (a letter twice in one operand).
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum {equation!r} has {len(terms)} operands, found {len(ranks)}")
    spare = [chr(code) for code in range(0x3B1, 0x3B1 + 24)]
    dots = max((rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term), default=0)
    full = [
        term.replace("...", "".join(spare[dots - (rank - len(term) + 3) : dots]))
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if not arrow:
        result = ("..." if "..." in left else "") + "".join(
            sorted(c for c in set(left) - set(",.") if left.count(c) == 1)
        )
    result = result.replace("...", "".join(spare[:dots]))
    for term, rank in zip(full, ranks, strict=True):
        if len(term) != rank or len(set(term)) != rank:
            raise ValueError(f"einsum {equation!r}: operand {term!r} needs {rank} different letters")
    return full, result


def einsum(moves: TensorOps, equation: str, *tensors: Tensor) -> Tensor:
    """The result of an einsum, operands multiplied two at a time from the left; each product keeps the letters still
    needed.

    Raises:
        ValueError: see `parse_equation`.
    """
    terms, result = parse_equation(equation, [len(moves.size(tensor)) for tensor in tensors])
    queue = list(tensors)
    while len(queue) > 1:
        needed = set("".join(terms[2:]) + result)
        queue[:2], terms[:2] = _product(
            moves, queue[0], queue[1], terms[0], terms[1], needed, result if len(queue) == 2 else ""
        )
    return _arranged(
        moves, _without(moves, queue[0], terms[0], set(result)), "".join(c for c in terms[0] if c in result), result
    )


def _without(moves: TensorOps, tensor: Tensor, term: str, needed: set[str]) -> Tensor:
    gone = tuple(axis for axis, c in enumerate(term) if c not in needed)
    return moves.sum(tensor, gone) if gone else tensor


def _arranged(moves: TensorOps, tensor: Tensor, term: str, wanted: str) -> Tensor:
    return tensor if term == wanted else moves.transpose(tensor, tuple(term.index(c) for c in wanted))


def _product(
    moves: TensorOps, a: Tensor, b: Tensor, left: str, right: str, needed: set[str], wanted: str
) -> tuple[list[Tensor], list[str]]:
    """One product of two operands, as `matmul` of (batch, rows, inner) and (batch, inner, columns)."""
    a, b = _without(moves, a, left, needed | set(right)), _without(moves, b, right, needed | set(left))
    left, right = (
        "".join(c for c in left if c in needed | set(right)),
        "".join(c for c in right if c in needed | set(left)),
    )
    batch = "".join(c for c in left if c in right and c in needed)
    rows, columns = ("".join(c for c in term if c not in other) for term, other in ((left, right), (right, left)))
    inner = "".join(c for c in left if c in right and c not in needed)
    ordered = "".join(c for c in wanted if c in batch) or batch
    a = _arranged(moves, a, left, ordered + rows + inner)
    b = _arranged(moves, b, right, ordered + inner + columns)
    size = dict(zip(ordered + rows + inner, moves.size(a), strict=True))
    for c, n in zip(ordered + inner + columns, moves.size(b), strict=True):
        size[c] = n if size.get(c, 1) == 1 else size[c]
    if not inner:  # nothing is summed over: a product element by element
        shaped = [_shaped(moves, a, [size[c] if c in left else 1 for c in ordered + rows + columns])]
        shaped.append(_shaped(moves, b, [size[c] if c in right else 1 for c in ordered + rows + columns]))
        return [moves.mul(*shaped)], [ordered + rows + columns]
    ahead = [size[c] for c in ordered]
    # a plain weight is multiplied from the right, as linear layers are
    flat = [prod(size[c] for c in rows)] if ordered else [size[c] for c in rows] or [1]
    a = _shaped(moves, a, [*ahead, *flat, prod(size[c] for c in inner)])
    b = _shaped(moves, b, [*ahead, prod(size[c] for c in inner), prod(size[c] for c in columns)])
    out = _shaped(moves, moves.matmul(a, b), [size[c] for c in ordered + rows + columns])
    return [out], [ordered + rows + columns]


def _shaped(moves: TensorOps, tensor: Tensor, size: list[int]) -> Tensor:
    return tensor if tuple(moves.size(tensor)) == tuple(size) else moves.reshape(tensor, tuple(size))


def tape_ops(tape: Tape) -> TensorOps:
    """The operations of `einsum` as nodes of a tape."""

    def transpose(value: Value, order: Axes) -> Value:
        axes = {old: new for new, old in enumerate(order)}
        size = tuple(value.size[old] for old in order)
        return tape.apply("Transpose", "transpose", [value], [size], axis_map=axes)[0]

    def reshape(value: Value, size: Axes) -> Value:
        return tape.apply("Reshape", "reshape", [value], [size])[0]

    def total(value: Value, axes: Axes) -> Value:
        size = tuple(n for axis, n in enumerate(value.size) if axis not in axes)
        return tape.apply("Sum", "sum", [value], [size], attrs={"dims": len(axes)}, reduced_axes=axes)[0]

    def mul(a: Value, b: Value) -> Value:
        return tape.apply("Mul", "mul", [a, b], [tuple(max(pair) for pair in zip(a.size, b.size, strict=True))])[0]

    def matmul(a: Value, b: Value) -> Value:
        return emit_matmul(tape, "matmul", a, b, (*a.size[:-1], b.size[-1]))

    return TensorOps(lambda value: value.size, transpose, reshape, total, matmul, mul)


def emit_matmul(tape: Tape, name: str, a: Value, b: Value, size: Axes) -> Value:
    """A matrix product of any ranks; one with a static matrix on the right has the axes of a linear layer."""
    linear = len(b.size) == 2 and b.static
    call = OpCall(
        "MatMul",
        name,
        [Operand(a, a.size), Operand(b, b.size, is_weight=linear)],
        {"inner": a.size[-1]},
        layout_op="Linear" if linear else None,
    )
    return tape.emit_values(call, [size])[0]
