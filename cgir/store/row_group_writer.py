"""What a `GraphStore` is written from: graphs in any form, cut into row groups, and their columns, drawn along with
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any

import numpy as np
from tqdm import tqdm

from cgir.analysis.laplacian_spectrum import spectrum
from cgir.analysis.weisfeiler_lehman import graph_hashes, param_groups
from cgir.errors import CgirError, LabelError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.verifier import verify

from .parquet_shard import LABEL

# of a row group, which is held in memory whole; the second may be exceeded by one graph
GROUP_ROWS, GROUP_NODES = 4096, 2_000_000

Columns = dict[str, Any]
Piece = tuple[GraphBatch, Columns]


def pieces(graphs: Iterable[Graph] | Iterable[GraphBatch] | GraphBatch, rows: int) -> Iterator[Piece]:
    """Graphs as batches of at most `rows`, with what only the graphs themselves know: which parameters they share, and
    their levels.

    Raises:
        InvalidGraphError: if a graph breaks an invariant.
    """
    held: list[Piece] = []
    count = nodes = 0
    for batch, columns in _cut([graphs] if isinstance(graphs, GraphBatch) else graphs, rows):
        if held and (count + len(batch) > rows or nodes + batch.num_nodes > GROUP_NODES):
            yield _joined(held)
            held, count, nodes = [], 0, 0
        held.append((batch, columns))
        count, nodes = count + len(batch), nodes + batch.num_nodes
    if held:
        yield _joined(held)


def complete(found: Iterable[Piece], given: Mapping[str, Any]) -> Iterator[Piece]:
    """Add the columns that were given, hashes and spectra.

    Args:
        found: batches, with the columns that are known already.
        given: by name in the file, one value per graph, in anything that can be iterated over; or one string for all.

    Raises:
        LabelError: if a column has not one value per graph.
    """
    sources = {name: repeat(values) if isinstance(values, str) else iter(values) for name, values in given.items()}
    done = 0
    with tqdm(desc="graphs written", unit="", disable=None) as progress:
        for batch, known in found:
            done += len(batch)
            taken = {name: _take(name, given[name], source, len(batch), done) for name, source in sources.items()}
            columns = known | taken
            if "hash" not in columns:
                columns |= {"hash": graph_hashes(batch, columns["shared"]), "spectrum": spectrum(batch)}
            yield batch, columns
            progress.update(len(batch))
    for name, source in sources.items():
        if not isinstance(given[name], str) and next(source, sources) is not sources:
            values = len(given[name]) if hasattr(given[name], "__len__") else f"more than {done}"
            raise LabelError(
                f"{name.removeprefix(LABEL)!r} has {values} values for {done} graphs; expected one per graph"
            )


def _take(name: str, values: Any, source: Iterator[Any], count: int, done: int) -> Any:
    taken = list(islice(source, count))
    label = name.removeprefix(LABEL)
    if len(taken) < count:
        found = len(values) if hasattr(values, "__len__") else done - count + len(taken)
        raise LabelError(f"{label!r} has {found} values for {done} graphs or more; expected one per graph")
    if not name.startswith(LABEL):
        wrong = next((value for value in taken if not isinstance(value, str)), None)
        if wrong is not None:
            raise LabelError(
                f"{label!r} has a {type(wrong).__name__} among the values of graphs {done - count} to {done - 1}; expected strings"
            )
        return taken
    try:
        return np.asarray(taken, np.float64).reshape(count)
    except (TypeError, ValueError) as error:
        raise LabelError(
            f"{label!r} has a value that is no number among those of graphs {done - count} to {done - 1}: {error}"
        ) from error


def _cut(graphs: Iterable[Graph | GraphBatch], rows: int) -> Iterator[Piece]:
    """Graphs packed, large batches cut."""
    held: list[Graph] = []
    nodes = 0
    for item in graphs:
        if isinstance(item, Graph):
            verify(item)
            held.append(item)
            nodes += len(item)
            if len(held) < rows and nodes < GROUP_NODES:
                continue
        elif not isinstance(item, GraphBatch):
            raise CgirError(f"a data set is written from graphs or batches of graphs; found {type(item).__name__}")
        if held:
            yield _packed(held)
            held, nodes = [], 0
        if isinstance(item, GraphBatch):
            yield from _slices(item, rows)
    if held:
        yield _packed(held)


def _packed(graphs: list[Graph]) -> Piece:
    return GraphBatch.from_graphs(graphs), {
        "shared": [param_groups(graph) for graph in graphs],
        "level": [graph.level for graph in graphs],
    }


def _slices(batch: GraphBatch, rows: int) -> Iterator[Piece]:
    start = 0
    while start < len(batch):
        fitting = int(np.searchsorted(batch.ptr, batch.ptr[start] + GROUP_NODES, side="right")) - 1
        stop = min(max(fitting, start + 1), start + rows, len(batch))
        part = batch if stop - start == len(batch) else batch.select(np.arange(start, stop))
        yield part, {"shared": [None] * len(part), "level": ["module"] * len(part)}
        start = stop


def _joined(held: list[Piece]) -> Piece:
    if len(held) == 1:
        return held[0]
    columns = {name: [value for _, part in held for value in part[name]] for name in held[0][1]}
    return GraphBatch.concatenate([batch for batch, _ in held]), columns
