"""The pool that pretraining samples from: graphs, the family of each, their spectra, and cached targets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from cgir.analysis.graph_properties import properties
from cgir.analysis.laplacian_spectrum import spectrum
from cgir.analysis.path_features import path_features
from cgir.analysis.wl_kernel import wl_features
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import GraphTensors, as_batch


@dataclass(frozen=True)
class Pool:
    """Unlabelled graphs; what runs compute of all graphs is cached, so that several runs on one pool compute it once.

    batch: the G graphs.
    families: (G,) index of each graph's family.
    spectra: (G, k), by which graphs are near.
    behaviours: (G, B) numbers that graphs do not show, NaN where unknown, if there are any.
    """

    batch: GraphBatch
    families: IntArray
    spectra: FloatArray
    behaviours: FloatArray | None = None

    @cached_property
    def properties(self) -> FloatArray:
        """(G, P), `cgir.properties`."""
        return properties(self.batch)

    @cached_property
    def paths(self) -> FloatArray:
        """(G, F), `cgir.analysis.path_features`."""
        return path_features(self.batch)

    @cached_property
    def subtrees(self) -> csr_array:
        """(G, C) counts of Weisfeiler-Lehman subtrees, `cgir.wl_features`."""
        return wl_features(self.batch)

    @cached_property
    def tensors(self) -> GraphTensors:
        """The graphs for encoders; `at(depth)` prepares them."""
        return GraphTensors(self.batch)

    def fingerprint(self) -> str:
        """Hex digest of graphs, families and spectra; a run resumes only with the pool it began with."""
        digest = hashlib.sha256(repr(self.batch.kinds).encode())
        for array in (self.batch.kind, self.batch.src, self.batch.dst, self.batch.ptr, self.families, self.spectra):
            digest.update(np.ascontiguousarray(array).tobytes())
        if self.behaviours is not None:
            digest.update(np.ascontiguousarray(self.behaviours).tobytes())
        return digest.hexdigest()


def as_pool(
    graphs: Pool | GraphBatch | Iterable[Graph] | GraphStore,
    families: ArrayLike | None = None,
    spectra: ArrayLike | None = None,
    behaviours: ArrayLike | None = None,
) -> Pool:
    """The pool of these graphs, families, spectra and behaviours.

    Args:
        graphs: graphs in any form, or a pool, which is returned as it is.
        families: (G,) name or number of each graph's family; default those of a store, else one family.
        spectra: (G, k) finite numbers; default those of a store, else `cgir.spectrum`.
        behaviours: (G, B) numbers that graphs do not show, as zero-cost scores, NaN where unknown; default none.

    Raises:
        CgirError: families, spectra or behaviours do not match the graphs.
    """
    if isinstance(graphs, Pool):
        if families is not None or spectra is not None or behaviours is not None:
            raise CgirError(
                "pretrain: a pool has its families and spectra; give none beside it, "
                "or make another with as_pool(batch, families, spectra)"
            )
        return graphs
    if isinstance(graphs, GraphStore):
        families = graphs.families if families is None else families
        spectra = graphs.spectra if spectra is None else spectra
    batch = as_batch(graphs)
    names = np.zeros(len(batch), np.int64) if families is None else np.asarray(families)
    if names.shape != (len(batch),):
        raise CgirError(f"pretrain: {len(batch)} graphs need {len(batch)} family names; found shape {names.shape}")
    values = spectrum(batch) if spectra is None else np.asarray(spectra, np.float64)
    if values.ndim != 2 or len(values) != len(batch) or not np.isfinite(values).all():
        raise CgirError(
            f"pretrain: spectra must be finite numbers (graphs, k); found shape {values.shape} for {len(batch)} graphs"
        )
    known = None if behaviours is None else np.asarray(behaviours, np.float64)
    if known is not None and (known.ndim != 2 or len(known) != len(batch) or np.isinf(known).any()):
        raise CgirError(
            f"pretrain: behaviours must be (graphs, B), finite or NaN; found {known.shape} for {len(batch)} graphs"
        )
    return Pool(batch, np.unique(names, return_inverse=True)[1].astype(np.int64), values, known)
