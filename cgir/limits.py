"""Limits of what a file or model may take, so that a small hostile file cannot fill the memory or run for ever."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from .errors import CgirError, LimitError


@dataclass(frozen=True)
class Limits:
    """What one file or model may take before it is refused; raise a limit for a file that you trust.

    Attributes:
        nodes: nodes of a graph once its functions are expanded, or objects of a file.
        bytes: memory that a file claims beyond its own size: members of archives, weights of a configuration.
        depth: functions in functions, graphs in graphs, lists in lists.
        seconds: of a step whose effort nobody knows in advance.

    Raises:
        CgirError: a limit is not a positive number.
    """

    nodes: int = 1_000_000
    bytes: int = 2 << 30
    depth: int = 100
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise CgirError(f"limits: {name} is {value!r}, expected a positive number")

    def check(self, name: str, found: float, where: str) -> None:
        """Raise LimitError if `found` is beyond the limit.

        Args:
            name: of the limit.
            found: what the file would take.
            where: file and place, the start of the message.
        """
        if found > (limit := getattr(self, name)):
            raise LimitError(
                f"{where}: takes {_shown(found)} {name}, more than the limit of {_shown(limit)}; if you trust it, "
                f"allow more (limits=Limits({name}=...), or --limits {name}=... on the command line)"
            )

    def changed(self, text: str) -> Self:
        """These limits with those in a text such as "nodes=5e6,seconds=300".

        Raises:
            CgirError: it names no limit, or a value is not a positive number.
        """
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in LIMITS:
                raise CgirError(f"{part!r} names no limit; expected NAME=NUMBER with a name of {', '.join(LIMITS)}")
            try:
                number = float(value)
            except ValueError:
                number = 0.0
            if not (0 < number < float("inf") and (name == "seconds" or number.is_integer())):
                raise CgirError(f"{name} is {value!r}, expected a positive number such as {getattr(DEFAULT, name)}")
            values[name] = number if name == "seconds" else int(number)
        return replace(self, **values)


LIMITS = tuple(field.name for field in fields(Limits))
DEFAULT = Limits()


def _shown(number: float) -> str:
    if number < 1e15:
        return f"{number:,}"
    return f"{number:.1e}" if number < 1e300 else "more than 1e300"  # of an int as large, there is no float
