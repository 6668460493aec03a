"""What a report reads of a search; `search.History` has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cgir.typing import FloatArray
from frontends.spaces import Space

from ..objectives import Objective


class Searched(Protocol):
    """The N networks of a search, see `search.History`."""

    @property
    def space(self) -> Space[Any]:
        """Where it was."""
        ...

    @property
    def config(self) -> dict[str, Any]:
        """Its arguments."""
        ...

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is sought."""
        ...

    @property
    def rows(self) -> Sequence[Any]:
        """The networks."""
        ...

    @property
    def num_queries(self) -> int:
        """How many were asked."""
        ...

    @property
    def spec_strings(self) -> list[str]:
        """The networks as strings."""
        ...

    @property
    def objective_values(self) -> FloatArray:
        """(N, M) in their units."""
        ...

    @property
    def maximised(self) -> FloatArray:
        """(N, M) such that higher is better, NaN where a limit is broken."""
        ...

    @property
    def running_best(self) -> FloatArray:
        """(N,) of the first objective."""
        ...

    def __len__(self) -> int: ...

    def column(self, name: str) -> FloatArray:
        """(N,) of a cost or an answer."""
        ...

    def predictions(self, name: str) -> FloatArray:
        """(N,) of an objective, before it was asked."""
        ...

    def top(self, count: int) -> list[int]:
        """Rows of the best."""
        ...

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Of the front."""
        ...

    def pending(self) -> list[int]:
        """Rows that await an answer."""
        ...
