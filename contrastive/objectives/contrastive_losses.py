"""Contrastive losses on projections z (B, p) of unit length, from "A General-Purpose Transferable Predictor for Neural
Architecture Search", section 4.1 and 4.2.

The paper sums over anchors; these are means over all B anchors, so that a learning rate does not depend on the batch
size. Where there are `rows`, only those R anchors are looked at, each against the whole batch: shares of several
processes then add up to the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALL = slice(None)
SPREAD = 0.05  # the paper's temperature of eq. 4.5, for distances of spectra


def log_similarity(z: Tensor, temperature: float = 0.1, rows: slice = ALL) -> Tensor:
    """chi_ij = log(exp(z_i z_j / tau) / sum over r != i of exp(z_i z_r / tau)) (eq. 4.1), (R, B); where i = j, which
    nothing uses, it is 0.
    """
    self = torch.eye(len(z), dtype=torch.bool, device=z.device)[rows]
    similarity = (z[rows] @ z.T / temperature).masked_fill(self, -torch.inf)
    return (similarity - similarity.logsumexp(dim=1, keepdim=True)).masked_fill(self, 0.0)


def weighted_log_similarity(alpha: Tensor, z: Tensor, temperature: float = 0.1, rows: slice = ALL) -> Tensor:
    """-(1 / B) sum over anchors i of sum over s of alpha_s^(i) chi_{i, s}, of which all losses here are cases; `alpha`
    (R, B).
    """
    return -(alpha * log_similarity(z, temperature, rows)).sum() / len(z)


def simclr(z: Tensor, partners: Tensor, temperature: float = 0.1) -> Tensor:
    """-mean over i of chi_{i, j(i)} (eq. 4.2, SimCLR); `partners` (B,) holds j(i), the row of each anchor's positive."""
    return weighted_log_similarity(partner_weights(partners).to(z.dtype), z, temperature)


def supcon(z: Tensor, families: Tensor, temperature: float = 0.1) -> Tensor:
    """-mean over i of mean over s in P(i) of chi_{i, s} (eq. 4.3, SupCon); P(i): the other rows with the family of i.

    An anchor alone in its family contributes 0.
    """
    return weighted_log_similarity(family_weights(families).to(z.dtype), z, temperature)


def spectral_supcon(
    z: Tensor, families: Tensor, spectra: Tensor, temperature: float = 0.1, sign: int = -1, spread: float = SPREAD
) -> Tensor:
    """-mean over i of sum over s in P(i) of alpha_s^(i) chi_{i, s} (eq. 4.5), with alpha from `spectral_weights`."""
    return weighted_log_similarity(spectral_weights(families, spectra, sign, spread).to(z.dtype), z, temperature)


def partner_weights(partners: Tensor, rows: slice = ALL) -> Tensor:
    """(R, B) float64: 1 where s is the partner of i."""
    own = partners[rows].unsqueeze(1)
    return torch.zeros(len(own), len(partners), dtype=torch.float64).scatter_(1, own, 1.0)


def family_weights(families: Tensor, rows: slice = ALL) -> Tensor:
    """(R, B) float64: one over the size of P(i) where s is in P(i)."""
    positives = _positives(families, rows).double()
    return positives / positives.sum(dim=1, keepdim=True).clamp(min=1)


def spectral_weights(
    families: Tensor, spectra: Tensor, sign: int = -1, spread: float = SPREAD, rows: slice = ALL
) -> Tensor:
    """`distance_weights` of sigma_S, the Euclidean distance of the rows of `spectra` (B, k)."""
    # distances of nearly equal spectra are lost in the shortcut through matrix products
    distance = torch.cdist(spectra[rows], spectra, compute_mode="donot_use_mm_for_euclid_dist")
    return distance_weights(families, distance, sign, spread, rows)


def distance_weights(
    families: Tensor, distance: Tensor, sign: int = -1, spread: float = SPREAD, rows: slice = ALL
) -> Tensor:
    """alpha (R, B): row i is the softmax over P(i) of sign * distance_is / spread (eq. 4.5), all 0 where i is alone in
    its family.

    `distance` (R, B). With the sign as printed, +1, the farthest graphs weigh most; the text wants a distribution that
    "smoothly favors similar computation graphs", which is -1.
    """
    positives = _positives(families, rows)
    logits = (sign * distance / spread).masked_fill(~positives, -torch.inf)
    alone = ~positives.any(dim=1, keepdim=True)
    return logits.masked_fill(alone, 0.0).softmax(dim=1).masked_fill(alone, 0.0)


def relative_distance(families: Tensor, distance: Tensor, rows: slice = ALL) -> Tensor:
    """Each anchor's distances (R, B) over their mean over P(i); 0 where that is 0 or P(i) empty."""
    mean = (family_weights(families, rows) * distance).sum(dim=1, keepdim=True)
    return torch.where(mean > 0, distance / mean, 0.0)


def _positives(families: Tensor, rows: slice = ALL) -> Tensor:
    """(R, B) bool: same family, and not the anchor itself."""
    itself = torch.eye(len(families), dtype=torch.bool, device=families.device)[rows]
    return (families[rows].unsqueeze(1) == families) & ~itself
