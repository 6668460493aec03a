"""What a network's output depends on, read from the graph of gradients without a backward pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves


def live_nodes(*outputs: Any) -> set[Node]:
    """The nodes of the graph of gradients from which an output is reached; outputs may be tuples, dicts and so on.

    A dead end, a layer whose result nothing reads, is not among them: it has parameters and runs, but is no part of
    what the network computes.
    """
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    found = set(waiting)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in found:
                found.add(node)
                waiting.append(node)
    return found
