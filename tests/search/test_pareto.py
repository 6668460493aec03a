"""Fronts, ranks, crowding and hypervolume against moocore and pymoo, and against what must not change them."""

from __future__ import annotations

import time
from itertools import pairwise

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.operators.survival.rank_and_crowding.metrics import FunctionalDiversity, calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from cgir.errors import CgirError
from cgir.typing import FloatArray
from search.pareto import best_first, contributions, crowding_distances, front, hypervolume, non_dominated_ranks

OBJECTIVES = (1, 2, 3, 4, 5)
# Few different numbers: ties, duplicates and points on the reference are common.
grids = st.integers(1, 4).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(0, 12), st.just(m)), elements=st.integers(-1, 4).map(float))
)


def points(objectives: int, count: int = 40, seed: int = 0) -> FloatArray:
    return np.random.default_rng((seed, objectives)).random((count, objectives))


def of_moocore(values: FloatArray, reference: float) -> float:
    if not len(values):
        return 0.0
    return float(moocore.hypervolume(values, np.full(values.shape[1], reference), maximise=True))


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_front_is_that_of_moocore(objectives: int) -> None:
    values = points(objectives)
    assert front(values) == np.flatnonzero(moocore.is_nondominated(values, maximise=True)).tolist()
    maximise = [column % 2 == 0 for column in range(objectives)]
    expected = moocore.is_nondominated(values, maximise=maximise)
    assert front(values, maximise) == np.flatnonzero(expected).tolist()


@settings(deadline=None)
@given(grids)
def test_front_and_ranks_of_ties_and_duplicates(values: FloatArray) -> None:
    if len(values):
        assert front(values) == np.flatnonzero(moocore.is_nondominated(values, maximise=True)).tolist()
        expected = np.empty(len(values), np.int64)
        for rank, layer in enumerate(NonDominatedSorting().do(-values)):
            expected[layer] = rank
        assert non_dominated_ranks(values).tolist() == expected.tolist()
    else:
        assert front(values) == non_dominated_ranks(values).tolist() == []


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_ranks_are_those_of_moocore(objectives: int) -> None:
    values = points(objectives)
    assert non_dominated_ranks(values).tolist() == moocore.pareto_rank(values, maximise=True).tolist()


@pytest.mark.parametrize("objectives", [2, 3, 5])
def test_crowding_is_that_of_pymoo(objectives: int) -> None:
    values = points(objectives)
    values = values[front(values)]
    values = np.vstack([values, values[:1]])  # a duplicate does not crowd the first of its kind
    expected = FunctionalDiversity(calc_crowding_distance, filter_out_duplicates=True).do(-values)
    # pymoo divides by the number of objectives
    assert crowding_distances(values) / objectives == pytest.approx(expected)


@pytest.mark.parametrize("count", [2, 7, 10, 20, 28, 36])  # where pymoo draws no lot between the ends of a front
def test_the_best_are_those_that_survive_in_pymoo(count: int) -> None:
    values = points(2)
    survivors = RankAndCrowding().do(Problem(n_obj=2), Population.new(F=-values), n_survive=count)
    assert sorted(map(tuple, values[best_first(values)[:count]])) == sorted(map(tuple, -survivors.get("F")))
    assert best_first(values[:, :1]).tolist() == sorted(range(40), key=lambda row: -values[row, 0])


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_hypervolume_is_that_of_moocore(objectives: int) -> None:
    values = points(objectives)
    reference = np.full(objectives, 0.25)
    expected = moocore.hypervolume(values, reference, maximise=True)
    assert hypervolume(values, reference) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("objectives", "count"), [(2, 600), (3, 600), (4, 60), (5, 25)])
def test_hypervolume_of_large_fronts(objectives: int, count: int) -> None:
    values = np.abs(np.random.default_rng(objectives).normal(size=(count, objectives)))
    values /= np.linalg.norm(values, axis=1, keepdims=True)  # on a sphere none dominates another
    assert len(front(values)) == count
    expected = moocore.hypervolume(values, np.zeros(objectives), maximise=True)
    assert hypervolume(values, np.zeros(objectives)) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(grids)
def test_hypervolume_of_ties_and_duplicates(values: FloatArray) -> None:
    assert hypervolume(values, np.zeros(values.shape[1])) == pytest.approx(of_moocore(values, 0.0), rel=1e-12)


@settings(deadline=None)
@given(grids, st.randoms(use_true_random=False))
def test_order_changes_nothing(values: FloatArray, random: object) -> None:
    order = np.random.default_rng(random.randrange(1000)).permutation(len(values))  # type: ignore[attr-defined]
    reference = np.zeros(values.shape[1])
    shuffled = values[order]
    assert hypervolume(shuffled, reference) == hypervolume(values, reference)
    assert non_dominated_ranks(shuffled).tolist() == non_dominated_ranks(values)[order].tolist()
    assert sorted(map(tuple, shuffled[front(shuffled)])) == sorted(map(tuple, values[front(values)]))
    assert sorted(crowding_distances(shuffled)) == sorted(crowding_distances(values))


