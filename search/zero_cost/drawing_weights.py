"""Weights of convolutions and linear layers drawn anew, for proxies that prescribe how."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.weight_norm import WeightNorm

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # the first of batch and instance


def draw_weights(network: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    """Draw kernels and matrices of convolutions and linear layers; their biases 0, scales of norms 1, shifts 0.

    What is not a parameter of such a module stays as it is. Weights that are computed from others, as by spectral
    normalisation, are computed from what was drawn.

    Args:
        network: changed in place.
        draw: gives values for a weight, in its shape.
    """
    for module in network.modules():
        if isinstance(module, LAYERS + NORMS):
            _draw(module, draw)


def _draw(module: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):  # direction and length, of which only together something can be drawn
            remove_weight_norm(module, hook.name)
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.dim() > 1 and isinstance(module, LAYERS):
            parameter.data.copy_(draw(parameter.data))
        else:
            parameter.data.fill_(float(name.startswith("weight")))
    if is_parametrized(module, "weight") and isinstance(module, LAYERS):
        _draw_parametrized(module, draw)


def _draw_parametrized(module: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    chain = module.get_submodule("parametrizations.weight")
    with torch.no_grad():
        if all(hasattr(part, "right_inverse") for part in chain.children()):
            module.weight = draw(getattr(module, "weight").detach())  # noqa: B009
        else:
            original = chain.get_parameter("original")
            original.copy_(draw(original.detach()))
