"""Vectors for more graphs than fit into memory: pieces of a data set are prepared in one thread while another computes the piece before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from cgir.features import GraphBatch, IntArray
from cgir.graph import Graph
from cgir.store import GraphStore

from .batching import Engine, Graphs, GraphTensors, as_batch, refuse_empty

PIECE_NODES = 4_000_000  # unfolded together: at 6 layers some 100 bytes a node
PIECE_GRAPHS = 4096  # packed together where they come one by one

Source = Graphs | Iterable[GraphBatch]
T = TypeVar("T")


def embed(module: nn.Module, graphs: Source, depth: int, max_nodes: int | None = None, engine: Engine = "auto", progress: bool = True) -> NDArray[np.float32]:
    """Outputs of a module that reads `TensorBatch`es, for all graphs, in evaluation mode and without gradients; the module's mode is restored.

    Args:
        module: an encoder, or one with a head.
        graphs: in any form; a store and an iterable, of graphs or of batches, are read bit by bit.
        depth: layers of the encoder in it.
        max_nodes: nodes computed at once, which bounds memory; by default `batching.CHUNK_NODES`.
        engine: as in `GraphTensors`; graphs that are prepared keep theirs.
        progress: show a progress bar where it takes longer than a few seconds.
    """
    training, weight = module.training, next(module.parameters())
    total = len(graphs) if isinstance(graphs, GraphTensors | GraphBatch | GraphStore) else None
    chunks = chain.from_iterable(piece.chunks(max_nodes) for piece in pieces(graphs, depth, engine))
    parts = []
    module.eval()
    try:
        with tqdm(total=total, desc="embed", unit="graph", delay=3, disable=not progress) as bar, torch.no_grad():
            for chunk in ahead(chunks):
                parts.append(module(chunk.to(weight.device)).float().cpu().numpy())
                bar.update(len(chunk))
    finally:
        module.train(training)
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def pieces(graphs: Source, depth: int, engine: Engine = "auto") -> Iterator[GraphTensors]:
    """Graphs in any form, in order, prepared `PIECE_NODES` nodes at a time."""
    if isinstance(graphs, GraphTensors):
        yield graphs.at(depth)
    elif isinstance(graphs, GraphStore):
        refuse_empty(graphs.num_nodes)
        yield from (GraphTensors(graphs.batch(part), depth, engine) for part in _spans(graphs.num_nodes))
    elif isinstance(graphs, Graph | GraphBatch):
        batch = as_batch(graphs)
        parts = _spans(np.diff(batch.ptr))
        yield from (GraphTensors(batch if len(part) == len(batch) else batch.select(part), depth, engine) for part in parts)
    else:
        yield from chain.from_iterable(pieces(batch, depth, engine) for batch in _batches(iter(graphs)))


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
    """The same items, each made in another thread while the one before is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        future = pool.submit(next, iterator, None)
        while (item := future.result()) is not None:
            future = pool.submit(next, iterator, None)
            yield item
