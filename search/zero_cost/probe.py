"""What proxies look at: a copy of a network, a batch, and passes through both that several proxies share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_map_only

from cgir.errors import CgirError, one_line
from cgir.limits import DEFAULT, Limits
from encoders.engine.devices import Device, as_device
from search.seeds import check_seed

from .batch import as_inputs, check_classes, check_count
from .isolation import closure_message, guarded, isolated, isolated_copy
from .live_graph import leaves_of, live_nodes, tensors_in
from .recorder import Call, Recorder

NORMS = (nn.LayerNorm, nn.RMSNorm)  # those whose scales may have several axes
Loss = Callable[[Any, Any], Tensor]


class MissingLayerError(CgirError):
    """A network has no layer of the kind that a proxy is defined on; the message is that kind."""


class ForwardPass(NamedTuple):
    """One pass of the whole batch, with its graph of gradients.

    inputs: those that the network got, which ask for gradients where they are of floating point.
    output: whatever the network returned.
    calls: of its layers and activations, in order; the output may not depend on some of them.
    """

    inputs: tuple[Tensor, ...]
    output: Any
    calls: list[Call]


class Gradients(NamedTuple):
    """Of the loss of the whole batch; None where the loss does not depend on the value.

    weights: by name.
    layers: outputs of convolutions and linear layers, each with its gradient.
    """

    weights: dict[str, Tensor | None]
    layers: list[tuple[Call, Tensor | None]]


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
        device: Device = "auto",
        limits: Limits = DEFAULT,
    ) -> None:
        """Copy the module.

        Args:
            module: the network; it is left as it is.
            inputs: (B, ...), or a tuple where it takes several; those whose first axis is not B long have no batch.
            targets: (B,), what the loss compares outputs with.
            loss: of outputs and targets, a scalar.
            seed: of every random number that the network or a proxy draws.
            device: where to compute; "auto" is CUDA where there is one, otherwise the CPU.
            limits: what tracing may take.
        """
        self.device = as_device(device)
        self.seed = seed
        self.loss = loss
        self.limits = limits
        self.original = module
        check_seed("score", seed)
        with isolated(seed, self.device):
            self.inputs = as_inputs(inputs, self.device)
            check_count(self.inputs, targets)
            self.targets = tree_map_only(Tensor, lambda t: t.detach().clone().to(self.device), targets)
        self.module = self.fresh()

    @property
    def name(self) -> str:
        """Class of the module, for messages."""
        return type(self.original).__name__

    @property
    def numbers(self) -> int:
        """Numbers that a layer may write for the batch: 8 for each of an image's, hundreds for a token."""
        first = self.inputs[0]
        return first.numel() * (8 if first.is_floating_point() else 512)

    def fresh(self) -> nn.Module:
        """Another copy, for a proxy that changes weights or buffers."""
        with isolated(self.seed, self.device):
            return isolated_copy(self.original, self.device)

    def has_batch(self, x: Tensor) -> bool:
        """Whether one of the inputs has an example of each of the batch, as a mixture's weights have not."""
        return x.dim() > 0 and len(x) == len(self.inputs[0])

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """The copy's kernels and matrices by name: parameters with two axes or more that are not of a normalisation.

        Raises:
            MissingLayerError: there is none.
        """
        scales = {p for layer in self.module.modules() if isinstance(layer, NORMS) for p in layer.parameters()}
        trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        found = {name: p for name, p in trained.items() if p.dim() > 1 and p not in scales}
        if not found:
            raise MissingLayerError("a weight with two axes or more")
        return found

    def call(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        """The output of a copy, which draws the same random numbers in every call; inputs and buffers stay as they are.

        Raises:
            CgirError: the module refuses the inputs, or is no copy in all its parts.
        """
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        math = sdpa_kernel(SDPBackend.MATH)  # the others have no second derivative
        with isolated(self.seed, self.device), guarded(self.original), math:
            try:
                output = functional_call(module, buffers, tuple(x.clone() for x in inputs))
            except CgirError:
                raise
            except Exception as error:
                shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
                reason = one_line(error, 300, named=True)
                raise CgirError(f"score: {self.name} refuses inputs of shape {shapes} ({reason})") from error
        parameters = {id(parameter) for parameter in self.original.parameters()}
        if tensors_in(output) and any(id(leaf) in parameters for leaf in leaves_of(live_nodes(output))):
            raise CgirError(closure_message(self.original))
        return output

    @cached_property
    def forward_pass(self) -> ForwardPass:
        """The pass that proxies share; whoever differentiates it must retain its graph."""
        inputs = tuple(x.clone().requires_grad_(x.is_floating_point()) for x in self.inputs)
        with Recorder() as recorder:
            output = self.call(self.module, inputs)
        return ForwardPass(inputs, output, recorder.calls)

    @cached_property
    def output(self) -> Tensor:
        """Of the shared pass, for proxies that differentiate it without a loss.

        Raises:
            CgirError: the network returns something else than one tensor.
        """
        return one_tensor(self.forward_pass.output, self.name)

    @cached_property
    def loss_value(self) -> Tensor:
        """The loss of the shared pass, a scalar."""
        return self.loss_of(self.forward_pass.output, self.targets)

    def loss_of(self, output: Any, targets: Any) -> Tensor:
        """The loss of an output, a scalar.

        Raises:
            CgirError: there are no targets, they do not fit the output, or the loss is no scalar or fails.
        """
        if targets is None:
            raise CgirError("score: targets=None, and a proxy that reads a loss was asked for; give a target each")
        if self.loss is cross_entropy:
            check_classes(output, targets)
        with isolated(self.seed, self.device):
            try:
                value = self.loss(*tree_map_only(Tensor, Tensor.clone, (output, targets)))  # which it may change
            except Exception as error:
                raise CgirError(f"score: the loss failed ({one_line(error, 300, named=True)})") from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CgirError(f"score: the loss is {found}; expected a scalar, as a mean over examples is")
        return value.sum()

    @cached_property
    def gradients(self) -> Gradients:
        """Of the shared pass's loss."""
        layers = [call for call in self.forward_pass.calls if not call.is_relu]
        edges = [*map(get_gradient_edge, self.weights.values()), *(call.edge for call in layers)]
        if not self.loss_value.requires_grad:
            return Gradients(dict.fromkeys(self.weights), [(call, None) for call in layers])
        found = torch.autograd.grad(self.loss_value, edges, retain_graph=True, allow_unused=True)
        count = len(self.weights)
        return Gradients(
            dict(zip(self.weights, found[:count], strict=True)), list(zip(layers, found[count:], strict=True))
        )


@contextmanager
def in_one_line(proxy: str, network: str) -> Iterator[None]:
    """Errors of an operator that cannot be differentiated, or not in this precision, as a CgirError of one line."""
    try:
        yield
    except CgirError:
        raise
    except Exception as error:
        reason = one_line(error, 300, named=True)
        raise CgirError(f"score: {proxy} of {network} failed ({reason}); leave {proxy} out") from error


def one_tensor(output: Any, name: str) -> Tensor:
    """The output itself if it is a tensor.

    Raises:
        CgirError: it is not.
    """
    if not isinstance(output, Tensor):
        raise CgirError(f"score: {name} returns a {type(output).__name__}; wrap it so that it returns one tensor")
    return output
