"""Graphs as vectors for models that do not train the encoder: its embedding, and what can be read off a graph by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from cgir.analysis.wl_kernel import wl_features
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import Graphs, GraphTensors, as_tensors
from encoders.gaussian_process.regression import FeatureMatrix
from encoders.models.registry import GraphEncoder

FLOPS, PARAMS = 0, 1  # columns of `cgir.properties`, logarithms
ROUNDS = 3  # steps back that subtrees reach: enough to see the operation before a BatchNorm and a ReLU


@dataclass(frozen=True)
class GraphFeatures:
    """G graphs: `embedding` (G, dim) if there is an encoder, `properties` (G, P), `cgir.properties`, and views that only
    Gaussian processes read.

    Frozen predictors take it in place of the graphs, so that several fits compute it once (`compute_features`).
    """

    embedding: FloatArray | None
    properties: FloatArray
    graphs: GraphTensors

    def __len__(self) -> int:
        return len(self.properties)

    def select(self, rows: IntArray) -> GraphFeatures:
        """Some of the graphs; what was computed is kept."""
        part = GraphFeatures(
            None if self.embedding is None else self.embedding[rows], self.properties[rows], self.graphs.select(rows)
        )
        if "dense" in vars(self):
            vars(part)["dense"] = [view[rows] for view in self.dense]
        if "subtrees" in vars(self):
            vars(part)["subtrees"] = self.subtrees[rows]
        return part

    def vectors(self) -> FloatArray:
        """(G, D): embedding and properties side by side, for heads."""
        return self.properties if self.embedding is None else np.concatenate([self.embedding, self.properties], axis=1)

    @cached_property
    def dense(self) -> list[FloatArray]:
        """Views of the graphs as dense matrices: embedding, properties, what lies on paths."""
        known = [] if self.embedding is None else [self.embedding]
        return [*known, self.properties, path_features(self.graphs.batch)]

    @cached_property
    def subtrees(self) -> csr_array:
        """How often each Weisfeiler-Lehman subtree occurs."""
        return wl_features(self.graphs.batch, ROUNDS)


def compute_features(graphs: Graphs | GraphFeatures, encoder: GraphEncoder | None) -> GraphFeatures:
    """Embedding, if there is an encoder, and `cgir.properties`; what another encoder described before is used as far as
    it does not depend on that.
    """
    if isinstance(graphs, GraphFeatures):
        known = GraphFeatures(_embedding(graphs.graphs, encoder), graphs.properties, graphs.graphs)
        if "dense" in vars(graphs):
            vars(known)["dense"] = [*([] if known.embedding is None else [known.embedding]), *graphs.dense[-2:]]
        if "subtrees" in vars(graphs):
            vars(known)["subtrees"] = graphs.subtrees
        return known
    tensors = as_tensors(graphs)
    return GraphFeatures(_embedding(tensors, encoder), np.asarray(properties(tensors.batch), np.float64), tensors)


def _embedding(graphs: GraphTensors, encoder: GraphEncoder | None) -> FloatArray | None:
    return None if encoder is None else encoder.embed(graphs).astype(np.float64)


class Scaler:
    """Zero mean, unit deviation per column over reference vectors; columns that are constant there become 0, and
    outliers stop at +-`limit`.
    """

    limit = 5.0

    def __init__(self, mean: FloatArray, scale: FloatArray) -> None:
        self.mean, self.scale = mean, scale

    @classmethod
    def fit(cls, vectors: FloatArray, least: FloatArray | float = 0.0) -> Scaler:
        """Statistics of reference vectors (n, D); `least` (D,): deviations below are taken for these."""
        return cls._of(vectors.mean(axis=0), np.maximum(vectors.std(axis=0), least))

    @classmethod
    def between(cls, one: FloatArray, other: FloatArray) -> Scaler:
        """Statistics of two sets of vectors (n, D) and (m, D), each of which counts half."""
        means, variances = (
            np.stack([getattr(vectors, moment)(axis=0) for vectors in (one, other)]) for moment in ("mean", "var")
        )
        return cls._of(means.mean(axis=0), np.sqrt(variances.mean(axis=0) + means.var(axis=0)))

    @classmethod
    def _of(cls, mean: FloatArray, deviation: FloatArray) -> Scaler:
        constant = deviation <= 1e-6 * (1 + np.abs(mean))
        return cls(mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation)))

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Vectors (G, D), scaled."""
        scaled: FloatArray = np.clip((vectors - self.mean) * self.scale, -self.limit, self.limit)
        return scaled


class GPInputTransform:
    """What a Gaussian process sees of graphs: dense views, each scaled, and the roots of the counts of subtrees, whose
    distance is `cgir.wl_distance`.

    `columns`: the subtrees that the labelled graphs have. All others of a graph together are one more column, zero in
    labelled ones: they move it away from those without being like anything.
    """

    def __init__(self, scalers: Sequence[Scaler], columns: IntArray) -> None:
        self.scalers, self.columns = list(scalers), columns

    @classmethod
    def fit(cls, labelled: GraphFeatures, reference: GraphFeatures, embedding: bool = True) -> GPInputTransform:
        """Scales of the reference graphs, subtrees of the labelled ones; `embedding`: it is a view, if there is one."""
        dense = reference.dense if embedding else reference.dense[-2:]
        return cls([Scaler.fit(view) for view in dense], np.unique(labelled.subtrees.indices))

    def __call__(self, graphs: GraphFeatures) -> list[FeatureMatrix]:
        """Matrices of G rows."""
        return [
            *(scaler(view) for scaler, view in zip(self.scalers, graphs.dense[-len(self.scalers) :], strict=True)),
            self.subtrees(graphs.subtrees),
        ]

    def subtrees(self, counts: csr_array) -> csr_array:
        """Roots of counts (G, 2^63 - 1) of all subtrees: (G, columns + 1)."""
        place = np.minimum(np.searchsorted(self.columns, counts.indices), len(self.columns) - 1)
        known = self.columns[place] == counts.indices
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        others = np.sqrt(np.bincount(rows[~known], counts.data[~known], counts.shape[0]))
        entries = np.concatenate([np.sqrt(counts.data[known]), others])
        where = (
            np.concatenate([rows[known], np.arange(len(others))]),
            np.concatenate([place[known], np.full(len(others), len(self.columns))]),
        )
        return csr_array((entries, where), shape=(counts.shape[0], len(self.columns) + 1))