@settings(deadline=None)
@given(grids)
def test_dominated_points_change_nothing_and_others_add(values: FloatArray) -> None:
    reference = np.full(values.shape[1], -2.0)
    volume = hypervolume(values, reference)
    assert hypervolume(np.vstack([values, values - 0.5]), reference) == volume
    assert front(np.vstack([values, values - 0.5])) == front(values)
    steps = [hypervolume(values[:count], reference) for count in range(len(values) + 1)]
    assert all(more >= less - 1e-9 for less, more in pairwise(steps))
    best = np.full((1, values.shape[1]), 5.0)
    assert hypervolume(np.vstack([values, best]), reference) == pytest.approx(7.0 ** values.shape[1], rel=1e-12)


@settings(deadline=None)
@given(grids)
def test_contributions_are_differences(values: FloatArray) -> None:
    reference = np.zeros(values.shape[1])
    candidates = np.vstack([values + 0.5, values - 0.5, values[:, ::-1], np.full((1, values.shape[1]), np.nan)])
    found = contributions(values, candidates, reference)
    volume = of_moocore(values, 0.0)
    expected = [of_moocore(np.vstack([values, row[None]]), 0.0) - volume for row in candidates[:-1]]
    assert found[:-1] == pytest.approx(np.asarray(expected), rel=1e-9, abs=1e-9)
    assert found[-1] == 0
    assert (contributions(values, values, reference) == 0).all()


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_contributions_to_a_front(objectives: int) -> None:
    values, candidates, reference = points(objectives), points(objectives, 20, seed=1), np.full(objectives, 0.25)
    volume = moocore.hypervolume(values, reference, maximise=True)
    expected = [moocore.hypervolume(np.vstack([values, row]), reference, maximise=True) - volume for row in candidates]
    assert contributions(values, candidates, reference) == pytest.approx(np.asarray(expected), rel=1e-9, abs=1e-12)


def test_contributions_of_many_candidates_take_milliseconds() -> None:
    x = np.linspace(0.01, 0.99, 50)
    values, candidates = np.stack([x, 1 - x], axis=1), points(2, 200)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        contributions(values, candidates, [0.0, 0.0])
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.005


def test_networks_that_failed_are_on_no_front() -> None:
    values = np.array([[1.0, 2.0], [np.nan, 9.0], [2.0, 1.0], [np.inf, 0.0], [0.0, 0.0], [np.nan, np.nan]])
    assert front(values) == [0, 2]
    assert non_dominated_ranks(values).tolist() == [0, 2, 0, 2, 1, 2]
    assert crowding_distances(values[[0, 1, 2, 3]]).tolist() == [np.inf, 0, np.inf, 0]
    assert hypervolume(values, [0, 0]) == 3
    assert contributions(values, values, [-1, -1]).tolist() == [0] * 6
    assert front(np.full((3, 2), np.nan)) == []
    assert hypervolume(np.full((3, 2), np.nan), [0, 0]) == 0


def test_nothing_and_one_point() -> None:
    for empty in ([], np.zeros((0, 2)), np.zeros((0, 3))):
        assert front(empty) == non_dominated_ranks(empty).tolist() == crowding_distances(empty).tolist() == []
        assert hypervolume(empty, [0, 0]) == 0
        assert contributions(empty, [[2.0, 3.0], [2.0, 0.0]], [0, 0]).tolist() == [6, 0]
    assert contributions([[1.0, 1.0]], [], [0, 0]).tolist() == []
    assert front([[1.0, 2.0]]) == non_dominated_ranks([[1.0, 2.0]]).tolist() + crowding_distances([]).tolist() == [0]
    assert crowding_distances([[1.0, 2.0]]).tolist() == [np.inf]
    assert hypervolume([[1.0, 2.0]], [0, 0]) == 2


def test_points_on_the_reference_add_nothing() -> None:
    assert hypervolume([[0.0, 5.0], [5.0, 0.0], [-1.0, 9.0]], [0, 0]) == 0
    assert hypervolume([[0.0, 5.0, 1.0], [1.0, 1.0, 1.0]], [0, 0, 0]) == 1


def test_of_equal_points_the_first_is_kept() -> None:
    assert front([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [-0.0, 0.0]]) == [1, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: front([1.0, 2.0]), r"shape \(2,\)"),
        (lambda: front([[1.0, 2.0]], [True]), "1 directions for 2 objectives"),
        (lambda: hypervolume([[1.0, 2.0]], [0.0]), "values of 2 objectives, a reference of 1"),
        (lambda: hypervolume([[1.0, 2.0]], [0.0, np.nan]), "the reference is .* finite"),
        (lambda: contributions([[1.0, 2.0, 3.0]], [[1.0, 2.0]], [0, 0]), "values of 3 objectives, a reference of 2"),
    ],
)
def test_bad_input_is_refused_in_one_line(call: object, message: str) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
