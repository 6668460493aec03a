"""Networks as the command line names them: saved graphs, data sets, and models that are traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from cgir.typing import FloatArray
from encoders.predictors.serialization import FILE as PREDICTOR


class Named(NamedTuple):
    """G networks that are yet to be read.

    `names`: one each; `labels`: (G,) values of each label that data sets among them bring along, NaN where unknown;
    `parts`: data sets or single networks.
    """

    names: list[str]
    labels: dict[str, FloatArray]
    parts: list[GraphStore | str]


def listed(targets: Iterable[str]) -> Named:
    """What is named: data sets (folders or .parquet files), whose networks are called by their strings; anything else
    is one network, called as it is here.

    Order is kept, empty targets and those that are named again are left out.

    Raises:
        CgirError: there is no target, or one is no data set but looks like one.
    """
    parts = {target: _part(target) for target in targets if target.strip()}
    if not parts:
        raise CgirError("the list of networks is empty; expected one a line")
    names = [_names(target, part) for target, part in parts.items()]
    known = [part.labels if isinstance(part, GraphStore) else {} for part in parts.values()]
    labels = {
        label: np.concatenate(
            [values.get(label, np.full(len(some), np.nan)) for some, values in zip(names, known, strict=True)]
        )
        for label in dict.fromkeys(label for values in known for label in values)
    }
    return Named([name for some in names for name in some], labels, list(parts.values()))


def graphs(parts: Iterable[GraphStore | str], graph: Callable[[str], Graph]) -> GraphBatch:
    """The graphs of all networks, in the order of their names; `graph` makes one of a network that is no part of a data
    set.

    Raises:
        CgirError: one of them cannot be read; the message names it.
    """
    batches = [_graphs(part, graph) for part in tqdm(list(parts), desc="networks read", unit="", disable=None)]
    return batches[0] if len(batches) == 1 else GraphBatch.concatenate(batches)


def _part(target: str) -> GraphStore | str:
    path = Path(target)
    if (path / PREDICTOR).is_file():
        raise CgirError(f"{target}: a predictor, not a network; to use it say --predictor {target}")
    is_store = path.suffix == ".parquet" or (path.is_dir() and not (path / "saved_model.pb").is_file())
    return GraphStore.open(path) if is_store else target


def _names(target: str, part: GraphStore | str) -> list[str]:
    return (
        [spec or f"{target}[{index}]" for index, spec in enumerate(part.specs)]
        if isinstance(part, GraphStore)
        else [target]
    )


def _graphs(part: GraphStore | str, graph: Callable[[str], Graph]) -> GraphBatch:
    if isinstance(part, GraphStore):
        return part.batch()
    try:
        return GraphBatch.from_graphs([graph(part)])
    except CgirError as error:
        if part in str(error):
            raise
        raise type(error)(f"{part}: {error}") from error
