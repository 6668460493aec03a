"""Networks of a space as CARL's predictor reads them in `examples.papers.search`: by the graphs of their cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from frontends.spaces import Space
from search import ListedSpace


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
        return self.specs[self.row_of(self.base.sample(rng))]

    def mutate(self, spec: Any, rng: np.random.Generator) -> Any:
        """As the space."""
        return self.specs[self.row_of(self.base.mutate(spec, rng))]
