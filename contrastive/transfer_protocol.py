"""Transfer evaluation (Han et al. 2023, section 5.1): few labels of a target family, all labels of source families.

An encoder is pretrained on unlabelled graphs of every family, a head is trained on the sources' labels, and a few
labels of the target fine-tune both. The result ranks the rest of the target. Baselines see the same target labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from encoders import CostPredictor, Encoder, HandPredictor, Predictor, log_flops, log_params
from encoders.metrics import kendall_tau, spearman
from encoders.predictors.stacking import Model


@dataclass(frozen=True)
class LabelledFamily:
    """Graphs of one family with one label each.

    name: the family's.
    graphs: G graphs.
    labels: (G,), higher is better.
    """

    name: str
    graphs: GraphBatch
    labels: FloatArray

    def __post_init__(self) -> None:
        if len(self.graphs) != len(self.labels):
            raise LabelError(f"family {self.name}: {len(self.graphs)} graphs but {len(self.labels)} labels")

    def select(self, indices: IntArray) -> LabelledFamily:
        """The graphs at `indices` with their labels."""
        return replace(self, graphs=self.graphs.select(indices), labels=self.labels[indices])


class Score(NamedTuple):
    """Rank correlations of predictions with the true labels of held-out graphs of the target.

    num_labels: labels of the target that the model was fitted to.
    spearman: Spearman's rho.
    kendall: Kendall's tau-b.
    """

    num_labels: int
    spearman: float
    kendall: float


# (sources, seed) -> a model trained on the sources, which is then fitted to labels of the target
Method = Callable[[Sequence[LabelledFamily], int], Model]


def split(
    family: LabelledFamily, num_labels: int, seed: int, num_tests: int | None = None
) -> tuple[LabelledFamily, LabelledFamily]:
    """A random training set of `num_labels` graphs and a disjoint test set.

    Training sets are nested: with the same seed, a smaller one is part of a larger one.

    Args:
        family: what is split.
        num_labels: size of the training set.
        seed: of the permutation.
        num_tests: size of the test set, which then is the same for every `num_labels`; default all the rest.

    Raises:
        LabelError: the family has too few graphs.
    """
    order = np.random.default_rng(seed).permutation(len(family.labels))
    if num_labels + (num_tests or 1) > len(order):
        raise LabelError(
            f"family {family.name}: {num_labels} labels and {num_tests or 1} test graphs asked for, "
            f"but it has {len(order)} graphs"
        )
    test = order[num_labels:] if num_tests is None else order[len(order) - num_tests :]
    return family.select(order[:num_labels]), family.select(test)


def transfer_method(encoder: Encoder | None, **options: Any) -> Method:
    """The method that trains `Predictor(encoder, **options)` on the sources' labels, then on the target's."""

    def method(sources: Sequence[LabelledFamily], seed: int) -> Model:
        return Predictor(encoder, **options).fit_sources(
            [(family.graphs, family.labels) for family in sources], seed=seed
        )

    return method


def from_scratch(sources: Sequence[LabelledFamily], seed: int) -> Model:
    """The same network and ranking loss, from random weights and on the target's labels alone."""
    return Predictor(Encoder(seed=seed), head="rank")


BASELINES: dict[str, Method] = {
    "log FLOPs": lambda sources, seed: CostPredictor(log_flops),
    "log parameters": lambda sources, seed: CostPredictor(log_params),
    "GP on hand features": lambda sources, seed: HandPredictor(),
    "from scratch": from_scratch,
}
NEED_LABELS = {"GP on hand features", "from scratch"}


def evaluate(
    method: Method,
    target: LabelledFamily,
    sources: Sequence[LabelledFamily],
    counts: Iterable[int],
    seed: int,
    num_tests: int | None = None,
) -> Iterator[Score]:
    """Score one method on one random split of the target, for each number of labels in ascending order.

    Args:
        method: what is scored.
        target: the family to rank.
        sources: families whose labels the method may all use.
        counts: numbers of labels of the target; 0 scores the model as trained on the sources.
        seed: of the split and of the method.
        num_tests: size of the test set; default all graphs without a training label.

    Raises:
        LabelError: the target has too few graphs.
    """
    model = method(sources, seed)
    for num_labels in sorted(counts):
        train, test = split(target, num_labels, seed, num_tests)
        if num_labels:
            model.fit(train.graphs, train.labels, seed=seed, pool=test.graphs)
        scores = model.predict(test.graphs)
        yield Score(num_labels, spearman(scores, test.labels), kendall_tau(scores, test.labels))
