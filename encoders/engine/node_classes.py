"""From the classes of a whole data set to the levels of a batch.

After l layers along the arrows a node's state depends only on its computation tree of depth l: a state is computed once
for all nodes that share one. `cgir.analysis.computation_trees` builds the class table of a data set once; a batch then
follows its nodes' last classes up through the table, and never looks at its nodes again.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cgir.analysis.computation_trees import Classes, ClassTable
from cgir.ragged import ranges
from cgir.typing import IntArray

from .message_blocks import MessageBlock
from .segments import Segments
from .sparse import SparsityPattern

Id = TypeVar("Id", np.int32, np.int64)


class ClassPath(NamedTuple):
    """The classes of a batch: `used[l]`, those of depth l; `own[l - 1]`, for those of depth l their rows in it; each
    node's row at the last depth.
    """

    used: list[Classes]
    own: list[Classes]
    nodes: Classes

    @property
    def rows(self) -> int:
        """Rows of all layers together."""
        return sum(map(len, self.used[1:]))


def class_path(table: ClassTable, nodes: IntArray) -> ClassPath:
    """The classes that the given nodes need; of kinds, those that occur in the order of the table."""
    sizes = _sizes(table)
    used, rows = compact(table.node_class[nodes], sizes[-1])
    result = ClassPath([used], [], rows)
    for layer, size in zip(reversed(table.layers), reversed(sizes[:-1]), strict=True):
        used, rows = compact(layer.parent[used], size)
        result.used.insert(0, used)
        result.own.insert(0, rows)
    order = np.argsort(result.used[0])  # few; both directions then agree on them
    result.used[0] = result.used[0][order]
    result.own[0] = np.argsort(order).astype(np.int32)[result.own[0]]
    return result


def build_blocks(table: ClassTable, path: ClassPath) -> list[MessageBlock]:
    """Levels 1, 2, ... for the classes of a path."""
    result: list[MessageBlock] = []
    count = np.bincount(path.nodes, minlength=len(path.used[-1]))
    for depth in range(len(table.layers), 0, -1):
        layer, own, used, above = table.layers[depth - 1], path.own[depth - 1], path.used[depth], path.used[depth - 1]
        place = np.empty(_sizes(table)[depth - 1], np.int32)
        place[above] = np.arange(len(above), dtype=np.int32)
        starts = layer.ptr[used]
        sizes = layer.ptr[used + 1] - starts
        heard = place[layer.neighbours[ranges(starts, sizes)]]  # whom a class hears is itself in the batch
        result.insert(
            0, MessageBlock(torch.from_numpy(own), segments(sizes, heard, len(above)), torch.from_numpy(count))
        )
        count = np.bincount(own, count, len(above)).astype(np.int64)
    return result


def segments(sizes: IntArray, columns: Classes, width: int) -> Segments:
    """Segments of the given sizes, whose columns stand one after the other."""
    starts = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=starts[1:])
    return Segments(SparsityPattern(torch.from_numpy(starts), torch.from_numpy(columns), width))


def compact(ids: NDArray[Id], size: int) -> tuple[NDArray[Id], Classes]:
    """The ids below `size` that occur, and each one's place among them, without a sort and without touching what does
    not occur.
    """
    place, index = np.empty(size, np.int32), np.arange(len(ids), dtype=np.int32)
    place[ids] = index
    used = ids[place[ids] == index]  # of equal ones the one that was written last
    place[used] = index[: len(used)]
    return used, place[ids]


def _sizes(table: ClassTable) -> list[int]:
    return [len(table.kinds), *(len(layer.parent) for layer in table.layers)]
