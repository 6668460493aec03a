"""Bayesian model averaging over what is expected of labels before there are any.

Notation, of n labelled graphs:

    p_k     probability of candidate k before labels are seen, up to a factor (`Candidate.probability`)
    e_k     log evidence of the process with the priors of candidate k
    v_k     posterior weight, proportional to p_k exp(e_k) (`posterior_weights`)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from cgir.typing import FloatArray

from .regression import FeatureMatrix, GaussianProcess, KernelPrior, LinearPrior

MIN_POSTERIOR_WEIGHT = 0.01  # candidates with a smaller posterior weight are dropped


class Candidate(NamedTuple):
    """Priors of a process: `linear_prior` of the weights of known scores, `kernel_prior`, and its `probability`."""

    linear_prior: LinearPrior
    kernel_prior: KernelPrior
    probability: float = 1.0


class BayesianModelAverage:
    """Gaussian processes with different priors on the same labels, averaged by their posterior probabilities.

    Hoeting, Madigan, Raftery, Volinsky, "Bayesian Model Averaging: A Tutorial" (Statistical Science, 1999), eq. 1 and
    2, with evidence taken at the best hyper-parameters.

    Attributes: `processes`, and their `posterior_weights` (K,).
    """

    def __init__(self, processes: Sequence[GaussianProcess], posterior_weights: FloatArray) -> None:
        self.processes, self.posterior_weights = list(processes), posterior_weights

    @classmethod
    def fit(
        cls,
        views: Sequence[FeatureMatrix],
        scores: FloatArray,
        y: FloatArray,
        candidates: Sequence[Candidate],
        seed: int = 0,
    ) -> BayesianModelAverage:
        """Condition one process of each candidate on n labels.

        Args:
            views: matrices (n, D) of the labelled graphs.
            scores: (n, q) known scores of them.
            y: (n,) labels, of mean 0 and standard deviation 1 or so.
            candidates: one or more.
            seed: see `GaussianProcess`.
        """
        processes = [
            GaussianProcess(
                views, y, seed=seed, scores=scores, linear_prior=each.linear_prior, kernel_prior=each.kernel_prior
            )
            for each in candidates
        ]
        evidence = np.asarray([process.log_evidence for process in processes])
        posterior = softmax(evidence + np.log([each.probability for each in candidates]))
        kept = np.flatnonzero(posterior >= MIN_POSTERIOR_WEIGHT)
        return cls([processes[index] for index in kept], posterior[kept] / posterior[kept].sum())

    def predict(self, views: Sequence[FeatureMatrix], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of a label, noise included, at m graphs with their scores (m, q): (m,), (m,)."""
        means, stds = np.asarray([process.predict(views, scores) for process in self.processes]).swapaxes(0, 1)
        mean = self.posterior_weights @ means
        return mean, np.sqrt(self.posterior_weights @ (stds**2 + (means - mean) ** 2))
