"""What labelled families say about networks of another one, of which no label is known."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .descriptors import Described
from .networks import Networks
from .training import Part

Array = NDArray[np.float64]
Scores = tuple[Array, Array]  # mean and standard deviation of G graphs

FLOPS, PARAMS = 0, 1  # columns of `cgir.properties`, logarithms
FLOPS_SHARE = 0.75  # in a score, where nothing is known of the family: what heads learned elsewhere says least about size, where families differ most
# Where heads disagree about a family they are trusted less. Of 1 to 10 this maximises the mean rank correlation over the families of
# `examples.papers.universal`, each left out of the training of its heads; without any one family the others choose 5 to 8, without timm 3.
DISTRUST = 6.0
LARGEST_SHARE = 4.0


class Sources(NamedTuple):
    """Ranking heads on frozen vectors, and `flops`, mean and deviation inside families of log FLOPs."""

    networks: Networks
    flops: tuple[float, float]

    @classmethod
    def fit(cls, networks: Networks, read: Described, labels: Array, families: Sequence[Sequence[Part]], tasks: Sequence[str], seed: int) -> Sources:
        """See `Networks.fit_sources`; `networks` stay as they are."""
        networks = copy(networks)  # others may ask those
        networks.fit_sources(read.vectors(), labels, families, tasks, seed)
        inside = np.sqrt(np.mean([read.hand[first.start : first.start + first.size, FLOPS].var() for first, *_ in families]))
        return cls(networks, (float(read.hand[:, FLOPS].mean()), max(float(inside), 1e-6)))

    def share(self, pool: Described, task: int = 0) -> float:
        """How much FLOPs count beside heads that agree so well on a family's unlabelled graphs."""
        scores, deviations = self.networks.predict(pool.vectors(), task)
        disagreement = float(deviations.mean()) / max(float(scores.std()), 1e-9)
        return min(DISTRUST * disagreement**2, LARGEST_SHARE)

    def predict(self, read: Described, task: int = 0, share: float = FLOPS_SHARE) -> Scores:
        """Scores of G graphs for a task, and how far the heads disagree: (G,), (G,)."""
        scores, deviations = self.networks.predict(read.vectors(), task)
        mean, deviation = self.flops
        return scores + share * (read.hand[:, FLOPS] - mean) / deviation, deviations

    def free(self, read: Described, task: int = 0, share: float = FLOPS_SHARE) -> Array:
        """(G, 3): scores that need no label, in the order of `priors.EXPECTED`."""
        return np.column_stack([costs(read), self.predict(read, task, share)[0]])


def costs(read: Described) -> Array:
    """(G, 2): log FLOPs and log parameters."""
    return read.hand[:, [FLOPS, PARAMS]]
