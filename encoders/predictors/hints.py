"""Hints: cheap signals of some networks of a family, smoothed over their graphs, as prior scores of all of them.

Accuracies after a few epochs, short trainings, proxies, labels on another data set or another device: a Gaussian
process on the graphs turns each into an expectation for any network of the family; it keeps the value of a network
that has one as far as the noise, which is learned, allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve

from cgir.errors import LabelError
from cgir.typing import FloatArray, IntArray
from encoders.features.graph_features import GPInputTransform, GraphFeatures
from encoders.features.label_transforms import check_labels, normal_scores
from encoders.gaussian_process.regression import GaussianProcess

from .serialization import State, add_inputs, inputs_from

MAX_GRAPHS = 1000  # with a value, that a hint is smoothed from: the process costs the cube of their number
WEIGHT = 0.5  # of a hint that comes without one
CLIPPED = 0.01  # share of the values at either end that are brought to where it ends, from 1 / CLIPPED values on
MAX_STDS = 5.0  # from the mean, that values are taken as they are; beyond, by their ranks


class Hint(NamedTuple):
    """A cheap signal: values of some networks, higher is better.

    Attributes:
        features: of n graphs.
        values: (n,) of them.
        weight: how far it is believed before labels are seen, about its expected correlation with them.
    """

    features: GraphFeatures
    values: FloatArray
    weight: float


def check_hint(name: str, features: GraphFeatures, values: ArrayLike, weight: float = WEIGHT) -> Hint:
    """A hint whose values something can be learned from.

    Args:
        name: of the hint.
        features: of n graphs.
        values: n values.
        weight: see `Hint`.

    Raises:
        LabelError: there are no such values.
    """
    try:
        checked = check_labels(values, len(features))
    except LabelError as error:
        reason = str(error).removeprefix("fit: ")
        raise LabelError(f"hint {name!r:.60}: {reason}") from error
    if not isinstance(weight, int | float | np.number) or not 0 <= weight <= 1:
        raise LabelError(f"hint {name!r:.60}: weight {weight!r:.60}; expected a number from 0 to 1")
    return Hint(features, checked.copy(), float(weight))


def equal_hints(some: Sequence[Hint], others: Sequence[Hint]) -> bool:
    """Whether these are the same, in the same order: graphs as objects, values and weights as numbers."""
    return len(some) == len(others) and all(
        a.features is b.features and a.weight == b.weight and np.array_equal(a.values, b.values)
        for a, b in zip(some, others, strict=True)
    )


class SmoothedHints:
    """Hints on the same graphs, and the process that smooths them; its hyper-parameters fit the mean of all.

    Args:
        transform: what the process sees of graphs.
        process: on the graphs with values.
        solved: (n, H) the process's weights for each hint.
        weights: (H,) how far each is believed, see `Hint`.
    """

    def __init__(
        self, transform: GPInputTransform, process: GaussianProcess, solved: FloatArray, weights: FloatArray
    ) -> None:
        self.transform, self.process, self.solved, self.weights = transform, process, solved, weights

    @classmethod
    def fit(cls, hints: list[Hint], pool: GraphFeatures, seed: int) -> SmoothedHints:
        """Smooth hints on the same graphs.

        Args:
            hints: one or more.
            pool: graphs of the family, by which features are scaled.
            seed: selects the graphs, where there are more than `MAX_GRAPHS`.
        """
        features = hints[0].features
        rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:MAX_GRAPHS])
        some = features.select(rows)
        transform = GPInputTransform.fit(some, pool, embedding=False)
        values = np.column_stack([_standardised(hint.values)[rows] for hint in hints])
        mean = values.mean(axis=1)
        views = transform(some)
        if np.ptp(mean) < 1e-12:
            mean = values[:, 0]
        process = GaussianProcess(views, mean, seed=seed)
        order: IntArray = process.order
        solved: FloatArray = cho_solve((process.factor, True), values[order])
        return cls(transform, process, solved, np.asarray([hint.weight for hint in hints]))

    def predict(self, features: GraphFeatures) -> FloatArray:
        """(G, H): each hint as expected of G graphs, in standard deviations of its values."""
        return self.process.cross_covariance(self.transform(features)) @ self.solved

    def to_state(self) -> State:
        """All of it."""
        state = State.of_arrays(
            y=self.process.y,
            log_hyperparameters=self.process.log_hyperparameters,
            solved=self.solved,
            weights=self.weights,
        )
        add_inputs(state, self.transform, self.process.views)
        return state

    @classmethod
    def from_state(cls, state: State) -> SmoothedHints:
        """What `to_state` gave."""
        y = state.array("y", None)
        transform, views = inputs_from(state, len(y))
        process = GaussianProcess(views, y, state.array("log_hyperparameters", None))
        solved = state.array("solved", len(y), None)
        return cls(transform, process, solved, state.array("weights", solved.shape[1]))


def smooth(hints: Mapping[str, Hint], pool: GraphFeatures, seed: int) -> list[SmoothedHints]:
    """Hints, together where they have the same graphs (the same object): these are factorised once.

    Args:
        hints: by name.
        pool: graphs of the family.
        seed: see `SmoothedHints.fit`.
    """
    groups: dict[int, list[Hint]] = {}
    for hint in hints.values():
        groups.setdefault(id(hint.features), []).append(hint)
    return [SmoothedHints.fit(group, pool, seed) for group in groups.values()]


def _standardised(values: FloatArray) -> FloatArray:
    """Mean 0 and standard deviation 1, without the ends; by normal scores where the distribution has long tails."""
    if len(values) >= 1 / CLIPPED:
        values = np.clip(values, *np.quantile(values, (CLIPPED, 1 - CLIPPED)))
    values = values / max(np.abs(values).max(), np.finfo(np.float64).tiny)  # squares of the largest numbers overflow
    std = values.std()
    scaled: FloatArray = (values - values.mean()) / (std if std > 0 else 1.0)
    return scaled if np.abs(scaled).max() <= MAX_STDS else normal_scores(values)
