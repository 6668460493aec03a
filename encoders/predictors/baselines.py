"""Baselines: cost alone, and a Gaussian process or boosted trees (scikit-learn's) on hand-crafted properties."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cgir.analysis.batch_costs import batch_flops, batch_params
from cgir.analysis.graph_properties import properties
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs, GraphTensors, as_batch
from encoders.features.label_transforms import RankGauss, check_labels
from encoders.features.scalers import Scaler

if TYPE_CHECKING:  # scikit-learn takes longer to import than predictions of others take
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Kernel

# Of 80 settings (trees, rate, depth, sampling of rows and columns) the one with the highest Kendall's tau-b on
# NAS-Bench-Macro, on the mean of 50, 100 and 200 labels and three draws, 2,000 other networks scored: .883; ten others
# are within .003; without any sampling the best has .871.
BOOSTING = {"n_estimators": 500, "learning_rate": 0.02, "max_depth": 4, "subsample": 0.5, "max_features": 0.3}


def log_flops(graphs: Graphs) -> FloatArray:
    """log10(1 + FLOPs) of each graph (G,), one example, a multiply-add as 2."""
    return np.log10(1.0 + batch_flops(as_batch(graphs)))


def log_params(graphs: Graphs) -> FloatArray:
    """log10(1 + trainable scalars) of each graph (G,).

    In a packed batch, which does not store which weights are shared, a weight counts at every use.
    """
    if isinstance(graphs, GraphBatch | GraphTensors | GraphStore):
        return np.log10(1.0 + batch_params(as_batch(graphs)))
    several = [graphs] if isinstance(graphs, Graph) else graphs
    return np.log10(1.0 + np.asarray([graph.num_params for graph in several], np.float64))


class CostPredictor:
    """A cost as a predictor: `fit` checks the labels and learns nothing, not even the sign."""

    def __init__(self, cost: Callable[[Graphs], FloatArray] = log_flops) -> None:
        self.cost = cost

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> CostPredictor:
        """Nothing to learn; bad labels are refused as `Predictor.fit` refuses them.

        Args:
            graphs: n graphs.
            y: n labels.
            seed: not read.
            pool: not read.
        """
        check_labels(y, len(as_batch(graphs)))
        return self

    def predict(self, graphs: Graphs) -> FloatArray:
        """The cost of each graph (G,)."""
        return self.cost(graphs)


class TreesPredictor:
    """Gradient-boosted trees on `cgir.properties` and normal scores of the labels' ranks.

    Friedman, "Stochastic gradient boosting" (2002). Normal scores are what the Gaussian process learns too, so that a
    few failed networks do not decide everything.
    """

    def __init__(self) -> None:
        self.model: GradientBoostingRegressor | None = None
        self.labels: RankGauss | None = None

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> TreesPredictor:
        """Learn from n labelled graphs, in whatever order they come.

        Args:
            graphs: n graphs.
            y: n labels, higher is better.
            seed: of the rows and columns that each tree sees.
            pool: not read; trees do not depend on the scale of a column.

        Raises:
            LabelError: labels missing, not finite or all equal.
        """
        from sklearn.ensemble import GradientBoostingRegressor

        vectors = _properties(graphs)
        labels = check_labels(y, len(vectors))
        self.labels = RankGauss.fit(labels)
        order = np.lexsort((labels, *vectors.T))  # rows are drawn by their place
        share = max(BOOSTING["subsample"], 2 / len(labels))  # a tree of one row is a constant
        self.model = GradientBoostingRegressor(**{**BOOSTING, "subsample": share}, random_state=seed)
        self.model.fit(vectors[order], self.labels.forward(labels)[order])
        return self

    def predict(self, graphs: Graphs) -> FloatArray:
        """Scores as float64 (G,) in the unit of the labels."""
        if self.model is None or self.labels is None:
            raise CgirError("predict: nothing was fitted; call fit(graphs, labels) first")
        return self.labels.inverse(self.model.predict(_properties(graphs)))


class HandPredictor:
    """Gaussian process (RBF, linear, white noise) on `cgir.properties` and normal scores of the labels' ranks."""

    def __init__(self) -> None:
        self.model: GaussianProcessRegressor | None = None
        self.labels: RankGauss | None = None
        self.scaler: Scaler | None = None

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> HandPredictor:
        """Learn from n labelled graphs.

        Args:
            graphs: n graphs.
            y: n labels, higher is better.
            seed: of the restart of the search for hyper-parameters.
            pool: graphs by which properties are scaled; None: the labelled ones.

        Raises:
            LabelError: as `Predictor.fit`.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor

        vectors = _properties(graphs)
        labels = check_labels(y, len(vectors))
        self.labels, self.scaler = RankGauss.fit(labels), Scaler.fit(vectors if pool is None else _properties(pool))
        with warnings.catch_warnings():  # a hyper-parameter at its bound is an answer, not a failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianProcessRegressor(_kernel(vectors.shape[1]), n_restarts_optimizer=1, random_state=seed)
            self.model = model.fit(self.scaler(vectors), self.labels.forward(labels))
        return self

    def predict(self, graphs: Graphs) -> FloatArray:
        """Scores as float64 (G,) in the unit of the labels."""
        if self.model is None or self.labels is None or self.scaler is None:
            raise CgirError("predict: nothing was fitted; call fit(graphs, labels) first")
        return self.labels.inverse(self.model.predict(self.scaler(_properties(graphs))))


def _properties(graphs: Graphs) -> FloatArray:
    return np.asarray(properties(as_batch(graphs)), np.float64)


def _kernel(dimensions: int) -> Kernel:
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    # squared distances of standardised vectors grow with their length
    size = float(np.sqrt(dimensions))
    rbf = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(size, (0.05 * size, 50 * size))
    linear = ConstantKernel(1.0 / dimensions, (1e-5 / dimensions, 1e2 / dimensions)) * DotProduct(0.0, "fixed")
    return rbf + linear + WhiteKernel(0.1, (1e-4, 2.0))
