"""What proxies look at: a copy of a network, a batch, and passes through both that several proxies share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError, one_line

from .isolation import isolated, isolated_copy
from .recorder import Call, Recorder

Loss = Callable[[Any, Any], Tensor]


class MissingLayerError(CgirError):
    """A network has no layer of the kind that a proxy is defined on; the message is that kind."""


class ForwardPass(NamedTuple):
    """One pass of the whole batch, with its graph of gradients.

    inputs: those that the network got, which ask for gradients where they are of floating point.
    output: whatever the network returned.
    calls: of its layers and activations, in order.
    """

    inputs: tuple[Tensor, ...]
    output: Any
    calls: list[Call]


class Gradients(NamedTuple):
    """Of the loss of the whole batch; None where the loss does not depend on the weight.

    weights: by the weight's name.
    calls: of the outputs of `ForwardPass.calls`, in their order; None for those that the loss does not depend on.
    """

    weights: dict[str, Tensor | None]
    calls: list[Tensor | None]


class Probe:
    """A network's copy and a batch; what is computed once is kept, so proxies must not change it but take `fresh()`."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor | tuple[Tensor, ...],
        targets: Any = None,
        *,
        loss: Loss = cross_entropy,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> None:
        """Copy the module.

        Args:
            module: the network; it is left as it is.
            inputs: (B, ...), or a tuple where it takes several.
            targets: (B,), what the loss compares outputs with.
            loss: of outputs and targets, a scalar.
            seed: of every random number that the network or a proxy draws.
            device: where to compute; "auto" is CUDA where there is one, otherwise the CPU.
        """
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(auto if device == "auto" else device)
        self.seed = seed
        self.loss = loss
        self._original = module
        self.module = self.fresh()
        several = inputs if isinstance(inputs, tuple) else (inputs,)
        self.inputs = tuple(_prepared(x, self.device) for x in several)
        self.targets = targets.to(self.device) if isinstance(targets, Tensor) else targets

    @property
    def name(self) -> str:
        """Class of the module, for messages."""
        return type(self._original).__name__

    def fresh(self) -> nn.Module:
        """Another copy, for a proxy that changes weights or buffers."""
        with isolated(self.seed, self.device):
            return isolated_copy(self._original, self.device)

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """The copy's kernels and matrices by name: parameters with two axes or more, so neither biases nor scales."""
        return {n: p for n, p in self.module.named_parameters() if p.dim() > 1 and p.requires_grad}

    def call(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        """The output of a copy, which draws the same random numbers in every call; inputs and buffers stay as they are.

        Raises:
            CgirError: the module refuses the inputs.
        """
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        with isolated(self.seed, self.device):
            try:
                return functional_call(module, buffers, tuple(x.clone() for x in inputs))
            except Exception as error:
                shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
                reason = one_line(error, 300, named=True)
                raise CgirError(f"score: {self.name} refuses inputs of shape {shapes}: {reason}") from error

    @cached_property
    def forward_pass(self) -> ForwardPass:
        """The pass that proxies share; whoever differentiates it must retain its graph."""
        inputs = tuple(x.clone().requires_grad_(x.is_floating_point()) for x in self.inputs)
        with Recorder() as recorder:
            output = self.call(self.module, inputs)
        return ForwardPass(inputs, output, recorder.calls)

    @cached_property
    def loss_value(self) -> Tensor:
        """The loss of the shared pass, a scalar."""
        return self.loss_of(self.forward_pass.output, self.targets)

    def loss_of(self, output: Any, targets: Any) -> Tensor:
        """The loss of an output."""
        with isolated(self.seed, self.device):
            return self.loss(output, targets)

    @cached_property
    def gradients(self) -> Gradients:
        """Of the shared pass's loss."""
        edges = [call.edge for call in self.forward_pass.calls]
        of = [*map(get_gradient_edge, self.weights.values()), *edges]
        found = torch.autograd.grad(self.loss_value, of, retain_graph=True, allow_unused=True)
        return Gradients(dict(zip(self.weights, found, strict=False)), list(found[len(self.weights) :]))


def _prepared(x: Tensor, device: torch.device) -> Tensor:
    x = x.detach().to(device)
    return x.float() if x.is_floating_point() else x
