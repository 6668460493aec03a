"""Synaptic flow: what the weights' magnitudes let through, without data."""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .probe import Probe, one_tensor

NORMALISATIONS: set[Callable[..., Any]] = {F.batch_norm, F.instance_norm, F.group_norm, F.layer_norm, F.rms_norm}


def synflow(probe: Probe) -> float | None:
    """Log of the sum over all entries of |W dR/dW|, R the sum of outputs on an input of ones with all parameters |W|.

    Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow"
    (https://arxiv.org/abs/2006.05467), summed over kernels and matrices as by Abdelfattah et al. 2021. All in
    float64, and as a logarithm, since values grow exponentially with depth. Normalisation layers keep their scales and
    shifts and normalise nothing; dropout is off. Inputs of integers are those of the first example. None where nothing
    flows, or more than float64 holds.

    Raises:
        CgirError: the network refuses float64, or its output is not a tensor.
    """
    module = _linear_in_magnitudes(probe.fresh())
    weights = [module.get_parameter(name) for name in probe.weights]
    with _Unnormalised():
        output = one_tensor(probe.call(module, tuple(_ones(probe, x) for x in probe.inputs)), probe.name)
    if not output.requires_grad:
        return None
    found = torch.autograd.grad(output.sum(), weights, allow_unused=True)
    flow = sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, found, strict=True) if g is not None)
    return math.log(flow) if flow > 0 else None


def _linear_in_magnitudes(module: nn.Module) -> nn.Module:
    module.double()
    module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    return module


def _ones(probe: Probe, x: Tensor) -> Tensor:
    if not probe.has_batch(x):
        return x.double() if x.is_floating_point() else x
    return torch.ones_like(x[:1], dtype=torch.float64) if x.is_floating_point() else x[:1]


class _Unnormalised(TorchFunctionMode):
    """While it is on, normalisation is its scale and shift alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in NORMALISATIONS:
            return _scale_and_shift(**signature(func).bind(*args, **(kwargs or {})).arguments)
        return func(*args, **(kwargs or {}))


def _scale_and_shift(input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, **rest: Any) -> Tensor:
    of_last_axes = "normalized_shape" in rest
    for parameter, apply in ((weight, torch.mul), (bias, torch.add)):
        if parameter is not None:
            shape = parameter.shape if of_last_axes else (-1, *(1,) * (input.dim() - 2))  # otherwise of the channels
            input = apply(input, parameter.view(shape))
    return input
