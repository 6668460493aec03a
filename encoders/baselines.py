"""What every learned predictor has to beat: cost alone, and a Gaussian process on hand-made properties."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgir.features import GraphBatch, kind_flops
from cgir.graph import Graph, NodeKind
from cgir.store import GraphStore

from .batching import Graphs, GraphTensors, as_batch
from .labels import check_labels
from .predictor import Predictor

Array = NDArray[np.float64]


def log_flops(graphs: Graphs) -> Array:
    """log10(1 + FLOPs) of each graph (G,), one example, a multiply-add as 2."""
    return _log_sums(as_batch(graphs), kind_flops)


def log_params(graphs: Graphs) -> Array:
    """log10(1 + trainable scalars) of each graph (G,); in a packed batch, which forgets which weights are shared, a weight counts at every use."""
    if isinstance(graphs, GraphBatch | GraphTensors | GraphStore):
        graphs = as_batch(graphs)
        return _log_sums(graphs, lambda kind: sum(map(prod, kind.param_shapes)))
    several = [graphs] if isinstance(graphs, Graph) else graphs
    return np.log10(1.0 + np.asarray([graph.num_params for graph in several], np.float64))


def _log_sums(batch: GraphBatch, cost: Callable[[NodeKind], int]) -> Array:
    per_kind = np.asarray([cost(kind) for kind in batch.kinds], np.float64)
    return np.log10(1.0 + np.bincount(batch.graph_of_node, per_kind[batch.kind], len(batch)))


class CostPredictor:
    """A cost as a predictor: `fit` checks the labels and learns nothing, not even the sign."""

    def __init__(self, cost: Callable[[Graphs], Array] = log_flops) -> None:
        self.cost = cost

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> CostPredictor:
        """Nothing to learn; bad labels are refused as `Predictor.fit` refuses them."""
        check_labels(y, len(as_batch(graphs)))
        return self

    def predict(self, graphs: Graphs) -> Array:
        """The cost of each graph (G,)."""
        return self.cost(graphs)


def hand_predictor() -> Predictor:
    """Gaussian process on `cgir.properties` alone: no encoder."""
    return Predictor(None, head="gp")
