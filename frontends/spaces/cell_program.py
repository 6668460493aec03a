"""Straight-line programs of cells: instructions whose operands are inputs of the cell or earlier results.

Values are numbered: the inputs that the cell reads first, then the result of each instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SUM = "sum"


class Instruction(NamedTuple):
    """An operator of the search space, or `SUM`, on values given by number."""

    op: str
    operands: tuple[int, ...]
    stride: int = 1


class CellProgram(NamedTuple):
    """The live part of a cell.

    Attributes:
        inputs: which of the cell's inputs it reads, by their index.
        instructions: in topological order.
        results: the values that the cell returns, concatenated.
        width: how many nodes the cell concatenates; those beyond `results` are zeros.
    """

    inputs: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    results: tuple[int, ...]
    width: int = 1


def flatten_sums(
    instructions: Sequence[Instruction], num_inputs: int, results: tuple[int, ...], width: int = 1
) -> CellProgram:
    """The program with nested sums merged, as in canonical graphs: a sum that only another sum reads is part of it.

    Inputs that nothing reads are left out.

    Args:
        instructions: in topological order.
        num_inputs: inputs of the cell, which are values 0 to `num_inputs - 1`.
        results: the values that the cell returns.
        width: how many nodes the cell concatenates.
    """
    uses = [value for instruction in instructions for value in instruction.operands] + list(results)
    summed = {value for instruction in instructions if instruction.op == SUM for value in instruction.operands}
    inlined = {
        value
        for value, instruction in enumerate(instructions, num_inputs)
        if instruction.op == SUM and value in summed and uses.count(value) == 1
    }
    inputs = tuple(value for value in range(num_inputs) if value in uses)
    remaining = [value for value in range(num_inputs, num_inputs + len(instructions)) if value not in inlined]
    renumbered = {value: new for new, value in enumerate((*inputs, *remaining))}

    def flattened(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            new
            for value in values
            for new in (
                flattened(instructions[value - num_inputs].operands) if value in inlined else (renumbered[value],)
            )
        )

    return CellProgram(
        inputs,
        tuple(
            instructions[value - num_inputs]._replace(operands=flattened(instructions[value - num_inputs].operands))
            for value in remaining
        ),
        tuple(renumbered[value] for value in results),
        width,
    )
