"""Predictors of latencies on a new device, ours and rivals, for `examples.papers.latency_transfer`.

Each is a function of a `Problem` that returns scores of the ranked networks, higher is slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cgir import GraphBatch
from cgir.cost import kind_flops
from cgir.typing import FloatArray, IntArray
from encoders import Predictor
from encoders.features.graph_features import GraphFeatures
from encoders.features.scalers import Scaler
from encoders.metrics import spearman
from encoders.predictors.baselines import HandPredictor, log_flops, log_params
from examples.papers.latency_devices import Devices

PENALTIES = (0.01, 0.1, 1.0, 10.0)  # of ridge regression, in units of the mean squared length
CEILING_PENALTY = 1e-3
NO_HINTS, OURS = "cgir, without other devices", "cgir"


class Hints(NamedTuple):
    """What is known of other devices.

    Attributes:
        graphs: that were measured on them.
        values: logarithms of their milliseconds, by the device's name.
        predictor: one for all draws, as it smooths hints once for fits with the same ones.
    """

    graphs: GraphFeatures
    values: dict[str, FloatArray]
    predictor: Predictor


class Problem(NamedTuple):
    """A new device.

    Attributes:
        found: networks and latencies.
        new: column of the device.
        old: columns of the known ones.
        hints: what is known of these; the same object in all draws.
        labelled: networks measured on the new one.
        ranked: networks to rank.
        seed: of the draw.
    """

    found: Devices
    new: int
    old: list[int]
    hints: Hints
    labelled: IntArray
    ranked: IntArray
    seed: int

    @property
    def logs(self) -> FloatArray:
        """(n,): logarithms of the measured latencies."""
        logs: FloatArray = np.log(self.found.latencies[self.labelled, self.new])
        return logs


def hints(found: Devices, old: list[int]) -> Hints:
    """What is known of other devices."""
    graphs = found.graphs if len(found.known) == len(found.graphs) else found.graphs.select(found.known)
    values = {found.names[column]: np.log(found.latencies[found.known, column]) for column in old}
    return Hints(graphs, values, Predictor())


def flops(problem: Problem) -> FloatArray:
    """Logarithm of the FLOPs."""
    return log_flops(problem.found.graphs.graphs)[problem.ranked]


def params(problem: Problem) -> FloatArray:
    """Logarithm of the parameters."""
    return log_params(problem.found.graphs.graphs)[problem.ranked]


def operators(problem: Problem) -> FloatArray:
    """Ridge regression of the log latency on the number of nodes of every operator, and on its FLOPs."""
    vectors = operator_counts(problem.found.graphs.graphs.batch)
    scaled = Scaler.fit(vectors)(vectors)
    return ridge(scaled[problem.labelled], problem.logs, scaled[problem.ranked])


def gaussian_process(problem: Problem) -> FloatArray:
    """scikit-learn's Gaussian process on `cgir.properties`."""
    graphs = problem.found.graphs.graphs
    some, others = graphs.select(problem.labelled), graphs.select(problem.ranked)
    return HandPredictor().fit(some, problem.logs, problem.seed, graphs.select(problem.found.ranked)).predict(others)


def mean_device(problem: Problem) -> FloatArray:
    """Mean of the standardised log latencies on the other devices, which have measured every network."""
    logs = np.log(problem.found.latencies[:, problem.old])
    means: FloatArray = ((logs - logs.mean(axis=0)) / logs.std(axis=0)).mean(axis=1)
    return means[problem.ranked]


def nearest_device(problem: Problem) -> FloatArray:
    """Latencies of the other device that orders the labelled networks most alike; it has measured every network."""
    latencies = problem.found.latencies
    agreement = [spearman(latencies[problem.labelled, column], problem.logs) for column in problem.old]
    nearest: FloatArray = latencies[problem.ranked, problem.old[int(np.argmax(agreement))]]
    return nearest


