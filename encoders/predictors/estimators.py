"""What `Predictor` delegates to: the interface of an estimator, and the labelled families it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np

from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.features.graph_features import GraphFeatures
from encoders.features.label_transforms import RankGauss, Standardise
from encoders.training.loop import Part

from .serialization import State

LabelTransform = Standardise | RankGauss
DEFAULT_TASK = "accuracy"  # what labels measure unless their name is given


class SourceData(NamedTuple):
    """Labelled families, one after the other.

    Attributes:
        features: G graphs of all families; those with labels of several tasks are there once for each.
        labels: (G,) higher is better; compared only within a part.
        families: the parts of each family, which have the same graphs.
        tasks: T names of what labels measure; a part's labels are of task `part.column`.
    """

    features: GraphFeatures
    labels: FloatArray
    families: Sequence[Sequence[Part]]
    tasks: Sequence[str]


class Estimator(Protocol):
    """Learns from labels of a target family, and perhaps of source families, to score graphs.

    A fitted one that others predict with is never fitted again: a copy of it is.

    Attributes:
        tasks: names of the tasks that it has learned, or will learn by default.
        is_fitted: whether it can predict.
        has_std: whether standard deviations mean something.
        reads_vectors: whether it reads feature vectors; else it reads the graphs themselves.
    """

    @property
    def tasks(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def is_fitted(self) -> bool: ...  # noqa: D102
    @property
    def has_std(self) -> bool: ...  # noqa: D102
    @property
    def reads_vectors(self) -> bool: ...  # noqa: D102

    def copy(self) -> Self:
        """Another one that has learned the same and can learn something else."""
        ...

    def fit_sources(self, sources: SourceData, seed: int) -> None:
        """Learn from labelled families; what labels of a target taught is forgotten."""
        ...

    def fit(
        self, features: GraphFeatures, labels: FloatArray, pool: GraphFeatures | None, task: int, seed: int
    ) -> None:
        """Learn from labels of the target, starting from what the source families taught; earlier labels are forgotten.

        Args:
            features: of n graphs.
            labels: (n,) higher is better.
            pool: unlabelled graphs of the family.
            task: what the labels measure, an index into `tasks`.
            seed: of weights and batches.
        """
        ...

    def predict(self, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Scores of G graphs for a task, and their standard deviations: (G,), (G,)."""
        ...

    def to_state(self) -> State:
        """What was learned."""
        ...


def task_index(task: str | None, tasks: Sequence[str]) -> int:
    """Index of a task, by default the first. CgirError if there is no such task."""
    if task is not None and task not in tasks:
        raise CgirError(f"predictor: task {task!r} was not learned; there are {', '.join(tasks)}")
    return 0 if task is None else tasks.index(task)


def in_label_units(transform: LabelTransform, scores: FloatArray, stds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scores and standard deviations brought back to the unit of the labels: (G,), (G,).

    Args:
        transform: of the labels that were learned.
        scores: (G,) predicted.
        stds: (G,) of these.
    """
    low, high = (transform.inverse(scores + side * stds) for side in (-1, 1))
    return transform.inverse(scores), (high - low) / 2


def labels_state(transform: LabelTransform) -> State:
    """State of a transform of labels."""
    if isinstance(transform, RankGauss):
        return State.of_arrays(values=transform.labels, scores=transform.scores)
    return State.of_arrays(moments=np.asarray([transform.mean, transform.std]))


def labels_from(state: State) -> LabelTransform:
    """The transform of a state."""
    if "moments" in state.tensors:
        return Standardise(*state.array("moments", 2).tolist())
    values = state.array("values", None)
    return RankGauss(values, state.array("scores", len(values)))
