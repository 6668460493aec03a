"""Handcrafted graph features: sizes, costs, depths and operator counts, in total and by resolution.

A baseline by themselves (a Gaussian process on them is hard to beat with few labels), and a target to pretrain encoders
on. All are log2(1 + value), except the fractions. A graph's resolution is measured against the height of its largest
input, in octaves: bin 0 is full resolution, bin 5 a 32nd or less. Batches store node kinds but not which parameters
are shared: here a shared tensor counts at every use.

Notation:
    G: graphs; N: nodes of all graphs; K: node kinds; S: properties that are sums over nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log2, prod

import numpy as np
import scipy.sparse

from cgir.cost import kind_flops
from cgir.graph import Graph, NodeKind
from cgir.graph_batch import GraphBatch
from cgir.node_features import extent
from cgir.ops import OPS
from cgir.typing import FloatArray, IntArray

COUNTED_OPS = (
    "Conv", "Linear", "MatMul", "Attention", "BatchNorm", "LayerNorm", "ReLU", "HardSwish", "SiLU", "GELU", "Sigmoid",
    "MaxPool", "AvgPool", "GlobalAvgPool", "Add", "Mul", "Concat",
)  # fmt: skip
COUNTED_CATEGORIES = (
    "norm", "activation", "pool", "arithmetic", "unary", "reduction", "join", "recurrent", "embedding", "resample",
)  # fmt: skip
OCTAVES = 6
PER_OCTAVE = ("flops", "params", "convs", "kernel_area")  # kernel areas of convolutions and poolings
SIZES = ("flops", "params", "activation_bytes", "nodes")
WIDTHS = ("mean_width", "max_width")  # output channels of convolutions and linear layers
# Over all paths from an input to an output; the receptive field sums (kernel - 1) x dilation x downsampling so far.
PATHS = ("longest_path", "longest_path_convs", "receptive_field", "shortest_path", "shortest_path_convs")
FRACTIONS = ("conv_1x1", "conv_3x3", "conv_5x5_or_more", "conv_depthwise")  # of all convolutions

PROPERTY_NAMES = (
    *SIZES, *(f"num_{name}" for name in COUNTED_OPS), *(f"category_{name}" for name in COUNTED_CATEGORIES),
    *(f"{name}_octave{octave}" for name in PER_OCTAVE for octave in range(OCTAVES)),
    "edges", *WIDTHS, *PATHS, *FRACTIONS,
)  # fmt: skip


def properties(graphs: Graph | Sequence[Graph] | GraphBatch) -> FloatArray:
    """`PROPERTY_NAMES` of each graph, (G, len(PROPERTY_NAMES)) float64; G is 1 for a single graph."""
    batch = GraphBatch.of(graphs)
    owner = batch.graph_of_node
    counts = scipy.sparse.coo_array(
        (np.ones(batch.num_nodes), (owner, batch.kind)), shape=(len(batch), len(batch.kinds))
    ).tocsr()
    height = _input_heights(batch)
    sums = np.zeros((len(batch), len(SIZES) + len(COUNTED_OPS) + len(COUNTED_CATEGORIES) + OCTAVES * len(PER_OCTAVE)))
    reach = np.zeros(batch.num_nodes)
    # What a kind contributes depends on the height of the graph's input: a batch has few heights, with few kinds each.
    for value in np.unique(height):
        rows = height == value
        members = rows[owner]
        used, inverse = np.unique(batch.kind[members], return_inverse=True)
        kinds = [batch.kinds[kind] for kind in used]
        sums[rows] = counts[rows][:, used] @ _additive(kinds, int(value))
        reach[members] = np.asarray([_reach(kind, int(value)) for kind in kinds], np.float64)[inverse]
    edges = np.bincount(owner[batch.dst], minlength=len(batch))[:, None]
    paths = _paths(batch, reach)
    widths, fractions = _convolutions(batch, counts)
    return np.concatenate([np.log2(1 + np.concatenate([sums, edges, widths, paths], axis=1)), fractions], axis=1)


def _input_heights(batch: GraphBatch) -> IntArray:
    height = np.asarray([extent(kind.shape)[1] if kind.op == "Input" else 1 for kind in batch.kinds], np.int64)[
        batch.kind
    ]
    result = np.ones(len(batch), np.int64)
    np.maximum.at(result, batch.graph_of_node, height)
    return result


def _additive(kinds: Sequence[NodeKind], height: int) -> FloatArray:
    """(K, S): what one node of each kind adds to the properties that are sums over nodes."""
    rows = []
    for kind in kinds:
        flops, params, conv = kind_flops(kind), sum(map(prod, kind.param_shapes)), float(_is_conv(kind))
        sizes = (flops, params, 0 if kind.op == "Output" else 4 * prod(kind.shape), 1)
        octaves = np.zeros((len(PER_OCTAVE), OCTAVES))
        octaves[:, _octave(kind, height)] = flops, params, conv, prod(kind.attr("kernel", (0,)))
        category = OPS[kind.op].category
        named = [float(kind.op == name) for name in COUNTED_OPS] + [
            float(category == name) for name in COUNTED_CATEGORIES
        ]
        rows.append([*sizes, *named, *octaves.ravel()])
    return np.asarray(rows, np.float64)


def _octave(kind: NodeKind, height: int) -> int:
    return min(max(round(log2(height / max(extent(kind.shape)[1], 1))), 0), OCTAVES - 1)


def _reach(kind: NodeKind, height: int) -> float:
    """By how many input rows a node widens the receptive field."""
    kernel, dilation = kind.attr("kernel", (1,))[0], kind.attr("dilation", (1,))[0]
    return (
        (kernel - 1) * dilation * height / max(extent(kind.in_shapes[0])[1], 1)
        if kernel > 1 and kind.in_shapes
        else 0.0
    )


def _is_conv(kind: NodeKind) -> bool:
    return OPS[kind.op].category == "conv"


def _convolutions(batch: GraphBatch, counts: scipy.sparse.csr_array) -> tuple[FloatArray, FloatArray]:
    """(G, 2) mean and maximal width, and (G, 4) fractions of kernel sizes and of depthwise convolutions."""
    conv = np.asarray([_is_conv(kind) for kind in batch.kinds], bool)
    wide = np.asarray([_is_conv(kind) or kind.op == "Linear" for kind in batch.kinds], bool)
    channels = np.asarray([extent(kind.shape)[0] for kind in batch.kinds], np.float64)
    kernel = np.asarray([max(kind.attr("kernel", (0,))) for kind in batch.kinds])
    depthwise = np.asarray(
        [_is_conv(kind) and 1 < kind.attr("groups") == kind.in_shapes[0][0] for kind in batch.kinds], bool
    )
    sorts = np.stack([conv & (kernel == 1), conv & (kernel == 3), conv & (kernel >= 5), depthwise], axis=1)
    fractions = (counts @ sorts.astype(np.float64)) / np.maximum(counts @ conv.astype(np.float64), 1)[:, None]
    mean = (counts @ (channels * wide)) / np.maximum(counts @ wide.astype(np.float64), 1)
    largest = np.zeros(len(batch))
    np.maximum.at(largest, batch.graph_of_node, (channels * wide)[batch.kind])
    return np.stack([mean, largest], axis=1), fractions


def _paths(batch: GraphBatch, reach: FloatArray) -> FloatArray:
    """(G, len(PATHS)): extreme path lengths in nodes, in convolutions and in input rows; 0 without a path."""
    conv = np.asarray([_is_conv(kind) for kind in batch.kinds], np.float64)[batch.kind]
    ones = np.ones(batch.num_nodes)
    # A shortest path is a longest one for negative lengths.
    length = np.stack([ones, conv, reach, -ones, -conv], axis=1)
    starts = np.asarray([kind.op == "Input" for kind in batch.kinds], bool)[batch.kind]
    total = np.where(starts[:, None], length, -np.inf)
    for nodes, edges, first in by_position(batch):
        total[nodes] = length[nodes] + np.maximum.reduceat(total[batch.src[edges]], first, axis=0)
    ends = np.flatnonzero(np.asarray([kind.op == "Output" for kind in batch.kinds], bool)[batch.kind])
    result = np.full((len(batch), len(PATHS)), -np.inf)
    np.maximum.at(result, batch.graph_of_node[ends], total[ends])
    result[:, 3:] *= -1
    return np.where(np.isfinite(result), result, 0.0)


def by_position(batch: GraphBatch) -> list[tuple[IntArray, IntArray, IntArray]]:
    """Steps of a traversal of all graphs at once, from first node to last.

    Nodes are in topological order, so the inputs of the p-th nodes of all graphs stand at positions before p.

    Returns:
        For each position: nodes there that have inputs, their edges, and where each node's edges begin.
    """
    position = batch.position
    order = np.argsort(position[batch.dst], kind="stable")
    target = batch.dst[order]
    first_edge = np.flatnonzero(np.diff(target, prepend=-1))
    cuts = np.searchsorted(position[target[first_edge]], np.arange(int(position.max(initial=0)) + 2))
    bounds = np.append(first_edge, len(order))
    return [
        (target[first_edge[a:b]], order[bounds[a] : bounds[b]], first_edge[a:b] - bounds[a])
        for a, b in pairwise(cuts)
        if b > a
    ]  # fmt: skip
