"""Metrics against pair counting, and what they do with ties and bad input."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgir.errors import LabelError
from encoders.metrics import kendall_tau, precision_at_k, regret_at_k, spearman

pairs = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12).filter(
    lambda p: len({y for _, y in p}) > 1
)


def naive_tau_b(p, y):
    signs = [(np.sign(p[i] - p[j]), np.sign(y[i] - y[j])) for i, j in combinations(range(len(p)), 2)]
    untied_p, untied_y = sum(a != 0 for a, _ in signs), sum(b != 0 for _, b in signs)
    return sum(a * b for a, b in signs) / np.sqrt(untied_p * untied_y) if untied_p else 0.0


@given(pairs)
def test_kendall_tau_counts_pairs(values):
    p, y = np.asarray(values, float).T
    assert kendall_tau(p, y) == pytest.approx(naive_tau_b(p, y), abs=1e-12)


@given(pairs)
def test_spearman_is_the_correlation_of_mean_ranks(values):
    p, y = np.asarray(values, float).T
    mean_rank = lambda v: [(v < x).sum() + (v == x).sum() / 2 for x in v]  # noqa: E731
    expected = np.corrcoef(mean_rank(p), mean_rank(y))[0, 1] if len(set(p)) > 1 else 0.0
    assert spearman(p, y) == pytest.approx(expected, abs=1e-12)


def test_precision_averages_over_ways_to_break_ties():
    p, y, k = np.asarray([2.0, 1, 1, 1, 0]), np.asarray([5.0, 3, 4, 4, 9]), 2

    def tops(v):
        return [set(order[:k]) for order in permutations(range(5)) if all(v[a] >= v[b] for a, b in pairwise(order))]

    expected = np.mean([len(a & b) / k for a in tops(p) for b in tops(y)])
    assert precision_at_k(p, y, k) == pytest.approx(expected)


def test_regret_is_zero_only_if_a_best_one_is_surely_chosen():
    y = np.asarray([90.0, 94, 92, 10])
    assert regret_at_k([1, 4, 3, 2], y, 1) == 0
    assert regret_at_k([4, 1, 3, 2], y, 2) == 2
    assert regret_at_k([1, 1, 1, 1], y, 1) == 84


def test_perfect_and_reversed_rankings():
    y = np.random.default_rng(0).normal(size=50)
    for score in (kendall_tau, spearman):
        assert score(y**3, y) == pytest.approx(1)
        assert score(-y, y) == pytest.approx(-1)
    assert precision_at_k(y, y, 7) == 1


@pytest.mark.parametrize(
    ("p", "y"), [([1, 2], [1, np.nan]), ([np.inf, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1], [1]), ([1, 2], [3, 3])]
)
def test_bad_values_are_named(p, y):
    for metric in (kendall_tau, spearman, lambda a, b: precision_at_k(a, b, 1), lambda a, b: regret_at_k(a, b, 1)):
        with pytest.raises(LabelError, match="metrics"):
            metric(p, y)


@pytest.mark.parametrize("k", [0, 3])
def test_k_must_fit(k):
    with pytest.raises(LabelError, match=f"k={k}"):
        precision_at_k([1, 2], [1, 2], k)
