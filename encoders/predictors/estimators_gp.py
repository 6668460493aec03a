"""Gaussian process on views of graphs, fitted to normal scores of labels: alone or as part of a blend."""

from __future__ import annotations

import copy
from typing import NamedTuple, Self

import numpy as np

from cgir.errors import LabelError
from cgir.typing import FloatArray
from encoders.features.graph_features import GPInputTransform, GraphFeatures
from encoders.features.label_transforms import RankGauss
from encoders.features.scalers import Scaler
from encoders.gaussian_process.model_averaging import AveragingConfig, BayesianModelAverage
from encoders.gaussian_process.regression import GaussianProcess

from .estimators import DEFAULT_TASK, SourceData, in_label_units, labels_from, labels_state
from .serialization import (
    State,
    add_scalers,
    scaler_from,
    scaler_state,
    scalers_from,
    sparse_from,
    sparse_state,
    views_from,
)

NO_SOURCES = "fit_sources: a Gaussian process learns only from the target's labels; use head='blend', 'rank' or 'mse'"


class GraphGP(NamedTuple):
    """A Bayesian model average of Gaussian processes on graphs.

    Attributes:
        labels: labels <-> normal scores.
        transform: what the processes see of graphs.
        prior_mean_scaler: standardises prior scores.
        average: the processes.
    """

    labels: RankGauss
    transform: GPInputTransform
    prior_mean_scaler: Scaler
    average: BayesianModelAverage

    @classmethod
    def fit(
        cls,
        features: GraphFeatures,
        prior_scores: FloatArray,
        y: FloatArray,
        transform: GPInputTransform,
        prior_mean_scaler: Scaler,
        seed: int,
        config: AveragingConfig | None = None,
    ) -> GraphGP:
        """Condition on n labels.

        Args:
            features: of n graphs.
            prior_scores: (n, q) of them, not scaled.
            y: (n,) labels.
            transform: what the processes see of graphs.
            prior_mean_scaler: standardises prior scores.
            seed: see `GaussianProcess`.
            config: constants of the averaging.
        """
        labels = RankGauss.fit(y)
        average = BayesianModelAverage.fit(
            transform(features), prior_mean_scaler(prior_scores), labels.forward(y), seed, config
        )
        return cls(labels, transform, prior_mean_scaler, average)

    def predict(self, features: GraphFeatures, prior_scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (G,) of the normal score of a label, at graphs with prior scores (G, q)."""
        return self.average.predict(self.transform(features), self.prior_mean_scaler(prior_scores))

    def to_state(self) -> State:
        """All of it; the processes have views, labels and order of the labels in common."""
        processes = self.average.processes
        first = processes[0]
        *dense, subtrees = first.views
        state = State.of_arrays(
            y=first.y,
            posterior_weights=self.average.posterior_weights,
            prior_mean_weights=self.average.prior_mean_weights,
            log_hyperparameters=np.stack([process.log_hyperparameters for process in processes]),
            prior_means=np.stack([process.prior_mean for process in processes]),
            subtree_ids=self.transform.subtree_ids,
            **{f"views.{index}": np.asarray(view) for index, view in enumerate(dense)},
        )
        add_scalers(state, self.transform.scalers)
        state.add("subtrees", sparse_state(subtrees))
        state.add("labels", labels_state(self.labels))
        state.add("prior_mean_scaler", scaler_state(self.prior_mean_scaler))
        return state

    @classmethod
    def from_state(cls, state: State, num_scores: int) -> GraphGP:
        """What `to_state` gave, for so many prior scores."""
        dense, y = views_from(state), state.array("y", None)
        state.check_matrix(len(y), len(y))
        transform = GPInputTransform(scalers_from(state, dense), state.array("subtree_ids", None))
        views = [*dense, sparse_from(state.required("subtrees"), len(transform.subtree_ids) + 1)]
        if any(view.shape[0] != len(y) for view in views):
            raise ValueError(f"views of {[view.shape[0] for view in views]} graphs and labels of {len(y)}")
        processes = [
            GaussianProcess(views, y, theta, prior_mean=mean)
            for theta, mean in zip(
                state.array("log_hyperparameters", None, None), state.array("prior_means", None, len(y)), strict=True
            )
        ]
        labels = labels_from(state.required("labels"))
        if not isinstance(labels, RankGauss):
            raise TypeError("labels: expected labels and their normal scores")
        scaler = scaler_from(state.required("prior_mean_scaler"), num_scores)
        weights = state.array("prior_mean_weights", len(processes), len(scaler.mean))
        posterior = state.array("posterior_weights", len(processes))
        return cls(labels, transform, scaler, BayesianModelAverage(processes, weights, posterior))


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
        self.gp = GraphGP.fit(features, none, labels, transform, Scaler.fit(none), seed)

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
