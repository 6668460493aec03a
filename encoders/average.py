"""`Average`: predictors that look at different forms of the same graphs, or differ otherwise, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgir.errors import CgirError

from .batching import Graphs

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
    a Gaussian process on counts and of a graph network on cells have little to do with each other, which is why their mean is better than both.
    """

    def __init__(self, *members: Model) -> None:
        if not members:
            raise CgirError("average: no members; expected at least one model with fit and predict")
        self.members = members
        self.scales: list[tuple[float, float]] = []

    def fit(self, forms: Sequence[Graphs], y: ArrayLike, seed: int = 0, pools: Sequence[Graphs] | None = None) -> Self:
        """Fit every member.

        Args:
            forms: for each member the n labelled graphs in its form.
            y: n labels, higher is better.
            seed: of weights and batches.
            pools: for each member unlabelled graphs of the family, over which scores are scaled; by default the labelled ones.

        Raises:
            CgirError: as many forms, or pools, as members are expected. LabelError as the members'.
        """
        reference = self._checked(forms if pools is None else pools)
        self.scales = []
        for member, graphs, others in zip(self.members, self._checked(forms), reference, strict=True):
            scores = member.fit(graphs, y, seed=seed, pool=None if pools is None else others).predict(others)
            self.scales.append((float(scores.mean()), max(float(scores.std()), 1e-9)))
        return self

    def predict(self, forms: Sequence[Graphs]) -> Array:
        """Scores (G,) of graphs, given in every member's form; each graph's score does not depend on the others."""
        if not self.scales:
            raise CgirError("predict: nothing was fitted; call fit(forms, labels) first")
        triples = zip(self.members, self._checked(forms), self.scales, strict=True)
        total: Array = np.mean([(member.predict(graphs) - mean) / deviation for member, graphs, (mean, deviation) in triples], axis=0)
        return total

    def _checked(self, forms: Sequence[Graphs]) -> Sequence[Graphs]:
        if len(forms) != len(self.members):
            raise CgirError(f"average: {len(forms)} forms for {len(self.members)} members; expected one form of the graphs for each")
        return forms
