"""Two scores as one: ranking heads that know other families, and a Gaussian process that knows only the target's labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FULL_VOTE = 20  # labels from which on the process counts as much as the heads; with fewer its vote shrinks in proportion


class Blend(NamedTuple):
    """How to add up: each score is brought to zero mean and unit deviation over reference graphs, the process weighs `weight` of 1."""

    weight: float
    means: tuple[float, float]
    deviations: tuple[float, float]

    @classmethod
    def fit(cls, heads: Array, process: Array, labels: int) -> Blend:
        """From both scores of the reference graphs and the number of labels."""
        deviations = [max(float(scores.std()), 1e-9) for scores in (heads, process)]
        return cls(min(labels, FULL_VOTE) / (2 * FULL_VOTE), (float(heads.mean()), float(process.mean())), (deviations[0], deviations[1]))

    def __call__(self, heads: Array, process: Array) -> Array:
        """Both scores of G graphs -> their sum (G,)."""
        scaled = [(scores - mean) / deviation for scores, mean, deviation in zip((heads, process), self.means, self.deviations, strict=True)]
        total: Array = (1 - self.weight) * scaled[0] + self.weight * scaled[1]
        return total
