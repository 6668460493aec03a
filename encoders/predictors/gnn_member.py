"""Graph neural networks trained from scratch and blended with the Gaussian process (weight 0.2, 40 to 100 labels)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cgir.typing import FloatArray
from encoders.features.graph_features import GraphFeatures

from .blend_config import BlendConfig
from .ensemble import Ensemble
from .serialization import State

LOSS = "hinge"


class GnnMember(NamedTuple):
    """An ensemble that ranks, and how its outputs are brought to the scale of the process.

    Attributes: `ensemble`; `calibration` (2, 2), rows: mean and standard deviation of its outputs, and of the scores of
    the process, over the same graphs; `weight` of its scores in the mean with those of the process.
    """

    ensemble: Ensemble
    calibration: FloatArray
    weight: float

    @classmethod
    def fit(
        cls,
        features: GraphFeatures,
        y: FloatArray,
        pool: GraphFeatures,
        process_scores: FloatArray,
        seed: int,
        config: BlendConfig,
    ) -> GnnMember:
        """Train on n labelled graphs.

        Args:
            features: of n graphs.
            y: (n,) labels, higher is better.
            pool: graphs of the family.
            process_scores: the process's scores of the pool, whose mean and standard deviation outputs get.
            seed: of weights.
            config: constants.
        """
        ensemble = Ensemble(None, LOSS, config.gnn_members, frozen=False, train=config.gnn_train)
        ensemble.fit(features, y, features, seed)
        outputs = ensemble.predict(pool)[0]
        calibration = [(outputs.mean(), max(outputs.std(), 1e-9)), (process_scores.mean(), process_scores.std())]
        return cls(ensemble, np.asarray(calibration), config.gnn_weight)

    def blend(self, features: GraphFeatures, process_scores: FloatArray) -> FloatArray:
        """(G,): weighted mean of the scores of the process and of the networks."""
        (mean, std), (process_mean, process_std) = self.calibration
        outputs = self.ensemble.predict(features)[0]
        scores: FloatArray = process_mean + process_std * (outputs - mean) / std
        return (1 - self.weight) * process_scores + self.weight * scores

    def to_state(self) -> State:
        """What the constants of the blend do not have."""
        state = State.of_arrays(calibration=self.calibration)
        state.add("ensemble", self.ensemble.to_state())
        return state

    @classmethod
    def from_state(cls, state: State, config: BlendConfig) -> GnnMember:
        """What `to_state` gave, made with these constants."""
        ensemble = Ensemble.from_state(state.required("ensemble"), None, LOSS)
        return cls(ensemble, state.array("calibration", 2, 2), config.gnn_weight)
