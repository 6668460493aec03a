"""Search spaces cut down to listed networks, as `examples.papers.search` needs where few have labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from cgir.analysis.wl_kernel import wl_features
from cgir.builder import GraphBuilder
from cgir.graph_batch import GraphBatch
from cgir.typing import IntArray
from encoders.features.graph_features import WL_ROUNDS, GPInputTransform
from frontends.spaces import Space
from frontends.spaces.cell import CellGraph

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 20  # listed networks that a mutation chooses from


class ListedSpace(Space[Any]):
    """The networks of a list alone; a mutation goes to one of the nearest ones by Weisfeiler-Lehman distance.

    Mutations of the space itself would almost never meet a listed network.

    Args:
        space: of the networks.
        specs: the list, no two isomorphic.
        graphs: of these.
    """

    def __init__(self, space: Space[Any], specs: Sequence[Any], graphs: GraphBatch) -> None:
        self.space, self.specs, self.listed = space, list(specs), graphs
        self.row = {space.format(spec): row for row, spec in enumerate(self.specs)}
        self._roots: csr_array | None = None
        self._nearest: dict[int, IntArray] = {}

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the space."""
        return self.space.name

    def parse(self, text: str) -> Any:
        """As the space."""
        return self.space.parse(text)

    def format(self, spec: Any) -> str:
        """As the space."""
        return self.space.format(spec)

    def network(self, build: GraphBuilder, spec: Any) -> None:
        """As the space."""
        self.space.network(build, spec)

    def module(self, spec: Any) -> torch.nn.Module:
        """As the space."""
        return self.space.module(spec)

    def cell_graph(self, spec: Any) -> CellGraph:
        """As the space."""
        return self.space.cell_graph(spec)

    def graphs(self, specs: Iterable[Any]) -> GraphBatch:
        """Taken from the list, not built again."""
        return self.listed.select(np.asarray([self.row[self.format(spec)] for spec in specs], np.int64))

    def enumerate(self) -> Iterator[Any]:
        """The list."""
        return iter(self.specs)

    def sample(self, rng: np.random.Generator) -> Any:
        """One of the list."""
        return self.specs[int(rng.integers(len(self.specs)))]

    def mutate(self, spec: Any, rng: np.random.Generator) -> Any:
        """One of the nearest."""
        row = self.row[self.format(spec)]
        if row not in self._nearest:
            self._nearest[row] = self._neighbours(row)
        nearest = self._nearest[row]
        return self.specs[int(nearest[int(rng.integers(len(nearest)))])]

    def _neighbours(self, row: int) -> IntArray:
        roots = self._subtree_roots()
        distances = self._lengths - 2 * (roots @ roots[[row]].toarray().ravel())
        distances[row] = np.inf
        order: IntArray = np.argsort(distances, kind="stable")[: min(NEIGHBOURS, len(distances) - 1)]
        return order

    def _subtree_roots(self) -> csr_array:
        if self._roots is None:
            counts = wl_features(self.listed, WL_ROUNDS)
            self._roots = GPInputTransform([], np.unique(counts.indices)).subtree_roots(counts)
            self._lengths = np.asarray((self._roots * self._roots).sum(axis=1)).ravel()
        return self._roots


class CellSpace(ListedSpace):
    """All networks of a space by the graphs of their cells alone, as CARL reads them; moves are those of the space.

    Args:
        space: that samples and mutates.
        specs: its networks, no two isomorphic.
        row: spec -> which of them it is.
    """

    def __init__(self, space: Space[Any], specs: Sequence[Any], row: Callable[[Any], int]) -> None:
        super().__init__(space, specs, space.cell_graphs(specs))
        self.row_of = row

    def sample(self, rng: np.random.Generator) -> Any:
        """As the space."""
        return self.specs[self.row_of(self.space.sample(rng))]

    def mutate(self, spec: Any, rng: np.random.Generator) -> Any:
        """As the space."""
        return self.specs[self.row_of(self.space.mutate(spec, rng))]
