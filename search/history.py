"""History of a search: the queried networks with predictions, costs and answers, in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from cgir.errors import CgirError, FileFormatError, SpecError, one_line
from cgir.typing import FloatArray
from frontends import spaces
from frontends.spaces import Space
from frontends.tables import Table, write_table

from . import pareto
from .listed_space import ListedSpace
from .log import ADVICE, Content, Event, read_events
from .objectives import Limit, Objective, is_reserved, parse_limits, parse_objectives
from .report import write_report

ADDED = -1  # generation of old results, which no query was spent on
SHOWN = 3  # of the best networks, in a printed history
RULE = "rule "  # a limit that is a function, in the config, before its name


@dataclass
class Row:
    """A network of a search.

    spec: of the space.
    generation: how many times the search had asked before, or `ADDED`.
    predicted: name -> what a predictor expected before the query.
    costs: name -> what its graph alone tells.
    answer: name -> value of the oracle, all NaN where the network failed; None while there is none.
    error: why it failed.
    seconds: that the oracle took, where known.
    """

    spec: Any
    generation: int
    predicted: dict[str, float]
    costs: dict[str, float]
    answer: dict[str, float] | None = None
    error: str | None = None
    seconds: float | None = None


@dataclass
class History:
    """The N networks of a search in the order in which they were asked; `len(history)` is N.

    space: the search space.
    config: the arguments of the search without its budget.
    objectives: what is sought, the first one first.
    limits: on what the graphs tell or the oracle answers, beyond which a network is no result.
    rows: the networks.
    """

    space: Space[Any]
    config: dict[str, Any]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...] = ()
    rows: list[Row] = field(default_factory=list)
    _num_asks: int = 0
    _num_added: int = 0
    _pending: dict[int, None] = field(default_factory=dict)  # rows without an answer, ascending

    def __repr__(self) -> str:
        best = f", {self.objectives[0].name} {self.best_value:.6g} at best" if self.top(1) else ""
        return f"History({self.config.get('method')} in {self.space.name}, {self.num_queries} queries{best})"

    def __str__(self) -> str:
        failed = sum(error is not None for error in self.errors)
        head = f"{self.config.get('method')} in {self.space.name}: {self.num_queries:,} queries"
        head += f", {failed:,} failed" if failed else ""
        values, texts = self.objective_values, self.spec_strings
        lines = []
        for place, row in enumerate(self.top(SHOWN), 1):
            found = ", ".join(f"{item.name} {x:.6g}" for item, x in zip(self.objectives, values[row], strict=True))
            lines.append(f"  {place}. {found} in query {row + 1}: {texts[row]:.90}")
        if len(self.objectives) > 1 and lines:
            lines.append(f"  {len(self.front()):,} networks are the best trade-offs")
        return "\n".join([head, *(lines or ["  no network has a value within the limits"])])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_queries(self) -> int:
        """Networks that the search has asked for; results that were added are not among them."""
        return len(self.rows) - self._num_added

    @property
    def specs(self) -> list[Any]:
        """The networks as specifications of the space."""
        return [row.spec for row in self.rows]

    @property
    def spec_strings(self) -> list[str]:
        """The networks as the space's strings."""
        return [self.space.format(row.spec) for row in self.rows]

    @property
    def generations(self) -> list[int]:
        """How many times the search had asked before each network, -1 for results that were added."""
        return [row.generation for row in self.rows]

    @property
    def errors(self) -> list[str | None]:
        """Why networks failed."""
        return [row.error for row in self.rows]

    @property
    def asks_oracle(self) -> bool:
        """Whether there is an oracle; without one the predictor's scores are what is searched."""
        return bool(self.config["oracle"])

    def column(self, name: str) -> FloatArray:
        """(N,) of an objective or limit: answers or costs, NaN where a network failed or awaits its answer."""
        values = [row.costs.get(name, (row.answer or {}).get(name, np.nan)) for row in self.rows]
        return np.asarray(values, np.float64)

    def predictions(self, name: str) -> FloatArray:
        """(N,) what the predictor expected of an objective before the oracle was asked; NaN where it was not asked."""
        return np.asarray([row.predicted.get(name, np.nan) for row in self.rows], np.float64)

    @property
    def values(self) -> FloatArray:
        """(N,) of the first objective, in its unit; NaN where a network failed or has no answer."""
        return self.column(self.objectives[0].name)

    @property
    def predicted(self) -> FloatArray:
        """(N,) of the first objective by the predictor, before the oracle was asked; NaN where it was not asked."""
        return self.predictions(self.objectives[0].name)

    @property
    def objective_values(self) -> FloatArray:
        """(N, M) of all objectives, each in its unit; without an oracle what the predictor expects."""
        return np.stack([self._found(item.name) for item in self.objectives], axis=1)

    @property
    def scores(self) -> FloatArray:
        """(N,) what is maximised: the first objective, with its sign; NaN also where a limit is broken."""
        return self.maximised[:, 0]

    @property
    def maximised(self) -> FloatArray:
        """(N, M) all objectives such that higher is better; rows are NaN where a network failed or breaks a limit."""
        signs = [item.sign for item in self.objectives]
        values = self.objective_values
        broken = np.any(np.isnan(values), axis=1)
        for limit in self.limits:
            broken |= ~limit.holds(self._found(limit.name))
        return np.where(broken[:, None], np.nan, values * signs)

    @property
    def running_best(self) -> FloatArray:
        """(N,) the best of the first objective up to each query, in its unit; NaN until a network has one."""
        return np.fmax.accumulate(self.scores) * self.objectives[0].sign

    @property
    def best(self) -> Any:
        """The spec with the best first objective, the earliest of equals. CgirError if no network has a score."""
        return self.rows[self._best()].spec

    @property
    def best_value(self) -> float:
        """The best first objective, in its unit. CgirError if no network has one."""
        return float(self.objective_values[self._best(), 0])

    def top(self, count: int) -> list[int]:
        """Rows of the `count` best scores, best first and the earlier of equals; rows without a score are left out."""
        scores = self.scores
        return [int(row) for row in np.argsort(-scores, kind="stable")[:count] if np.isfinite(scores[row])]

    def front(self) -> list[int]:
        """Rows that no other one is at least as good as in every objective, and better in one (the Pareto front)."""
        return pareto.front(self.maximised)

    def hypervolume(self, reference: Sequence[float]) -> float:
        """What the front dominates, in the product of the objectives' units.

        Args:
            reference: (M,) values of the objectives, each in its unit; networks worse than it in one do not count.
        """
        signs = np.asarray([item.sign for item in self.objectives], np.float64)
        try:
            numbers = np.asarray(reference, np.float64)
        except (TypeError, ValueError) as error:
            raise CgirError(f"hypervolume: reference={reference!r}; expected {len(signs)} numbers") from error
        if numbers.shape != signs.shape:
            raise CgirError(
                f"hypervolume: {numbers.size} numbers in {reference!r}; "
                f"expected one for each of {len(signs)} objectives"
            )
        return pareto.hypervolume(self.maximised, numbers * signs)

    def pending(self) -> list[int]:
        """Rows that await an answer of the oracle, as after an interruption."""
        return list(self._pending) if self.asks_oracle else []

    def table(self) -> Table:
        """All networks as a label table: answers, costs and `predicted_NAME`, `generation`, `asked`, `error`.

        `asked` is 1 where the oracle has answered: if a value is missing there, the network failed. What an oracle gave
        without being asked, under a name of these, is left out.
        """
        asked = np.asarray([row.answer is not None for row in self.rows], np.float64)
        answered = dict.fromkeys(name for row in self.rows for name in row.answer or ())
        costs = dict.fromkeys(name for row in self.rows for name in row.costs)
        expected = dict.fromkeys(name for row in self.rows for name in row.predicted)
        columns = {
            **{item.name: self.column(item.name) for item in self.objectives},
            **{name: self.column(name) for name in (*answered, *costs) if not is_reserved(name)},
            **{f"predicted_{name}": self.predictions(name) for name in expected},
            "generation": np.asarray(self.generations, np.float64),
            "asked": asked,
        }
        # a log can hold half a surrogate pair, as in names of files, Parquet cannot
        texts = {"error": tuple((error or "").encode(errors="backslashreplace").decode() for error in self.errors)}
        metadata = {"search": self.config}
        space = self.space.base if isinstance(self.space, ListedSpace) else self.space
        return Table("history", tuple(self.spec_strings), columns, space, metadata=metadata, text_columns=texts)

    def save(self, path: str | PathLike[str]) -> None:
        """Write `table()` to a Parquet file, atomically; `frontends.tables.load` reads it."""
        write_table(self.table(), Path(path))

    def report(self, path: str | PathLike[str]) -> None:
        """Write one HTML page with what was found, in pictures; `write_report` shows several seeds in one."""
        write_report(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], space: Space[Any] | None = None) -> History:
        """Read the log of a search, which may still be running.

        Args:
            path: of the log.
            space: the space that was searched; needed where `spaces.get` does not know it.

        Raises:
            FileFormatError: the file is damaged, not the log of a search, of another space or of a newer version.
            SpecError: `space` is not given and not known.
        """
        return cls.replay(Path(path), read_events(Path(path)), space)

    @classmethod
    def replay(cls, path: Path, content: Content, space: Space[Any] | None = None) -> History:
        """The history that the lines of a log tell.

        Args:
            path: of the log, for errors.
            content: of the log.
            space: as in `load`.
        """
        header, config = content.header, content.header["config"]
        space = _checked_space(path, header, space)
        try:
            limits, _ = parse_limits([text for text in config["limits"] if not text.startswith(RULE)])
            history = cls(space, config, parse_objectives(config["objectives"]), limits)
            _ = history.asks_oracle
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{path}: the header is damaged ({one_line(error, 200)}); {ADVICE}") from error
        for number, event in enumerate(content.events, 2):
            try:
                history.apply(event)
            except (SpecError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
                message = f"{path}: line {number} tells nothing of this search ({one_line(error, 200)}); {ADVICE}"
                raise FileFormatError(message) from error
        return history

    def apply(self, event: Event) -> None:
        """Take in an ask, an answer or an old result, as a line of the log has it."""
        if "tell" in event:
            if type(number := event["tell"]) is not int or not 0 <= number < len(self.rows):
                raise ValueError(f"row {number!r:.60} of {len(self.rows)}")
            row, error, seconds = self.rows[number], event["error"], event["seconds"]
            if row.answer is not None:
                raise ValueError(f"row {number} has an answer already")
            if not isinstance(error, str | None) or not isinstance(seconds, int | float | None):
                raise TypeError(f"error {error!r:.60} or seconds {seconds!r:.60}")
            row.answer, row.error, row.seconds = _numbers(event["answer"]), error, seconds
            self._pending.pop(number)
            return
        added = "add" in event
        specs = [event["add"]] if added else event["ask"]
        if not isinstance(specs, list) or not all(isinstance(text, str) for text in specs):
            raise TypeError(f"{specs!r:.60}, expected specifications as text")
        generation = ADDED if added else self._num_asks
        self._num_asks += not added
        self._num_added += added
        for place, text in enumerate(specs):
            costs, predicted = (
                _numbers({name: values[place] for name, values in event.get(key, {}).items()})
                for key in ("costs", "predicted")
            )
            row = Row(self.space.parse(text), generation, predicted, costs)
            row.answer = _numbers(event["answer"]) if added else None
            if not added:
                self._pending[len(self.rows)] = None
            self.rows.append(row)

    def _found(self, name: str) -> FloatArray:
        return self.column(name) if self.asks_oracle else np.fmax(self.column(name), self.predictions(name))

    def _best(self) -> int:
        top = self.top(1)
        if not top:
            raise CgirError(f"history: none of {len(self)} networks has a score, so there is no best one")
        return top[0]


def _numbers(values: dict[str, float | None]) -> dict[str, float]:
    "".join(values).encode()  # half a surrogate pair is no name; UnicodeEncodeError is a ValueError
    if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value in values.values()):
        raise TypeError(f"{values!r:.60}, expected numbers")
    return {name: np.nan if value is None else float(value) for name, value in values.items()}


