"""Gaussian process on views of graphs, fitted to normal scores of labels: alone or as part of a blend."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from cgir.errors import LabelError
from cgir.typing import FloatArray
from encoders.features.graph_features import GPInputTransform, GraphFeatures
from encoders.features.label_transforms import RankGauss, Standardise
from encoders.gaussian_process.model_averaging import BayesianModelAverage, Candidate
from encoders.gaussian_process.regression import DEFAULT_PRIOR, NO_SCORES, GaussianProcess, LinearPrior

from .estimators import DEFAULT_TASK, LabelTransform, SourceData, in_label_units, labels_from, labels_state
from .serialization import State, add_inputs, inputs_from

ALONE = Candidate(NO_SCORES, DEFAULT_PRIOR)
NO_SOURCES = "fit_sources: a Gaussian process learns only from the target's labels; use head='blend', 'rank' or 'mse'"


class GraphGP(NamedTuple):
    """A Bayesian model average of Gaussian processes on graphs.

    Attributes:
        labels: labels <-> scores that the processes learn.
        transform: what the processes see of graphs.
        average: the processes.
    """

    labels: LabelTransform
    transform: GPInputTransform
    average: BayesianModelAverage

    @classmethod
    def fit(
        cls,
        features: GraphFeatures,
        prior_scores: FloatArray,
        y: FloatArray,
        labels: LabelTransform,
        transform: GPInputTransform,
        candidates: Sequence[Candidate],
        seed: int,
    ) -> GraphGP:
        """Condition on n labels.

        Args:
            features: of n graphs.
            prior_scores: (n, q) of them.
            y: (n,) labels.
            labels: labels <-> scores.
            transform: what the processes see of graphs.
            candidates: priors, see `BayesianModelAverage`.
            seed: see `GaussianProcess`.
        """
        average = BayesianModelAverage.fit(transform(features), prior_scores, labels.forward(y), candidates, seed)
        return cls(labels, transform, average)

    def predict(self, features: GraphFeatures, prior_scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (G,) of the score of a label, at graphs with prior scores (G, q)."""
        return self.average.predict(self.transform(features), prior_scores)

    def to_state(self) -> State:
        """All of it; the processes have views, labels, prior scores and order of the labels in common."""
        processes = self.average.processes
        first = processes[0]
        state = State.of_arrays(
            y=first.y,
            scores=first.scores,
            posterior_weights=self.average.posterior_weights,
            log_hyperparameters=np.stack([process.log_hyperparameters for process in processes]),
            linear_means=np.stack([process.linear_prior.mean for process in processes]),
            linear_covariances=np.stack([process.linear_prior.covariance for process in processes]),
        )
        add_inputs(state, self.transform, first.views)
        state.add("labels", labels_state(self.labels))
        return state

    @classmethod
    def from_state(cls, state: State, num_scores: int) -> GraphGP:
        """What `to_state` gave, for so many prior scores."""
        y = state.array("y", None)
        transform, views = inputs_from(state, len(y))
        posterior, scores = state.array("posterior_weights", None), state.array("scores", len(y), num_scores)
        count = len(posterior)
        priors = map(
            LinearPrior,
            state.array("linear_means", count, num_scores),
            state.array("linear_covariances", count, num_scores, num_scores),
        )
        processes = [
            GaussianProcess(views, y, theta, scores=scores, linear_prior=prior)
            for theta, prior in zip(state.array("log_hyperparameters", count, None), priors, strict=True)
        ]
        return cls(labels_from(state.required("labels")), transform, BayesianModelAverage(processes, posterior))


def label_transform(y: FloatArray, hints: FloatArray, followed_correlation: float) -> LabelTransform:
    """Normal scores of labels' ranks, or labels as they are where one of H hints is nearly a linear function of them.

    Args:
        y: (n,) labels.
        hints: (n, H) of the same graphs.
        followed_correlation: from which on it is.
    """
    varies = hints.std(axis=0) > 1e-9
    correlations = np.corrcoef(np.column_stack([y, hints[:, varies]]), rowvar=False)[0, 1:] if varies.any() else []
    return Standardise.fit(y) if np.max(correlations, initial=-1) > followed_correlation else RankGauss.fit(y)


class GPEstimator:
    """A Gaussian process that learns from the target's labels alone; it predicts in their unit."""

    tasks = (DEFAULT_TASK,)
    has_std = True
    reads_vectors = True

    def __init__(self) -> None:
        self.gp: GraphGP | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it can predict."""
        return self.gp is not None

    def copy(self) -> Self:
        """See `Estimator.copy`."""
        return copy.copy(self)

    def fit_sources(self, sources: SourceData, seed: int) -> None:
        """LabelError: other families teach it nothing."""
        raise LabelError(NO_SOURCES)

    def fit(
        self, features: GraphFeatures, labels: FloatArray, pool: GraphFeatures | None, task: int, seed: int
    ) -> None:
        """See `Estimator.fit`.

        Args:
            features: of n graphs.
            labels: (n,) higher is better.
            pool: graphs by which views are scaled; None: the labelled ones.
            task: not read.
            seed: see `GaussianProcess`.
        """
        reference = features if pool is None else pool
        transform = GPInputTransform.fit(features, reference)
        none = np.zeros((len(features), 0))
        self.gp = GraphGP.fit(features, none, labels, RankGauss.fit(labels), transform, [ALONE], seed)

    def predict(self, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Labels as expected of G graphs, and their standard deviations: (G,), (G,)."""
        if self.gp is None:
            raise LabelError("predict: no labels were fitted")
        return in_label_units(self.gp.labels, *self.gp.predict(features, np.zeros((len(features), 0))))

    def to_state(self) -> State:
        """The fitted process."""
        state = State()
        state.add("gp", None if self.gp is None else self.gp.to_state())
        return state

    @classmethod
    def from_state(cls, state: State) -> GPEstimator:
        """What `to_state` gave."""
        estimator, part = cls(), state.part("gp")
        estimator.gp = None if part is None else GraphGP.from_state(part, 0)
        return estimator
