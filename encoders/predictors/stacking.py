"""Stacking: a weighted mean of predictors, with weights from cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from cgir.errors import CgirError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs, as_batch
from encoders.features.label_transforms import check_labels
from encoders.metrics import kendall_tau

# difference of Kendall's tau that is worth a factor e; the standard error of one with a hundred labels is three times
# that
TEMPERATURE = 0.02
MIN_WEIGHT = 0.02


class Model(Protocol):
    """What has `fit` and `predict`: a `Predictor`, or a baseline."""

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> Model:
        """Learn from labelled graphs.

        Args:
            graphs: n graphs.
            y: n labels, higher is better.
            seed: of whatever is random.
            pool: unlabelled graphs of the family.
        """
        ...

    def predict(self, graphs: Graphs) -> FloatArray:
        """Scores (G,), higher is better."""
        ...


class Average:
    """Weighted mean of several models' scores, each standardised over a pool of unlabelled graphs.

    Member i reads form i of the graphs: whole networks for one, cells alone for another (`Space.graphs`,
    `Space.cell_graphs`), or twice the same. Errors of a Gaussian process on counts and of a graph network on cells have
    little to do with each other, so that their mean is often better than both. Where it is not, cross-validation shows
    it: models are fitted to all labels but one fold's, and every subset of members has weight exp(tau / TEMPERATURE),
    tau being how the mean of its scores ranks the folds (exponentially weighted aggregation, Dalalyan & Tsybakov 2008,
    over subsets instead of models). The best subset alone would not do: differences of its tau from those of the next
    ones are mostly noise.

    Args:
        members: M models.
        folds: of the cross-validation; 0: equal weights.

    Attributes:
        weights: (M,) of the members, sum 1; members of weight below `MIN_WEIGHT` are left out.
        moments: mean and standard deviation of the scores of each fitted member over the pool.
    """

    def __init__(self, *members: Model, folds: int = 2) -> None:
        if not members:
            raise CgirError("average: no members; expected at least one model with fit and predict")
        if folds == 1 or folds < 0:
            raise CgirError(f"average: folds={folds}; expected at least 2, or 0 for equal weights")
        self.members, self.folds = members, folds
        self.weights = np.full(len(members), 1 / len(members))
        self.moments: dict[int, tuple[float, float]] = {}

    def fit(self, forms: Sequence[Graphs], y: ArrayLike, seed: int = 0, pools: Sequence[Graphs] | None = None) -> Self:
        """Weight members by cross-validation, then fit them to all labels.

        Args:
            forms: for each member the n labelled graphs in its form.
            y: n labels, higher is better. With fewer than 4 for each fold weights are equal.
            seed: of weights and batches.
            pools: for each member unlabelled graphs of the family, over which scores are scaled; by default the
                labelled ones.

        Raises:
            CgirError: as many forms, or pools, as members are expected. LabelError as the members'.
        """
        batches = [as_batch(graphs) for graphs in self._checked(forms)]
        labels = check_labels(y, len(batches[0]))
        others = None if pools is None else self._checked(pools)
        self.weights = np.full(len(self.members), 1 / len(self.members))
        if len(self.members) > 1 and self.folds and len(labels) >= 4 * self.folds:
            self.weights = self._cross_validated_weights(batches, labels, seed, others)
        self._fit(batches, labels, seed, others)
        return self

    def predict(self, forms: Sequence[Graphs]) -> FloatArray:
        """Scores (G,) of graphs, given in every member's form; each graph's score does not depend on the others."""
        if not self.moments:
            raise CgirError("predict: nothing was fitted; call fit(forms, labels) first")
        scores = self._scores(self._checked(forms))
        total: FloatArray = np.sum([self.weights[index] * values for index, values in scores.items()], axis=0)
        return total

    def _fit(
        self, batches: Sequence[GraphBatch], labels: FloatArray, seed: int, pools: Sequence[Graphs] | None
    ) -> None:
        self.moments = {}
        for index in np.flatnonzero(self.weights).tolist():
            pool = None if pools is None else pools[index]
            model = self.members[index].fit(batches[index], labels, seed=seed, pool=pool)
            scores = model.predict(batches[index] if pool is None else pool)
            self.moments[index] = float(scores.mean()), max(float(scores.std()), 1e-9)

    def _scores(self, forms: Sequence[Graphs]) -> dict[int, FloatArray]:
        return {
            index: (self.members[index].predict(forms[index]) - mean) / std
            for index, (mean, std) in self.moments.items()
        }

    def _cross_validated_weights(
        self, batches: Sequence[GraphBatch], labels: FloatArray, seed: int, pools: Sequence[Graphs] | None
    ) -> FloatArray:
        """Weights of the members (M,), from how subsets of them rank what they were not fitted to."""
        subsets = np.asarray(list(product((False, True), repeat=len(batches)))[1:])  # (2^M - 1, M)
        shares = subsets / subsets.sum(axis=1, keepdims=True)
        taus = np.zeros(len(subsets))
        # every fold has labels from all of the range
        fold = np.argsort(np.argsort(labels, kind="stable"), kind="stable") % self.folds
        for number in range(self.folds):
            rest, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            if np.ptp(labels[rest]) == 0 or np.ptp(labels[held]) == 0:
                continue
            self._fit([batch.select(rest) for batch in batches], labels[rest], seed, pools)
            scores = np.stack(list(self._scores([batch.select(held) for batch in batches]).values()))
            taus += [kendall_tau(share @ scores, labels[held]) / self.folds for share in shares]
        votes = np.exp((taus - taus.max()) / TEMPERATURE)
        weights = votes @ shares / votes.sum()
        weights[weights < MIN_WEIGHT] = 0
        total: FloatArray = weights / weights.sum()
        return total

    def _checked(self, forms: Sequence[Graphs]) -> Sequence[Graphs]:
        if len(forms) != len(self.members):
            raise CgirError(
                f"average: {len(forms)} forms for {len(self.members)} members; expected one form of the graphs for each"
            )
        return forms