def space_header(space: Space[Any]) -> dict[str, Any]:
    """What a log says of the space: its name and skeleton, and of a list its digest."""
    if isinstance(space, ListedSpace):
        return {**space_header(space.base), "listed": space.digest}
    skeleton = asdict(space)  # type: ignore[call-overload]  # every other space is a dataclass
    return {"space": space.name, "skeleton": json.loads(json.dumps(skeleton))}


def _checked_space(path: Path, header: dict[str, Any], space: Space[Any] | None) -> Space[Any]:
    """The space of a log, or the given one if it is the same."""
    name, skeleton = header.get("space"), header.get("skeleton")
    if not isinstance(name, str) or not isinstance(skeleton, dict):
        raise FileFormatError(f"{path}: the header names no search space; {ADVICE}")
    if space is None:
        try:
            return spaces.get(name, **skeleton)
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, SpecError):
                raise
            raise FileFormatError(
                f"{path}: the header names no search space ({one_line(error, 200)}); {ADVICE}"
            ) from error
    wanted = {key: header[key] for key in ("space", "skeleton", "listed") if key in header}
    if space_header(space) != wanted:
        found = f"{name} {skeleton}" + (" among other networks" if "listed" in header else "")
        raise FileFormatError(
            f"{path}: the log of a search in {found}, not in {space}; use another path (path=, --log)"
        )
    return space
