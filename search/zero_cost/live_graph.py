"""What a network's output depends on, read from the graph of gradients without a backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves

from cgir.errors import CgirError


def live_nodes(*outputs: Any) -> set[Node]:
    """The nodes of the graph of gradients from which an output is reached; outputs may be tuples, dicts and so on.

    A dead end, a layer whose result nothing reads, is not among them: it has parameters and runs, but is no part of
    what the network computes. Neither is what is cut off by `detach` or `torch.no_grad`.

    Raises:
        CgirError: there is no tensor in the outputs.
    """
    tensors = tensors_in(outputs)
    if not tensors:
        found = ", ".join(type(output).__name__ for output in outputs)
        raise CgirError(f"score: the output is a {found} without a tensor that can be found; wrap it to return tensors")
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    found_nodes = set(waiting)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in found_nodes:
                found_nodes.add(node)
                waiting.append(node)
    return found_nodes


def leaves_of(nodes: Iterable[Node]) -> list[Tensor]:
    """The parameters and inputs at which gradients of these nodes end."""
    found = (getattr(node, "variable", None) for node in nodes)
    return [leaf for leaf in found if leaf is not None]


def tensors_in(output: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists, dicts and dataclasses."""
    found: list[Tensor] = []
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif is_dataclass(leaf):
            found += tensors_in(list(vars(leaf).values()))
    return found


def nodes_of(tensor: Tensor) -> tuple[Node, ...]:
    """By which an output may depend on this tensor: its own, and that of the tensor that it was written into in place.

    To change a part of a tensor, as by `F.relu_(x[:, :2])`, changes the whole: what reads x later has no path to the
    part itself.
    """
    base = tensor._base
    nodes = [tensor.grad_fn]
    if base is not None and base.grad_fn is not None and base.grad_fn.name().endswith("CopySlices"):
        nodes.append(base.grad_fn)
    return tuple(node for node in nodes if node is not None)
