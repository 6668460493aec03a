"""The transfer protocol (Han et al. 2023, section 5.1): a target family with few labels, source families with all of
theirs.

An encoder is pretrained on unlabelled graphs of every family, a head learns from the sources' labels, and a few labels
of the target fine-tune the result, which ranks the rest of the target. Rivals see the same labels of the target.
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
    """Graphs that share a label of one meaning: `labels` (G,), higher is better."""

    name: str
    graphs: GraphBatch
    labels: FloatArray

    def __post_init__(self) -> None:
        if len(self.graphs) != len(self.labels):
            raise LabelError(f"family {self.name}: {len(self.graphs)} graphs but {len(self.labels)} labels")

    def select(self, indices: IntArray) -> LabelledFamily:
        """Some of its graphs with their labels."""
        return replace(self, graphs=self.graphs.select(indices), labels=self.labels[indices])


class Score(NamedTuple):
    """Rank correlations with the true labels of graphs that were not trained on."""

    labels: int
    spearman: float
    kendall: float


# (sources, seed) -> model, fitted again for every draw of the target's labels
Method = Callable[[Sequence[LabelledFamily], int], Model]


def split(
    family: LabelledFamily, labels: int, seed: int, tests: int | None = None
) -> tuple[LabelledFamily, LabelledFamily]:
    """`labels` graphs drawn at random, and the rest to test on, or `tests` of the rest.

    Draws are nested: with the same seed, fewer labels are a part of more. Given `tests`, every number of labels is
    tested on the same graphs.
    """
    order = np.random.default_rng(seed).permutation(len(family.labels))
    if labels + (tests or 1) > len(order):
        raise LabelError(
            f"family {family.name}: {labels} labels and {tests or 1} test graphs asked for, but it has {len(order)} graphs"
        )
    test = order[labels:] if tests is None else order[len(order) - tests :]
    return family.select(order[:labels]), family.select(test)


def transfer_method(encoder: Encoder | None, **options: Any) -> Method:
    """`Predictor(encoder, **options)` trained on the sources' labels, then on the target's."""

    def method(sources: Sequence[LabelledFamily], seed: int) -> Model:
        return Predictor(encoder, **options).fit_sources(
            [(family.graphs, family.labels) for family in sources], seed=seed
        )

    return method


def from_scratch(sources: Sequence[LabelledFamily], seed: int) -> Model:
    """The same network and ranking loss from random weights, on the target's labels alone."""
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
    tests: int | None = None,
) -> Iterator[Score]:
    """Score one method on one draw of labels, for each number of labels in `counts`; 0 asks the model as the sources
    left it.
    """
    model = method(sources, seed)
    for labels in sorted(counts):
        train, test = split(target, labels, seed, tests)
        if labels:
            model.fit(train.graphs, train.labels, seed=seed, pool=test.graphs)
        scores = model.predict(test.graphs)
        yield Score(labels, spearman(scores, test.labels), kendall_tau(scores, test.labels))
