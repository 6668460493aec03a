"""What is expected of a network before any label of its family is seen, and Gaussian processes that start from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from cgir.typing import FloatArray

from .regression import FeatureMatrix, GaussianProcess

# Shares of the standardised scores that need no label in an expected label: of log FLOPs, of log parameters, of what
# heads that other families taught say, and of what a process across families says; and how likely each is before labels
# are seen, up to a factor.
BELIEFS = {
    (0, 0, 0, 0): 1, (0.6, 0, 0, 0): 2, (0.8, 0, 0, 0): 2, (0, 0.4, 0, 0): 1, (0.4, 0.3, 0, 0): 1,
    (0, 0, 0.6, 0): 2, (0.4, 0, 0.4, 0): 4, (0.3, 0, 0.6, 0): 4, (0, 0, 0.9, 0): 4,
    (0, 0, 0, 0.6): 2, (0, 0, 0.3, 0.4): 4, (0.4, 0, 0, 0.4): 4, (0, 0, 0, 0.9): 2, (0, 0, 0.5, 0.5): 4,
}  # fmt: skip
EXPECTED, BELIEF = np.asarray(list(BELIEFS), np.float64), np.asarray(list(BELIEFS.values()), np.float64)
LEAST_SPREAD = np.asarray([0, 0, 0, 0.1])  # what a process across families hardly tells apart is not made more of
UNEXPLAINED = 0.35  # share of the variance of labels that is left to the kernels at least, however much is expected
# labels beyond which nothing is expected: they say more than any expectation, and each process costs their cube
ENOUGH = 100
LEAST = 0.01  # share of an expectation below which it is dropped


class BayesianModelAverage:
    """Gaussian processes with different prior means on the same labels, averaged by how likely each makes these.

    Bayesian model averaging: Hoeting, Madigan, Raftery, Volinsky, "Bayesian Model Averaging: A Tutorial" (Statistical
    Science, 1999), eq. 1 and 2, with evidence taken at the best hyper-parameters. Without labels FLOPs alone rank some
    families well, others not at all: a few labels tell.

    Attributes: `processes` (M), `expected` (M, q) their shares of the q scores, `weights` (M,), sum 1.
    """

    def __init__(self, processes: Sequence[GaussianProcess], expected: FloatArray, weights: FloatArray) -> None:
        self.processes, self.expected, self.weights = list(processes), expected, weights

    @classmethod
    def fit(
        cls, views: Sequence[FeatureMatrix], scores: FloatArray, y: FloatArray, seed: int = 0
    ) -> BayesianModelAverage:
        """From n labelled graphs.

        Args:
            views: what the processes see, matrices (n, D).
            scores: (n, q), q = 0, 2 or 4: scores in the order of `EXPECTED`, standardised; none: nothing is expected.
            y: (n,) targets of mean 0 and deviation 1 or so.
            seed: see `GaussianProcess`.
        """
        count = scores.shape[1] if len(y) <= ENOUGH else 0
        known = ~EXPECTED[:, count:].any(axis=1)
        expected = np.zeros((known.sum(), scores.shape[1]))
        expected[:, :count] = EXPECTED[known, :count]
        explained = np.minimum((expected**2).sum(axis=1), 1 - UNEXPLAINED)
        processes = [
            GaussianProcess(views, y, seed=seed, means=scores @ s, explained=e)
            for s, e in zip(expected, explained.tolist(), strict=True)
        ]
        evidence = np.asarray([process.evidence for process in processes])
        weights = softmax(evidence + np.log(BELIEF[known])) if len(processes) > 1 else np.ones(1)
        kept = weights >= LEAST
        return cls(
            [process for process, keep in zip(processes, kept, strict=True) if keep],
            expected[kept],
            weights[kept] / weights[kept].sum(),
        )

    def predict(self, views: Sequence[FeatureMatrix], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of a label, noise included, at m graphs with their scores (m, q): (m,), (m,)."""
        found = [
            process.predict(views, scores @ shares)
            for process, shares in zip(self.processes, self.expected, strict=True)
        ]
        means, deviations = (np.stack(values) for values in zip(*found, strict=True))
        mean = self.weights @ means
        return mean, np.sqrt(self.weights @ (deviations**2 + (means - mean) ** 2))
