"""Shapley values against the mean over all orders of the players, and the axioms that define them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from cgir.errors import CgirError
from search.one_shot.shapley import shapley_values


@pytest.mark.parametrize("players", range(6))
def test_equals_the_mean_over_all_orders(players: int) -> None:
    values = np.random.default_rng(players).normal(size=2**players)
    totals, orders = np.zeros(players), list(permutations(range(players)))
    for order in orders:
        coalition = 0
        for player in order:
            totals[player] += values[coalition | 1 << player] - values[coalition]
            coalition |= 1 << player
    found = shapley_values(values)
    np.testing.assert_allclose(found, totals / len(orders), atol=1e-12)
    np.testing.assert_allclose(found.sum(), values[-1] - values[0], atol=1e-12)


def test_equal_players_get_the_same_and_a_dummy_what_it_brings() -> None:
    rng = np.random.default_rng(0)
    by_count = rng.normal(size=4)  # of the first three players only the number counts; the fourth always adds 0.7
    values = np.array([by_count[(s & 7).bit_count()] + 0.7 * (s >> 3) for s in range(16)])
    found = shapley_values(values)
    np.testing.assert_allclose(found[:3], (by_count[3] - by_count[0]) / 3, atol=1e-12)
    np.testing.assert_allclose(found[3], 0.7, atol=1e-12)


def test_adds_up_over_games() -> None:
    one, other = np.random.default_rng(1).normal(size=(2, 32))
    np.testing.assert_allclose(
        shapley_values(2 * one + other), 2 * shapley_values(one) + shapley_values(other), atol=1e-12
    )


@pytest.mark.parametrize("count", [0, 3, 12])
def test_refuses_tables_of_another_length(count: int) -> None:
    with pytest.raises(CgirError, match=f"{count} values; expected one for each of the 2"):
        shapley_values(np.zeros(count))
