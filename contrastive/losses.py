"""Contrastive losses on projections z (B, p) of unit length, from "A General-Purpose Transferable Predictor for Neural Architecture Search",
section 4.1 and 4.2.

The paper sums over anchors; these are means over all B anchors, so that a learning rate does not depend on the batch size.
"""

from __future__ import annotations

import torch
from torch import Tensor


def agreement(z: Tensor, temperature: float = 0.1) -> Tensor:
    """chi_ij = log(exp(z_i z_j / tau) / sum over r != i of exp(z_i z_r / tau)) (eq. 4.1), (B, B); the diagonal, which nothing uses, is 0."""
    self = torch.eye(len(z), dtype=torch.bool, device=z.device)
    similarity = (z @ z.T / temperature).masked_fill(self, -torch.inf)
    return (similarity - similarity.logsumexp(dim=1, keepdim=True)).masked_fill(self, 0.0)


def simclr(z: Tensor, partners: Tensor, temperature: float = 0.1) -> Tensor:
    """-mean over i of chi_{i, j(i)} (eq. 4.2, SimCLR); `partners` (B,) holds j(i), the row of each anchor's positive."""
    chi = agreement(z, temperature).gather(1, partners.unsqueeze(1))
    return -chi.mean()


def supcon(z: Tensor, families: Tensor, temperature: float = 0.1) -> Tensor:
    """-mean over i of mean over s in P(i) of chi_{i, s} (eq. 4.3, SupCon); P(i): the other rows with the family of i.

    An anchor alone in its family contributes 0.
    """
    positives = _positives(families)
    alpha = positives / positives.sum(dim=1, keepdim=True).clamp(min=1)
    return _weighted(alpha, agreement(z, temperature))


def spectral_supcon(z: Tensor, families: Tensor, spectra: Tensor, temperature: float = 0.1, sign: int = -1, spread: float = 0.05) -> Tensor:
    """-mean over i of sum over s in P(i) of alpha_s^(i) chi_{i, s} (eq. 4.5), with alpha from `spectral_weights`."""
    return _weighted(spectral_weights(families, spectra, sign, spread).to(z.dtype), agreement(z, temperature))


def spectral_weights(families: Tensor, spectra: Tensor, sign: int = -1, spread: float = 0.05) -> Tensor:
    """alpha (B, B): row i is the softmax over P(i) of sign * sigma_S(i, s) / spread, all 0 where i is alone in its family.

    sigma_S is the Euclidean distance of the rows of `spectra` (B, k). With the sign as printed, +1, the farthest graphs weigh most;
    the text wants a distribution that "smoothly favors similar computation graphs", which is -1.
    """
    # distances of nearly equal spectra are lost in the shortcut through matrix products
    distance = torch.cdist(spectra, spectra, compute_mode="donot_use_mm_for_euclid_dist")
    positives = _positives(families)
    logits = (sign * distance / spread).masked_fill(~positives, -torch.inf)
    alone = ~positives.any(dim=1, keepdim=True)
    return logits.masked_fill(alone, 0.0).softmax(dim=1).masked_fill(alone, 0.0)


def _positives(families: Tensor) -> Tensor:
    """(B, B) bool: same family, and not the anchor itself."""
    return (families.unsqueeze(1) == families).fill_diagonal_(False)


def _weighted(alpha: Tensor, chi: Tensor) -> Tensor:
    return -(alpha * chi).sum() / len(chi)
