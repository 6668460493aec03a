"""`Search`: ask which networks to evaluate, tell what they are worth, in any order and from any process of your own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from os import PathLike
from pathlib import Path
from threading import RLock
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

import numpy as np

from cgir.errors import CgirError, changed_settings, one_line
from cgir.typing import FloatArray
from frontends.spaces import Space

from .candidates import CandidateFilter, Candidates
from .history import ADDED, RULE, History, space_header
from .log import Event, LogFile
from .objectives import Rule, asked, check_answer, costs, parse_limits, parse_objectives
from .pareto import best_first
from .seeds import check_seed

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


class Trial(NamedTuple):
    """A network to evaluate: the number to tell the answer with, its spec, and the spec as the space's string."""

    number: int
    spec: Any
    text: str


@dataclass(frozen=True)
class Known:
    """What a method may base its next proposal on.

    Attributes:
        space: the search space.
        filter: of networks that may be asked.
        history: all rows, also those without an answer.
        rows: those whose answers may be used, ascending.
        num_queries: networks asked so far.
    """

    space: Space[Any]
    filter: CandidateFilter
    history: History
    rows: list[int]
    num_queries: int

    def top(self, count: int) -> list[int]:
        """The `count` best rows: by the objective, or by front and crowding distance if there are several."""
        values = self.history.maximised[self.rows]
        usable = np.flatnonzero(~np.isnan(values).any(axis=1))
        return [self.rows[row] for row in usable[best_first(values[usable])[:count]]]

    @property
    def values(self) -> FloatArray:
        """(len(rows), M) of the objectives, each in its unit; rows are NaN where a network failed or breaks a limit."""
        values: FloatArray = self.history.maximised[self.rows] * np.asarray(self.signs)
        return values

    @property
    def signs(self) -> list[int]:
        """(M,) 1 where more of an objective is better, else -1."""
        return [item.sign for item in self.history.objectives]

    def column(self, name: str) -> FloatArray:
        """(len(rows),) values of an objective or limit, NaN where a network failed."""
        return self.history.column(name)[self.rows]


@dataclass(frozen=True)
class Method:
    """How a search proposes networks.

    Attributes:
        name: in messages and in the log.
        config: its arguments, as JSON; a log is continued only with the same ones.
        propose: (what is known, generator, number of networks) -> at most so many new ones, best first. It may depend
            on nothing else, so that a search goes on from its log alone.
        batch: networks asked so far -> how many to ask for at a time.
    """

    name: str
    config: dict[str, Any]
    propose: Callable[[Known, np.random.Generator, int], Candidates]
    batch: Callable[[int], int]


