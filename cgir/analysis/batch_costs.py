"""Costs of all graphs of a batch at once: FLOPs, parameters, and the most memory that activations take at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import log2, prod

import numpy as np

from cgir.cost import kind_flops
from cgir.graph import NodeKind
from cgir.graph_batch import GraphBatch
from cgir.node_features import extent
from cgir.ops import OPS
from cgir.typing import FloatArray, IntArray

BYTES = 4  # of a float32


def batch_flops(batch: GraphBatch) -> FloatArray:
    """FLOPs of one example (G,), a multiply-add as 2; of detached nodes, which a batch does not store, none."""
    return _sums(batch, kind_flops)


def batch_params(batch: GraphBatch) -> FloatArray:
    """Trainable scalars (G,); a batch does not store which weights are shared, so that one counts at every use."""
    return _sums(batch, lambda kind: sum(map(prod, kind.param_shapes)))


def convolution_entropy(batch: GraphBatch) -> FloatArray:
    """Entropy of what convolutions with Gaussian weights compute, up to resolutions: the sum of log2 of fan-ins (G,).

    Shen et al., "DeepMAD" (CVPR 2023), entropy of a CNN: a sum over convolutions of log(c k^2 / groups), of c input
    channels. It grows with depth as well as with width, and ranks networks without training.
    """
    return _sums(batch, _log_fan_in)


def peak_activation_bytes(batch: GraphBatch) -> FloatArray:
    """The most memory that live activations take at a time (G,), in bytes, for one example at inference in float32.

    Operators run one after the other in the graph's own order. The output of each, and each input of the network, is
    live from its own step to the step of its last reader, both included; what an `Output` reads, to the end; what
    nobody reads, in its own step alone. While an operator runs, its operands and its output thus count together: no
    operator writes over its operand, as frameworks do it outside of `inplace=True`. Weights and constants, and the
    scratch memory inside an operator, do not count. Data movement that canonical graphs contract is free; in a raw
    graph it has an output as any operator.
    """
    last = np.arange(batch.num_nodes)
    ends = batch.ptr[1:][batch.graph_of_node] - 1
    is_output = np.asarray([kind.op == "Output" for kind in batch.kinds], bool)[batch.kind]
    np.maximum.at(last, batch.src, np.where(is_output[batch.dst], ends[batch.dst], batch.dst))
    sizes = np.asarray([_output_size(kind) for kind in batch.kinds], np.int64)[batch.kind]
    change = np.append(sizes, 0)
    np.subtract.at(change, last + 1, sizes)  # of a graph's last step: before the first of the next graph, at 0 again
    return BYTES * _maxima(batch, np.cumsum(change[:-1])).astype(np.float64)


def _output_size(kind: NodeKind) -> int:
    return 0 if kind.op == "Output" or OPS[kind.op].category == "source" else prod(kind.shape)


def _log_fan_in(kind: NodeKind) -> float:
    if OPS[kind.op].category != "conv" or not kind.param_shapes:
        return 0.0
    return log2(max(max(map(prod, kind.param_shapes)) / extent(kind.shape)[0], 1))


def _sums(batch: GraphBatch, cost: Callable[[NodeKind], float]) -> FloatArray:
    per_kind = np.asarray([cost(kind) for kind in batch.kinds], np.float64)
    sums = np.bincount(batch.graph_of_node, per_kind[batch.kind], len(batch))
    return sums.astype(np.float64)  # of no graphs they are integers


def _maxima(batch: GraphBatch, values: IntArray) -> IntArray:
    maxima = np.zeros(len(batch), np.int64)
    np.maximum.at(maxima, batch.graph_of_node, values)
    return maxima
