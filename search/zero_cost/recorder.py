"""Sees the layers and activations of a forward pass, whether the network calls them as modules or as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .live_graph import nodes_of

# Layers, with the axis of channels counted from the end, as an axis of the batch may be missing.
LAYERS: dict[Callable[..., Any], int] = {
    F.linear: -1, F.conv1d: -2, F.conv_transpose1d: -2, F.conv2d: -3, F.conv_transpose2d: -3,
    F.conv3d: -4, F.conv_transpose3d: -4,
}  # fmt: skip
RELUS: set[Callable[..., Any]] = {
    F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6,
}  # fmt: skip
# Functions of an input and a least value, by whose name they take it: ReLU where that is 0, as ReLU6 is.
BOUNDED: dict[Callable[..., Any], str] = {
    **dict.fromkeys((F.hardtanh, F.hardtanh_), "min_val"),
    **dict.fromkeys((F.threshold, torch.threshold, torch.threshold_), "threshold"),
    **dict.fromkeys((torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_), "min"),
    **dict.fromkeys((torch.clip, torch.clip_, Tensor.clip, Tensor.clip_), "min"),
    **dict.fromkeys((torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_), "min"),
}


class Call(NamedTuple):
    """One call of a layer or activation.

    channels: axis of the channels that a layer returns, counted from the end; None of a ReLU.
    output: what it returned; a copy, as the network may go on to change its own.
    edge: of the output in the graph of gradients, for `torch.autograd.grad`.
    nodes: see `nodes_of`.
    """

    channels: int | None
    output: Tensor
    edge: GradientEdge
    nodes: tuple[Node, ...]

    @property
    def is_relu(self) -> bool:
        """Whether it is an activation, and no layer."""
        return self.channels is None


class Recorder(TorchFunctionMode):
    """While it is on, `calls` grows by every call whose output depends on something that asks for a gradient.

    Convolutions with a fixed kernel are no layers. Calls inside functions of PyTorch, as inside
    `multi_head_attention_forward`, are not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function and keep what it returns.

        Args:
            func: the function or method of PyTorch.
            types: of its arguments; not needed.
            args: its arguments.
            kwargs: its named arguments.
        """
        result = func(*args, **(kwargs or {}))
        channels = LAYERS.get(func) if _has_weights(args, kwargs or {}) else None
        if (channels is not None or _is_relu(func, args, kwargs or {})) and result.requires_grad:
            edge = get_gradient_edge(result)
            self.calls.append(Call(channels, result.detach().clone(), edge, nodes_of(result)))
        return result


def _has_weights(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the kernel of a layer can be trained; a fixed one blurs or pools, and makes no layer."""
    weight = args[1] if len(args) > 1 else kwargs.get("weight")
    return isinstance(weight, Tensor) and weight.requires_grad


def _is_relu(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if func in BOUNDED:
        least = args[1] if len(args) > 1 else kwargs.get(BOUNDED[func])
        return isinstance(least, int | float) and least == 0
    return func in RELUS
