"""Specs that are sequences of choices: check of what a string names, mutation of one position, and crossover."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

import numpy as np

from cgir.errors import SpecError

LONGEST = 10_000  # characters of a spec
C = TypeVar("C")


def check_text(text: object, space: str, longest: int = LONGEST) -> str:
    """Refuse what is no text, or is longer than any spec; return the text.

    Args:
        text: what is to be parsed.
        space: name of the search space.
        longest: characters.

    Raises:
        SpecError: it is one of these.
    """
    if not isinstance(text, str):
        raise SpecError(f"{space}: a spec is a text, found {type(text).__name__}")
    if len(text) > longest:
        raise SpecError(f"{space}: {text[:40]!r} ... has {len(text):,} characters; expected at most {longest:,}")
    return text


def check_choices(source: str, words: Iterable[str], choices: Collection[str], what: str, space: str) -> None:
    """Refuse a string that names something which is not in the space.

    Args:
        source: the whole string, as shown in the error.
        words: the parts of it that name choices, in order.
        choices: what each of them may be.
        what: what one part is called in the error ("edge", "digit").
        space: name of the search space.

    Raises:
        SpecError: a part is not one of the choices; names its position, counted from 0.
    """
    for position, word in enumerate(words):
        if word not in choices:
            raise SpecError(
                f"{space}: {what} {position} of {source!r} is {word!r}; expected one of {', '.join(choices)}"
            )


def resample(values: tuple[C, ...], position: int, choices: Sequence[C], rng: np.random.Generator) -> tuple[C, ...]:
    """The values with another choice at one position, drawn uniformly.

    Args:
        values: one choice per position.
        position: which of them changes.
        choices: what it may become; the present one is not drawn.
        rng: source of randomness; one draw.
    """
    others = [choice for choice in choices if choice != values[position]]
    return (*values[:position], others[int(rng.integers(len(others)))], *values[position + 1 :])


def uniform_crossover(first: tuple[C, ...], second: tuple[C, ...], rng: np.random.Generator) -> tuple[C, ...]:
    """Each position from one of two specs of equal length, with equal probability (Syswerda 1989).

    Args:
        first: one choice per position.
        second: as many.
        rng: source of randomness.
    """
    takes = rng.random(len(first)) < 0.5
    return tuple(a if take else b for a, b, take in zip(first, second, takes, strict=True))
