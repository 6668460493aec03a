"""`Table`: label tables, architectures with their metrics after training."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.node_text import table
from cgir.store import GraphStore
from cgir.typing import AnyArray, BoolArray, FloatArray, IntArray
from frontends import spaces

from .named_networks import stored_graphs, stored_rows

SHOWN = 12  # columns that a printed table names


@dataclass(frozen=True)
class Table:
    """N architectures and their metrics; `table["metric"]` is float64 (N,), nan where missing.

    Attributes:
        name: of the table.
        spec_strings: what `space.parse` reads, or names of networks.
        columns: metric -> values.
        space: with the skeleton the labels were measured with. None in "digits", which has several: take
            `family(name)`, a table of one space; None too where networks have names, as models of timm.
        families: name of the space of every row, where there are several.
        metadata: further information on the table.
        text_columns: name -> values, such as where a row comes from: `only(source=...)`.
        graph_names: where networks have names: what their graphs are called in a store; "" of rows without one.
        store: of these graphs.
        trace: makes graphs by these names where there is no store; None: only a store has them.
    """

    name: str
    spec_strings: tuple[str, ...]
    columns: dict[str, FloatArray]
    space: spaces.Space[Any] | None = None
    families: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    text_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    graph_names: tuple[str, ...] = ()
    store: GraphStore | None = None
    trace: Callable[[Sequence[str]], GraphBatch] | None = None

    def __len__(self) -> int:
        return len(self.spec_strings)

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {len(self):,} networks; {', '.join(self.metrics)})"

    def __str__(self) -> str:
        where = "" if self.space is None else f" of {self.space.name}"
        rows = [("", "metric", "values", "lowest", "highest")]
        for name, values in list(self.columns.items())[:SHOWN]:
            known = values[np.isfinite(values)]
            ends = (f"{known.min():.6g}", f"{known.max():.6g}") if len(known) else ("", "")
            rows.append(("", name, f"{len(known):,}", *ends))
        more = [f"  and {len(self.columns) - SHOWN} more"] if len(self.columns) > SHOWN else []
        first = [f"  first: {self.spec_strings[0]:.90}"] if len(self) else []
        return "\n".join(
            [f"Table {self.name!r}: {len(self):,} networks{where}", *table(rows, (2, 3, 4)), *more, *first]
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numeric columns."""
        return tuple(self.columns)

    def __getitem__(self, metric: str) -> FloatArray:
        """The column `metric`, a copy.

        Raises:
            LabelError: the table has no such column.
        """
        if metric not in self.columns:
            raise LabelError(f"table {self.name!r} has no metric {metric!r}; it has {', '.join(self.metrics)}")
        return self.columns[metric].copy()

    @cached_property
    def specs(self) -> tuple[Hashable, ...]:
        """All `spec_strings`, parsed on first use; names of models stay as they are."""
        return self._parse(range(len(self)))

    def select(self, rows: Iterable[int] | AnyArray) -> Table:
        """The table of these rows, by index (in that order, repeats allowed) or by one truth value for each row."""
        chosen = self._indices(rows)
        return replace(
            self,
            spec_strings=tuple(self.spec_strings[i] for i in chosen),
            columns={metric: values[chosen] for metric, values in self.columns.items()},
            families=tuple(self.families[i] for i in chosen) if self.families else (),
            text_columns={name: tuple(values[i] for i in chosen) for name, values in self.text_columns.items()},
            graph_names=tuple(self.graph_names[i] for i in chosen) if self.graph_names else (),
        )

    def only(self, **values: str | float) -> Table:
        """The rows that have these values: `table.only(source="MOOFA:MIT_OFA", resolution=160)`.

        Raises:
            LabelError: there is no such column, or no such row.
        """
        mask = np.ones(len(self), bool)
        for name, value in values.items():
            if name not in self.text_columns and name not in self.columns:
                raise LabelError(
                    f"table {self.name!r} has no column {name!r}; "
                    f"it has {', '.join((*self.text_columns, *self.metrics))}"
                )
            column = np.asarray(self.text_columns[name]) if name in self.text_columns else self.columns[name]
            mask &= column == value
            if not mask.any():
                raise LabelError(
                    f"table {self.name!r} has no row with {name}={value!r} here; the column has {_preview(column)}"
                )
        return self.select(mask)

    def family(self, name: str) -> Table:
        """The rows of one family, with its space."""
        if name not in self.families:
            raise LabelError(
                f"table {self.name!r} has no family {name!r}; "
                f"it has {', '.join(dict.fromkeys(self.families)) or 'none'}"
            )
        part = self.select(np.asarray(self.families) == name)
        return replace(part, name=f"{self.name}/{name}", space=self._space_of(name))

    def graphs(self, rows: Iterable[int] | AnyArray | None = None) -> GraphBatch:
        """The graphs of all rows, or of some, in their order.

        Networks that have names are read from the store, if there is one (`tables.load(name, graphs=STORE)`); without
        one, models of timm are traced on the meta device, without weights, once per process.

        Raises:
            SpecError: a string does not belong to the space.
            LabelError: there is no store, or it lacks a network; or timm no longer builds a model, which is named.
            TraceError: a model cannot be traced.
        """
        chosen = np.arange(len(self)) if rows is None else self._indices(rows)
        if self.space is not None:
            return self.space.graphs(self._parse(chosen))
        if self.families:
            return self._graphs_of_families(chosen)
        names = [self.graph_names[i] for i in chosen]
        if self.store is not None:
            return stored_graphs(self.store, names, self.name)
        if self.trace is None:
            raise LabelError(
                f"table {self.name!r}: its networks are traced once, into a store: see frontends.tables.lemur, then "
                "give the store's path: tables.load(..., graphs=PATH)"
            )
        return self.trace(names)

    @property
    def has_graph(self) -> BoolArray:
        """(N,): the rows that `graphs` makes, as far as that is known without tracing."""
        if self.space is not None or self.families or (self.store is None and self.trace is not None):
            return np.ones(len(self), bool)
        names = stored_rows(self.store) if self.store is not None else {}
        return np.asarray([name in names for name in self.graph_names], bool)

    def _graphs_of_families(self, chosen: IntArray) -> GraphBatch:
        if not len(chosen):
            return GraphBatch.from_graphs([])
        names = np.asarray(self.families)[chosen]
        parts = [np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())]
        batch = GraphBatch.concatenate(
            [self._space_of(str(names[part[0]])).graphs(self._parse(chosen[part])) for part in parts]
        )
        return batch.select(np.argsort(np.concatenate(parts)))

    def _parse(self, rows: Iterable[int]) -> tuple[Hashable, ...]:
        if self.space is not None:
            return tuple(self.space.parse(self.spec_strings[i]) for i in rows)
        if self.families:
            parse = {family: self._space_of(family).parse for family in set(self.families)}
            return tuple(parse[self.families[i]](self.spec_strings[i]) for i in rows)
        return tuple(self.spec_strings[i] for i in rows)

    def _indices(self, rows: Iterable[int] | AnyArray) -> IntArray:
        chosen = np.asarray(rows if isinstance(rows, np.ndarray | Sequence) else list(rows))
        if chosen.dtype == bool and chosen.shape == (len(self),):
            return np.flatnonzero(chosen)
        if chosen.size and (
            chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.min() < -len(self) or chosen.max() >= len(self)
        ):
            raise LabelError(
                f"table {self.name!r}: rows must be indices below {len(self)}, or one truth value for each row"
            )
        return chosen.astype(np.int64).reshape(-1)

    def _space_of(self, family: str) -> spaces.Space[Any]:
        return spaces.get(family, **self.metadata["skeletons"][family])


def _preview(column: AnyArray) -> str:
    values = np.unique(column).tolist()
    return ", ".join(map(repr, values[:12])) + (f" and {len(values) - 12} more" if len(values) > 12 else "")
