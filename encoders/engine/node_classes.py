"""From the node classes of a whole data set to the message blocks of one mini-batch.

After l layers along the edges a node's state depends only on its computation tree of depth l: a state is computed once
for all nodes with equal trees. `cgir.analysis.computation_trees` lists once, for each class of depth l of a data set,
the classes of depth l - 1 that it consists of. A mini-batch starts from its nodes' classes of the last depth and
follows these tables to depth 0, without reading the nodes again.
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

Id = TypeVar("Id", np.int32, np.int64)


class ClassPath(NamedTuple):
    """The classes that a mini-batch of N nodes needs, from depth 0 to the last one.

    Attributes:
        classes: of each depth l, the classes (C_l,) in use, as numbers in the table.
        parents: of each depth l from 1 (at index l - 1), for each of its classes (C_l,) the index in `classes[l - 1]`
            of the class that it is part of.
        node_rows: (N,) for each node the index of its class in the last of `classes`.
    """

    classes: list[Classes]
    parents: list[Classes]
    node_rows: Classes

    @property
    def num_rows(self) -> int:
        """Rows that all layers together compute."""
        return sum(map(len, self.classes[1:]))


def class_path(table: ClassTable, nodes: IntArray) -> ClassPath:
    """The classes that the given nodes (N,) need; those of depth 0, the kinds, in the order of the table."""
    sizes = _classes_by_depth(table)
    used, node_rows = unique_inverse(table.node_class[nodes], sizes[-1])
    path = ClassPath([used], [], node_rows)
    for layer, size in zip(reversed(table.layers), reversed(sizes[:-1]), strict=True):
        used, parents = unique_inverse(layer.parent[used], size)
        path.classes.insert(0, used)
        path.parents.insert(0, parents)
    order = np.argsort(path.classes[0])  # few; sorted, so that both directions have the same order
    path.classes[0] = path.classes[0][order]
    path.parents[0] = np.argsort(order).astype(np.int32)[path.parents[0]]
    return path


def build_blocks(table: ClassTable, path: ClassPath) -> list[MessageBlock]:
    """The message blocks of layers 1, 2, ... for the classes of a path."""
    blocks: list[MessageBlock] = []
    sizes = _classes_by_depth(table)
    multiplicity = np.bincount(path.node_rows, minlength=len(path.classes[-1]))
    for depth in range(len(table.layers), 0, -1):
        layer, parents = table.layers[depth - 1], path.parents[depth - 1]
        used, previous = path.classes[depth], path.classes[depth - 1]
        row_of_class = np.empty(sizes[depth - 1], np.int32)
        row_of_class[previous] = np.arange(len(previous), dtype=np.int32)
        starts = layer.ptr[used]
        degrees = layer.ptr[used + 1] - starts
        # a class's neighbours are themselves in the batch
        neighbours = row_of_class[layer.neighbours[ranges(starts, degrees)]]
        segments = Segments.from_sizes(degrees, neighbours, len(previous))
        blocks.insert(0, MessageBlock(torch.from_numpy(parents), segments, torch.from_numpy(multiplicity)))
        multiplicity = np.bincount(parents, multiplicity, len(previous)).astype(np.int64)
    return blocks


def unique_inverse(ids: NDArray[Id], size: int) -> tuple[NDArray[Id], Classes]:
    """`np.unique_inverse` of ids below `size`, but unsorted, in linear time; ids that do not occur cost nothing."""
    position, index = np.empty(size, np.int32), np.arange(len(ids), dtype=np.int32)
    position[ids] = index
    unique = ids[position[ids] == index]  # of equal ids the one that was written last
    position[unique] = index[: len(unique)]
    return unique, position[ids]


def _classes_by_depth(table: ClassTable) -> list[int]:
    return [len(table.kinds), *(len(layer.parent) for layer in table.layers)]
