"""Spectra of normalised Laplacians, and the distance of two graphs that comes from them.

Source: "A General-Purpose Transferable Predictor for Neural Architecture Search", section 4.2, eq. 4.4: Delta = I - D^(-1/2) A D^(-1/2) of
the underlying undirected graph, and sigma_S = Euclidean norm of the difference of the k = 11 smallest eigenvalues.
The paper leaves open, and this module decides: the undirected graph is simple (parallel edges are one edge, loops none); an isolated
node has Delta_ii = 0, so the multiplicity of 0 is the number of components (as in networkx); a graph with n < k nodes is padded with
`PADDING` = 2, the largest value an eigenvalue can have. Padding with 0 would read as further components and break the ascending order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import overload

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from threadpoolctl import ThreadpoolController

from .features import GraphBatch
from .graph import Graph

Array = NDArray[np.float64]

K = 11
PADDING = 2.0
DENSE_LIMIT = 400  # nodes; above, a sparse solver is faster
STACK_BYTES = 1 << 27  # of dense matrices solved in one call
SHIFT = -1e-2  # a shift of 0 is singular, and misses multiplicities


def normalized_laplacian(graph: Graph) -> Array:
    """(n, n) symmetric normalised Laplacian of the underlying simple undirected graph (eq. 4.4)."""
    batch = GraphBatch.from_graphs([graph])
    return _dense(len(graph), [np.stack([batch.src, batch.dst])])[0]


def spectrum(graphs: Graph | Sequence[Graph] | GraphBatch, k: int = K) -> Array:
    """The k smallest Laplacian eigenvalues of each graph.

    Args:
        graphs: one graph, a list of graphs, or a batch.
        k: how many; graphs with fewer nodes are padded with `PADDING`.

    Returns:
        (G, k) float64, ascending, within [0, 2] and accurate to 1e-10; G is 1 for a single graph.
    """
    if not isinstance(graphs, GraphBatch):
        graphs = GraphBatch.from_graphs([graphs] if isinstance(graphs, Graph) else graphs)
    topologies, which = _topologies(graphs)
    result = np.full((len(topologies), k), PADDING)
    by_size: dict[int, list[int]] = {}
    for row, (n, _) in enumerate(topologies):
        by_size.setdefault(n, []).append(row)
    # Threads make stacks of small matrices slower, many times so on a busy machine.
    with _threads().limit(limits=1):
        for n, rows in by_size.items():
            step = max(1, STACK_BYTES // (8 * n * n)) if n else len(rows)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                result[part, : min(n, k)] = _smallest(n, [topologies[row][1] for row in part], min(n, k))
    return result[which]


@overload
def spectral_distance(a: Graph, b: Graph) -> float: ...
@overload
def spectral_distance(a: Array, b: Array) -> Array: ...
def spectral_distance(a: Graph | Array, b: Graph | Array) -> float | Array:
    """Euclidean distance of spectra: a float for two graphs, (G, H) for arrays of spectra (G, k) and (H, k)."""
    if isinstance(a, Graph) and isinstance(b, Graph):
        return float(np.linalg.norm(spectrum(a) - spectrum(b)))
    return np.asarray(cdist(a, b))


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _topologies(batch: GraphBatch) -> tuple[list[tuple[int, NDArray[np.int64]]], NDArray[np.int64]]:
    """Distinct (number of nodes, (2, e) undirected edges), and for each graph which of them it has: equal ones are solved once."""
    owner = batch.graph_of_node[batch.dst]
    ends = np.stack([batch.src, batch.dst]) - batch.ptr[owner]
    sizes = np.diff(batch.ptr)
    span = int(sizes.max(initial=1))
    # One number per edge, so that a single sort orders the edges of all graphs and finds parallel ones.
    codes = np.unique((owner * span + ends.min(axis=0)) * span + ends.max(axis=0))
    lower, upper = codes // span % span, codes % span
    codes, lower, upper = (values[lower != upper] for values in (codes, lower, upper))
    cuts = np.searchsorted(codes, np.arange(1, len(batch)) * span * span)
    distinct: dict[tuple[int, bytes], int] = {}
    found: list[tuple[int, NDArray[np.int64]]] = []
    which = np.zeros(len(batch), np.int64)
    parts = np.split(np.stack([lower, upper]), cuts, axis=1) if len(batch) else []
    for index, (n, edges) in enumerate(zip(sizes.tolist(), parts, strict=True)):
        row = which[index] = distinct.setdefault((n, edges.tobytes()), len(found))
        if row == len(found):
            found.append((n, edges))
    return found, which


def _smallest(n: int, edges: Sequence[NDArray[np.int64]], k: int) -> Array:
    """(len(edges), k) smallest eigenvalues of graphs with n nodes each."""
    if n == 0 or k == 0:
        return np.zeros((len(edges), k))
    dense = n <= max(DENSE_LIMIT, 4 * k)
    values = np.linalg.eigvalsh(_dense(n, edges))[:, :k] if dense else np.stack([_smallest_sparse(n, pair, k) for pair in edges])
    return np.clip(values, 0.0, 2.0)


def _dense(n: int, edges: Sequence[NDArray[np.int64]]) -> Array:
    adjacency = np.zeros((len(edges), n, n))
    graph = np.repeat(np.arange(len(edges)), [pair.shape[1] for pair in edges])
    lower, upper = np.concatenate(edges, axis=1)
    adjacency[graph, lower, upper] = adjacency[graph, upper, lower] = 1.0
    degree = adjacency.sum(axis=2)
    scale = 1.0 / np.sqrt(np.maximum(degree, 1.0))
    laplacian = -adjacency * scale[:, :, None] * scale[:, None, :]
    laplacian[:, np.arange(n), np.arange(n)] = degree > 0
    return laplacian


def _smallest_sparse(n: int, edges: NDArray[np.int64], k: int) -> Array:
    """Shift-invert Lanczos; where Sylvester's law of inertia shows that it missed an eigenvalue, LAPACK on the dense matrix instead."""
    rows, columns = np.concatenate([edges, edges[::-1]], axis=1)
    degree = np.bincount(rows, minlength=n)
    scale = 1.0 / np.sqrt(np.maximum(degree, 1))
    off = scipy.sparse.coo_array((-scale[rows] * scale[columns], (rows, columns)), shape=(n, n))
    laplacian = (off + scipy.sparse.diags_array((degree > 0).astype(float))).tocsc()
    start = np.random.default_rng(0).random(n)  # ARPACK's own start vector would make results differ from run to run
    try:
        values = np.sort(scipy.sparse.linalg.eigsh(laplacian, k, sigma=SHIFT, v0=start, return_eigenvectors=False, ncv=4 * k))
        if _num_below(laplacian, values[-1] - 1e-9) <= int((values < values[-1] - 1e-9).sum()):
            return values
    except (RuntimeError, scipy.sparse.linalg.ArpackError):  # no convergence, or a singular factor
        pass
    return np.asarray(scipy.linalg.eigvalsh(laplacian.toarray(), subset_by_index=[0, k - 1]))


def _num_below(laplacian: scipy.sparse.csc_array, bound: float) -> int:
    """Number of eigenvalues below `bound`: negative pivots of the shifted matrix, eliminated without row exchanges."""
    shifted = (laplacian - bound * scipy.sparse.eye_array(laplacian.shape[0])).tocsc()
    factor = scipy.sparse.linalg.splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    if not np.array_equal(factor.perm_r, factor.perm_c):
        raise RuntimeError("rows were exchanged, so the pivots' signs say nothing")
    return int((factor.U.diagonal() < 0).sum())
