"""AZ-NAS: the sum of four ranks among networks: expressivity, progressivity, trainability and complexity.

Lee and Ham 2024, "AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search", section 3
(https://arxiv.org/abs/2403.19232).

    f_l (B, C, H, W)   feature map at the end of block l = 1 .. L
    lambda             eigenvalues of the covariance of its C channels over images and positions, divided by their sum
    s_l                entropy of lambda

A block is the outermost module with modules in it whose class, other than PyTorch's own containers, occurs more than
once in the network: cells, residual blocks, layers of a transformer. Where fewer than two blocks return a feature map
on which the output depends, ends of sizes take their place: the last feature map that a module returns of each height
and width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_unshuffle
from torch.nn.utils.parametrize import type_before_parametrizations
from tqdm import tqdm

from cgir.errors import CgirError
from encoders.engine.devices import Device

from .costs import flops
from .drawing_weights import draw_weights
from .feature_maps import FeatureMap, as_image, ends_of_sizes, inner_modules, live_maps
from .isolation import isolated
from .probe import MissingLayerError, Probe, in_one_line

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Components(NamedTuple):
    """The four scores of a network, higher is better.

    expressivity: sum of s_l.
    progressivity: least s_l - s_(l-1).
    trainability: mean of 2 - sigma - 1 / sigma, sigma the spectral norm of a block's Jacobian, estimated.
    complexity: FLOPs.
    """

    expressivity: float
    progressivity: float
    trainability: float
    complexity: float


def rank_az_nas(
    modules: Sequence[nn.Module],
    inputs: Tensor | tuple[Tensor, ...],
    seed: int = 0,
    device: Device = "auto",
) -> npt.NDArray[np.float64]:
    """Score networks against each other, higher is better: sum over components of log(rank / networks).

    The worst has rank 1, and ties share the mean of their ranks. The score of a network depends on the others.

    Args:
        modules: the networks; they are left as they are.
        inputs: a batch of images (B, C, H, W), or a tuple where the networks take several; the authors' is random.
        seed: of weights and of random signs.
        device: where to compute; "auto" is CUDA where there is one, otherwise the CPU.

    Returns:
        (G,); NaN where a component is undefined, which counts in no rank: a block's map is constant, or there are
        fewer than two of them.

    Raises:
        CgirError: a network refuses the inputs, cannot be copied, or has no feature maps.
    """
    if isinstance(modules, nn.Module):  # of which some, as nn.Sequential, can be gone through
        raise CgirError(f"rank_az_nas: modules are one {type(modules).__name__}; give a list of networks")
    found = []
    for number, module in enumerate(tqdm(modules, desc="az_nas", unit="network", leave=False, disable=None)):
        try:
            probe = Probe(module, inputs, seed=seed, device=device)
            with in_one_line("az_nas", probe.name):
                found.append(components(probe))
        except CgirError as error:
            raise CgirError(f"rank_az_nas: network {number}: {error}") from error
    return summed_ranks(found)


def summed_ranks(found: Sequence[Components | None]) -> npt.NDArray[np.float64]:
    """The scores (G,) of `rank_az_nas` from each network's components."""
    defined = np.array([value is not None for value in found], dtype=bool)
    scores = np.full(len(found), np.nan)
    if defined.any():
        table = np.array([value for value in found if value is not None])
        scores[defined] = np.log(rankdata(table, axis=0) / len(table)).sum(1)
    return scores


def components(probe: Probe) -> Components | None:
    """The four scores of one network, with weights drawn after He et al. from N(0, 2 / fan-in); None if undefined.

    Trainability is -inf where a block returns its input, as in the authors' code: it has nothing to train.
    """
    with isolated(probe.seed, probe.device):
        network = probe.fresh()
        draw_weights(network, he_normal)
        maps = block_maps(probe, network)
        complexity = flops(probe)
        if len(maps) < 2 or complexity is None:
            return None
        entropies = [channel_entropy(feature.image.detach()) for feature in maps]
        generator = torch.Generator().manual_seed(probe.seed)
        terms = [conditioning(before, after, generator) for before, after in pairwise(maps)]
    connected = [term for term in terms if term is not None]
    if not np.isfinite(entropies).all() or not connected or np.isnan(connected).any():
        return None
    return Components(
        float(np.sum(entropies)), float(np.diff(entropies).min()), float(np.mean(connected)), float(complexity)
    )


