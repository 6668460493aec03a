"""The loop of all searches: ask, have networks evaluated in this process, in others or on other machines, tell."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import isnan
from os import PathLike
from time import perf_counter, time
from typing import Any, NamedTuple, TypedDict, Unpack

from tqdm import tqdm

from cgir.errors import CgirError, one_line
from cgir.executors import Call, Executor, check_executor, wait_any
from cgir.interrupts import advised
from frontends.spaces import Space

from .ask_tell import Method, Search, Trial
from .child_process import OracleImportError
from .history import History
from .objectives import Rule
from .workers import ProcessWorkers, TimedFuture, check_sendable, limited

log = logging.getLogger(__name__)
Oracle = Callable[[Any], float | Mapping[str, float]]
MAX_FAILURES = 5  # in a row: then the oracle is broken, not its networks


class Outcome(NamedTuple):
    """What the evaluation of a network gave: the oracle's answer, or why there is none, and its seconds."""

    answer: Any
    error: str | None
    seconds: float | None


@dataclass(frozen=True)
class Resources:
    """Where and how an oracle is asked; see `evolve`."""

    executor: Executor | None = None
    workers: int = 1
    timeout: float | None = None
    memory: int | None = None

    def check(self, method: str) -> None:
        """CgirError unless all are in range."""
        if not isinstance(self.workers, int) or self.workers < 1:
            raise CgirError(f"{method}: workers={self.workers!r}; expected a whole number, at least 1")
        for name, value in (("timeout", self.timeout), ("memory", self.memory)):
            if value is not None and not value > 0:
                raise CgirError(f"{method}: {name}={value!r}; expected a positive number, or None")
        check_executor(self.executor)

    @property
    def look_ahead(self) -> int:
        """How many networks back the last answer lies that a proposal may use: none waits for its neighbours."""
        return 0 if self.workers == 1 else 2 * self.workers


def evaluate(oracle: Oracle, spec: Any) -> Outcome:
    """The oracle's answer; an exception of its own is an outcome, too."""
    start = perf_counter()
    try:
        answer, problem = oracle(spec), None
    except OracleImportError:
        raise
    except Exception as error:  # whatever a training may raise: the network failed, the search goes on
        answer, problem = None, one_line(error, 300, named=not isinstance(error, CgirError)) + _place(error)
        log.debug("the oracle failed", exc_info=True)
    return Outcome(answer, problem, perf_counter() - start)


