"""MeCo: the least eigenvalue of the correlation of channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .feature_maps import Key, image_size, inner_modules, maps_of, own_modules, watched
from .live_graph import live_nodes, nodes_of
from .probe import MissingLayerError, Probe


def meco(probe: Probe) -> float | None:
    """Sum over layers of the least eigenvalue of the Pearson correlations of the layer's channels, for a random image.

    Jiang et al. 2023, "MeCo: Zero-Shot NAS with One Data and Single Forward Pass via Minimum Eigenvalue of
    Correlation" (https://openreview.net/forum?id=KFm2lZiI7n). Layers are modules without modules in them whose
    feature map the output depends on; the authors' code also counts what holds them, and dead ends. The image is
    standard normal, whatever the batch; a second one goes with it, as BatchNorm of maps of one position needs two.
    None where the last map is the same for both.

    Raises:
        MissingLayerError: the network returns no feature maps.
    """
    size = image_size(probe.inputs)
    network = probe.fresh()
    leaves = {name: module for name, module in own_modules(network).items() if not inner_modules(module)}
    seen: dict[Key, Tensor] = {}
    with watched(leaves, seen.__setitem__):
        output = probe.call(network, _random_pair(probe))
    maps = maps_of(seen, size, 2)
    if not maps:
        raise MissingLayerError("modules that return feature maps")
    nodes = live_nodes(output)
    live = [feature.image.detach() for feature in maps.values() if not nodes.isdisjoint(nodes_of(feature.value))]
    if not live or torch.equal(live[-1][0], live[-1][1]):
        return None
    return math.fsum(least_correlation(image[0].flatten(1)) for image in live)


def _random_pair(probe: Probe) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(probe.seed)
    shapes = [(2, *x.shape[1:]) for x in probe.inputs]
    return tuple(
        x
        if not probe.has_batch(x)
        else torch.randn(shape, generator=generator, device="cpu").to(x)
        if x.is_floating_point()
        else x[:1].expand(shape)
        for x, shape in zip(probe.inputs, shapes, strict=True)
    )


def least_correlation(channels: Tensor) -> float:
    """Least eigenvalue of the correlation of (C, positions), NaN if not finite; a constant channel has none.

    As in the authors' code, not even with itself, so that the least eigenvalue is then 0. It is also 0 where channels
    are as many as positions or more: wide layers count on large images only.
    """
    count, positions = channels.shape
    centred = channels.double() - channels.double().mean(1, keepdim=True)
    norms = torch.linalg.vector_norm(centred, dim=1)
    if not bool(norms.isfinite().all()):
        return math.nan
    constant = norms <= torch.finfo(channels.dtype).eps * torch.linalg.vector_norm(channels.double(), dim=1)
    if count >= positions or bool(constant.any()):
        return 0.0
    unit = centred / norms.unsqueeze(1)
    return max(float(torch.linalg.eigvalsh(unit @ unit.T)[0]), 0.0)
