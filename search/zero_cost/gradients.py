"""Proxies from the gradient of the loss in an untrained network.

As collected by Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS" (https://arxiv.org/abs/2101.08134,
section 3.2). L is the loss of the whole batch; W runs over kernels and matrices (`Probe.weights`), with g = dL/dW,
which is 0 where L does not depend on W. A network none of whose weights has a gradient other than 0 has no score, as
nothing of it leads to the output, nor has one whose loss is not finite.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .live_graph import live_nodes
from .probe import MissingLayerError, Probe
from .recorder import Call


def grad_norm(probe: Probe) -> float | None:
    """Sum over W of the Euclidean norm of g."""
    return _total(g.double().norm() for _, g in _live(probe))


def snip(probe: Probe) -> float | None:
    """Sum over all entries of |W g|: Lee et al. 2019, "SNIP" (https://arxiv.org/abs/1810.02340, section 4.1)."""
    return _total((w.double() * g).abs().sum() for w, g in _live(probe))


def grasp(probe: Probe) -> float | None:
    """Sum over all entries of -W (H g): Wang et al. 2020, "GraSP" (https://arxiv.org/abs/2002.07376, section 4).

    H is the Hessian of L in all W together. The product is that of a double backward pass, exact but for kinks.

    Raises:
        RuntimeError: an operator of the network has no second derivative.
    """
    if not _live(probe):
        return None
    weights = [w for name, w in probe.weights.items() if probe.gradients.weights[name] is not None]
    gradients = torch.autograd.grad(probe.loss_value, weights, create_graph=True)
    product = torch.stack([(g * g.detach()).sum() for g in gradients]).sum()
    if any(node.name().endswith("::Error") for node in live_nodes(product)):  # would be left out, not raised
        raise RuntimeError("an operator is marked once_differentiable")
    if not product.requires_grad:  # L is linear in all W
        return 0.0
    second = torch.autograd.grad(product, weights, retain_graph=True, materialize_grads=True)
    return _total(-(w.detach().double() * h).sum() for w, h in zip(weights, second, strict=True))


def fisher(probe: Probe) -> float | None:
    """Sum over layers and channels of mean over examples of (sum over positions of a dL/da)^2 / 2.

    Turner et al. 2020, "BlockSwap" (https://arxiv.org/abs/1906.04113), where a is the output of a convolution or
    linear layer. Each call counts as a layer; those inside `nn.MultiheadAttention` are not seen. Examples lie along
    the first axis, where a network may have joined other axes to them. The code published with "Zero-cost proxies"
    adds each channel once for every weight that leads to it; the equation and this do not.

    Raises:
        MissingLayerError: there is no such layer.
    """
    layers = probe.gradients.layers
    if not layers:
        raise MissingLayerError("a convolution or linear layer")
    if not _live(probe):
        return None
    batch = len(probe.inputs[0])
    return _total(_fisher_of(call, g, batch) for call, g in layers if g is not None)


def _fisher_of(call: Call, gradient: Tensor, batch: int) -> Tensor:
    assert call.channels is not None
    product = call.output.double() * gradient
    if product.dim() == -call.channels:  # one example alone; the others are seen by other calls
        product = product.unsqueeze(0)
    product = product.movedim(call.channels, 1)
    by_channel = product.reshape(*product.shape[:2], -1).sum(2)
    if len(by_channel) % batch == 0:  # each example may have several rows, as tokens or frames
        by_channel = by_channel.reshape(batch, -1, by_channel.shape[1]).sum(1)
    return by_channel.square().sum() / batch / 2


def _live(probe: Probe) -> list[tuple[Tensor, Tensor]]:
    """Weights with a gradient, and it; empty where all of them are 0, or the loss is not finite."""
    found = probe.gradients.weights
    if not bool(probe.loss_value.isfinite()):
        return []
    pairs: list[tuple[Tensor, Tensor]] = []
    for name, weight in probe.weights.items():
        gradient = found[name]
        if gradient is not None:
            pairs.append((weight.detach(), gradient))
    return pairs if any(bool(g.any()) for _, g in pairs) else []


def _total(terms: Iterable[Tensor]) -> float | None:
    """Their sum in double precision, so that it does not depend on how the network is written; None of nothing."""
    values = [term.detach().double() for term in terms]
    return float(torch.stack(values).sum()) if values else None