def _place(error: BaseException) -> str:
    """Where it was raised, but for errors whose message says what is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    return (
        f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 and not isinstance(error, CgirError) else ""
    )


def run_search(
    search: Search,
    oracle: Oracle | None,
    queries: int,
    *,
    resources: Resources | None = None,
    progress: bool = True,
) -> History:
    """Ask until the budget is spent or nothing new is proposed.

    Args:
        search: what proposes and remembers; it is closed at the end.
        oracle: spec -> what `search` asks for; None: the predictor's expectations are enough.
        queries: budget, of all networks that `search` has ever asked.
        resources: where the oracle is asked.
        progress: show a progress bar.

    Raises:
        CgirError: the oracle failed `MAX_FAILURES` times in a row, or an answer is not what was asked for.
    """
    history, method = search.history, search.method.name
    total = max(queries, history.num_queries)
    with (
        search,
        _submitter(method, oracle, resources or Resources()) as submit,
        tqdm(total=total, desc=method, unit="query", disable=not progress) as bar,
    ):
        running = {trial.number: submit(trial) for trial in _affordable(search, queries)}
        failures = Failures(method, search.names)
        while _ask(search, queries, submit, running, bar) or running:
            _show(bar, history)
            for number in _finished(running):
                _tell(search, number, _outcome(running.pop(number)))
                failures.count(history, number)
        _show(bar, history, last=True)
    if history.num_queries < queries:
        found = (method, history.num_queries, queries)
        log.warning("%s: nothing new was found, so it ends after %d of %d queries", *found)
    return history


class SearchOptions(TypedDict, total=False):
    """Keyword arguments of all searches.

    objectives: name of what the oracle answers (default "accuracy"), "-" in front where lower is better; or several, of
        which "flops", "params" and "memory" (peak bytes of activations) come from the graph and are never asked.
    limits: such as "flops<300e6" or "latency_ms<=20", or functions spec -> whether the network may be queried. Networks
        that a search is told to start with are queried whatever the limits are.
    path: file of the log (JSON lines). The same call, also with more queries, goes on from it and repeats no query,
        whatever was killed.
    executor: where the oracle is asked: anything with `submit`, such as the executors of `concurrent.futures`, loky and
        mpi4py, submitit's, or dask's `client.get_executor()`; default: this process, or child processes.
    workers: how many networks are evaluated at a time (default 1). A proposal uses only answers to networks that were
        asked at least twice as many before it, so that the history is the same however many workers there really are,
        and however fast they are.
    timeout: seconds that the evaluation of a network may take.
    memory: bytes that it may allocate.
    progress: show a progress bar (default True).
    """

    objectives: str | Sequence[str]
    limits: str | Rule | Sequence[str | Rule]
    path: str | PathLike[str] | None
    executor: Executor | None
    workers: int
    timeout: float | None
    memory: int | None
    progress: bool


def run_method(
    space: Space[Any],
    method: Method,
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    **options: Unpack[SearchOptions],
) -> History:
    """Search with a method, as all searches of this package do.

    Args:
        space: the search space.
        method: what proposes networks, such as `evolution_method(space, predictor)`.
        oracle: spec -> what is asked; None: the predictor's expectations are enough.
        queries: budget.
        seed: of all random choices.
        options: see `SearchOptions`.

    Raises:
        CgirError: as `evolve`.
    """
    if not isinstance(queries, int) or isinstance(queries, bool) or queries < 1:
        raise CgirError(f"{method.name}: queries={queries!r}; expected a whole number, at least 1")
    if unknown := [name for name in options if name not in SearchOptions.__annotations__]:
        raise TypeError(f"{method.name}: unexpected keyword argument {', '.join(unknown)}")  # as Python itself would
    resources = Resources(
        options.get("executor"), options.get("workers", 1), options.get("timeout"), options.get("memory")
    )
    resources.check(method.name)
    path = options.get("path")
    search = Search(
        space,
        method,
        objectives=options.get("objectives", "accuracy"),
        limits=options.get("limits", ()),
        seed=seed,
        look_ahead=resources.look_ahead,
        path=path,
        oracle=oracle is not None,
    )
    advice = f"all answers so far are in {path}; the same call or command goes on from there"
    with advised(advice) if path else nullcontext():
        return run_search(search, oracle, queries, resources=resources, progress=options.get("progress", True))


class Failures:
    """Counts failures in a row, and gives up where the oracle is broken rather than its networks."""

    def __init__(self, method: str, names: Sequence[str]) -> None:
        self._method, self._names, self._count = method, names, 0

    def count(self, history: History, number: int) -> None:
        """Look at the answer in row `number`. CgirError after too many failures."""
        row = history.rows[number]
        answer = row.answer or {}  # which may hold more than was asked for
        failed = any(isnan(answer[name]) for name in self._names if name in answer)
        self._count = self._count + 1 if failed else 0
        if row.error:
            log.warning("%s: network %d failed: %s", self._method, number, row.error)
        if self._count == MAX_FAILURES:
            raise CgirError(
                f"{self._method}: the oracle failed {MAX_FAILURES} times in a row, the last time with: "
                f"{row.error or 'an answer that is not finite'}; mend it and call again, which goes on with the others"
            )


class _Inline:
    """Evaluates in this process when its result is asked for."""

    def __init__(self, function: Callable[[], Outcome]) -> None:
        self.result = function

    def done(self) -> bool:
        return True


@contextmanager
def _submitter(method: str, oracle: Oracle | None, resources: Resources) -> Iterator[Callable[[Trial], Call]]:
    """What starts the evaluation of a network."""
    resources.check(method)
    limits = (resources.timeout, resources.memory)
    if oracle is None:
        yield lambda trial: _Inline(lambda: Outcome(None, None, None))
    elif resources.executor is not None:
        check_sendable(oracle)
        sent = oracle if limits == (None, None) else limited(oracle, *limits)
        executor = resources.executor
        yield lambda trial: executor.submit(evaluate, sent, trial.spec)
    elif resources.workers > 1 or limits != (None, None):
        check_sendable(oracle)
        with ProcessWorkers(resources.workers, *limits) as workers:
            # the oracle itself and not `evaluate`: a child then imports what the oracle needs and nothing of ours
            yield lambda trial: workers.submit(oracle, trial.spec)
    else:
        yield lambda trial: _Inline(partial(evaluate, oracle, trial.spec))


def _affordable(search: Search, queries: int) -> list[Trial]:
    """Trials without an answer that the budget allows; others were chosen under a larger one."""
    excess = max(search.history.num_queries - queries, 0)
    return [trial for trial in search.pending() if trial.number < len(search.history) - excess]


def _ask(search: Search, queries: int, submit: Callable[[Trial], Call], running: dict[int, Call], bar: Any) -> bool:
    """Start as many networks as may be chosen by now; False if nothing more will be proposed."""
    history = search.history
    while history.num_queries < queries and search.is_ready:
        bar.set_postfix_str("choosing networks to ask")
        trials = search.ask(min(search.method.batch(history.num_queries), queries - history.num_queries))
        if not trials:
            return False
        if history.asks_oracle:
            running |= {trial.number: submit(trial) for trial in trials}
    return history.num_queries < queries


def _finished(running: Mapping[int, Call]) -> list[int]:
    """Numbers of trials that are done, after waiting for one; in this process the first one."""
    if any(isinstance(job, _Inline) for job in running.values()):
        return [next(iter(running))]
    done = {id(job) for job in wait_any(list(running.values()))}
    return [number for number, job in running.items() if id(job) in done]


def _outcome(job: Call) -> Outcome:
    """What came back from elsewhere; that nothing did is an outcome, too."""
    try:
        result = job.result()
    except OracleImportError:
        raise  # no network's fault, and the next would fail in the same way
    except BrokenExecutor as error_:
        raise CgirError(
            f"the executor broke ({one_line(error_, 200)}), so nothing can be evaluated with it any more; "
            "make a new one and call again, which goes on"
        ) from error_
    except Exception as error_:  # died, timed out, lost on the way
        return Outcome(None, one_line(error_, 300, named=not isinstance(error_, CgirError)), _seconds(job))
    return result if isinstance(result, Outcome) else Outcome(result, None, _seconds(job))


def _seconds(job: Call) -> float | None:
    return job.seconds if isinstance(job, TimedFuture) else None


def _tell(search: Search, number: int, outcome: Outcome) -> None:
    if outcome.answer is None and outcome.error is None:
        text = search.history.space.format(search.history.rows[number].spec)
        raise CgirError(
            f"{search.method.name}: the oracle answered None for {text!r}; expected a number, "
            "NaN where a network failed"
        )
    search.tell(number, outcome.answer, seconds=outcome.seconds, error=outcome.error)


def _show(bar: Any, history: History, last: bool = False) -> None:
    """Progress and the best so far, as often as a bar is drawn: looking at all answers after each one adds up."""
    if bar.disable or not (last or time() - bar.last_print_t >= bar.mininterval):
        return
    best = history.top(1)
    text = f"{history.objective_values[best[0], 0]:.5g}" if best else "none yet"
    bar.set_postfix(best=text, refresh=False)
    bar.update(len(history) - len(history.pending()) - bar.n)
