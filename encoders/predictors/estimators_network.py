"""Ensemble of neural networks as an estimator: ranking or regression, of whole networks or of heads on vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from typing import Self

import numpy as np
from torch import nn

from cgir.typing import FloatArray
from encoders.features.graph_features import GraphFeatures
from encoders.features.label_transforms import Standardise
from encoders.models.checkpoints import config_from
from encoders.models.registry import ARCHITECTURES, architecture, build

from .ensemble import EncoderInit, Ensemble
from .estimators import SourceData, in_label_units, labels_from, labels_state
from .serialization import State

LOSSES_ON_STANDARDISED_LABELS = ("mse", "carl")  # others read the order of labels alone


class NetworkEstimator:
    """Networks that are trained on source families, if there are some, and then on labels of the target.

    Attributes: `ensemble`; `labels`, the unit of the target's labels, None before `fit`.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.labels: Standardise | None = None

    @property
    def tasks(self) -> Sequence[str]:
        """Names of the outputs."""
        return self.ensemble.tasks

    @property
    def is_fitted(self) -> bool:
        """Whether it can predict."""
        return self.ensemble.fitted is not None

    @property
    def has_std(self) -> bool:
        """Whether several networks can disagree."""
        return self.ensemble.size > 1

    @property
    def reads_vectors(self) -> bool:
        """Heads read vectors, whole networks the graphs."""
        return self.ensemble.frozen

    def copy(self) -> Self:
        """See `Estimator.copy`; an ensemble trains new members."""
        estimator = copy.copy(self)  # what it learned in one step: another thread may replace all of it
        estimator.ensemble = copy.copy(estimator.ensemble)
        return estimator

    def fit_sources(self, sources: SourceData, seed: int) -> None:
        """See `Estimator.fit_sources`; labels of a regression are standardised inside each part."""
        if self.ensemble.loss in LOSSES_ON_STANDARDISED_LABELS:
            parts = sorted((part for family in sources.families for part in family), key=lambda part: part.start)
            labels = [sources.labels[part.start : part.start + part.size] for part in parts]
            sources = sources._replace(labels=np.concatenate([Standardise.fit(y).forward(y) for y in labels]))
        self.ensemble.fit_sources(sources, seed)
        self.labels = None

    def fit(
        self, features: GraphFeatures, labels: FloatArray, pool: GraphFeatures | None, task: int, seed: int
    ) -> None:
        """See `Estimator.fit`.

        Args:
            features: of n graphs.
            labels: (n,) higher is better.
            pool: graphs by which vectors are scaled, where no source family did; None: the labelled ones.
            task: the output that learns the labels.
            seed: of weights and batches.
        """
        unit = Standardise.fit(labels)
        self.ensemble.fit(features, unit.forward(labels), features if pool is None else pool, seed, task)
        self.labels = unit

    def predict(self, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Scores of G graphs, of a regression in the unit of the labels, and how far members disagree: (G,), (G,)."""
        scores, stds = self.ensemble.predict(features, task)
        if self.ensemble.loss == "mse" and self.labels is not None:
            return in_label_units(self.labels, scores, stds)
        return scores, stds

    def to_state(self) -> State:
        """The ensemble, what its members start from if that is a configuration, and the unit of the labels."""
        state, init = State(), self.ensemble.init
        if init is not None and not isinstance(init, nn.Module):
            state.meta["init"] = {"architecture": architecture(build(init)), "config": asdict(init)}
        state.add("ensemble", self.ensemble.to_state())
        state.add("labels", None if self.labels is None else labels_state(self.labels))
        return state

    @classmethod
    def from_state(cls, state: State, init: EncoderInit, loss: str) -> NetworkEstimator:
        """What `to_state` gave.

        Args:
            state: of an estimator.
            init: weights that members start from; None: those of the state.
            loss: of the ensemble.
        """
        if init is None and "init" in state.meta:
            part = state.required("init")
            kind, _ = ARCHITECTURES[part.text("architecture")]
            init = config_from(kind, part.meta["config"])
        estimator, labels = cls(Ensemble.from_state(state.required("ensemble"), init, loss)), state.part("labels")
        unit = None if labels is None else labels_from(labels)
        if unit is not None and not isinstance(unit, Standardise):
            raise TypeError("labels: expected mean and standard deviation")
        estimator.labels = unit
        return estimator