def without_hints(problem: Problem) -> FloatArray:
    """The product's predictor, which knows no other device."""
    return _predicted(problem, Predictor(), {})


def with_hints(problem: Problem) -> FloatArray:
    """The product's predictor, with the other devices as hints."""
    known = problem.hints
    return _predicted(problem, known.predictor, {name: (known.graphs, ms) for name, ms in known.values.items()})


ALONE: dict[str, Callable[[Problem], FloatArray]] = {  # those that know no other device
    "log FLOPs": flops,
    "log parameters": params,
    "ridge on operators": operators,
    "GP on hand features": gaussian_process,
    NO_HINTS: without_hints,
}
WITH_DEVICES: dict[str, Callable[[Problem], FloatArray]] = {
    "mean of other devices": mean_device,
    "nearest device": nearest_device,
    OURS: with_hints,
}


def ceiling(found: Devices, new: int, ranked: IntArray) -> FloatArray:
    """Ridge regression on features of graphs and all other devices, from all networks that are not ranked.

    Args:
        found: networks and latencies.
        new: column of the device.
        ranked: networks to rank.
    """
    logs = np.log(found.latencies)
    vectors = np.column_stack([found.graphs.properties, found.graphs.paths, np.delete(logs, new, axis=1)])
    scaled = Scaler.fit(vectors)(vectors)
    rest = np.setdiff1d(np.arange(len(logs)), ranked)
    return _solve(scaled[rest], logs[rest, new], scaled[ranked], CEILING_PENALTY)[0]


def operator_counts(batch: GraphBatch) -> FloatArray:
    """(G, 2 O): logarithms of one more than the nodes of each of O operators, and than their FLOPs."""
    names = sorted({kind.op for kind in batch.kinds})
    column = np.asarray([names.index(kind.op) for kind in batch.kinds])[batch.kind]
    cost = np.asarray([kind_flops(kind) for kind in batch.kinds], np.float64)[batch.kind]
    sums = np.zeros((2, len(batch), len(names)))
    np.add.at(sums[0], (batch.graph_of_node, column), 1)
    np.add.at(sums[1], (batch.graph_of_node, column), cost)
    counts: FloatArray = np.log1p(np.concatenate(list(sums), axis=1))
    return counts


def ridge(x: FloatArray, y: FloatArray, others: FloatArray) -> FloatArray:
    """Predictions for other rows; the penalty has the smallest squared error of left-out rows.

    Args:
        x: (n, D).
        y: (n,).
        others: (m, D).
    """
    results = [_solve(x, y, others, penalty) for penalty in PENALTIES]
    return min(results, key=lambda result: result[1])[0]


def _solve(x: FloatArray, y: FloatArray, others: FloatArray, penalty: float) -> tuple[FloatArray, float]:
    """Predictions (m,), and the mean squared error when each row is left out in turn."""
    mean = x.mean(axis=0)
    u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    shrunk = s**2 / (s**2 + penalty * (s**2).sum() / len(x))
    inverse = np.divide(shrunk, s, out=np.zeros_like(s), where=s > 1e-9 * s[0])
    weights = vt.T @ (inverse * (u.T @ (y - y.mean())))
    leverage = np.minimum((u**2 * shrunk).sum(axis=1) + 1 / len(x), 1 - 1e-9)
    residual = y - y.mean() - (x - mean) @ weights
    predictions: FloatArray = (others - mean) @ weights + y.mean()
    return predictions, float(np.mean((residual / (1 - leverage)) ** 2))


def _predicted(
    problem: Problem, predictor: Predictor, given: dict[str, tuple[GraphFeatures, FloatArray]]
) -> FloatArray:
    """Not negated: sizes are expected to go up with labels."""
    graphs = problem.found.graphs
    predictor.fit(graphs.select(problem.labelled), problem.logs, problem.seed, pool=problem.hints.graphs, hints=given)
    return predictor.predict(graphs.select(problem.ranked))
