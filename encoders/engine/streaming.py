"""Vectors for more graphs than fit into memory: pieces of a data set are prepared in one thread while another computes
the piece before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice, pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from cgir.typing import Float32Array, IntArray

from .batching import CHUNK_NODES, Engine, Graphs, GraphTensors, TensorBatch, as_batch, check_nonempty

PIECE_NODES = 4_000_000  # unfolded together: at 6 layers some 100 bytes a node
PIECE_GRAPHS = 4096  # packed together where they come one by one

Source = Graphs | Iterable[GraphBatch]
Piece = tuple[GraphTensors, IntArray]  # graphs to compute, and for every graph asked for which of them it is
T = TypeVar("T")


def embed(
    module: nn.Module,
    graphs: Source,
    depth: int,
    max_nodes: int | None = None,
    engine: Engine = "auto",
    progress: bool = True,
) -> Float32Array:
    """Outputs of a module that reads `TensorBatch`es, for all graphs, in evaluation mode and without gradients; the
    module's mode is restored.

    Args:
        module: an encoder, or one with a head.
        graphs: in any form; a store and an iterable, of graphs or of batches, are read bit by bit.
        depth: layers of the encoder in it.
        max_nodes: nodes computed at once, which bounds memory; by default `batching.CHUNK_NODES`.
        engine: as in `GraphTensors`; graphs that are prepared keep theirs.
        progress: show a progress bar where it takes longer than a few seconds.
    """
    training, weight = module.training, next(module.parameters())
    places: list[IntArray] = []
    chunks = _chunks(pieces(graphs, depth, engine), max_nodes, places)
    alone = isinstance(graphs, Graph) or (
        isinstance(graphs, GraphBatch) and graphs.num_nodes <= (max_nodes or CHUNK_NODES[engine])
    )
    parts = []
    module.eval()
    try:
        with tqdm(desc="embed", unit=" graphs", delay=3, disable=not progress) as bar, torch.no_grad():
            # where there is one chunk a thread would only be waited for
            for chunk in chunks if alone else ahead(chunks):
                parts.append(module(chunk.to(weight.device)).float().cpu().numpy())
                bar.update(len(chunk))
    finally:
        module.train(training)
    return np.concatenate(parts)[np.concatenate(places)] if parts else np.zeros(0, np.float32)


def _chunks(prepared: Iterable[Piece], max_nodes: int | None, places: list[IntArray]) -> Iterator[TensorBatch]:
    """What is to be computed; where each graph's vector then is goes into `places`."""
    done = 0
    for graphs, place in prepared:
        places.append(place + done)
        done += len(graphs)
        yield from graphs.chunks(max_nodes)


def pieces(graphs: Source, depth: int, engine: Engine = "auto") -> Iterator[Piece]:
    """Graphs in any form, in order, prepared `PIECE_NODES` nodes at a time: those that are written differently, and
    which of them each graph is.
    """
    if isinstance(graphs, GraphTensors):
        yield graphs.with_depth(depth), np.arange(len(graphs))
    elif isinstance(graphs, GraphStore):
        check_nonempty(graphs.num_nodes)
        yield from (_prepared(graphs.batch(part), depth, engine) for part in _spans(graphs.num_nodes))
    elif isinstance(graphs, Graph | GraphBatch):
        batch = as_batch(graphs)
        parts = _spans(np.diff(batch.ptr))
        yield from (
            _prepared(batch if len(part) == len(batch) else batch.select(part), depth, engine) for part in parts
        )
    else:
        yield from chain.from_iterable(pieces(batch, depth, engine) for batch in _batches(iter(graphs)))


def _prepared(batch: GraphBatch, depth: int, engine: Engine) -> Piece:
    if engine == "plain":
        return GraphTensors(batch, depth, engine), np.arange(len(batch))
    first, place = alike(batch)
    return GraphTensors(batch if len(first) == len(batch) else batch.select(first), depth, engine), place


def alike(batch: GraphBatch) -> tuple[IntArray, IntArray]:
    """Graphs equal node for node: the first of each sort, and the sort (G,) of every graph. Different strings of a
    space often mean one network.
    """
    kind = batch.kind.astype(np.int32)
    # a reader's place, and how far back it reads
    edges = ((batch.dst - batch.ptr[batch.graph_of_node[batch.dst]]) << 32) + (batch.dst - batch.src)
    ptr, edge_ptr = batch.ptr.tolist(), np.searchsorted(batch.dst, batch.ptr).tolist()
    sorts: dict[tuple[bytes, bytes], int] = {}
    place = np.empty(len(batch), np.int64)
    for graph, ((start, stop), (first, last)) in enumerate(zip(pairwise(ptr), pairwise(edge_ptr), strict=True)):
        place[graph] = sorts.setdefault((kind[start:stop].tobytes(), edges[first:last].tobytes()), len(sorts))
    return np.unique(place, return_index=True)[1], place


def _batches(items: Iterator[Graph | GraphBatch]) -> Iterator[GraphBatch]:
    for first in items:
        if isinstance(first, GraphBatch):
            yield first
        else:
            rest = islice(items, PIECE_GRAPHS - 1)
            yield GraphBatch.from_graphs([first, *rest])  # type: ignore[list-item]  # graphs and batches are not mixed


def _spans(sizes: IntArray) -> Iterator[IntArray]:
    """Indices of consecutive graphs that have at most `PIECE_NODES` nodes together, or of one graph."""
    ends, start = np.cumsum(sizes), 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + PIECE_NODES, side="right")))
        yield np.arange(start, stop)
        start = stop


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each but the first, for which nothing is to be done meanwhile, made in another thread while the
    one before is in use.
    """
    iterator = iter(items)
    item = next(iterator, None)
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        while item is not None:
            future = pool.submit(next, iterator, None)
            yield item
            item = future.result()
