"""Proxies of ReLU activation patterns: naswot and swap.

    a unit          one number that a ReLU returns for an image: of a layer of C channels and H x W positions, C H W
    pattern (B, U)  whether each of U units is positive for each of B images

Both count only ReLUs that the output depends on. ReLU6 counts as ReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .live_graph import live_nodes
from .probe import MissingLayerError, Probe
from .recorder import Call

BITS = 64  # images in one word of a packed pattern


def naswot(probe: Probe) -> float | None:
    """log |det K_H|, K_H[i, j] = U - (units in which images i and j differ).

    Mellor et al. 2021, "Neural Architecture Search without Training", section 3
    (https://arxiv.org/abs/2006.04647). None where K_H is singular, as with two equal images.
    """
    patterns = live_patterns(probe)
    return log_determinant(hamming_kernel(patterns)) if patterns else None


def swap(probe: Probe) -> float | None:
    """Number of distinct sample-wise activation patterns: of columns of the pattern (B, U).

    Peng et al. 2024, "SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS", section 3
    (https://arxiv.org/abs/2403.04161), without the regularisation by size, whose two constants they set for each
    search space. At most 2^B, so a few images saturate. None where no unit tells two images apart.
    """
    patterns = live_patterns(probe)
    if not patterns or not any((pattern != pattern[:1]).any() for pattern in patterns):
        return None
    return float(distinct_columns(patterns))


def live_patterns(probe: Probe) -> list[Tensor] | None:
    """(B, units) bool for each call of a ReLU; those that work on something else than the batch do not count.

    None where a ReLU returns NaN, of which nothing says whether it is on.

    Raises:
        MissingLayerError: the network calls no ReLU.
    """
    run = probe.forward_pass
    calls = [call for call in run.calls if call.is_relu]
    if not calls:
        raise MissingLayerError("ReLU activations")
    live, batch = live_nodes(run.output), len(run.inputs[0])

    def counts(call: Call) -> bool:
        return not live.isdisjoint(call.nodes) and call.output.dim() > 0 and len(call.output) % batch == 0

    outputs = [call.output for call in calls if counts(call)]
    if any(bool(output.isnan().any()) for output in outputs):
        return None
    return [(output > 0).reshape(batch, -1) for output in outputs]


def hamming_kernel(patterns: list[Tensor]) -> Tensor:
    """K_H, (B, B) float64: in how many units two images agree, over all layers."""
    batch = len(patterns[0])
    kernel = torch.zeros(batch, batch, dtype=torch.float64, device=patterns[0].device)
    for pattern in patterns:
        signs = pattern.float() * 2 - 1  # agreeing units minus differing ones; exact up to 2^24 units
        kernel += (signs @ signs.T + pattern.shape[1]) / 2
    return kernel


def log_determinant(kernel: Tensor) -> float | None:
    """Of a positive semidefinite matrix; None where it is singular up to rounding."""
    values = torch.linalg.eigvalsh(kernel)
    if values[0] <= values[-1] * len(kernel) * torch.finfo(kernel.dtype).eps:
        return None
    return float(values.log().sum())


def distinct_columns(patterns: list[Tensor]) -> int:
    """How many different columns the patterns have together."""
    pattern = torch.cat(patterns, 1)
    number = torch.zeros(pattern.shape[1], dtype=torch.long, device=pattern.device)  # equal for equal columns
    count = 1
    for start in range(0, len(pattern), BITS):
        part = pattern[start : start + BITS].long()
        words = (part << torch.arange(len(part), device=part.device).unsqueeze(1)).sum(0)
        number = number * pattern.shape[1] + torch.unique(words, return_inverse=True)[1]
        different, number = torch.unique(number, return_inverse=True)
        count = len(different)
    return count
