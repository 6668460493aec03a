"""Contrastive losses of "A General-Purpose Transferable Predictor for Neural Architecture Search", sections 4.1, 4.2.

    z         (B, p)  projections of the graphs of a batch, of unit length
    tau               temperature of similarities
    chi       (R, B)  log-softmax of similarities, eq. 4.1
    P(i)              the other rows with the family of row i, its positives
    alpha     (R, B)  weight of each pair, by which all losses here differ
    rows              slice of R anchors, by default all B; each is compared with the whole batch

The paper sums over anchors; these are means over all B anchors, so that a learning rate does not depend on the batch
size. With `rows` a loss is the share of those anchors, so that shares of several processes add up to the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALL = slice(None)
SPREAD = 0.05  # the paper's temperature of eq. 4.5, for distances of spectra


def log_similarity(z: Tensor, temperature: float = 0.1, rows: slice = ALL) -> Tensor:
    """chi_ij = log(exp(z_i z_j / tau) / sum over r != i of exp(z_i z_r / tau)) (eq. 4.1); 0 where i = j.

    Args:
        z: (B, p) projections of unit length.
        temperature: tau.
        rows: the R anchors i.

    Returns:
        (R, B).
    """
    is_self = torch.eye(len(z), dtype=torch.bool, device=z.device)[rows]
    similarity = (z[rows] @ z.T / temperature).masked_fill(is_self, -torch.inf)
    return (similarity - similarity.logsumexp(dim=1, keepdim=True)).masked_fill(is_self, 0.0)


def weighted_log_similarity(alpha: Tensor, z: Tensor, temperature: float = 0.1, rows: slice = ALL) -> Tensor:
    """The loss -(1 / B) sum over anchors i and all s of alpha_is chi_is, a scalar.

    Args:
        alpha: (R, B) weight of each pair.
        z: (B, p) projections of unit length.
        temperature: tau.
        rows: the R anchors i.
    """
    return -(alpha * log_similarity(z, temperature, rows)).sum() / len(z)


def simclr(z: Tensor, partners: Tensor, temperature: float = 0.1) -> Tensor:
    """-mean over i of chi_{i, j(i)} (eq. 4.2, SimCLR), a scalar.

    Args:
        z: (B, p) projections of unit length.
        partners: (B,) j(i), the row of each anchor's positive.
        temperature: tau.
    """
    return weighted_log_similarity(partner_weights(partners).to(z.dtype), z, temperature)


def supcon(z: Tensor, families: Tensor, temperature: float = 0.1) -> Tensor:
    """-mean over i of mean over s in P(i) of chi_is (eq. 4.3, SupCon), a scalar.

    An anchor alone in its family contributes 0.

    Args:
        z: (B, p) projections of unit length.
        families: (B,) family of each row.
        temperature: tau.
    """
    return weighted_log_similarity(family_weights(families).to(z.dtype), z, temperature)


def spectral_supcon(
    z: Tensor, families: Tensor, spectra: Tensor, temperature: float = 0.1, sign: int = -1, spread: float = SPREAD
) -> Tensor:
    """-mean over i of sum over s in P(i) of alpha_is chi_is (eq. 4.5) with `spectral_weights`, a scalar.

    Args:
        z: (B, p) projections of unit length.
        families: (B,) family of each row.
        spectra: (B, k) of the graphs.
        temperature: tau.
        sign: -1 gives near graphs the largest weight, +1 far ones.
        spread: temperature of the weights.
    """
    return weighted_log_similarity(spectral_weights(families, spectra, sign, spread).to(z.dtype), z, temperature)


def partner_weights(partners: Tensor, rows: slice = ALL) -> Tensor:
    """Pair weights of SimCLR, (R, B) float64: 1 where s is the partner of i."""
    columns = partners[rows].unsqueeze(1)
    zeros = torch.zeros(len(columns), len(partners), dtype=torch.float64, device=partners.device)
    return zeros.scatter_(1, columns, 1.0)


def family_weights(families: Tensor, rows: slice = ALL) -> Tensor:
    """Pair weights of SupCon, (R, B) float64: 1 over the size of P(i) where s is in P(i)."""
    positives = _positives(families, rows).double()
    return positives / positives.sum(dim=1, keepdim=True).clamp(min=1)


def spectral_weights(
    families: Tensor, spectra: Tensor, sign: int = -1, spread: float = SPREAD, rows: slice = ALL
) -> Tensor:
    """`distance_weights` of sigma_S, the Euclidean distance of spectra.

    Args:
        families: (B,) family of each row.
        spectra: (B, k) of the graphs.
        sign: -1 gives near graphs the largest weight, +1 far ones.
        spread: temperature of the weights.
        rows: the R anchors.

    Returns:
        alpha, (R, B).
    """
    # distances of nearly equal spectra are lost in the shortcut through matrix products
    distance = torch.cdist(spectra[rows], spectra, compute_mode="donot_use_mm_for_euclid_dist")
    return distance_weights(families, distance, sign, spread, rows)


def distance_weights(
    families: Tensor, distance: Tensor, sign: int = -1, spread: float = SPREAD, rows: slice = ALL
) -> Tensor:
    """Row i is the softmax over s in P(i) of sign * distance_is / spread (eq. 4.5); 0 where P(i) is empty.

    With the sign as printed, +1, the farthest graphs weigh most; the text wants a distribution that "smoothly favors
    similar computation graphs", which is -1.

    Args:
        families: (B,) family of each row.
        distance: (R, B) of the anchors to all graphs.
        sign: -1 or +1.
        spread: temperature, in the unit of `distance`.
        rows: the R anchors.

    Returns:
        alpha, (R, B).
    """
    positives = _positives(families, rows)
    logits = (sign * distance / spread).masked_fill(~positives, -torch.inf)
    alone = ~positives.any(dim=1, keepdim=True)
    return logits.masked_fill(alone, 0.0).softmax(dim=1).masked_fill(alone, 0.0)


def relative_distance(families: Tensor, distance: Tensor, rows: slice = ALL) -> Tensor:
    """Each anchor's distances over their mean over P(i); 0 where that is 0 or P(i) is empty.

    Args:
        families: (B,) family of each row.
        distance: (R, B) of the anchors to all graphs.
        rows: the R anchors.

    Returns:
        (R, B).
    """
    mean = (family_weights(families, rows) * distance).sum(dim=1, keepdim=True)
    return torch.where(mean > 0, distance / mean, 0.0)


def _positives(families: Tensor, rows: slice = ALL) -> Tensor:
    """(R, B) bool: of the same family, and not the anchor itself."""
    is_self = torch.eye(len(families), dtype=torch.bool, device=families.device)[rows]
    return (families[rows].unsqueeze(1) == families) & ~is_self
