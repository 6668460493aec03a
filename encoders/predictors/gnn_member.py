"""Whole networks beside a Gaussian process: where there are labels enough to train them, they see what no vector says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cgir.typing import FloatArray
from encoders.engine.batching import GraphTensors
from encoders.gaussian_process.model_averaging import ENOUGH
from encoders.training.loop import TrainConfig

from .ensemble import Ensemble

# Chosen on families of `examples.papers.universal`, with other draws of labels than it reports, where 20 labels were
# too few for whole networks.
FEWEST = 40  # labels
SHARE = 0.2  # of the networks in the mean with the process
ENSEMBLE = 3
TRAINING = TrainConfig(epochs=100, batch=ENOUGH)  # all labels in one batch, which is prepared once
POOL = 500  # graphs of a pool over which outputs are brought to the scale of the process


class GnnMember(NamedTuple):
    """`networks` that rank, trained from random weights, and `scale` (2, 2): mean and deviation of their outputs, and
    of what these stand for.
    """

    networks: Ensemble
    scale: FloatArray

    @classmethod
    def fit(cls, graphs: GraphTensors, y: FloatArray, pool: GraphTensors, scores: FloatArray, seed: int) -> GnnMember:
        """Train on n labelled graphs.

        Args:
            graphs: n of them.
            y: (n,) labels, higher is better.
            pool: graphs of the family.
            scores: what the process says of them, whose mean and deviation outputs get.
            seed: of weights.
        """
        networks = Ensemble(None, "hinge", ENSEMBLE, False, TRAINING)
        networks.fit(graphs, y, seed, graphs)
        outputs = networks.predict(pool)[0]
        return cls(networks, np.asarray([(outputs.mean(), max(outputs.std(), 1e-9)), (scores.mean(), scores.std())]))

    def blend(self, graphs: GraphTensors, scores: FloatArray) -> FloatArray:
        """(G,): mean of the scores of the process and of the networks."""
        (mean, deviation), (level, spread) = self.scale
        return (1 - SHARE) * scores + SHARE * (level + spread * (self.networks.predict(graphs)[0] - mean) / deviation)
