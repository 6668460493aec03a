"""What a predictor was taught with: its metric, the range of labels and of graphs; and which graphs lie outside.

Notation, of G graphs: columns are logarithms (base 2) of sizes and of counts of operators, one more is an octave.

    x       (G, C)  columns of graphs (`_columns`)
    low     (C,)    smallest value of each column over the graphs that were seen, high (C,) the largest
    excess  (G,)    largest distance of a column from [low, high], less `MARGIN`, at least 0
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from cgir.analysis.graph_properties import COUNTED_CATEGORIES, COUNTED_OPS, PROPERTY_NAMES, SIZES
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.features.graph_features import GraphFeatures

from .metric import Metric
from .serialization import State

COLUMNS = len(SIZES) + len(COUNTED_OPS) + len(COUNTED_CATEGORIES)  # the first ones of `cgir.properties`
TITLES = {"flops": "FLOPs", "params": "parameters", "activation_bytes": "bytes of activations", "nodes": "operators"}
MARGIN = 1.0  # octaves beyond what was seen that are still inside: twice or half of it
MAX_INPUTS = 16  # kinds of input shapes that are remembered
MAX_REASONS = 1000  # graphs outside that are described
NAMED = 3  # of these in a warning
Shapes = tuple[tuple[int, ...], ...]  # of all inputs of a network, without the batch

logger = logging.getLogger(__name__)


class FitRecord(NamedTuple):
    """What `Predictor.fit` was given, and the range of it.

    Attributes:
        metric: of the labels; None: higher is better, and nothing else is known.
        num_labels: how many there were.
        labels: smallest, largest and standard deviation, in the metric's unit; None without labels.
        num_graphs: of the pool, or labelled ones without one.
        inputs: different shapes of networks' inputs, the most frequent first, `MAX_INPUTS` at most.
        low: (C,) see above.
        high: (C,) see above.
    """

    metric: Metric | None
    num_labels: int
    labels: tuple[float, float, float] | None
    num_graphs: int
    inputs: tuple[Shapes, ...]
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(
        cls, metric: Metric | None, labels: FloatArray, features: GraphFeatures, pool: GraphFeatures | None
    ) -> FitRecord:
        """The record of a fit.

        Args:
            metric: of the labels.
            labels: (n,) in the metric's unit; none, if only a pool was given.
            features: of the n labelled graphs.
            pool: the unlabelled ones.
        """
        parts = [part for part in (features, pool) if part is not None and len(part)]
        seen = np.concatenate([_columns(part) for part in parts])
        spread = (float(labels.min()), float(labels.max()), _std(labels)) if len(labels) else None
        inputs = Counter(shapes for part in parts for shapes in input_shapes(part.graphs.batch))
        usual = tuple(shapes for shapes, _ in inputs.most_common(MAX_INPUTS))
        count = max(map(len, parts))  # labelled ones may be in the pool
        return cls(metric, len(labels), spread, count, usual, seen.min(0), seen.max(0))

    def excess(self, features: GraphFeatures) -> FloatArray:
        """(G,): octaves that each graph lies outside of what was seen; 0 inside."""
        beyond: FloatArray = _beyond(_columns(features), self.low, self.high).max(axis=1)
        return np.maximum(beyond - MARGIN, 0)

    def outside(self, features: GraphFeatures) -> dict[int, str]:
        """Rows of graphs unlike those that were seen, and why; at most `MAX_REASONS`."""
        values = _columns(features)
        beyond = _beyond(values, self.low, self.high) - MARGIN
        reasons = {
            int(row): self._reason(int(beyond[row].argmax()), values[row])
            for row in np.flatnonzero((beyond > 0).any(axis=1))[:MAX_REASONS]
        }
        if self.inputs and not all(
            map(self._knows_inputs, dict.fromkeys(found := input_shapes(features.graphs.batch)))
        ):
            known = " or ".join(map(shapes_text, self.inputs[:3])) + (" ..." if len(self.inputs) > 3 else "")
            for row, shapes in enumerate(found):
                if len(reasons) < MAX_REASONS and not self._knows_inputs(shapes):
                    text = f"input {shapes_text(shapes)}, known is {known}"
                    reasons[row] = f"{reasons[row]}; {text}" if row in reasons else text
        return dict(sorted(reasons.items()))

    def warn_outside(self, features: GraphFeatures) -> bool:
        """Log which graphs are outside; whether there are any."""
        outside = self.outside(features)
        if outside:
            some = "; ".join(f"graph {row} ({text})" for row, text in list(outside.items())[:NAMED])
            more = f"; and {len(outside) - NAMED} more" if len(outside) > NAMED else ""
            logger.warning(
                "predict: %d of %d graphs are unlike those the predictor was taught with, so their scores are guesses: "
                "%s%s", len(outside), len(features), some, more,
            )  # fmt: skip
        return bool(outside)

    def widen(self, features: GraphFeatures, stds: FloatArray, spread: float) -> FloatArray:
        """(G,): standard deviations of scores, larger for graphs outside.

        Beyond what was seen, labels may go anywhere: as in a random walk their variance grows by that of the known
        labels with each octave.

        Args:
            features: of G graphs.
            stds: (G,) of their scores.
            spread: standard deviation of known labels.
        """
        widened: FloatArray = np.sqrt(stds**2 + spread**2 * self.excess(features))
        return widened

    def lines(self) -> list[str]:
        """The record in a few words, for a reader."""
        unit = f" {self.metric.unit}" if self.metric and self.metric.unit else ""
        sizes = [
            f"{_count(self.low[column])} to {_count(self.high[column])} {TITLES[SIZES[column]]}" for column in (3, 0, 1)
        ]
        inputs = " or ".join(map(shapes_text, self.inputs[:3])) + (" ..." if len(self.inputs) > 3 else "")
        found = []
        if self.labels:
            low, high, _ = self.labels
            found.append(f"  learned from {self.num_labels:,} labels, {low:.5g} to {high:.5g}{unit}")
        return [
            *found,
            f"  saw {self.num_graphs:,} graphs of {', '.join(sizes)}" + (f", input {inputs}" if inputs else ""),
        ]

    def _knows_inputs(self, shapes: Shapes) -> bool:
        """Whether inputs are as they were, or between others of as many axes in every size."""
        if shapes in self.inputs:
            return True
        ranks = list(map(len, shapes))
        alike = [np.concatenate(known) for known in self.inputs if list(map(len, known)) == ranks]
        if not alike or not sum(ranks):
            return False
        sizes, stacked = np.concatenate(shapes), np.stack(alike)
        return bool(((stacked.min(axis=0) <= sizes) & (sizes <= stacked.max(axis=0))).all())

    def _reason(self, column: int, values: FloatArray) -> str:
        return outside_text(column, values[column], self.low[column], self.high[column])

    def to_state(self) -> State:
        """All of it."""
        state = State.of_arrays(low=self.low, high=self.high)
        state.meta = {
            "metric": None if self.metric is None else self.metric.to_json(),
            "num_labels": self.num_labels,
            "labels": None if self.labels is None else list(self.labels),
            "num_graphs": self.num_graphs,
            "inputs": [list(map(list, shapes)) for shapes in self.inputs],
        }
        return state

    @classmethod
    def from_state(cls, state: State) -> FitRecord:
        """What `to_state` gave; TypeError, ValueError or KeyError where it is damaged."""
        meta = state.meta
        metric = None if meta["metric"] is None else Metric(**meta["metric"])
        labels = meta["labels"]
        if labels is not None and (len(labels) != 3 or any(type(value) not in (int, float) for value in labels)):
            raise TypeError(f"labels: found {labels!r:.60}, expected three numbers")
        inputs = tuple(tuple(tuple(map(_size, shape)) for shape in shapes) for shapes in meta["inputs"])
        low, high = state.array("low", COLUMNS), state.array("high", COLUMNS)
        return cls(
            metric, state.count("num_labels"), None if labels is None else (labels[0], labels[1], labels[2]),
            state.count("num_graphs"), inputs, low, high,
        )  # fmt: skip


def input_shapes(batch: GraphBatch) -> list[Shapes]:
    """Shapes of the inputs of each graph of a batch, without the batch axis."""
    return _shapes_of(batch, "Input")


def output_shapes(batch: GraphBatch) -> list[Shapes]:
    """Shapes of the outputs of each graph of a batch, without the batch axis."""
    return _shapes_of(batch, "Output")


def _shapes_of(batch: GraphBatch, op: str) -> list[Shapes]:
    chosen = np.asarray([kind.op == op for kind in batch.kinds], bool)
    nodes = np.flatnonzero(chosen[batch.kind])
    owners = batch.graph_of_node[nodes]
    shapes: list[Shapes] = [()] * len(batch)
    for owner, kind in zip(owners.tolist(), batch.kind[nodes].tolist(), strict=True):
        shapes[owner] = (*shapes[owner], tuple(batch.kinds[kind].shape))
    return shapes


def shapes_text(shapes: Shapes) -> str:
    """Shapes as "3x224x224" or "3x224x224 and 10"."""
    return " and ".join("x".join(map(str, shape)) or "a number" for shape in shapes) or "none"


def outside_text(column: int, value: float, low: float, high: float) -> str:
    """That a size or a count is not what is known.

    Args:
        column: of `cgir.properties`.
        value: of a graph, a logarithm, see `cgir.properties`.
        low: of what is known, likewise.
        high: likewise.
    """
    name = PROPERTY_NAMES[column].removeprefix("num_").replace("category_", "kind ")
    return f"{_count(value)} {TITLES.get(name, name)}, known are {_count(low)} to {_count(high)}"


def _columns(features: GraphFeatures) -> FloatArray:
    return features.properties[:, :COLUMNS]


def _beyond(values: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return np.maximum(low - values, values - high)


def _std(labels: FloatArray) -> float:
    scale = float(np.abs(labels).max()) or 1.0  # squares of the largest numbers overflow
    return float((labels / scale).std()) * scale


def _count(octaves: float) -> str:
    """A size or a count from its column, log2(1 + value), in few letters."""
    value = 2.0**octaves - 1
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{value:.0f}"


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"inputs: found {value!r:.60}, expected a size")
    return value
