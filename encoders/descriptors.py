"""Graphs -> standardised vectors for models that do not train the encoder: its embedding beside hand-made properties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgir.properties import properties

from .batching import GraphTensors
from .encoder import Encoder

Array = NDArray[np.float64]


def describe(graphs: GraphTensors, encoder: Encoder | None) -> Array:
    """(G, D) float64: embedding, if there is an encoder, and `cgir.properties`."""
    hand = np.asarray(properties(graphs.batch), np.float64)
    return hand if encoder is None else np.concatenate([encoder.embed(graphs).astype(np.float64), hand], axis=1)


class Scaler:
    """Zero mean, unit deviation per column over reference vectors; columns that are constant there become 0, and outliers stop at +-`limit`."""

    limit = 5.0

    def __init__(self, mean: Array, scale: Array) -> None:
        self.mean, self.scale = mean, scale

    @classmethod
    def fit(cls, vectors: Array) -> Scaler:
        """Statistics of reference vectors (n, D)."""
        mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
        constant = deviation <= 1e-6 * (1 + np.abs(mean))
        return cls(mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation)))

    def __call__(self, vectors: Array) -> Array:
        """Vectors (G, D), scaled."""
        scaled: Array = np.clip((vectors - self.mean) * self.scale, -self.limit, self.limit)
        return scaled
