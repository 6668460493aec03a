"""Feature vectors of graphs for models that do not train the encoder, and the scaling of such vectors.

Four kinds: the embedding of a pretrained encoder, `cgir.properties`, path features, and counts of Weisfeiler-Lehman
subtrees. Frozen heads read the first two, Gaussian processes take each as a separate view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Self, TypeVar

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from cgir.analysis.batch_costs import convolution_entropy
from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from cgir.analysis.wl_kernel import wl_features
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import Graphs, GraphTensors, as_tensors
from encoders.engine.devices import CPU, Device, as_device, device_for
from encoders.gaussian_process.regression import FeatureMatrix
from encoders.models.registry import GraphEncoder

from .scalers import Scaler

T = TypeVar("T")
FLOPS, PARAMS, ACTIVATIONS = 0, 1, 2  # columns of `cgir.properties`, logarithms
WL_ROUNDS = 3  # steps back that subtrees reach: enough to see the operation before a BatchNorm and a ReLU


class GraphFeatures:
    """G graphs with their feature vectors, each kind of which is computed when it is first read, and cached.

    Predictors take it in place of the graphs, so that several fits compute features once (`compute_features`).

    Args:
        graphs: the G graphs.
        encoder: what embeds them; None: there is no embedding.
        embedding: (G, dim) by the encoder, if it has been computed.
        properties: (G, P) `cgir.properties`, if they have been computed.
        paths: (G, Q) path features, if they have been computed.
        subtrees: (G, 2^63 - 1) counts of Weisfeiler-Lehman subtrees, sparse, if they have been computed.
        device: where networks that read the graphs compute.
    """

    def __init__(
        self,
        graphs: GraphTensors,
        encoder: GraphEncoder | None = None,
        *,
        embedding: FloatArray | None = None,
        properties: FloatArray | None = None,
        paths: FloatArray | None = None,
        subtrees: csr_array | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.graphs, self.encoder, self.device = graphs, encoder, device
        self._embedding, self._properties, self._paths, self._subtrees = embedding, properties, paths, subtrees

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def embedding(self) -> FloatArray | None:
        """(G, dim) of the encoder; None without one."""
        if self._embedding is None and self.encoder is not None:
            self._embedding = self.encoder.embed(self.graphs, device=self.device).astype(np.float64)
        return self._embedding

    @property
    def properties(self) -> FloatArray:
        """(G, P): `cgir.properties`."""
        if self._properties is None:
            self._properties = np.asarray(properties(self.graphs.batch), np.float64)
        return self._properties

    @property
    def paths(self) -> FloatArray:
        """(G, Q): `cgir.analysis.path_features`, of the paths from input to output."""
        if self._paths is None:
            self._paths = path_features(self.graphs.batch)
        return self._paths

    @property
    def subtrees(self) -> csr_array:
        """(G, 2^63 - 1): how often each Weisfeiler-Lehman subtree occurs."""
        if self._subtrees is None:
            self._subtrees = wl_features(self.graphs.batch, WL_ROUNDS)
        return self._subtrees

    @property
    def input_sizes(self) -> FloatArray:
        """(G,): logarithm of the number of elements of all inputs of a graph."""
        batch = self.graphs.batch
        elements = [prod(kind.shape) if kind.op == "Input" else 0 for kind in batch.kinds]
        totals = np.bincount(batch.graph_of_node, np.asarray(elements, np.float64)[batch.kind], len(batch))
        return np.log2(1 + totals)

    @property
    def convolution_entropy(self) -> FloatArray:
        """(G,): `cgir.analysis.batch_costs.convolution_entropy`."""
        return convolution_entropy(self.graphs.batch)

    @property
    def reads_tokens(self) -> bool:
        """Whether most graphs look up an embedding, as language models do."""
        batch = self.graphs.batch
        embeds = np.asarray([kind.op == "Embedding" for kind in batch.kinds], bool)
        return 2 * len(np.unique(batch.graph_of_node[embeds[batch.kind]])) > len(batch)

    def vectors(self) -> FloatArray:
        """(G, D): embedding and properties side by side, for heads."""
        return self.properties if self.embedding is None else np.concatenate([self.embedding, self.properties], axis=1)

    def dense_views(self, embedding: bool = True) -> list[FloatArray]:
        """Embedding (if there is one and `embedding` is set), properties and paths, as matrices of G rows."""
        first = [self.embedding] if embedding and self.embedding is not None else []
        return [*first, self.properties, self.paths]

    def with_encoder(self, encoder: GraphEncoder | None) -> GraphFeatures:
        """The same graphs for another encoder; what does not depend on it is kept."""
        return GraphFeatures(
            self.graphs,
            encoder,
            properties=self._properties,
            paths=self._paths,
            subtrees=self._subtrees,
            device=self.device,
        )

    def on(self, device: torch.device) -> GraphFeatures:
        """The same for networks that compute on another device, with all features computed so far."""
        if device == self.device:
            return self
        features = self.with_encoder(self.encoder)
        features._embedding, features.device = self._embedding, device
        return features

    def select(self, rows: IntArray) -> GraphFeatures:
        """The graphs at `rows`, with all features computed so far."""
        return GraphFeatures(
            self.graphs.select(rows),
            self.encoder,
            embedding=None if self._embedding is None else self._embedding[rows],
            properties=None if self._properties is None else self._properties[rows],
            paths=None if self._paths is None else self._paths[rows],
            subtrees=None if self._subtrees is None else self._subtrees[rows],
            device=self.device,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[GraphFeatures]) -> GraphFeatures:
        """All graphs of one or more parts; each kind of features is kept where all parts have computed it."""
        batch = GraphBatch.concatenate([part.graphs.batch for part in parts])
        return cls(
            GraphTensors(batch),
            parts[0].encoder,
            embedding=_joined([part._embedding for part in parts], np.concatenate),
            properties=_joined([part._properties for part in parts], np.concatenate),
            paths=_joined([part._paths for part in parts], np.concatenate),
            subtrees=_joined([part._subtrees for part in parts], partial(vstack, format="csr")),
            device=parts[0].device,
        )


def _joined(parts: Sequence[T | None], join: Callable[[list[T]], T]) -> T | None:
    """The rows of all parts, if there are such of each."""
    known = [part for part in parts if part is not None]
    return join(known) if len(known) == len(parts) else None


def compute_features(
    graphs: Graphs | GraphFeatures, encoder: GraphEncoder | None, device: Device = "auto"
) -> GraphFeatures:
    """Features of graphs; properties and, with an encoder, the embedding are computed immediately.

    Args:
        graphs: in any form.
        encoder: what embeds them; None: there is no embedding.
        device: where it does: "auto", the GPU where there is one, "cpu", "cuda" or "cuda:1".
    """
    where = as_device(device) if encoder is None else device_for(encoder, device)
    if isinstance(graphs, GraphFeatures):
        features = graphs.with_encoder(encoder).on(where)
    else:
        features = GraphFeatures(as_tensors(graphs), encoder, device=where)
    features.vectors()
    return features


class GPInputTransform:
    """Graphs -> inputs of a Gaussian process: scaled dense views, and square roots of the counts of subtrees.

    The distance of the latter is `cgir.wl_distance`.

    Attributes:
        scalers: of the dense views; with an embedding, which is the first, there are three.
        subtree_ids: the subtrees that occur in labelled graphs, ascending. All other subtrees of a graph are summed in
            one more column, which is 0 in labelled graphs: it adds to distances from these and nothing to similarities.
    """

    def __init__(self, scalers: Sequence[Scaler], subtree_ids: IntArray) -> None:
        self.scalers, self.subtree_ids = list(scalers), subtree_ids

    @classmethod
    def fit(cls, labelled: GraphFeatures, reference: GraphFeatures, embedding: bool = True) -> Self:
        """Statistics of graphs.

        Args:
            labelled: graphs whose subtrees become columns.
            reference: graphs by which dense views are scaled.
            embedding: whether the embedding, if there is one, is a view.
        """
        scalers = [Scaler.fit(view) for view in reference.dense_views(embedding)]
        return cls(scalers, np.unique(labelled.subtrees.indices))

    def __call__(self, features: GraphFeatures) -> list[FeatureMatrix]:
        """Matrices of G rows."""
        views = features.dense_views(embedding=len(self.scalers) > 2)
        scaled = [scaler(view) for scaler, view in zip(self.scalers, views, strict=True)]
        return [*scaled, self.subtree_roots(features.subtrees)]

    def subtree_roots(self, counts: csr_array) -> csr_array:
        """Counts (G, 2^63 - 1) of all subtrees -> square roots (G, len(subtree_ids) + 1)."""
        columns = np.minimum(np.searchsorted(self.subtree_ids, counts.indices), len(self.subtree_ids) - 1)
        has_column = self.subtree_ids[columns] == counts.indices
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        last_column = np.sqrt(np.bincount(rows[~has_column], counts.data[~has_column], counts.shape[0]))
        entries = np.concatenate([np.sqrt(counts.data[has_column]), last_column])
        positions = (
            np.concatenate([rows[has_column], np.arange(len(last_column))]),
            np.concatenate([columns[has_column], np.full(len(last_column), len(self.subtree_ids))]),
        )
        return csr_array((entries, positions), shape=(counts.shape[0], len(self.subtree_ids) + 1))
