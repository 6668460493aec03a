"""Crossover takes every choice of a child from one of its parents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from space_checks import NAMES, small

from cgir.errors import SpecError
from frontends.spaces.mbconv.ofa_mbv3 import canonical

WITHOUT = {"nasbench101", "nasbench1shot1", "nasbench_nlp", "transnas_macro"}

ORDERED = ("nasnet", "ofa_mbv3", "nasbench_graph")  # these order or canonicalise: see below


def leaves(spec: Any) -> list[Any]:
    """Choices in order."""
    return [leaf for part in spec for leaf in leaves(part)] if isinstance(spec, tuple) else [spec]


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT))
def test_every_choice_is_one_of_a_parent(name: str) -> None:
    space, rng = small(name), np.random.default_rng(0)
    mixed, few = 0, len(leaves(space.sample(rng))) < 4  # of which a half or a quarter of the children take all from one
    for _ in range(30):
        first, second = space.sample(rng), space.sample(rng)
        child = space.crossover(first, second, rng)
        assert space.parse(space.format(child)) == child
        if name not in (*ORDERED, "naap440", "metaqnn"):  # those differ in length
            parents = zip(leaves(child), leaves(first), leaves(second), strict=True)
            assert all(leaf in (a, b) for leaf, a, b in parents)
        mixed += child not in (first, second)
        assert space.crossover(first, first, rng) == first
    assert mixed > (8 if few else 20)


def test_stages_of_once_for_all_stay_together() -> None:
    space, rng = small("ofa_mbv3"), np.random.default_rng(1)
    for _ in range(30):
        first, second = (canonical(space.sample(rng)) for _ in range(2))
        child = space.crossover(first, second, rng)
        assert canonical(child) == child
        for stage in range(5):
            span = slice(4 * stage, 4 * stage + 4)
            parts = [(spec.ks[span], spec.e[span], spec.d[stage]) for spec in (child, first, second)]
            assert parts[0] in parts[1:]


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_other_spaces_say_so(name: str) -> None:
    space, rng = small(name), np.random.default_rng(0)
    with pytest.raises(SpecError, match="cannot be crossed"):
        space.crossover(space.sample(rng), space.sample(rng), rng)
