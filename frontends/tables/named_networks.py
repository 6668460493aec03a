"""Tables whose networks are modules that have names: which graph belongs to a row, and stores of such graphs.

Graphs that take long to make are made once and kept in a `GraphStore` whose spec strings are the names here:
`MODEL@PIXELS` of timm's models, `NETWORK@DATASET:PIXELS` of LEMUR's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.store import GraphStore
from cgir.typing import FloatArray

CIFAR_PIXELS = 32
TRANSFORM = re.compile(r"(?:norm|echo)(?:_(\d+))?(?:_flip)?")  # a name of LEMUR's that says the size of images


def timm_names(models: Sequence[str], pixels: FloatArray) -> tuple[str, ...]:
    """Names of the graphs of models at image sizes (pixels a side)."""
    return tuple(f"{model}@{int(size)}" for model, size in zip(models, pixels, strict=True))


def lemur_names(networks: Sequence[str], datasets: Sequence[str], transforms: Sequence[str]) -> tuple[str, ...]:
    """Names of the graphs of networks on CIFAR-10 and CIFAR-100; "" on others, and where no size is known.

    Args:
        networks: their names.
        datasets: which they were trained on.
        transforms: of the images, whose names say the size.
    """
    return tuple(map(_lemur_name, networks, datasets, transforms))


def _lemur_name(network: str, dataset: str, transform: str) -> str:
    match = TRANSFORM.fullmatch(transform)
    if not match or dataset not in ("cifar-10", "cifar-100"):
        return ""
    return f"{network}@{dataset}:{match[1] or CIFAR_PIXELS}"


def stored_rows(store: GraphStore) -> Mapping[str, int]:
    """The row of each name in a store."""
    return {name: row for row, name in enumerate(store.specs)}


def stored_graphs(store: GraphStore, names: Sequence[str], table: str) -> GraphBatch:
    """The graphs of these names.

    Args:
        store: of graphs.
        names: spec strings in it.
        table: its name, for messages.

    Raises:
        LabelError: the store lacks one.
    """
    rows = stored_rows(store)
    missing = [name for name in names if name not in rows]
    if missing:
        raise LabelError(
            f"table {table!r}: the store of its graphs lacks {len(missing):,} of {len(names):,} networks, such as "
            f"{missing[0]!r:.100}; leave them out: table.select(table.has_graph)"
        )
    return store.batch(np.asarray([rows[name] for name in names], np.int64))