def block_maps(probe: Probe, network: nn.Module) -> list[FeatureMap]:
    """The maps f_l of one pass through a copy of the probe's network, in order, with their graph of gradients.

    Raises:
        CgirError: the network returns no feature maps, or refuses the inputs.
    """
    try:
        maps = live_maps(probe, network, probe.inputs, _repeated_blocks(network))
        if len(maps) < 2:
            every = live_maps(probe, network, probe.inputs)
            ends = set(ends_of_sizes(every).values())
            maps = {key: feature for key, feature in every.items() if key in ends}
    except MissingLayerError as error:
        raise CgirError(f"needs {error}, and {probe.name} has none; leave it out") from None
    return list(maps.values())


def _repeated_blocks(network: nn.Module) -> Iterator[str]:
    kinds = {module: type_before_parametrizations(module) for module in network.modules() if inner_modules(module)}
    counts = Counter(kinds.values())

    def walk(prefix: str, module: nn.Module) -> Iterator[str]:
        for name, child in inner_modules(module).items():
            kind = kinds.get(child)
            if kind is not None and kind not in CONTAINERS and counts[kind] > 1:
                yield prefix + name
            else:
                yield from walk(f"{prefix}{name}.", child)

    return walk("", network)


def he_normal(weight: Tensor) -> Tensor:
    """Values for a weight from N(0, 2 / fan-in)."""
    return nn.init.kaiming_normal_(torch.empty_like(weight), nonlinearity="relu")


def channel_entropy(feature: Tensor) -> float:
    """s_l of a map (B, C, H, W); NaN where all its channels are constant, or one number is not finite."""
    values = feature.transpose(0, 1).flatten(1).double()
    values = values - values.mean(1, keepdim=True)
    if values.shape[0] > values.shape[1]:
        values = values.T  # the same eigenvalues but for zeros
    if not bool(values.isfinite().all()):
        return np.nan
    spectrum = torch.linalg.eigvalsh(values @ values.T).clamp(min=0)
    return float(torch.special.entr(spectrum / spectrum.sum()).sum())


def conditioning(before: FeatureMap, after: FeatureMap, generator: torch.Generator) -> float | None:
    """2 - sigma - 1 / sigma of the block between two maps; None without a path between them, NaN if not finite.

    Random signs v at the end of the block give g = J^T v at its start; the mean of g v^T over images and positions is
    the estimate of its Jacobian, (C, C). Where sizes differ, the positions of the larger map that belong to one of the
    smaller become channels, zeros behind the edge.

    Args:
        before: map at the end of the block before.
        after: map at its own end.
        generator: of the signs.
    """
    signs = (torch.randint(0, 2, after.image.shape, generator=generator, device="cpu") * 2 - 1).to(after.image)
    (gradient,) = torch.autograd.grad(after.image, before.value, signs, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    gradient = as_image(gradient, before.layout)
    if gradient.shape == signs.shape and torch.equal(gradient, signs):
        return -np.inf
    gradient, signs = _same_positions(gradient.double(), signs.double())
    positions = signs.shape[0] * signs.shape[2] * signs.shape[3]
    estimate = gradient.transpose(0, 1).flatten(1) @ signs.transpose(0, 1).flatten(1).T / positions
    if not bool(estimate.isfinite().all()):
        return np.nan
    sigma = float(torch.linalg.matrix_norm(estimate, 2))
    return 2 - sigma - 1 / sigma if sigma > 0 else -np.inf


def _same_positions(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of two maps with channels for the positions that it has more."""
    if a.shape[2:] == b.shape[2:]:
        return a, b
    if a.shape[2] * a.shape[3] < b.shape[2] * b.shape[3]:
        b, a = _same_positions(b, a)
        return a, b
    height, width = b.shape[2:]
    factor = max(-(-a.shape[2] // height), -(-a.shape[3] // width))
    padded = pad(a, (0, width * factor - a.shape[3], 0, height * factor - a.shape[2]))
    return pixel_unshuffle(padded, factor), b
