"""`Average`: predictors that look at different forms of the same graphs, or differ otherwise, as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgir.errors import CgirError
from cgir.features import GraphBatch

from .batching import Graphs, as_batch
from .labels import check_labels
from .metrics import kendall_tau

Array = NDArray[np.float64]


class Model(Protocol):
    """What has `fit` and `predict`: a `Predictor`, or a baseline."""

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> Model:
        """Learn from labelled graphs; `pool` are unlabelled ones of the family."""
        ...

    def predict(self, graphs: Graphs) -> Array:
        """Scores (G,), higher is better."""
        ...


class Average:
    """Mean of several models' scores, each brought to zero mean and unit deviation over a pool of unlabelled graphs.

    Member i reads form i of the graphs: whole networks for one, cells alone for another (`Space.graphs`, `Space.cell_graphs`), or twice the same. Errors of
    a Gaussian process on counts and of a graph network on cells have little to do with each other, so that their mean is often better than both. Where it
    is not, `folds` find out: models are fitted to all labels but one fold's, and the members whose mean ranks the folds best, by Kendall's tau, are
    kept (ensemble selection, Caruana et al. 2004, over all subsets).
    """

    def __init__(self, *members: Model, folds: int = 2) -> None:
        if not members:
            raise CgirError("average: no members; expected at least one model with fit and predict")
        if folds == 1 or folds < 0:
            raise CgirError(f"average: folds={folds}; expected at least 2, or 0 to keep all members")
        self.members, self.folds = members, folds
        self.kept: tuple[int, ...] = ()
        self.scales: list[tuple[float, float]] = []

    def fit(self, forms: Sequence[Graphs], y: ArrayLike, seed: int = 0, pools: Sequence[Graphs] | None = None) -> Self:
        """Choose members by cross-validation, then fit them to all labels.

        Args:
            forms: for each member the n labelled graphs in its form.
            y: n labels, higher is better. With fewer than 4 for each fold all members are kept.
            seed: of weights and batches.
            pools: for each member unlabelled graphs of the family, over which scores are scaled; by default the labelled ones.

        Raises:
            CgirError: as many forms, or pools, as members are expected. LabelError as the members'.
        """
        batches = [as_batch(graphs) for graphs in self._checked(forms)]
        labels = check_labels(y, len(batches[0]))
        others = None if pools is None else self._checked(pools)
        self.kept = tuple(range(len(self.members)))
        if len(self.members) > 1 and self.folds and len(labels) >= 4 * self.folds:
            self.kept = self._selected(batches, labels, seed, others)
        self._fit(batches, labels, seed, others)
        return self

    def predict(self, forms: Sequence[Graphs]) -> Array:
        """Scores (G,) of graphs, given in every member's form; each graph's score does not depend on the others."""
        if not self.scales:
            raise CgirError("predict: nothing was fitted; call fit(forms, labels) first")
        total: Array = np.mean(self._scores(self._checked(forms)), axis=0)
        return total

    def _fit(self, batches: Sequence[GraphBatch], labels: Array, seed: int, pools: Sequence[Graphs] | None) -> None:
        self.scales = []
        for index in self.kept:
            pool = None if pools is None else pools[index]
            model = self.members[index].fit(batches[index], labels, seed=seed, pool=pool)
            scores = model.predict(batches[index] if pool is None else pool)
            self.scales.append((float(scores.mean()), max(float(scores.std()), 1e-9)))

    def _scores(self, forms: Sequence[Graphs]) -> list[Array]:
        pairs = zip(self.kept, self.scales, strict=True)
        return [(self.members[index].predict(forms[index]) - mean) / deviation for index, (mean, deviation) in pairs]

    def _selected(self, batches: Sequence[GraphBatch], labels: Array, seed: int, pools: Sequence[Graphs] | None) -> tuple[int, ...]:
        """The subset of members whose mean ranks best what they were not fitted to; of equal ones the largest."""
        sets = [chosen for size in range(len(batches), 0, -1) for chosen in combinations(range(len(batches)), size)]
        taus = np.zeros(len(sets))
        # every fold has labels from all of the range
        fold = np.argsort(np.argsort(labels, kind="stable"), kind="stable") % self.folds
        for number in range(self.folds):
            rest, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            if np.ptp(labels[rest]) == 0 or np.ptp(labels[held]) == 0:
                continue
            self._fit([batch.select(rest) for batch in batches], labels[rest], seed, pools)
            scores = self._scores([batch.select(held) for batch in batches])
            taus += [kendall_tau(np.mean([scores[index] for index in chosen], axis=0), labels[held]) for chosen in sets]
        return sets[int(np.argmax(taus))]

    def _checked(self, forms: Sequence[Graphs]) -> Sequence[Graphs]:
        if len(forms) != len(self.members):
            raise CgirError(f"average: {len(forms)} forms for {len(self.members)} members; expected one form of the graphs for each")
        return forms
