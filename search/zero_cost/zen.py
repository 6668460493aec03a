"""Zen-score: how far a small change of the input moves the last feature map."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .drawing_weights import draw_weights
from .feature_maps import ends_of_sizes, live_maps
from .live_graph import live_nodes
from .probe import MissingLayerError, Probe

STEP = 0.01  # alpha of algorithm 1, the authors' value


class _Norm(NamedTuple):
    node: Node | None
    variance: float  # of the batch, mean over channels


def zen(probe: Probe) -> float | None:
    """log ||f(x) - f(x + .01 e)|| + sum over BatchNorms of log sqrt(mean over channels of the batch's variance).

    Lin et al. 2021, "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", algorithm 1
    (https://arxiv.org/abs/2102.01063). x and e are standard normal, of the shape of the batch, and the norm is the
    mean over images; f is the last feature map before positions are pooled, with weights drawn from N(0, 1). Only
    BatchNorms on which f depends count. The authors remove residual connections first; here the network is as it is.
    None where f does not depend on the image.

    Raises:
        MissingLayerError: there is no BatchNorm, or no module that returns feature maps.
    """
    network = probe.fresh()
    generator = torch.Generator().manual_seed(probe.seed)
    draw_weights(network, lambda weight: _normal(weight, generator))
    drawn = [value.is_floating_point() and probe.has_batch(value) for value in probe.inputs]
    pairs = list(zip(probe.inputs, drawn, strict=True))
    x = tuple(_normal(value, generator) if draw else value for value, draw in pairs)
    moved = tuple(a + STEP * _normal(a, generator) if draw else a for a, draw in zip(x, drawn, strict=True))
    with _NormRecorder() as recorder:
        maps = live_maps(probe, network, x)
    if not recorder.norms:
        raise MissingLayerError("BatchNorm")
    if not (ends := ends_of_sizes(maps)):
        return None
    last = max(ends.values(), key=list(maps).index)
    nodes = live_nodes(maps[last].value)
    variances = [norm.variance for norm in recorder.norms if norm.node in nodes]
    after = live_maps(probe, network, moved, [last[0]])[last].image.detach()
    change = float(torch.linalg.vector_norm((maps[last].image.detach() - after).double().flatten(1), dim=1).mean())
    if not variances or min(change, *variances) <= 0:
        return None
    return math.log(change) + math.fsum(0.5 * math.log(variance) for variance in variances)


class _NormRecorder(TorchFunctionMode):
    """While it is on, `norms` grows by every call of BatchNorm, as a module or as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.norms: list[_Norm] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.batch_norm:
            values: Tensor = args[0] if args else (kwargs or {})["input"]
            variance = values.detach().transpose(0, 1).flatten(1).var(1, correction=0).double().mean()
            self.norms.append(_Norm(result.grad_fn, float(variance)))
        return result


def _normal(value: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(value.shape, generator=generator, device="cpu").to(value)
