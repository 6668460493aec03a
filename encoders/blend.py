"""Two scores as one: ranking heads that know other families, and a Gaussian process that knows only the target's labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = tuple[Array, Array]  # mean and standard deviation of G graphs
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

    def __call__(self, heads: Scores, process: Scores) -> Scores:
        """Both scores of G graphs with their deviations -> their sum, (G,) and (G,); deviations add up, as both see the same labels."""
        total, spread = np.zeros_like(heads[0]), np.zeros_like(heads[0])
        for share, (scores, doubts), mean, deviation in zip((1 - self.weight, self.weight), (heads, process), self.means, self.deviations, strict=True):
            total += share * (scores - mean) / deviation
            spread += share * doubts / deviation
        return total, spread