def _one_at_a_time(method: Callable[Concatenate[Search, P], R]) -> Callable[Concatenate[Search, P], R]:
    """Threads take turns, as where answers are told by callbacks."""

    @wraps(method)
    def call(self: Search, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


class Search:
    """A search without a loop: for people with a queue, a cluster or a laboratory of their own.

    With a `path` every ask and every answer is a line of a log as soon as it is known; the same call goes on from it.

    Args:
        space: the search space.
        method: such as `evolution_method(space, predictor)`.
        objectives: what the oracle answers, or costs from the graph, "-" where lower is better; the first one is what
            `History.best` is about.
        limits: such as "flops<300e6", or functions spec -> bool.
        seed: of all random choices.
        look_ahead: a proposal may use only answers to networks asked at least so many before it. Then it does not
            depend on the order in which answers come, and `ask` gives nothing until they are there; None: whatever is
            known.
        path: file of the log.
        oracle: False: nothing is asked, the predictor's expectations are what is searched.

    Attributes:
        history: all that was asked and told.
        lock: held while a thread asks, tells or adds.

    Raises:
        CgirError: an argument is no good, or `path` belongs to another search or is in use.
        FileFormatError: `path` is no log of a search in this space.
    """

    def __init__(
        self,
        space: Space[Any],
        method: Method,
        *,
        objectives: str | Sequence[str] = "accuracy",
        limits: str | Rule | Sequence[str | Rule] = (),
        seed: int = 0,
        look_ahead: int | None = None,
        path: str | PathLike[str] | None = None,
        oracle: bool = True,
    ) -> None:
        check_seed(method.name, seed)
        if look_ahead is not None and (not isinstance(look_ahead, int) or look_ahead < 0):
            raise CgirError(f"{method.name}: look_ahead={look_ahead!r}; expected a number of networks, or None")
        self.lock = RLock()
        self.method, self._seed, self._look_ahead = method, int(seed), look_ahead
        parsed, (bounds, rules) = parse_objectives(objectives), parse_limits(limits)
        self.names = asked(parsed, bounds)
        if not self.names:
            raise CgirError(f"{method.name}: objectives {objectives!r} are known from the graphs, so nothing is asked")
        config = {
            "method": method.name,
            "seed": self._seed,
            "oracle": oracle,
            "objectives": [item.text for item in parsed],
            "limits": [*(limit.text for limit in bounds), *(RULE + _name(rule) for rule in rules)],
            "look_ahead": look_ahead,
            **method.config,
        }
        self.history = History(space, config, parsed, bounds)
        self._file = None if path is None else self._open(Path(path))
        self._filter = CandidateFilter(space, costs(parsed, bounds), bounds, rules)
        self._filter.remember(self.history.specs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log, so that another process may go on with it."""
        if self._file is not None:
            self._file.close()

    @property
    def is_ready(self) -> bool:
        """Whether the answers are there that the next proposal may use."""
        if self._look_ahead is None:
            return True
        pending = self.history.pending()
        return not pending or pending[0] >= len(self.history) - self._look_ahead

    @_one_at_a_time
    def ask(self, count: int = 1) -> list[Trial]:
        """Networks to evaluate, best first; none before `is_ready`, fewer than `count` where nothing new is found.

        Raises:
            CgirError: `count` is no positive number, or the limits forbid all networks that are found.
        """
        if not isinstance(count, int) or count < 1:
            raise CgirError(f"{self.method.name}: ask({count!r}); expected a number of networks")
        if not self.is_ready:
            return []
        first, num_queries = len(self.history), self.history.num_queries
        rng = np.random.default_rng((self._seed, 1 + first))
        proposed = self.method.propose(self._known(), rng, count)
        if not len(proposed):
            if not num_queries and self.history.config["limits"]:
                raise CgirError(
                    f"{self.method.name}: none of the networks that were drawn keeps to the limits "
                    f"({', '.join(self.history.config['limits'])}); check them"
                )
            return []
        texts = [self.history.space.format(spec) for spec in proposed.specs]
        event = {"ask": texts, "costs": _lists(proposed.costs), "predicted": _lists(proposed.predicted)}
        self._take(event)
        self._filter.remember(proposed.specs)
        return self._trials(range(first, len(self.history)))

    def pending(self) -> list[Trial]:
        """Networks that were asked and have no answer yet, as after an interruption."""
        return self._trials(self.history.pending())

    @_one_at_a_time
    def tell(
        self,
        number: int,
        answer: float | Mapping[str, float] | None,
        *,
        seconds: float | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """What a network is worth.

        Args:
            number: of its trial.
            answer: value of the objective, or a mapping with all that are asked; NaN or None if the network failed.
            seconds: that the answer took.
            error: why it failed.

        Raises:
            CgirError: no such trial, it has an answer already, or the answer is not what was asked for.
        """
        rows, name = self.history.rows, self.method.name
        if not isinstance(number, int | np.integer) or not 0 <= number < len(rows):
            raise CgirError(f"{name}: tell({number!r}, ...); expected the number of a trial, 0 to {len(rows) - 1}")
        if rows[number].answer is not None:
            raise CgirError(f"{name}: trial {number} has an answer already: {rows[number].answer}")
        if answer is None:
            values = dict.fromkeys(self.names, float("nan"))
        else:
            try:
                values = check_answer(answer, self.names)
            except CgirError as problem:
                text = self.history.space.format(rows[number].spec)
                raise CgirError(f"{name}: the oracle's answer for {text!r}: {problem}") from problem
        event = {"tell": int(number), "answer": _nulls(values), "error": _text(error), "seconds": _time(seconds)}
        self._take(event)

    @_one_at_a_time
    def add(self, spec: Any, answer: float | Mapping[str, float]) -> None:
        """An old result: it counts as an answer, not as a query, and its network is not asked again.

        It is left out, with a warning, where the network, or one with an equal graph, is known already.

        Args:
            spec: of the network, as the space has it, or its string.
            answer: see `tell`.

        Raises:
            SpecError: it is no network of the space.
            CgirError: the answer is not what is asked for.
        """
        spec = self.history.space.parse(spec) if isinstance(spec, str) else spec
        text, values = self.history.space.format(spec), check_answer(answer, self.names)
        if any(row.spec == spec and row.generation == ADDED and row.answer == values for row in self.history.rows):
            return  # a script that is run again to resume
        found = self._filter.new([spec], limited=False)
        if not len(found):
            log.warning(
                "%s: %r, or a network with an equal graph, is known already and left out", self.method.name, text
            )
            return
        self._take({"add": text, "costs": _lists(found.costs), "answer": _nulls(values)})
        self._filter.remember([spec])

    def _known(self) -> Known:
        history = self.history
        last = len(history) if self._look_ahead is None else max(len(history) - self._look_ahead, 0)
        answered = [
            number
            for number, row in enumerate(history.rows)
            if row.generation == ADDED or (number < last and (row.answer is not None or not history.asks_oracle))
        ]
        return Known(history.space, self._filter, history, answered, history.num_queries)

    def _open(self, path: Path) -> LogFile:
        file = LogFile(path, {**space_header(self.history.space), "config": self.history.config})
        try:
            found = History.replay(path, file.content, self.history.space)
            if changes := changed_settings(found.config, self.history.config):
                raise CgirError(f"{path}: belongs to another search ({changes[:300]}); use the same, or another path")
        except BaseException:
            file.close()
            raise
        if len(found):
            answered = found.num_queries - len(found.pending())
            log.info(
                "%s: resuming from %s, %d of %d with an answer", self.method.name, path, answered, found.num_queries
            )
        self.history = found
        return file

    def _take(self, event: Event) -> None:
        if self._file is not None:
            self._file.append(event)
        self.history.apply(event)

    def _trials(self, numbers: Sequence[int] | range) -> list[Trial]:
        format_, rows = self.history.space.format, self.history.rows
        return [Trial(number, rows[number].spec, format_(rows[number].spec)) for number in numbers]


def _lists(columns: Mapping[str, FloatArray]) -> dict[str, list[float | None]]:
    """Columns as JSON has them: NaN is null."""
    return {name: [None if np.isnan(value) else float(value) for value in values] for name, values in columns.items()}


def _nulls(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def _text(error: str | BaseException | None) -> str | None:
    return (
        one_line(error, 300, named=True) if isinstance(error, BaseException) else None if error is None else str(error)
    )


def _time(seconds: float | None) -> float | None:
    """As JSON has it; not finite is not known."""
    return None if seconds is None or not np.isfinite(float(seconds)) else float(seconds)


def _name(rule: Rule) -> str:
    return getattr(rule, "__qualname__", type(rule).__qualname__)
