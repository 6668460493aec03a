"""What labelled families say about networks of another one, of which no label is known."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from cgir.typing import FloatArray
from encoders.features.graph_features import FLOPS, PARAMS, Described
from encoders.training.loop import Part

from .ensemble import Networks
from .multitask_process import Across, Labelled

Scores = tuple[FloatArray, FloatArray]  # mean and standard deviation of G graphs

# in a score, where nothing is known of the family: what heads learned elsewhere says least about size, where families
# differ most
FLOPS_SHARE = 0.75
# Where heads disagree about a family they are trusted less. RESULTS.md has other constants, and what each target would
# have got from those that all others choose (`examples.papers.universal_constants`).
DISTRUST = 6.0
LARGEST_SHARE = 4.0
ACROSS_SHARE = 3.0  # of what a Gaussian process across families expects, which is little where it knows little


class Family(NamedTuple):
    """What unlabelled graphs say of their family: how much FLOPs count beside the heads, and what labelled networks say
    `across` families.
    """

    share: float = FLOPS_SHARE
    across: Across | None = None


class Sources(NamedTuple):
    """Ranking heads on frozen vectors, `flops`, mean and deviation inside families of log FLOPs, and some of the
    labelled networks.
    """

    networks: Networks
    flops: tuple[float, float]
    labelled: Labelled

    @classmethod
    def fit(
        cls,
        networks: Networks,
        read: Described,
        labels: FloatArray,
        families: Sequence[Sequence[Part]],
        tasks: Sequence[str],
        seed: int,
    ) -> Sources:
        """See `Networks.fit_sources`; `networks` stay as they are."""
        networks = copy(networks)  # others may ask those
        networks.fit_sources(read.vectors(), labels, families, tasks, seed)
        inside = np.sqrt(
            np.mean([read.hand[first.start : first.start + first.size, FLOPS].var() for first, *_ in families])
        )
        flops = float(read.hand[:, FLOPS].mean()), max(float(inside), 1e-6)
        return cls(networks, flops, Labelled.draw(read, labels, families, len(tasks), seed))

    def family(self, pool: Described, task: int = 0) -> Family:
        """What a family's unlabelled graphs say: FLOPs count the more, the less the heads agree about them."""
        scores, deviations = self.networks.predict(pool.vectors(), task)
        disagreement = float(deviations.mean()) / max(float(scores.std()), 1e-9)
        return Family(min(DISTRUST * disagreement**2, LARGEST_SHARE), self.labelled.about(pool))

    def predict(self, read: Described, family: Family, task: int = 0) -> Scores:
        """Scores of G graphs for a task, and how far the heads disagree: (G,), (G,)."""
        scores, deviations = self._heads(read, family, task)
        return scores + ACROSS_SHARE * self._across(read, family, task), deviations

    def free(self, read: Described, family: Family, task: int = 0) -> FloatArray:
        """(G, 4): scores that need no label, in the order of `priors.EXPECTED`."""
        return np.column_stack([costs(read), self._heads(read, family, task)[0], self._across(read, family, task)])

    def _heads(self, read: Described, family: Family, task: int) -> Scores:
        scores, deviations = self.networks.predict(read.vectors(), task)
        mean, deviation = self.flops
        return scores + family.share * (read.hand[:, FLOPS] - mean) / deviation, deviations

    @staticmethod
    def _across(read: Described, family: Family, task: int) -> FloatArray:
        return np.zeros(len(read)) if family.across is None else family.across.predict(read, task)


def costs(read: Described) -> FloatArray:
    """(G, 2): log FLOPs and log parameters."""
    return read.hand[:, [FLOPS, PARAMS]]
