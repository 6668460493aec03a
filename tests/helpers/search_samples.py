"""What tests of searches share: a small space, an oracle with a known best network, models that learn quickly."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgir import GraphBatch
from cgir.analysis.graph_properties import properties
from cgir.typing import FloatArray
from frontends import spaces
from frontends.spaces.edge_cell import EDGES

SPACE = spaces.get("nasbench201", cells=1, channels=4)
TINY = spaces.get("nasbench_macro", stages=(2, 2), channels=4, head=8)
GOOD = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 2.0, "skip_connect": 1.5, "avg_pool_3x3": 0.5, "none": 0.0}
quiet: dict[str, Any] = {"progress": False}


def planted(spec: tuple[str, ...]) -> float:
    """No cost and no count alone: edges that come later count more, and a skip beside convolutions is good."""
    return sum(GOOD[op] * (1 + source) for op, (_, source) in zip(spec, EDGES, strict=True)) + 4 * (
        spec.count("skip_connect") == 1
    )


class Ridge:
    """Linear in the graphs' properties: what is learned quickly."""

    def fit(self, graphs: GraphBatch, y: Any, seed: int = 0, pool: GraphBatch | None = None) -> Ridge:
        """By least squares, slightly regularised."""
        x, self.mean = properties(graphs), float(np.mean(y))
        self.centre, self.scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        z = (x - self.centre) / self.scale
        self.weights = z.T @ np.linalg.solve(z @ z.T + np.eye(len(z)), np.asarray(y) - self.mean)
        return self

    def predict(self, graphs: GraphBatch) -> FloatArray:
        """Scores (G,)."""
        scores: FloatArray = (properties(graphs) - self.centre) / self.scale @ self.weights + self.mean
        return scores
