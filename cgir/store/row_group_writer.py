"""Writer of row groups: graphs cut into batches, with columns given or computed, written to shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cgir.analysis.laplacian_spectrum import spectrum
from cgir.analysis.weisfeiler_lehman import graph_hashes, param_groups
from cgir.errors import CgirError, LabelError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.verifier import verify

from .parquet_shard import LABEL, ShardWriter

# of a row group, which is held in memory whole; the second may be exceeded by one graph
GROUP_ROWS, GROUP_NODES = 4096, 2_000_000
SHARD_CODES = 1 << 20  # distinct node codes of a shard, whose dictionary is read whole

Columns = dict[str, Any]
RowGroup = tuple[GraphBatch, Columns]


def row_groups(graphs: Iterable[Graph] | Iterable[GraphBatch] | GraphBatch, max_rows: int) -> Iterator[RowGroup]:
    """Graphs as batches of at most `max_rows`, with the columns `shared` and `level`, which batches do not have.

    Raises:
        InvalidGraphError: a graph breaks an invariant.
    """
    pending: list[RowGroup] = []
    num_graphs = num_nodes = 0
    for batch, columns in _batches([graphs] if isinstance(graphs, GraphBatch) else graphs, max_rows):
        if pending and (num_graphs + len(batch) > max_rows or num_nodes + batch.num_nodes > GROUP_NODES):
            yield _concatenate(pending)
            pending, num_graphs, num_nodes = [], 0, 0
        pending.append((batch, columns))
        num_graphs, num_nodes = num_graphs + len(batch), num_nodes + batch.num_nodes
    if pending:
        yield _concatenate(pending)


def with_columns(groups: Iterable[RowGroup], extra: Mapping[str, Any], progress: bool = True) -> Iterator[RowGroup]:
    """Add columns to row groups, and hashes and spectra where they are missing.

    Args:
        groups: batches, with the columns that they already have.
        extra: by name in the file, one value per graph, in anything that can be iterated over; or one string for all.
        progress: show a progress bar.

    Raises:
        LabelError: a column has not one value per graph.
    """
    iterators = {name: repeat(values) if isinstance(values, str) else iter(values) for name, values in extra.items()}
    done = 0
    with tqdm(desc="graphs written", unit="", leave=None, disable=None if progress else True) as bar:
        for batch, group_columns in groups:
            done += len(batch)
            extra_columns = {
                name: _take(name, extra[name], values, len(batch), done) for name, values in iterators.items()
            }
            columns = group_columns | extra_columns
            if "hash" not in columns:
                columns |= {
                    "hash": graph_hashes(batch, columns["shared"]),
                    "spectrum": spectrum(batch, progress=progress),
                }
            yield batch, columns
            bar.update(len(batch))
    for name, values in iterators.items():
        if not isinstance(extra[name], str) and next(values, iterators) is not iterators:
            count = len(extra[name]) if hasattr(extra[name], "__len__") else f"more than {done}"
            raise LabelError(
                f"{name.removeprefix(LABEL)!r} has {count} values for {done} graphs; expected one per graph"
            )


def write_shards(
    next_path: Callable[[], Path], groups: Iterable[RowGroup], label_names: Sequence[str], shard_size: int | None
) -> list[int]:
    """Write row groups to shards, at least one, though it may be empty.

    Args:
        next_path: gives the path of the next shard.
        groups: of at most `shard_size` graphs each.
        label_names: labels that the shards have; those that a row group lacks are NaN.
        shard_size: most graphs in a shard; None: all go to one.

    Returns:
        The number of graphs in each shard.

    Raises:
        CgirError: one shard cannot hold them.
    """
    sizes: list[int] = []
    writer = None
    try:
        for batch, columns in groups:
            if writer and _is_full(writer, len(batch), shard_size):
                writer.close()
                sizes.append(writer.num_rows)
                writer = None
            writer = writer or ShardWriter(next_path(), label_names)
            missing = {LABEL + name: np.full(len(batch), np.nan) for name in label_names if LABEL + name not in columns}
            writer.write(batch, columns | missing)
        writer = writer or ShardWriter(next_path(), label_names)
    except BaseException:
        if writer:
            with suppress(Exception):  # only to release the file, which will be removed
                writer.close()
        raise
    writer.close()
    return [*sizes, writer.num_rows]


def _is_full(writer: ShardWriter, more: int, shard_size: int | None) -> bool:
    """Whether a shard is complete before `more` graphs."""
    too_many_codes = len(writer.dictionary.codes) > SHARD_CODES
    if too_many_codes and shard_size is None:
        raise CgirError(
            f"more than {SHARD_CODES:,} distinct steps, too many for one file; "
            "write a folder instead, without .parquet in its name, or files of fewer graphs"
        )
    return too_many_codes or (shard_size is not None and writer.num_rows + more > shard_size)


def _take(name: str, values: Any, iterator: Iterator[Any], count: int, done: int) -> Any:
    """The next `count` values of a column; `values` is the whole column, `done` the number of graphs so far."""
    chunk = list(islice(iterator, count))
    label = name.removeprefix(LABEL)
    where = f"graphs {done - count} to {done - 1}"
    if len(chunk) < count:
        total = len(values) if hasattr(values, "__len__") else done - count + len(chunk)
        raise LabelError(f"{label!r} has {total} values for {done} graphs or more; expected one per graph")
    if not name.startswith(LABEL):
        wrong = next((value for value in chunk if not isinstance(value, str)), None)
        if wrong is not None:
            kind = type(wrong).__name__
            raise LabelError(f"{label!r} has a {kind} among the values of {where}; expected strings")
        return chunk
    try:
        return np.asarray(chunk, np.float64).reshape(count)
    except (TypeError, ValueError) as error:
        raise LabelError(f"{label!r} has a value that is no number among those of {where}: {error}") from error


def _batches(graphs: Iterable[Graph | GraphBatch], max_rows: int) -> Iterator[RowGroup]:
    """Graphs packed, large batches cut."""
    pending: list[Graph] = []
    num_nodes = 0
    for item in graphs:
        if isinstance(item, Graph):
            verify(item)
            pending.append(item)
            num_nodes += len(item)
            if len(pending) < max_rows and num_nodes < GROUP_NODES:
                continue
        elif not isinstance(item, GraphBatch):
            raise CgirError(f"a data set is written from graphs or batches of graphs; found {type(item).__name__}")
        if pending:
            yield _pack(pending)
            pending, num_nodes = [], 0
        if isinstance(item, GraphBatch):
            for part in item.chunks(GROUP_NODES, max_rows):
                yield part, {"shared": [None] * len(part), "level": ["module"] * len(part)}
    if pending:
        yield _pack(pending)


def _pack(graphs: list[Graph]) -> RowGroup:
    columns = {"shared": [param_groups(graph) for graph in graphs], "level": [graph.level for graph in graphs]}
    return GraphBatch.from_graphs(graphs), columns


def _concatenate(groups: list[RowGroup]) -> RowGroup:
    if len(groups) == 1:
        return groups[0]
    columns = {name: [value for _, part in groups for value in part[name]] for name in groups[0][1]}
    return GraphBatch.concatenate([batch for batch, _ in groups]), columns
