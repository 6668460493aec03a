"""Cell graphs (operators on nodes), which predictors in the literature encode instead of whole networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ZERO_OPS = frozenset({"none", "zeroize"})
SKIP_OPS = frozenset({"skip_connect", "skip"})


class CellGraph(NamedTuple):
    """A directed acyclic graph of the searched part.

    Attributes:
        ops: of every node: "input", the benchmark's own operators, "output".
        edges: (source, target), source < target, sorted.
    """

    ops: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def adjacency(self) -> NDArray[np.uint8]:
        """(n, n) matrix, 1 where the row's node feeds the column's."""
        matrix = np.zeros((len(self.ops), len(self.ops)), np.uint8)
        for source, target in self.edges:
            matrix[source, target] = 1
        return matrix

    def pruned(self) -> CellGraph:
        """The graph without zero operations and nodes that are then on no path from an input to an output.

        Inputs and outputs stay.
        """
        edges = [edge for edge in self.edges if not {self.ops[node] for node in edge} & ZERO_OPS]
        reached = {node for node, op in enumerate(self.ops) if op.startswith("input")}
        useful = {node for node, op in enumerate(self.ops) if op.startswith("output")}
        ends = reached | useful
        for source, target in sorted(edges, key=lambda edge: edge[1]):
            if source in reached:
                reached.add(target)
        for source, target in sorted(edges, reverse=True):
            if target in useful:
                useful.add(source)
        live = reached & useful
        nodes = sorted(ends | live)
        renumbered = {node: index for index, node in enumerate(nodes)}
        return CellGraph(
            tuple(self.ops[node] for node in nodes),
            tuple(
                (renumbered[source], renumbered[target])
                for source, target in edges
                if source in live and target in live
            ),
        )

    def contracted(self) -> CellGraph:
        """The graph without skips: readers of a skip read the skip's inputs instead.

        An edge occurs once per path that it replaces, so that x + skip(x) still has two.
        """
        ops, edges = self.ops, self.edges
        for skip in [node for node, op in enumerate(ops) if op in SKIP_OPS]:
            sources = [source for source, target in edges if target == skip]
            bypasses = [(source, target) for node, target in edges if node == skip for source in sources]
            edges = (*(edge for edge in edges if skip not in edge), *bypasses)
        nodes = [node for node, op in enumerate(ops) if op not in SKIP_OPS]
        renumbered = {node: index for index, node in enumerate(nodes)}
        return CellGraph(
            tuple(ops[node] for node in nodes),
            tuple(sorted((renumbered[source], renumbered[target]) for source, target in edges)),
        )


def chain(ops: Sequence[str]) -> CellGraph:
    """A path: operators one after the other between an input and an output."""
    return CellGraph(("input", *ops, "output"), tuple((i, i + 1) for i in range(len(ops) + 1)))
