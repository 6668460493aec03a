"""Texts of strangers: a spec of the space, which is written and read again, or `SpecError`."""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import NAMES

import cgir
from frontends import spaces

# digits of other alphabets, which `int` and `str.isdigit` accept or do not, and what JSON and literals are made of
PIECES = (
    "\u0663", "\u00b2", "\u0967", "1_0", "+1", "-1", "1e9", "NaN", "Infinity", "\0", "\u2028", "\ud800", "9" * 5000,
    "[", "{", "|", "+", "~0", ":", ";", "=", ",", "-", "_", " ", '"', "none", "()", "range(2, 4)", "\\ud800",
)  # fmt: skip


def refusal(space: spaces.Space[Any], text: Any) -> str:
    """The error; empty for a spec, which reads back."""
    try:
        spec = space.parse(text)
    except cgir.SpecError as error:
        return str(error)
    assert space.parse(space.format(spec)) == spec
    return ""


changes_of_text = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(PIECES) | st.text(max_size=3), st.integers(0, 3)), max_size=4
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 99), changes=changes_of_text)
def test_changed_texts_are_specs_or_refused(name: str, seed: int, changes: list[tuple[float, str, int]]) -> None:
    space = spaces.get(name)
    text = space.format(space.sample(np.random.default_rng(seed)))
    for place, piece, removed in changes:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + removed :]
    said = refusal(space, text)
    assert len(said) <= 500
    assert said.isprintable()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(
    text=st.none() | st.integers() | st.floats() | st.binary() | st.lists(st.text()) | st.tuples(st.text()) | st.text()
)
def test_other_values_are_refused(name: str, text: Any) -> None:
    said = refusal(spaces.get(name), text)
    assert len(said) <= 500
    assert said.isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_huge_texts_are_refused_soon(name: str) -> None:
    space = spaces.get(name)
    start = process_time()
    for piece in (*PIECES, "[[", '{"a":', "((", space.format(space.sample(np.random.default_rng(0)))):
        with pytest.raises(cgir.SpecError):
            space.parse(piece * (200_000 // len(piece)))
    assert process_time() - start < 5


@pytest.mark.parametrize("name", NAMES)
def test_digits_of_other_alphabets_are_none(name: str) -> None:
    space = spaces.get(name)
    text = space.format(space.sample(np.random.default_rng(1)))
    found = [place for place, letter in enumerate(text) if letter in "0123456789"][:20]
    for place in found:
        for zero in (0x660, 0x966, 0xFF10):
            changed = text[:place] + chr(zero + int(text[place])) + text[place + 1 :]
            with pytest.raises(cgir.SpecError):
                space.parse(changed)
