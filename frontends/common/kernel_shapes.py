"""Shapes of kernels that are computed from parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cgir import Param

from .tape import Tape


def permute_params(tape: Tape, node: int, order: Sequence[int]) -> None:
    """Permute the axes of the parameters that a kernel is computed from, so that they have PyTorch's order.

    Args:
        tape: with the kernel.
        node: index of the kernel's node.
        order: the kernel's axes in PyTorch's order.
    """
    stack, visited = [node], {node}
    while stack:
        index = stack.pop()
        source = tape.nodes[index]
        if source.op == "Param" and len(source.shape) == len(order):
            shape = tuple(source.shape[old] for old in order)
            if order[0] < order[1]:  # a depthwise kernel: PyTorch has its channels and their multiplier on one axis
                shape = (shape[0] * shape[1], 1, *shape[2:])
            param = Param(source.params[0].id, shape)
            tape.nodes[index] = replace(source, params=(param,))
        unvisited = [before for before in source.inputs if before not in visited]
        visited.update(unvisited)
        stack += unvisited
