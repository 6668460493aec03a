"""Search among listed networks: those with labels, those of a zoo, those that hardware allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from cgir.analysis.wl_kernel import wl_features
from cgir.builder import GraphBuilder
from cgir.errors import CgirError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from frontends.spaces import Space
from frontends.spaces.cell import CellGraph

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 20  # listed networks that a mutation chooses from
ROUNDS = 3  # steps back that subtrees reach, by which networks are near


class ListedSpace(Space[Any]):
    """The listed networks of a space alone; a mutation goes to one of the nearest by Weisfeiler-Lehman distance.

    Mutations of the space itself would almost never meet a listed network where few are listed.

    Args:
        base: the space of the networks.
        specs: the list, as specifications of the space.
        graphs: of these; None: the space's.

    Raises:
        CgirError: the list is empty.
    """

    def __init__(self, base: Space[Any], specs: Sequence[Any], graphs: GraphBatch | None = None) -> None:
        if not len(specs):
            raise CgirError(f"{base.name}: no networks are listed; give one or more specs")
        self.base, self.specs = base, list(specs)
        self.name = base.name  # type: ignore[misc]
        self._graphs = base.graphs(self.specs) if graphs is None else graphs
        self._rows = {base.format(spec): row for row, spec in enumerate(self.specs)}
        self._nearest: dict[int, IntArray] = {}

    @cached_property
    def digest(self) -> str:
        """Of the list."""
        return sha256("\n".join(self._rows).encode()).hexdigest()[:16]

    def __contains__(self, spec: Any) -> bool:
        return self.format(spec) in self._rows

    def __repr__(self) -> str:
        return f"{len(self.specs)} networks of {self.base}"

    def parse(self, text: str) -> Any:
        """As the base."""
        return self.base.parse(text)

    def format(self, spec: Any) -> str:
        """As the base."""
        return self.base.format(spec)

    def network(self, build: GraphBuilder, spec: Any) -> None:
        """As the base."""
        self.base.network(build, spec)

    def module(self, spec: Any) -> torch.nn.Module:
        """As the base."""
        return self.base.module(spec)

    def cell_graph(self, spec: Any) -> CellGraph:
        """As the base."""
        return self.base.cell_graph(spec)

    def inputs(self, spec: Any) -> tuple[torch.Tensor, ...]:
        """As the base."""
        return self.base.inputs(spec)

    def graphs(self, specs: Iterable[Any]) -> GraphBatch:
        """Taken from the list, not built again; those that are not listed are built."""
        texts = [self.format(spec) for spec in specs]
        if all(text in self._rows for text in texts):
            return self._graphs.select(np.asarray([self._rows[text] for text in texts], np.int64))
        return self.base.graphs(map(self.parse, texts))

    def enumerate(self) -> Iterator[Any]:
        """The list."""
        return iter(self.specs)

    def sample(self, rng: np.random.Generator) -> Any:
        """One of the list."""
        return self.specs[int(rng.integers(len(self.specs)))]

    def mutate(self, spec: Any, rng: np.random.Generator) -> Any:
        """One of the nearest in the list; any of the list where the network is none of it, as old results may be."""
        row = self._rows.get(self.format(spec))
        if row is None:
            return self.sample(rng)
        if row not in self._nearest:
            distances = self._distances(row)
            distances[row] = np.inf
            self._nearest[row] = np.argsort(distances, kind="stable")[: min(NEIGHBOURS, max(len(self.specs) - 1, 1))]
        nearest = self._nearest[row]
        return self.specs[int(nearest[int(rng.integers(len(nearest)))])]

    def _distances(self, row: int) -> FloatArray:
        """(len(specs),) `cgir.wl_distance` of a listed network to all, up to a constant and squared."""
        roots, sizes = self._subtree_roots
        shared: FloatArray = (roots @ roots[[row]].T).toarray()[:, 0]
        return sizes - 2 * shared

    @cached_property
    def _subtree_roots(self) -> tuple[csr_array, FloatArray]:
        """Roots of the counts of subtrees (len(specs), columns that occur), and the numbers of subtrees."""
        counts = wl_features(self._graphs, ROUNDS)
        used, columns = np.unique(counts.indices, return_inverse=True)
        roots = csr_array((np.sqrt(counts.data), columns, counts.indptr), shape=(len(self.specs), len(used)))
        return roots, np.asarray(counts.sum(axis=1), np.float64)
