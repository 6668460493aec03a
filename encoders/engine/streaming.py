"""Embeddings of more graphs than fit into memory: a thread prepares the next part while the current one is computed.

Graphs that are equal node for node are computed once: different specs of a search space often give the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice, pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.ragged import spans
from cgir.store.graph_store import GraphStore
from cgir.typing import Float32Array, IntArray
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for

from .batching import CHUNK_NODES, FEW_NODES, Engine, Graphs, GraphTensors, TensorBatch, as_batch, check_nonempty
from .devices import Device, device_for, in_bfloat16, on_device
from .evaluation import in_evaluation_mode

PREPARED_NODES = 4_000_000  # nodes whose classes are computed together, at 6 layers about 100 bytes each
PREPARED_GRAPHS = 4096  # graphs packed into one batch where a source yields them one by one

GraphSource = Graphs | Iterable[GraphBatch]
T = TypeVar("T")


class PreparedPart(NamedTuple):
    """Consecutive graphs of a source, prepared for an encoder.

    Attributes:
        tensors: the distinct graphs among them.
        inverse: (G,) index of each graph among the distinct ones.
    """

    tensors: GraphTensors
    inverse: IntArray


@in_plain_surroundings()
def embed(
    module: nn.Module,
    graphs: GraphSource,
    depth: int,
    max_nodes: int | None = None,
    engine: Engine = "auto",
    progress: bool = True,
    device: Device = "auto",
    autocast: bool = False,
) -> Float32Array:
    """Outputs of a module that reads `TensorBatch`es, for all graphs.

    They are computed in evaluation mode and without gradients; the module's mode is restored, and it stays where it is.

    Args:
        module: an encoder, or one with a head.
        graphs: in any form; a store, or an iterable of graphs or of batches, is read part by part.
        depth: layers of the encoder in it.
        max_nodes: nodes computed at once, which bounds memory; by default `batching.CHUNK_NODES`.
        engine: as in `GraphTensors`; graphs that are prepared keep theirs.
        progress: show a progress bar where it takes longer than a few seconds.
        device: see `devices.device_for`.
        autocast: compute in bfloat16 where PyTorch's autocast does.

    Returns:
        The module's outputs, one after the other in the order of the graphs; (0,) where there is none.
    """
    where = device_for(module, device)
    module = in_evaluation_mode(on_device(module, where))
    if (few := _few(graphs, max_nodes, engine)) is not None:
        arrays = GraphTensors(few, depth, "plain").minibatch(np.arange(len(few)))
        with in_bfloat16(where, autocast):
            return _output(module, arrays, where)
    indices: list[IntArray] = []
    chunks = _chunks(prepared_parts(graphs, depth, engine), max_nodes, indices)
    single_chunk = isinstance(graphs, Graph) or (
        isinstance(graphs, GraphBatch) and graphs.num_nodes <= (max_nodes or CHUNK_NODES[engine])
    )
    outputs = []
    with (
        tqdm(desc="embed", unit=" graphs", delay=3, disable=not progress) as bar,
        in_bfloat16(where, autocast),
    ):
        # a single chunk gains nothing from a second thread
        for chunk in chunks if single_chunk else prefetch(chunks):
            outputs.append(_output(module, chunk, where))
            bar.update(len(chunk))
    return np.concatenate(outputs)[np.concatenate(indices)] if outputs else np.zeros(0, np.float32)


def _output(module: nn.Module, batch: TensorBatch, device: torch.device) -> Float32Array:
    with threads_for(batch.mean_rows * next(module.parameters()).shape[-1]):
        found: Float32Array = module(batch.to(device)).float().cpu().numpy()
    return found


def _few(graphs: GraphSource, max_nodes: int | None, engine: Engine) -> GraphBatch | None:
    """Graphs with so few nodes that finding classes among them takes longer than computing every node."""
    if engine == "compressed" or not isinstance(graphs, Graph | GraphBatch):
        return None
    batch = as_batch(graphs)
    return batch if 0 < batch.num_nodes <= min(FEW_NODES, max_nodes or FEW_NODES) else None


def _chunks(parts: Iterable[PreparedPart], max_nodes: int | None, indices: list[IntArray]) -> Iterator[TensorBatch]:
    """Mini-batches of all parts; appends to `indices` the row of each graph among all outputs."""
    num_outputs = 0
    for tensors, inverse in parts:
        indices.append(inverse + num_outputs)
        num_outputs += len(tensors)
        yield from tensors.chunks(max_nodes)


def prepared_parts(graphs: GraphSource, depth: int, engine: Engine = "auto") -> Iterator[PreparedPart]:
    """Graphs in any form, in order, `PREPARED_NODES` nodes at a time.

    Args:
        graphs: in any form; a `GraphTensors` stays one part.
        depth: layers of the encoder.
        engine: as in `GraphTensors`; with "plain" equal graphs are not merged.

    Raises:
        InvalidGraphError: a graph without nodes.
    """
    if isinstance(graphs, GraphTensors):
        yield PreparedPart(graphs.with_depth(depth), np.arange(len(graphs)))
    elif isinstance(graphs, GraphStore):
        check_nonempty(graphs.num_nodes)
        for span in spans(graphs.num_nodes, PREPARED_NODES):
            yield _prepare(graphs.batch(np.arange(span.start, span.stop)), depth, engine)
    elif isinstance(graphs, Graph | GraphBatch):
        for batch in as_batch(graphs).chunks(PREPARED_NODES):
            yield _prepare(batch, depth, engine)
    else:
        yield from chain.from_iterable(prepared_parts(batch, depth, engine) for batch in _batches(iter(graphs)))


def _prepare(batch: GraphBatch, depth: int, engine: Engine) -> PreparedPart:
    if engine == "plain":
        return PreparedPart(GraphTensors(batch, depth, engine), np.arange(len(batch)))
    first, inverse = unique_graphs(batch)
    distinct = batch if len(first) == len(batch) else batch.select(first)
    return PreparedPart(GraphTensors(distinct, depth, engine), inverse)


def unique_graphs(batch: GraphBatch) -> tuple[IntArray, IntArray]:
    """Graphs that differ node for node: index of the first of each (U,), and each graph's index among these (G,)."""
    kind = batch.kind.astype(np.int32)
    # the position of an edge's target in its graph, and the distance to its source
    edges = ((batch.dst - batch.ptr[batch.graph_of_node[batch.dst]]) << 32) + (batch.dst - batch.src)
    numbers: dict[tuple[bytes, bytes], int] = {}
    inverse = np.empty(len(batch), np.int64)
    bounds = zip(pairwise(batch.ptr.tolist()), pairwise(batch.edge_ptr.tolist()), strict=True)
    for graph, ((start, stop), (first, last)) in enumerate(bounds):
        inverse[graph] = numbers.setdefault((kind[start:stop].tobytes(), edges[first:last].tobytes()), len(numbers))
    return np.unique(inverse, return_index=True)[1], inverse


def _batches(items: Iterator[Graph | GraphBatch]) -> Iterator[GraphBatch]:
    """Batches as they are, graphs packed `PREPARED_GRAPHS` at a time."""
    for first in items:
        if isinstance(first, GraphBatch):
            yield first
        else:
            rest = islice(items, PREPARED_GRAPHS - 1)
            yield GraphBatch.from_graphs([first, *rest])  # type: ignore[list-item]  # graphs and batches are not mixed


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """The same items; all but the first are computed in another thread, each while the previous one is in use."""
    iterator = iter(items)
    item = next(iterator, None)
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        while item is not None:
            future = pool.submit(next, iterator, None)
            yield item
            item = future.result()
