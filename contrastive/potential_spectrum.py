"""Spectrum of a graph Schroedinger operator: the normalised Laplacian plus a potential that depends on the operators.

    Delta + diag(v)    (Biyikoglu, Leydold, Stadler, "Laplacian Eigenvectors of Graphs", 2007)

Delta: (N, N) normalised Laplacian, eq. 4.4 of "A General-Purpose Transferable Predictor for Neural Architecture
    Search".
v: (N,) potential of each node, in [0, 1 + MAX_HASH_OFFSET].

The Laplacian alone sees only the wiring: networks of conv1x1 and of conv3x3 have equal spectra. The lowest eigenvectors
concentrate where v is low, so nodes with the most FLOPs get the lowest potential; a hash of the operator and its window
separates operators of equal cost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import log2

import numpy as np
from tqdm import tqdm

from cgir.analysis.laplacian_spectrum import PADDING, K, normalized_laplacian
from cgir.analysis.weisfeiler_lehman import stable_hash
from cgir.blas_threads import one_blas_thread
from cgir.cores import usable_cores
from cgir.cost import kind_flops
from cgir.graph import NodeKind
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs, as_batch

MAX_LOG2_FLOPS = 30  # the potential falls from 1 at no FLOPs to 0 at 2 to this power
MAX_HASH_OFFSET = 0.3  # by which potentials of two operators of equal cost may differ


def operator_spectrum(graphs: Graphs, k: int = K) -> FloatArray:
    """The k smallest eigenvalues of Delta + diag(v) of each graph.

    Given to `pretrain(graphs, spectra=...)`, they decide both the sampled pairs and the weights of the contrast. Every
    graph takes some milliseconds, so keep the result.

    Args:
        graphs: graphs in any form.
        k: number of eigenvalues; graphs with fewer nodes are padded with the largest possible eigenvalue.

    Returns:
        (G, k) float64, ascending.
    """
    batch = as_batch(graphs)
    potential = np.asarray([_potential(kind) for kind in batch.kinds])
    result = np.full((len(batch), k), PADDING + 1 + MAX_HASH_OFFSET)

    def solve(row: int) -> None:
        start, stop = batch.ptr[row : row + 2]
        edges = slice(batch.edge_ptr[row], batch.edge_ptr[row + 1])
        ends = np.asarray([0, stop - start])
        matrix = normalized_laplacian(
            GraphBatch(batch.kinds, batch.kind[start:stop], batch.src[edges] - start, batch.dst[edges] - start, ends)
        )
        matrix[np.diag_indices_from(matrix)] += potential[batch.kind[start:stop]]
        values = np.linalg.eigvalsh(matrix)[:k]
        result[row, : len(values)] = values

    with one_blas_thread(), ThreadPoolExecutor(usable_cores()) as executor:
        for _ in tqdm(executor.map(solve, range(len(batch))), total=len(batch), desc="spectra", delay=5):
            pass
    return result


def _potential(kind: NodeKind) -> float:
    """The potential of a node kind, in [0, 1 + MAX_HASH_OFFSET]."""
    window = (
        kind.op,
        *kind.attr("kernel", ()),
        *kind.attr("stride", ()),
        *kind.attr("dilation", ()),
        int(kind.attr("groups", 1)) > 1,
    )
    fraction = stable_hash(window, 4) / 2**32
    return max(0.0, 1 - log2(1 + kind_flops(kind)) / MAX_LOG2_FLOPS) + MAX_HASH_OFFSET * fraction
