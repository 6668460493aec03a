"""What pretraining draws from: graphs, the family of each, and their spectra."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgir.errors import CgirError
from cgir.features import GraphBatch, IntArray
from cgir.graph import Graph
from cgir.spectrum import spectrum
from cgir.store import GraphStore
from encoders.batching import as_batch


@dataclass(frozen=True)
class Pool:
    """G graphs, `families` (G,) as numbers, `spectra` (G, k)."""

    batch: GraphBatch
    families: IntArray
    spectra: NDArray[np.float64]

    def fingerprint(self) -> str:
        """Hex digest of everything in it: a run goes on only with the graphs it began with."""
        digest = hashlib.sha256(repr(self.batch.kinds).encode())
        for array in (self.batch.kind, self.batch.src, self.batch.dst, self.batch.ptr, self.families, self.spectra):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def as_pool(graphs: GraphBatch | Iterable[Graph] | GraphStore, families: ArrayLike | None = None, spectra: ArrayLike | None = None) -> Pool:
    """Collect a pool; a store brings its families and spectra, otherwise one family is assumed and spectra are computed.

    Raises:
        CgirError: families or spectra do not match the graphs.
    """
    if isinstance(graphs, GraphStore):
        families = graphs.families if families is None else families
        spectra = graphs.spectra if spectra is None else spectra
    batch = as_batch(graphs)
    names = np.zeros(len(batch), np.int64) if families is None else np.asarray(families)
    if names.shape != (len(batch),):
        raise CgirError(f"pretrain: {len(batch)} graphs need {len(batch)} family names; found shape {names.shape}")
    values = spectrum(batch) if spectra is None else np.asarray(spectra, np.float64)
    if values.ndim != 2 or len(values) != len(batch) or not np.isfinite(values).all():
        raise CgirError(f"pretrain: spectra must be finite numbers (graphs, k); found shape {values.shape} for {len(batch)} graphs")
    return Pool(batch, np.unique(names, return_inverse=True)[1].astype(np.int64), values)
