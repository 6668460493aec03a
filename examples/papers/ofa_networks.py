"""Once-for-All networks to measure: strings, files of strings, label tables, histories and logs of searches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cgir.errors import CgirError, SpecError, one_line
from frontends import spaces, tables
from frontends.spaces.mbconv.ofa_mbv3 import OfaMobileNetV3, Spec
from search.history import RULE, History, Row
from search.objectives import parse_limits, parse_objectives

PREDICTED = "predicted_"  # before the name of an objective, in tables of a search


def read_networks(sources: Iterable[str], space: OfaMobileNetV3, best: int | None = None) -> list[Spec]:
    """The networks that the sources name, in their order.

    Args:
        sources: strings of the space; text files with a string a line; .parquet files of a search or of labels; .jsonl
            logs of a search.
        space: of the supernet.
        best: how many networks of each search, those with the best scores; default all.

    Raises:
        CgirError: no such file, networks of another space, or no scores to choose the best by.
    """
    if best is not None and best < 1:
        raise CgirError(f"--best {best}; expected at least 1")
    return [spec for source in sources for spec in _networks(source, space, best)]


def _networks(source: str, space: OfaMobileNetV3, best: int | None) -> list[Spec]:
    if ";" in source:
        return [space.parse(source)]
    path = Path(source)
    if not path.is_file():
        raise CgirError(f"{source}: neither a file nor a network as 'ks=..;e=..;d=..;r=224'")
    if path.suffix == ".parquet":
        table = tables.load(path)
        _check_space(path, table.space, space)
        return _chosen(_history(path, table), best) if best is not None else list(map(space.parse, table.spec_strings))
    if path.suffix == ".jsonl":
        history = History.load(path)
        _check_space(path, history.space, space)
        return _chosen(history, best) if best is not None else history.specs
    return _lines(path, space)


def _lines(path: Path, space: OfaMobileNetV3) -> list[Spec]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CgirError(f"{path}: cannot be read as lines of text ({one_line(error, 80)})") from error
    return [_line(f"{path}: line {index}", line, space) for index, line in enumerate(lines, 1) if line.strip()]


def _line(where: str, line: str, space: OfaMobileNetV3) -> Spec:
    try:
        return space.parse(line)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error


def _chosen(history: History, best: int) -> list[Spec]:
    return [history.specs[row] for row in history.top(best)]


def _history(path: Path, table: tables.Table) -> History:
    """The search whose `History.table` this is, as far as choosing the best needs it."""
    try:
        config = table.metadata["search"]
        objectives = parse_objectives(config["objectives"])
        limits, _ = parse_limits([limit for limit in config["limits"] if not limit.startswith(RULE)])
        assert table.space is not None
        history = History(table.space, config, objectives, limits)
    except (CgirError, KeyError, TypeError, AttributeError) as error:
        raise CgirError(f"{path}: labels, not the history of a search, of which --best takes the best") from error
    columns = {name: table[name].tolist() for name in table.metrics}
    for row, spec in enumerate(table.specs):
        values = {name: column[row] for name, column in columns.items()}
        predicted = {
            name.removeprefix(PREDICTED): value for name, value in values.items() if name.startswith(PREDICTED)
        }
        history.rows.append(Row(spec, 0, predicted, {}, values))
    return history


def _check_space(path: Path, found: spaces.Space[Any] | None, space: OfaMobileNetV3) -> None:
    """A network of other widths is another one than what the supernet has under its string."""
    if not isinstance(found, OfaMobileNetV3):
        raise CgirError(f"{path}: networks of {found.name if found else 'several spaces'}; expected ofa_mbv3")
    if (found.width, found.widths) != (space.width, space.widths):
        raise CgirError(
            f"{path}: networks of width {found.width:g} of {found.widths}, the supernet's is {space.width:g} of "
            f"{space.widths}; to measure the same strings there, give them as a text file"
        )
