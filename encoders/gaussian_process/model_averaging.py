"""Bayesian model averaging over the prior means of Gaussian processes.

Each prior mean is a weighted sum of scores that need no label (log FLOPs, log parameters, source heads, multi-task
GP). Without labels FLOPs alone rank some families well, others not at all: a few labels decide which.

Notation, of n labelled graphs:

    s   (n, q)  standardised prior scores, q = 0, 2 or 4
    w_k (q,)    weights of prior mean k: m_k = s w_k (`prior_mean_weights`)
    p_k         probability of prior mean k before labels are seen, up to a factor (`model_prior`)
    e_k         log evidence of the process with prior mean m_k
    v_k         posterior weight, proportional to p_k exp(e_k) (`posterior_weights`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from cgir.typing import FloatArray

from .regression import FeatureMatrix, GaussianProcess, posteriors

# weights of log FLOPs, log parameters, source heads, multi-task GP, and the probability of this prior mean, up to a
# factor
PRIOR_MEANS: tuple[tuple[tuple[float, ...], float], ...] = (
    ((0, 0, 0, 0), 1), ((0.6, 0, 0, 0), 2), ((0.8, 0, 0, 0), 2), ((0, 0.4, 0, 0), 1), ((0.4, 0.3, 0, 0), 1),
    ((0, 0, 0.6, 0), 2), ((0.4, 0, 0.4, 0), 4), ((0.3, 0, 0.6, 0), 4), ((0, 0, 0.9, 0), 4),
    ((0, 0, 0, 0.6), 2), ((0, 0, 0.3, 0.4), 4), ((0.4, 0, 0, 0.4), 4), ((0, 0, 0, 0.9), 2), ((0, 0, 0.5, 0.5), 4),
)  # fmt: skip


@dataclass(frozen=True)
class AveragingConfig:
    """Constants of `BayesianModelAverage`.

    Attributes:
        prior_mean_weights: (K, 4) weights of the prior scores in each prior mean.
        model_prior: (K,) how likely each is before labels are seen, up to a factor.
        min_residual_variance: smallest share of the variance of labels that is left to the kernels, whatever a prior
            mean explains.
        max_labels: number of labels beyond which the prior mean is 0: so many outweigh any, and each process costs
            their cube.
        min_posterior_weight: prior means with a smaller posterior weight are dropped.
    """

    prior_mean_weights: tuple[tuple[float, ...], ...] = tuple(weights for weights, _ in PRIOR_MEANS)
    model_prior: tuple[float, ...] = tuple(probability for _, probability in PRIOR_MEANS)
    min_residual_variance: float = 0.35
    max_labels: int = 100
    min_posterior_weight: float = 0.01


class BayesianModelAverage:
    """Gaussian processes with different prior means on the same labels, averaged by their posterior probabilities.

    Hoeting, Madigan, Raftery, Volinsky, "Bayesian Model Averaging: A Tutorial" (Statistical Science, 1999), eq. 1 and
    2, with evidence taken at the best hyper-parameters.

    Args:
        processes: K of them, which differ in their prior mean.
        prior_mean_weights: (K, q).
        posterior_weights: (K,), sum 1.
    """

    def __init__(
        self, processes: Sequence[GaussianProcess], prior_mean_weights: FloatArray, posterior_weights: FloatArray
    ) -> None:
        self.processes, self.prior_mean_weights = list(processes), prior_mean_weights
        self.posterior_weights = posterior_weights

    @classmethod
    def fit(
        cls,
        views: Sequence[FeatureMatrix],
        prior_scores: FloatArray,
        y: FloatArray,
        seed: int = 0,
        config: AveragingConfig | None = None,
    ) -> BayesianModelAverage:
        """From n labelled graphs.

        Args:
            views: inputs of the processes, matrices (n, D).
            prior_scores: (n, q), q = 0, 2 or 4, standardised, in the order of `PRIOR_MEANS`; with q = 0 the
                only prior mean is 0.
            y: (n,) targets of mean 0 and standard deviation 1 or so.
            seed: see `GaussianProcess`.
            config: constants; None: the default ones.
        """
        config = config or AveragingConfig()
        all_weights = np.asarray(config.prior_mean_weights, np.float64)
        num_scores = prior_scores.shape[1] if len(y) <= config.max_labels else 0
        candidates = ~all_weights[:, num_scores:].any(axis=1)
        weights = np.zeros((candidates.sum(), prior_scores.shape[1]))
        weights[:, :num_scores] = all_weights[candidates, :num_scores]
        explained = np.minimum((weights**2).sum(axis=1), 1 - config.min_residual_variance)
        processes = [
            GaussianProcess(views, y, seed=seed, prior_mean=prior_scores @ w, explained_variance=e)
            for w, e in zip(weights, explained.tolist(), strict=True)
        ]
        log_evidence = np.asarray([process.log_evidence for process in processes])
        log_prior = np.log(np.asarray(config.model_prior, np.float64)[candidates])
        posterior = softmax(log_evidence + log_prior) if len(processes) > 1 else np.ones(1)
        rows = np.flatnonzero(posterior >= config.min_posterior_weight)
        return cls([processes[row] for row in rows], weights[rows], posterior[rows] / posterior[rows].sum())

    def predict(self, views: Sequence[FeatureMatrix], prior_scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of a label, noise included, at m graphs with their scores (m, q): (m,), (m,)."""
        means, stds = posteriors(self.processes, views)
        means = means + np.stack([prior_scores @ weights for weights in self.prior_mean_weights])
        mean = self.posterior_weights @ means
        return mean, np.sqrt(self.posterior_weights @ (stds**2 + (means - mean) ** 2))
