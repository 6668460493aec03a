"""Weisfeiler-Lehman subtree kernel: a distance that sees operators and shapes, unlike the Laplacian's spectrum.

Features count how often a graph has each rooted subtree of up to `rounds` steps: the Weisfeiler-Lehman subtree features
of Shervashidze et al., "Weisfeiler-Lehman Graph Kernels" (JMLR 2011), section 3.2, over a node and the nodes it reads.
Choices that the paper leaves open:

* a node's label is its operator, kernel, stride, whether it is grouped, and the octave of the side of its output; finer
  labels (channels in all of them) make networks of equal accuracy as far apart as any others;
* in addition to the subtrees there is a histogram (round 0 alone) whose labels also have the FLOPs in half octaves,
  which depend on channels;
* the distance is Matusita's (1955), the Euclidean norm of the difference of the *roots* of counts: plain counts are
  dominated by what every network repeats most. It is a pseudometric, 0 for isomorphic graphs and for the few that the
  colours cannot distinguish.

Also tried was the spectrum of a Laplacian with edges weighted by FLOPs and operators (Chung, "Spectral Graph Theory",
section 1.4): it distinguishes more graphs than the plain one and, except where little but channels differ, predicts
accuracy little better. Neither distance is best everywhere: where accuracy follows the number of layers, the plain
spectrum ranks well. `benchmarks/spectrum.py` has the comparison.

Notation:
    G: graphs; a subtree's column: its hash; x, y: counts of one subtree in two graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2
from typing import Any, cast, overload

import numpy as np
import scipy.sparse

from cgir.cost import kind_flops
from cgir.errors import CgirError
from cgir.graph import Graph, NodeKind
from cgir.graph_batch import GraphBatch
from cgir.node_features import extent
from cgir.typing import FloatArray, IntArray

from .weisfeiler_lehman import Colors, mix, segment_sums, stable_hash

Features = Any  # scipy.sparse.csr_array

ROUNDS = 2
COLUMNS = 2**63 - 1  # a column is a colour, so that features of different calls, and processes, have the same columns
CHUNK = 4096  # graphs coloured together, which bounds memory
BLOCK = 1 << 24  # numbers in the dense matrices of one step
ROUNDING = 1e-12  # relative; the smallest true difference of two graphs is far above


def wl_features(graphs: Graph | Sequence[Graph] | GraphBatch, rounds: int = ROUNDS) -> Features:
    """How often each graph has each Weisfeiler-Lehman subtree (Shervashidze et al. 2011, section 3.2).

    Args:
        graphs: one graph, a list of graphs, or a batch.
        rounds: how many steps back a subtree may reach.

    Returns:
        `scipy.sparse.csr_array` (G, 2**63 - 1) of counts, float64: a row sums to (rounds + 2) times the number of
        nodes. Columns are hashes of subtrees and mean the same in every call; for products other than
        `wl_distance`, renumber those that occur.
    """
    if rounds < 0:
        raise CgirError(f"wl_features: rounds={rounds}; expected 0 or more")
    batch = GraphBatch.of(graphs)
    labels = np.asarray([_label(kind) for kind in batch.kinds], np.uint64).reshape(-1, 2)
    parts = (batch.select(np.arange(start, min(start + CHUNK, len(batch)))) for start in range(0, len(batch), CHUNK))
    counted = [_counted(part, labels[part.kind], rounds) for part in parts]
    return scipy.sparse.vstack(counted, "csr") if counted else scipy.sparse.csr_array((0, COLUMNS))


@overload
def wl_distance(a: Graph, b: Graph, normalized: bool = False) -> float: ...
@overload
def wl_distance(a: Features, b: Features, normalized: bool = False) -> FloatArray: ...
def wl_distance(a: Graph | Features, b: Graph | Features, normalized: bool = False) -> float | FloatArray:
    """Distance by Weisfeiler-Lehman subtrees: the root of sum (sqrt(x) - sqrt(y))^2 over counts (Matusita 1955).

    Args:
        a: a graph, or a matrix from `wl_features`.
        b: the same, with the same number of rounds.
        normalized: compare shares instead of counts: sqrt(2 - 2 k) with k in [0, 1], blind to size, for graphs of
            unlike families.

    Returns:
        A float for two graphs, (G, H) float64 for features of G and H graphs.
    """
    if isinstance(a, Graph) and isinstance(b, Graph):
        return float(_table(wl_features(a), wl_features(b), normalized)[0, 0])
    for side in (a, b):
        if not scipy.sparse.issparse(side) or cast(Any, side).shape[1] != COLUMNS:
            raise CgirError(
                f"wl_distance: found {type(side).__name__} {getattr(side, 'shape', '')}; "
                "expected two graphs, or two results of wl_features"
            )
    return _table(a, b, normalized)


def _table(first: Features, second: Features, normalized: bool) -> FloatArray:
    columns = np.unique(np.concatenate([first.indices, second.indices]))
    (left, left_norm), (right, right_norm) = (_rooted(side, columns, normalized) for side in (first, second))
    distances = np.empty((len(left_norm), len(right_norm)))
    step = max(1, BLOCK // max(1, len(columns), len(left_norm)))
    for start in range(0, len(right_norm), step):
        part = slice(start, start + step)
        norms = left_norm[:, None] + right_norm[part]
        # faster than sparse times sparse: most graphs share many subtrees
        squared = norms - 2 * (left @ right[part].toarray().T)
        squared[squared < ROUNDING * norms] = 0
        distances[:, part] = np.sqrt(squared)
    return distances


def _rooted(features: Features, columns: IntArray, normalized: bool) -> tuple[Features, FloatArray]:
    """Roots of counts over the given columns, and the squared norm of every row."""
    norm = np.asarray(features.sum(axis=1), np.float64)
    data = features.data / np.repeat(norm, np.diff(features.indptr)) if normalized else features.data
    positions = np.searchsorted(columns, features.indices)
    roots = scipy.sparse.csr_array((np.sqrt(data), positions, features.indptr), shape=(len(norm), len(columns)))
    return roots, np.sign(norm) if normalized else norm


def _counted(batch: GraphBatch, labels: Colors, rounds: int) -> Features:
    """`wl_features` of a batch whose nodes have the `labels` (N, 2): without and with FLOPs."""
    colors = [labels[:, 1], labels[:, 0]]
    for _ in range(rounds):
        scrambled = mix(colors[-1])
        colors.append(mix(scrambled + mix(segment_sums(scrambled[batch.src], batch.in_edge_ptr))))
    columns, number = np.unique(np.concatenate(colors) >> np.uint64(1), return_inverse=True)
    codes, counts = np.unique(np.tile(batch.graph_of_node, len(colors)) * len(columns) + number, return_counts=True)
    graph, column = np.divmod(codes, max(1, len(columns)))
    ptr = np.searchsorted(graph, np.arange(len(batch) + 1))
    return scipy.sparse.csr_array(
        (counts.astype(np.float64), columns[column].astype(np.int64), ptr), shape=(len(batch), COLUMNS)
    )


@lru_cache(maxsize=200_000)
def _label(kind: NodeKind) -> tuple[int, int]:
    """Hashes of what a node does, equal in every process: without and with its FLOPs."""
    _, height, width = extent(kind.shape)
    octave = round(log2(max(1, height * width)) / 2)
    window = (
        tuple(map(int, kind.attr("kernel", ()))),
        tuple(map(int, kind.attr("stride", ()))),
        int(kind.attr("groups", 1)) > 1,
    )
    coarse = (kind.op, kind.attr("name", "") if kind.op == "Opaque" else "", *window, octave)
    return stable_hash(coarse), stable_hash((*coarse, round(2 * log2(1 + kind_flops(kind)))))
