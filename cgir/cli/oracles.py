"""Who answers what a network is worth: a label table, a function of the user's, or a command that is run for each."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import subprocess
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgir.errors import CgirError, LabelError

if TYPE_CHECKING:
    from frontends.spaces import Space
    from frontends.tables import Table

log = logging.getLogger(__name__)
PLACE = "{spec}"  # in a command, of the network
METRIC = "accuracy"  # the objective that `--metric` names a column for
DRAWS = 500  # random networks, of which a table that has a space has most


class Question(NamedTuple):
    """What a search asks.

    Attributes:
        space: with the skeleton that was measured.
        oracle: spec -> answer; other processes can import it.
        rules: spec -> whether there is an answer.
        source: where answers come from, for the log.
    """

    space: Space[Any]
    oracle: Callable[[Any], Any]
    rules: tuple[Callable[[Any], bool], ...]
    source: str


@dataclass(frozen=True)
class TableOracle:
    """Answers from a table: spec -> name -> value."""

    answers: dict[Hashable, dict[str, float]]

    def __call__(self, spec: Hashable) -> dict[str, float]:
        """The values of a network."""
        return self.answers[spec]

    def has(self, spec: Hashable) -> bool:
        """Whether the network is in the table."""
        return spec in self.answers


class FunctionOracle:
    """A function by its name, which another process imports, too.

    Args:
        target: package.module:name, or path/file.py:name.

    Raises:
        TraceError: it cannot be imported.
        CgirError: it cannot be called.
    """

    def __init__(self, target: str) -> None:
        from frontends.model_loading import import_attribute

        file, colon, name = target.rpartition(":")
        self.target = f"{Path(file).resolve()}{colon}{name}" if file.endswith(".py") else target
        self.function = import_attribute(target, "a function")
        if not callable(self.function):
            found = type(self.function).__name__
            raise CgirError(f"{target}: found a {found}, expected a function of a network's specification")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.target,)

    def __call__(self, spec: Any) -> Any:
        """What the function returns."""
        return self.function(spec)


@dataclass(frozen=True)
class CommandOracle:
    """A command that is run for every network, without a shell; the last line that it prints is the answer."""

    words: tuple[str, ...]
    format: Callable[[Any], str]

    def __call__(self, spec: Any) -> float | Mapping[str, float]:
        """The number, or the numbers by name.

        Raises:
            CgirError: the command failed, or its last line is neither a number nor a JSON object.
        """
        words = [word.replace(PLACE, self.format(spec)) for word in self.words]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        if done.returncode:
            raise CgirError(f"{words[0]}: exit status {done.returncode}: {_last_line(done.stderr)}")
        return parse_answer(_last_line(done.stdout))


def parse_answer(line: str) -> float | Mapping[str, float]:
    """The number or JSON object in a line. CgirError if it is neither."""
    try:
        return float(line)
    except ValueError:
        pass
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CgirError(
            f"the last line printed is {line[:100]!r}; expected a number, or a JSON object such as "
            '{"accuracy": 71.3, "latency_ms": 4.2}'
        )
    return answer


def table_question(space: str, target: str, metric: str | None, names: Sequence[str]) -> Question:
    """Networks of a label table, which alone may be asked; a network's rows are averaged if it has several.

    Args:
        space: name of the search space.
        target: name of a table, or a file.
        metric: its column for the objective `METRIC`.
        names: what is asked; names other than `METRIC` are columns.

    Raises:
        CgirError: no such table or column, a table of another space, or no network has all values.
    """
    from frontends.spaces import get
    from frontends.tables import load

    get(space)  # before a table is read
    table = load(target)
    if table.families:
        table = table.family(space)
    if table.space is None or table.space.name != space:
        found = f"of {table.space.name}" if table.space else "of no search space"
        raise LabelError(f"{target}: a table {found}; expected one of {space}")
    columns = {name: _column(table, name, metric) for name in names}
    values = np.asarray([table[column] for column in columns.values()]).reshape(len(columns), len(table)).T
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(rows):
        raise LabelError(f"{target}: no network has a value of {' and '.join(columns.values())}")
    found_rows: dict[Hashable, list[int]] = {}
    for row, spec in zip(rows, table.select(rows).specs, strict=True):
        found_rows.setdefault(spec, []).append(int(row))
    if len(found_rows) < len(rows):
        log.info("%s: %d rows of %d networks, whose values are averaged", target, len(rows), len(found_rows))
    means = {spec: values[several].mean(axis=0).tolist() for spec, several in found_rows.items()}
    oracle = TableOracle({spec: dict(zip(columns, mean, strict=True)) for spec, mean in means.items()})
    source = f"table {table.name}, " + ", ".join(
        name if name == column else f"{name} is {column}" for name, column in columns.items()
    )
    return Question(_within(table.space, oracle), oracle, (oracle.has,), source)


def _within(space: Space[Any], oracle: TableOracle) -> Space[Any]:
    """The space where a table has most of it, else one of the listed networks, which mutations would hardly meet."""
    from search import ListedSpace

    rng = np.random.default_rng((0, DRAWS))  # not the one that a table may have been drawn with
    drawn = sum(oracle.has(space.sample(rng)) for _ in range(DRAWS))
    return space if 2 * drawn > DRAWS else ListedSpace(space, list(oracle.answers))


def function_question(space: str, target: str, skeleton: Mapping[str, Any]) -> Question:
    """A function of the user's answers.

    Args:
        space: name of the search space.
        target: `package.module:name` or `path/file.py:name`.
        skeleton: fields of the space.

    Raises:
        CgirError: there is no such space, or the function cannot be imported.
    """
    from frontends.spaces import get

    return Question(get(space, **skeleton), FunctionOracle(target), (), f"function {target}")


def command_question(space: str, command: str, skeleton: Mapping[str, Any]) -> Question:
    """A command answers.

    Args:
        space: name of the search space.
        command: with `PLACE` in it where the network's string belongs.
        skeleton: fields of the space.

    Raises:
        CgirError: there is no such space or program, or the command has no place for the network.
    """
    from frontends.spaces import get

    found = get(space, **skeleton)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CgirError(f"--command {command!r}: {error}; expected words as in a shell") from error
    if not any(PLACE in word for word in words):
        raise CgirError(f"--command {command!r}: where does the network go? Expected {PLACE} in it")
    if shutil.which(words[0]) is None:
        raise CgirError(f"--command {command!r}: there is no program {words[0]!r}")
    return Question(found, CommandOracle(tuple(words), found.format), (), f"command {command}")


def _column(table: Table, name: str, metric: str | None) -> str:
    column = metric if name == METRIC and metric is not None else name
    if column in table.columns:
        return column
    hint = "; say which column is the accuracy with --metric" if name == METRIC and metric is None else ""
    raise LabelError(f"table {table.name!r} has no metric {column!r}{hint}; it has {', '.join(table.metrics)}")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
