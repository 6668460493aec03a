"""Einstein sums as transposes, reshapes and batched matrix products: equivalent equations give one graph.

term: the letters of one operand's axes, in order
result: the letters of the einsum's result
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Generic, NamedTuple, TypeVar

from .tape import OpCall, Operand, Size, Tape, Value

Tensor = TypeVar("Tensor")  # of whichever framework
Axes = tuple[int, ...]


class TensorOps(NamedTuple, Generic[Tensor]):
    """The operations of a framework that an einsum is built from; each returns a new tensor."""

    size: Callable[[Tensor], Size]
    transpose: Callable[[Tensor, Axes], Tensor]
    reshape: Callable[[Tensor, Size], Tensor]
    sum: Callable[[Tensor, Axes], Tensor]
    matmul: Callable[[Tensor, Tensor], Tensor]
    mul: Callable[[Tensor, Tensor], Tensor]


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The terms and the result of an equation, with ellipses spelled out and an implicit result made explicit.

    Raises:
        ValueError: the equation does not fit the operands, or takes a diagonal (a letter twice in one operand).
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum {equation!r} has {len(terms)} operands, found {len(ranks)}")
    greek = [chr(code) for code in range(0x3B1, 0x3B1 + 24)]  # letters for the axes of ellipses
    dots = max((rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term), default=0)
    full = [
        term.replace("...", "".join(greek[dots - (rank - len(term) + 3) : dots]))
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if not arrow:
        once = sorted(letter for letter in set(left) - set(",.") if left.count(letter) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    result = result.replace("...", "".join(greek[:dots]))
    for term, rank in zip(full, ranks, strict=True):
        if len(term) != rank or len(set(term)) != rank:
            raise ValueError(f"einsum {equation!r}: operand {term!r} needs {rank} different letters")
    return full, result


def einsum(ops: TensorOps[Tensor], equation: str, *tensors: Tensor) -> Tensor:
    """The result of an einsum, operands multiplied two at a time from the left.

    Args:
        ops: operations of the tensors' framework.
        equation: such as "bij,bjk->bik".
        tensors: the operands.

    Raises:
        ValueError: see `parse_equation`.
    """
    terms, result = parse_equation(equation, [len(ops.size(tensor)) for tensor in tensors])
    tensor, term = tensors[0], terms[0]
    for index in range(1, len(tensors)):
        needed = set("".join(terms[index + 1 :]) + result)
        target = result if index == len(tensors) - 1 else ""
        tensor, term = _multiply(ops, (tensor, term), (tensors[index], terms[index]), needed, target)
    tensor, term = _sum_out(ops, tensor, term, set(result))
    return _transpose(ops, tensor, term, result)


def _multiply(
    ops: TensorOps[Tensor], left: tuple[Tensor, str], right: tuple[Tensor, str], needed: set[str], target: str
) -> tuple[Tensor, str]:
    """The product of two operands and its term, summed over letters that are no longer `needed`.

    The shared letters that stay are put in the order of `target`, the term of the result, if that is given.
    """
    a, left_term = _sum_out(ops, *left, needed | set(right[1]))
    b, right_term = _sum_out(ops, *right, needed | set(left_term))
    shared = [letter for letter in left_term if letter in right_term]
    needed_shared = "".join(letter for letter in shared if letter in needed)
    batch = "".join(letter for letter in target if letter in needed_shared) or needed_shared
    contracted = "".join(letter for letter in shared if letter not in needed)
    rows = "".join(letter for letter in left_term if letter not in right_term)
    columns = "".join(letter for letter in right_term if letter not in left_term)
    # where one operand has a single element, the other is summed and multiplied elementwise, as PyTorch does
    single = {c for c in contracted if 1 in (ops.size(a)[left_term.index(c)], ops.size(b)[right_term.index(c)])}
    a, left_term = _sum_out(ops, a, left_term, set(left_term) - single)
    b, right_term = _sum_out(ops, b, right_term, set(right_term) - single)
    contracted = "".join(letter for letter in contracted if letter not in single)
    a = _transpose(ops, a, left_term, batch + rows + contracted)
    b = _transpose(ops, b, right_term, batch + contracted + columns)
    extents = dict(zip(batch + rows + contracted, ops.size(a), strict=True))
    for letter, extent in zip(batch + contracted + columns, ops.size(b), strict=True):
        extents[letter] = extent if extents.get(letter, 1) == 1 else extents[letter]
    term = batch + rows + columns
    if not contracted:
        a = _reshape(ops, a, [extents[letter] if letter in left_term else 1 for letter in term])
        b = _reshape(ops, b, [extents[letter] if letter in right_term else 1 for letter in term])
        return ops.mul(a, b), term
    batch_size, row_sizes, inner, column_sizes = (
        [extents[letter] for letter in letters] for letters in (batch, rows, contracted, columns)
    )
    if batch:  # otherwise rows stay separate axes: a plain weight is multiplied from the right, as linear layers are
        row_sizes = [prod(row_sizes)]
    a = _reshape(ops, a, [*batch_size, *(row_sizes or [1]), prod(inner)])
    b = _reshape(ops, b, [*batch_size, prod(inner), prod(column_sizes)])
    return _reshape(ops, ops.matmul(a, b), [extents[letter] for letter in term]), term


def _sum_out(ops: TensorOps[Tensor], tensor: Tensor, term: str, needed: set[str]) -> tuple[Tensor, str]:
    """The tensor summed over letters that are not needed, and its term."""
    axes = tuple(axis for axis, letter in enumerate(term) if letter not in needed)
    return (ops.sum(tensor, axes) if axes else tensor), "".join(letter for letter in term if letter in needed)


def _transpose(ops: TensorOps[Tensor], tensor: Tensor, term: str, target: str) -> Tensor:
    return tensor if term == target else ops.transpose(tensor, tuple(term.index(letter) for letter in target))


def _reshape(ops: TensorOps[Tensor], tensor: Tensor, size: list[int]) -> Tensor:
    return tensor if tuple(ops.size(tensor)) == tuple(size) else ops.reshape(tensor, tuple(size))


def tape_ops(tape: Tape) -> TensorOps[Value]:
    """The operations of `einsum` as nodes of a tape."""

    def transpose(value: Value, order: Axes) -> Value:
        axis_map = {old: new for new, old in enumerate(order)}
        size = tuple(value.size[old] for old in order)
        return tape.apply("Transpose", "transpose", [value], [size], axis_map=axis_map)[0]

    def reshape(value: Value, size: Size) -> Value:
        return tape.apply("Reshape", "reshape", [value], [size])[0]

    def sum_axes(value: Value, axes: Axes) -> Value:
        size = tuple(n for axis, n in enumerate(value.size) if axis not in axes)
        return tape.apply("Sum", "sum", [value], [size], attrs={"dims": len(axes)}, reduced_axes=axes)[0]

    def mul(a: Value, b: Value) -> Value:
        return tape.apply("Mul", "mul", [a, b], [tuple(max(pair) for pair in zip(a.size, b.size, strict=True))])[0]

    def matmul(a: Value, b: Value) -> Value:
        return emit_matmul(tape, "matmul", a, b, (*a.size[:-1], b.size[-1]))

    return TensorOps[Value](lambda value: value.size, transpose, reshape, sum_axes, matmul, mul)


def emit_matmul(tape: Tape, name: str, a: Value, b: Value, size: Size) -> Value:
    """A matrix product of any ranks; one with a static matrix on the right has the axes of a linear layer.

    Args:
        tape: that the node is appended to.
        name: of the node, behind its module's path.
        a: the left operand.
        b: the right operand.
        size: of the result.
    """
    linear = len(b.size) == 2 and b.static
    call = OpCall(
        "MatMul",
        name,
        [Operand(a, a.size), Operand(b, b.size, is_weight=linear)],
        {"inner": a.size[-1]},
        layout_op="Linear" if linear else None,
    )
    return tape.emit_values(call, [size])[0]
