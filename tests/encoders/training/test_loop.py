"""Steps and mini-batches that training takes."""

import numpy as np

from encoders.training.loop import Part, balanced, cosine_factor, epochs


def test_epochs_visit_everything_equally_and_never_alone():
    for n in (2, 5, 33):
        draws = list(epochs(n, 4, 3, np.random.default_rng(0)))
        assert min(map(len, draws)) >= min(n, 4)
        assert np.bincount(np.concatenate(draws)).tolist() == [3] * n


def test_balanced_draws_are_as_large_from_small_families():
    families = [[Part(0, 100)], [Part(100, 3, 1)], [Part(103, 9, 2)]]
    for drawn in balanced(families, 5, 4, np.random.default_rng(0)):
        groups = [group for group, _ in drawn]
        assert [column for _, column in drawn] == [0, 1, 2]
        assert [len(group) for group in groups] == [5, 3, 5]
        assert all(len(set(group)) == len(group) for group in groups)
        assert set(groups[1]) == {100, 101, 102}
        assert groups[2].min() >= 103
        assert groups[2].max() < 112


def test_parts_of_a_family_take_turns():
    draws = list(balanced([[Part(0, 10)], [Part(10, 10, 0), Part(20, 2, 1)]], 4, 400, np.random.default_rng(0)))
    assert all(len(drawn) == 2 and drawn[0][0].max() < 10 for drawn in draws)
    second = [(column, len(group), group.min() >= 20) for _, (group, column) in draws]
    assert set(second) == {(0, 4, False), (1, 2, True)}
    assert 160 < second.count((1, 2, True)) < 240


def test_cosine_falls_from_one_towards_zero():
    factors = [cosine_factor(step, 10) for step in range(10)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.03
