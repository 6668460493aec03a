"""Standardisation of feature vectors: zero mean and unit standard deviation per column over reference vectors."""

from __future__ import annotations

import numpy as np

from cgir.typing import FloatArray


class Scaler:
    """Zero mean, unit standard deviation per column; constant columns become 0, and outliers are clipped at +-`limit`.

    Attributes: `mean` (D,), `scale` (D,), what a column is multiplied by: one over its standard deviation, or 0.
    """

    limit = 5.0

    def __init__(self, mean: FloatArray, scale: FloatArray) -> None:
        self.mean, self.scale = mean, scale

    @classmethod
    def fit(cls, vectors: FloatArray, min_std: FloatArray | float = 0.0) -> Scaler:
        """Statistics of reference vectors (n, D); standard deviations below `min_std` (D,) are raised to it."""
        return cls._of(vectors.mean(axis=0), np.maximum(vectors.std(axis=0), min_std))

    @classmethod
    def between(cls, one: FloatArray, other: FloatArray) -> Scaler:
        """Statistics of two sets of vectors (n, D) and (m, D), each of which counts half."""
        means = np.stack([vectors.mean(axis=0) for vectors in (one, other)])
        variances = np.stack([vectors.var(axis=0) for vectors in (one, other)])
        return cls._of(means.mean(axis=0), np.sqrt(variances.mean(axis=0) + means.var(axis=0)))

    @classmethod
    def _of(cls, mean: FloatArray, std: FloatArray) -> Scaler:
        constant = std <= 1e-6 * (1 + np.abs(mean))
        return cls(mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, std)))

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Vectors (G, D), scaled."""
        scaled: FloatArray = np.clip((vectors - self.mean) * self.scale, -self.limit, self.limit)
        return scaled
