"""Warnings about pools that a contrast can learn nothing from, and about one that has learned nothing.

Vectors that are all equal have a contrast of ln(B - 1), whatever the pairs weigh: eq. 4.1 of "A General-Purpose
Transferable Predictor for Neural Architecture Search" is -ln(B - 1) for every pair. And no vectors have less than the
entropy of the weights alpha (eq. 4.5), a mean over anchors, as the contrast is a cross-entropy. What lies between both
is all that can be learned.
"""

from __future__ import annotations

import logging
from collections import deque
from math import log as ln

import numpy as np
from torch import Tensor

from .config import PretrainConfig
from .objectives.graph_contrast import GraphContrast
from .objectives.weighted_sum import Objective
from .pair_sampler import Pairs
from .pretraining_set import Pool

log = logging.getLogger(__name__)

LITTLE = 0.05  # nats
SAME = 1e-9  # distance of two spectra that are computed of one wiring
WINDOW, WAIT = 50, 100  # steps that are averaged, and after which a contrast has to have learned something
WAYS = "contrast='wl' (--contrast wl), which sees operators and shapes, or graphs of several families"


def contrast_range(alpha: Tensor) -> tuple[float, float]:
    """The contrast of equal vectors, and a lower bound of any vectors'.

    Args:
        alpha: (B, B) weight of each pair; rows sum to 1.
    """
    entropy = -(alpha * alpha.clamp(min=1e-300).log()).sum(dim=1).mean()
    return ln(len(alpha) - 1), float(entropy)


def warn_if_little_to_learn(pool: Pool, config: PretrainConfig, objective: Objective, pairs: Pairs) -> bool:
    """Log what is amiss with a pool, and what to do; False where the contrast can learn nothing.

    Args:
        pool: that batches are sampled from.
        config: of the run.
        objective: whose contrast weighs the pairs.
        pairs: a batch.
    """
    alone, same = len(np.unique(pool.families)) == 1, _same_spectra(pool)
    contrast = dict(objective.terms.items()).get("contrast")
    if isinstance(contrast, GraphContrast):
        alpha = contrast.pair_weights(pairs, slice(None))
        highest, lowest = contrast_range(alpha)
        positives = (pool.families[pairs.indices][:, None] == pool.families[pairs.indices]).sum(1) - 1
        of_families = float(np.log(positives).mean())  # with equal weights inside a family
        spread = "are all equal" if same else "hardly differ"
        if highest - lowest < LITTLE:
            log.warning("pretrain: %s", _nothing(config.contrast, alone, spread))
            return False
        if config.contrast == "spectral" and of_families - lowest < LITTLE:
            log.warning(
                "pretrain: spectra inside a family %s, so that the contrast tells families apart and nothing else; "
                "contrast='wl' (--contrast wl) also tells their networks apart",
                spread,
            )
            return True
    if same:
        log.warning(
            "pretrain: the spectra of each family are all equal, so that neighbours are drawn at random; "
            "give spectra=contrastive.operator_spectrum(graphs), which see operators"
        )
    if alone:
        log.warning(
            "pretrain: all %d graphs are of one family, and what is learned need not hold for another; "
            "give graphs of several if it should",
            len(pool.families),
        )
    return True


def _nothing(contrast: str, alone: bool, spread: str) -> str:
    """Why a contrast can learn nothing, and what to do."""
    if contrast == "supcon":
        return f"the contrast 'supcon' tells families apart, and all graphs are of one; give {WAYS}"
    if contrast == "spectral":
        family = "all graphs are of one family, and their spectra" if alone else "the spectra of the graphs"
        return f"{family} {spread}, so that the contrast 'spectral' can learn nothing; give {WAYS}"
    return f"the graphs hardly differ, so that the contrast {contrast!r} can learn nothing; give graphs that do"


def _same_spectra(pool: Pool) -> bool:
    """Whether in every family all spectra are equal."""
    _, first, family = np.unique(pool.families, return_index=True, return_inverse=True)
    return bool((np.abs(pool.spectra - pool.spectra[first[family]]) < SAME).all())


class ContrastWatch:
    """Warns once where a contrast stays at the value of equal vectors."""

    def __init__(self, batch: int, first_step: int) -> None:
        self.equal, self.first_step = ln(batch - 1), first_step
        self.recent: deque[float] = deque(maxlen=WINDOW)

    def see(self, step: int, contrast: float) -> None:
        """Take the contrast of a step of the training, and warn where it is time to."""
        self.recent.append(contrast)
        mean = sum(self.recent) / len(self.recent)
        if step - self.first_step == WAIT and mean > self.equal - LITTLE:
            log.warning(
                "pretrain: after %d steps the contrast is still %.3f, that of equal vectors (%.3f): it has taught "
                "nothing so far; another lr or temperature may help, or more families, or contrast='wl'",
                step,
                mean,
                self.equal,
            )
