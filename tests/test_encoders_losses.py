"""Ranking losses against double loops over the definition."""

from math import exp, log

import numpy as np
import pytest
import torch

from encoders.losses import hinge, logistic, mse
from encoders.training import balanced, cosine, epochs

RNG = np.random.default_rng(0)
SCORES = torch.from_numpy(RNG.normal(size=9)).requires_grad_()
LABELS = torch.from_numpy(RNG.integers(0, 4, 9).astype(float))  # with ties


def naive(pair_cost):
    costs = [pair_cost((SCORES[i] - SCORES[j]).item()) for i in range(9) for j in range(9) if LABELS[i] > LABELS[j]]
    return sum(costs) / len(costs)


@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_hinge(margin):
    assert hinge(SCORES, LABELS, margin).item() == pytest.approx(naive(lambda d: max(0.0, margin - d)))


def test_logistic():
    assert logistic(SCORES, LABELS).item() == pytest.approx(naive(lambda d: log(1 + exp(-d))))


def test_mse():
    assert mse(SCORES, LABELS).item() == pytest.approx(((SCORES - LABELS) ** 2).mean().item())


@pytest.mark.parametrize("loss", [hinge, logistic])
def test_only_the_order_of_labels_counts_and_ties_teach_nothing(loss):
    assert loss(SCORES, LABELS.exp()).item() == pytest.approx(loss(SCORES, LABELS).item())
    tied = loss(SCORES, torch.zeros(9))
    assert tied.item() == 0
    assert torch.autograd.grad(tied, SCORES)[0].abs().max() == 0
    assert torch.autograd.gradcheck(lambda s: loss(s, LABELS), (SCORES,))


def test_hinge_vanishes_exactly_beyond_the_margin():
    labels = torch.arange(4.0)
    assert hinge(0.11 * labels, labels) == 0
    assert hinge(0.09 * labels, labels) > 0


def test_epochs_visit_everything_equally_and_never_alone():
    for n in (2, 5, 33):
        draws = list(epochs(n, 4, 3, np.random.default_rng(0)))
        assert min(map(len, draws)) >= min(n, 4)
        assert np.bincount(np.concatenate(draws)).tolist() == [3] * n


def test_balanced_draws_are_as_large_from_small_families():
    for groups in balanced([100, 3, 9], 5, 4, np.random.default_rng(0)):
        assert [len(group) for group in groups] == [5, 3, 5]
        assert all(len(set(group)) == len(group) for group in groups)
        assert set(groups[1]) == {100, 101, 102}
        assert groups[2].min() >= 103
        assert groups[2].max() < 112


def test_cosine_falls_from_one_towards_zero():
    factors = [cosine(step, 10) for step in range(10)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.03
