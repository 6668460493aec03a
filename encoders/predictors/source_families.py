"""What labelled families say about networks of another one, of which no label is known."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from cgir.typing import FloatArray
from encoders.features.graph_features import FLOPS, PARAMS, GraphFeatures
from encoders.training.loop import Part

from .ensemble import Ensemble
from .multitask_process import MultitaskGP, SourceSample

Scores = tuple[FloatArray, FloatArray]  # mean and standard deviation of G graphs

# in a score, where nothing is known of the family: what heads learned elsewhere says least about size, where families
# differ most
FLOPS_SHARE = 0.75
# Where heads disagree about a family they are trusted less. RESULTS.md has other constants, and what each target would
# have got from those that all others choose (`examples.papers.universal_constants`).
DISTRUST = 6.0
LARGEST_SHARE = 4.0
ACROSS_SHARE = 3.0  # of what a Gaussian process across families expects, which is little where it knows little


class TargetContext(NamedTuple):
    """What unlabelled graphs say of their family: how much FLOPs count beside the heads, and what labelled networks say
    `across` families.
    """

    share: float = FLOPS_SHARE
    across: MultitaskGP | None = None


class SourceModel(NamedTuple):
    """Ranking heads on frozen vectors, `flops`, mean and deviation inside families of log FLOPs, and some of the
    labelled networks.
    """

    networks: Ensemble
    flops: tuple[float, float]
    labelled: SourceSample

    @classmethod
    def fit(
        cls,
        networks: Ensemble,
        read: GraphFeatures,
        labels: FloatArray,
        families: Sequence[Sequence[Part]],
        tasks: Sequence[str],
        seed: int,
    ) -> SourceModel:
        """See `Ensemble.fit_sources`; `networks` stay as they are."""
        networks = copy(networks)  # others may ask those
        networks.fit_sources(read.vectors(), labels, families, tasks, seed)
        inside = np.sqrt(
            np.mean([read.properties[first.start : first.start + first.size, FLOPS].var() for first, *_ in families])
        )
        flops = float(read.properties[:, FLOPS].mean()), max(float(inside), 1e-6)
        return cls(networks, flops, SourceSample.draw(read, labels, families, len(tasks), seed))

    def family(self, pool: GraphFeatures, task: int = 0) -> TargetContext:
        """What a family's unlabelled graphs say: FLOPs count the more, the less the heads agree about them."""
        scores, deviations = self.networks.predict(pool.vectors(), task)
        disagreement = float(deviations.mean()) / max(float(scores.std()), 1e-9)
        return TargetContext(min(DISTRUST * disagreement**2, LARGEST_SHARE), self.labelled.posterior_for(pool))

    def predict(self, read: GraphFeatures, family: TargetContext, task: int = 0) -> Scores:
        """Scores of G graphs for a task, and how far the heads disagree: (G,), (G,)."""
        scores, deviations = self._heads(read, family, task)
        return scores + ACROSS_SHARE * self._across(read, family, task), deviations

    def free(self, read: GraphFeatures, family: TargetContext, task: int = 0) -> FloatArray:
        """(G, 4): scores that need no label, in the order of `priors.EXPECTED`."""
        return np.column_stack([log_costs(read), self._heads(read, family, task)[0], self._across(read, family, task)])

    def _heads(self, read: GraphFeatures, family: TargetContext, task: int) -> Scores:
        scores, deviations = self.networks.predict(read.vectors(), task)
        mean, deviation = self.flops
        return scores + family.share * (read.properties[:, FLOPS] - mean) / deviation, deviations

    @staticmethod
    def _across(read: GraphFeatures, family: TargetContext, task: int) -> FloatArray:
        return np.zeros(len(read)) if family.across is None else family.across.predict(read, task)


def log_costs(read: GraphFeatures) -> FloatArray:
    """(G, 2): log FLOPs and log parameters."""
    return read.properties[:, [FLOPS, PARAMS]]
