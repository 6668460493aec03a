"""Spectra that know operators: the Laplacian plus a potential on the nodes, so that conv1x1 is no longer conv3x3.

The operator is Schroedinger's on a graph (Biyikoglu, Leydold, Stadler, "Laplacian Eigenvectors of Graphs", 2007), Delta
+ diag(v), with the Delta of eq. 4.4 of "A General-Purpose Transferable Predictor for Neural Architecture Search". Its
lowest modes live where v is low, so what computes most has the lowest potential; a hash of the operator and its window
sets apart those of equal cost.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from math import log2

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cgir.analysis.laplacian_spectrum import PADDING, K, normalized_laplacian
from cgir.graph import NodeKind
from cgir.graph_batch import GraphBatch, kind_flops
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs, as_batch

OCTAVES = 30  # of FLOPs, over which the potential falls from 1 to 0
OPERATOR = 0.3  # by how much two operators of equal cost may differ


def operator_spectrum(graphs: Graphs, k: int = K) -> FloatArray:
    """The k smallest eigenvalues of Delta + diag(v) of each graph, for `pretrain(graphs, spectra=...)`: pairs and the
    contrast then both go by them.

    Args:
        graphs: graphs in any form.
        k: how many; graphs with fewer nodes are padded with the largest value that an eigenvalue can have.

    Returns:
        (G, k) float64, ascending. Every graph is solved by itself, in milliseconds; keep the result.
    """
    batch = as_batch(graphs)
    potential = np.asarray([_potential(kind) for kind in batch.kinds])
    cuts = np.searchsorted(batch.dst, batch.ptr)
    result = np.full((len(batch), k), PADDING + 1 + OPERATOR)

    def solve(row: int) -> None:
        start, stop = batch.ptr[row : row + 2]
        edges = slice(cuts[row], cuts[row + 1])
        ends = np.asarray([0, stop - start])
        matrix = normalized_laplacian(
            GraphBatch(batch.kinds, batch.kind[start:stop], batch.src[edges] - start, batch.dst[edges] - start, ends)
        )
        matrix[np.diag_indices_from(matrix)] += potential[batch.kind[start:stop]]
        values = np.linalg.eigvalsh(matrix)[:k]
        result[row, : len(values)] = values

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(solve, range(len(batch))), total=len(batch), desc="spectra", delay=5):
            pass
    return result


def _potential(kind: NodeKind) -> float:
    """In [0, 1 + OPERATOR]."""
    window = (
        kind.op,
        *kind.attr("kernel", ()),
        *kind.attr("stride", ()),
        *kind.attr("dilation", ()),
        int(kind.attr("groups", 1)) > 1,
    )
    share = int.from_bytes(hashlib.blake2b(repr(window).encode(), digest_size=4).digest(), "little") / 2**32
    return max(0.0, 1 - log2(1 + kind_flops(kind)) / OCTAVES) + OPERATOR * share
