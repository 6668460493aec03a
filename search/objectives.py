"""What a search looks for: objectives and limits as text, costs that come from the graph, answers of an oracle."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, SupportsFloat

import numpy as np

from cgir.analysis.batch_costs import batch_flops, batch_params, peak_activation_bytes
from cgir.errors import CgirError
from cgir.graph_batch import GraphBatch
from cgir.typing import BoolArray, FloatArray

# What the graph tells at once and an oracle is never asked: per example, a multiply-add as 2 FLOPs, memory in bytes.
COSTS: dict[str, Callable[[GraphBatch], FloatArray]] = {
    "flops": batch_flops,
    "params": batch_params,
    "memory": peak_activation_bytes,
}
RELATIONS: dict[str, Callable[[FloatArray, float], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
SUFFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
NAME = r"[^\W\d][\w./:@-]*"
OBJECTIVE = re.compile(rf"([+-]?)({NAME})")
LIMIT = re.compile(rf"\s*({NAME})\s*(<=?|>=?)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kMG]?)\s*")
Rule = Callable[[Any], bool]
RESERVED = ("spec", "generation", "asked", "error")  # columns of `History.table()`, and all that begin with PREDICTED
PREDICTED = "predicted_"


@dataclass(frozen=True)
class Objective:
    """A number that a search makes large, or small; `name` is the oracle's, or one of `COSTS`."""

    name: str
    maximise: bool = True

    @property
    def sign(self) -> int:
        """1 where more is better, else -1: times this, higher is better."""
        return 1 if self.maximise else -1

    @property
    def from_graph(self) -> bool:
        """Whether the graph tells it, so that the oracle is not asked."""
        return self.name in COSTS

    @property
    def text(self) -> str:
        """As `parse_objectives` reads it: "accuracy", "-flops"."""
        return self.name if self.maximise else f"-{self.name}"


@dataclass(frozen=True)
class Limit:
    """A number that networks must keep to, such as flops < 3e8; `relation` is one of `RELATIONS`."""

    name: str
    relation: str
    bound: float

    @property
    def text(self) -> str:
        """As `parse_limits` reads it, one text for one limit: "flops<300000000"."""
        return f"{self.name}{self.relation}{repr(self.bound).removesuffix('.0')}"

    @property
    def from_graph(self) -> bool:
        """Whether the graph tells the number, so that a network can be refused before the oracle is asked."""
        return self.name in COSTS

    def holds(self, values: FloatArray) -> BoolArray:
        """Which of the numbers (N,) keep to it; NaN does not."""
        kept: BoolArray = RELATIONS[self.relation](np.asarray(values, np.float64), self.bound)
        return kept


def parse_objectives(objectives: str | Sequence[str]) -> tuple[Objective, ...]:
    """Objectives from text: "accuracy" is to be large, "-latency_ms" small; a sign "+" changes nothing.

    Raises:
        CgirError: there is none, one stands twice, or a text is no name.
    """
    texts = [objectives] if isinstance(objectives, str) else _listed(objectives, "objectives", "accuracy")
    if not texts:
        raise CgirError('objectives: there is none; expected names such as "accuracy" or ["accuracy", "-flops"]')
    found = tuple(map(_objective, texts))
    names = [objective.name for objective in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise CgirError(f"objectives: {twice[0]} stands {names.count(twice[0])} times in {texts}; name it once")
    return found


def parse_limits(limits: str | Rule | Sequence[str | Rule]) -> tuple[tuple[Limit, ...], tuple[Rule, ...]]:
    """Limits from text, such as "flops<300e6", "params <= 5M" (k, M or G) and "accuracy>70", and functions of specs.

    Returns:
        The limits, and the functions spec -> whether it may be queried, both in their order.

    Raises:
        CgirError: a text is no limit, or two contradict each other.
    """
    single = isinstance(limits, str) or callable(limits)
    given = [limits] if single else _listed(limits, "limits", "flops<300e6")
    found = tuple(_limit(limit) for limit in given if not callable(limit))
    for limit in found:
        for other in found:
            if _contradict(limit, other):
                raise CgirError(f"limits: {limit.text} and {other.text} contradict each other: no number is both")
    return found, tuple(rule for rule in given if callable(rule))


def asked(objectives: Sequence[Objective], limits: Sequence[Limit] = ()) -> tuple[str, ...]:
    """Names that only the oracle can give, in order, those of objectives first."""
    return tuple(name for name in _names(objectives, limits) if name not in COSTS)


def costs(objectives: Sequence[Objective], limits: Sequence[Limit] = ()) -> tuple[str, ...]:
    """Names that the graph gives, in order, those of objectives first."""
    return tuple(name for name in _names(objectives, limits) if name in COSTS)


def check_answer(answer: Any, names: Sequence[str]) -> dict[str, float]:
    """What an oracle answered, as numbers by name; NaN where a network failed, also for infinities.

    Args:
        answer: a number, where one name is asked, or a mapping that has all names; scalars of NumPy and of frameworks
            are numbers, truth values are none.
        names: that are asked.

    Returns:
        The asked names in their order, and behind them whatever else in the mapping is a number.

    Raises:
        CgirError: an asked name is missing, or its answer is no number.
    """
    if not isinstance(answer, Mapping):
        if len(names) != 1:
            raise CgirError(
                f"the oracle answered {_shown(answer)}, but {_several(names)} are asked; "
                "expected a mapping from each of these names to a number, NaN where a network failed"
            )
        answer = {names[0]: answer}
    if missing := [name for name in names if name not in answer]:
        raise CgirError(
            f"an objective nobody computes: the oracle answered {_several(map(str, answer))}, but {_several(names)} "
            f"{'is' if len(names) == 1 else 'are'} asked, and {_several(missing)} is missing"
        )
    numbers = {name: _number(answer[name]) for name in names}
    for name, value in numbers.items():
        if value is None:
            raise CgirError(
                f"the oracle answered {_shown(answer[name])} for {name}; expected a number, NaN where a network failed"
            )
    numbers |= {str(name): _number(value) for name, value in answer.items() if name not in names}
    return {name: value for name, value in numbers.items() if value is not None}


def _number(value: Any) -> float | None:
    """As a float, infinities as NaN; None where it is no number."""
    try:
        value = value.item() if hasattr(value, "item") else value  # of arrays and tensors with one element
        if isinstance(value, bool) or not isinstance(value, SupportsFloat):
            return None
        number = float(value)
    except OverflowError:
        return nan
    except Exception:  # more than one element, or whatever its own methods raise
        return None
    return number if isfinite(number) else nan


def is_reserved(name: str) -> bool:
    """Whether the table of a search has a column of its own with this name."""
    return name in RESERVED or name.startswith(PREDICTED)


def _free(name: str, what: str) -> str:
    if is_reserved(name):
        raise CgirError(f"{what}: {name} is a column of a search's table with another meaning; use another name")
    if name not in COSTS and name.lower() in COSTS:  # the oracle's answer would be taken for it
        raise CgirError(f"{what}: {name!r} is spelled {name.lower()!r}, a cost of the graph, which no oracle is asked")
    return name


def _objective(text: Any) -> Objective:
    match = OBJECTIVE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise CgirError(
            f'objectives: {_shown(text)} is no objective; expected a name such as "accuracy", or "-flops" where less '
            "is better, and a list of them where there are several"
        )
    return Objective(_free(match[2], "objectives"), match[1] != "-")


def _limit(text: Any) -> Limit:
    match = LIMIT.fullmatch(text) if isinstance(text, str) else None
    bound = float(match[3]) * SUFFIXES[match[4]] if match else nan
    if match is None or not isfinite(bound):
        raise CgirError(
            f"limits: {_shown(text)} is no limit; expected a name, one of {' '.join(RELATIONS)} and a number, as in "
            '"flops<300e6" or "params <= 5M" (k, M or G), or a function spec -> bool'
        )
    return Limit(_free(match[1], "limits"), match[2], bound)


def _contradict(upper: Limit, lower: Limit) -> bool:
    if upper.name != lower.name or ">" in upper.relation or "<" in lower.relation:
        return False
    both_closed = "=" in upper.relation and "=" in lower.relation
    return lower.bound > upper.bound or (lower.bound == upper.bound and not both_closed)


def _names(objectives: Sequence[Objective], limits: Sequence[Limit]) -> dict[str, None]:
    return dict.fromkeys([*(objective.name for objective in objectives), *(limit.name for limit in limits)])


def _listed(items: Any, what: str, example: str) -> list[Any]:
    if isinstance(items, Mapping) or not isinstance(items, Sequence):
        raise CgirError(f'{what}: found {_shown(items)}; expected text such as "{example}", or a list of such texts')
    return list(items)


def _several(names: Any) -> str:
    return ", ".join(names) or "nothing"


def _shown(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # its own __repr__ raises
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]} ..."
