"""Losses against loops over the papers' formulas."""

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.training.losses import LOSSES, hinge, listmle, logistic, mse, warp

RANKING = [hinge, logistic, listmle, warp]
# scores are multiples of 1/64 so that a shift changes no difference by rounding, which would move pairs across the
# margin; few labels, so that they tie
LISTS = st.lists(st.tuples(st.integers(-300, 300), st.integers(0, 4)), min_size=1, max_size=12)


def tensors(pairs):
    scores = torch.tensor([score / 64 for score, _ in pairs], dtype=torch.float64, requires_grad=True)
    return scores, torch.tensor([float(label) for _, label in pairs], dtype=torch.float64)


def gradient(loss, scores, labels):
    return torch.autograd.grad(loss(scores, labels), scores)[0]


def naive_pairs(s, y, cost):
    costs = [cost(s[i] - s[j]) for i in range(len(s)) for j in range(len(s)) if y[i] > y[j]]
    return sum(costs) / len(costs) if costs else 0.0


def naive_hinge(s, y):
    return naive_pairs(s, y, lambda d: max(0.0, 0.1 - d))


def naive_logistic(s, y):
    return naive_pairs(s, y, lambda d: log(1 + exp(-d)))


def naive_listmle(s, y):
    """Each graph drawn first from a bag of itself and all that are worse."""
    terms = [
        -log(exp(s[i]) / sum(exp(s[j]) for j in range(len(s)) if j == i or y[j] < y[i]))
        for i in range(len(s))
        if min(y) < y[i]
    ]
    return sum(terms) / len(terms) if terms else 0.0


def naive_warp(s, y):
    terms = []
    for i in range(len(s)):
        negatives = [j for j in range(len(s)) if y[j] < y[i]]
        rank = sum(0.1 + s[j] > s[i] for j in negatives)
        weight = sum(1 / k for k in range(1, rank + 1))
        if negatives:
            terms.append(sum(weight * max(0.0, 0.1 - s[i] + s[j]) / rank for j in negatives) if rank else 0.0)
    return sum(terms) / len(terms) if terms else 0.0


NAIVE = {hinge: naive_hinge, logistic: naive_logistic, listmle: naive_listmle, warp: naive_warp}


@pytest.mark.parametrize("loss", RANKING)
@given(pairs=LISTS)
@settings(deadline=None)
def test_ranking_losses_are_the_loops_over_their_formulas(loss, pairs):
    scores, labels = tensors(pairs)
    value = loss(scores, labels).item()
    assert value == pytest.approx(NAIVE[loss](scores.tolist(), labels.tolist()), abs=1e-12)
    assert loss(scores.float(), labels.float()).item() == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_mse():
    scores, labels = tensors([(3, 1), (-20, 0), (64, 2)])
    assert mse(scores, labels).item() == pytest.approx(((scores - labels) ** 2).mean().item())


@pytest.mark.parametrize("loss", RANKING)
@given(pairs=LISTS, shift=st.integers(-10_000, 10_000), data=st.data())
@settings(deadline=None)
def test_neither_the_place_in_the_batch_nor_a_shift_of_scores_nor_the_scale_of_labels_counts(loss, pairs, shift, data):
    scores, labels = tensors(pairs)
    order = data.draw(st.permutations(range(len(pairs))))
    value, slopes = loss(scores, labels).item(), gradient(loss, scores, labels)
    assert loss(scores[order], labels[order]).item() == pytest.approx(value)
    assert loss(scores + shift, labels).item() == pytest.approx(value)
    assert loss(scores, labels.exp()).item() == pytest.approx(value)
    assert slopes.isfinite().all()
    assert slopes.sum().item() == pytest.approx(0, abs=1e-12)


def likelihood(s, order):
    """Xia et al.'s loss of one given order."""
    return -sum(log(exp(s[order[i]]) / sum(exp(s[k]) for k in order[i:])) for i in range(len(s)))


def test_listmle_without_ties_is_the_likelihood_of_the_order():
    scores, labels = tensors([(30, 2), (-64, 4), (100, 0), (0, 3), (7, 1)])
    published = likelihood(scores.tolist(), [1, 3, 0, 4, 2])
    assert listmle(scores, labels).item() * 4 == pytest.approx(published)


def test_warp_by_hand():
    """The best has both others above itself, L(2) = 3/2; the middle one has one, L(1) = 1."""
    scores, labels = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([2.0, 1.0, 0.0])
    assert warp(scores, labels).item() == pytest.approx((1.5 / 2 * (1.1 + 2.1) + 1.1) / 2)
    assert warp(scores, labels, margin=1.0).item() == pytest.approx((1.5 / 2 * (2 + 3) + 2) / 2)


@pytest.mark.parametrize("loss", RANKING)
def test_the_gradient_is_that_of_the_formula(loss):
    scores, labels = tensors([(3, 1), (-20, 0), (64, 2), (65, 1), (-100, 3), (9, 3)])
    assert torch.autograd.gradcheck(lambda s: loss(s, labels), (scores,))
    assert gradient(loss, scores, labels)[4] < 0  # the best graph has the lowest score and has to rise


@pytest.mark.parametrize("loss", RANKING)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_equal_labels_and_single_graphs_teach_nothing(loss, size):
    scores = torch.linspace(-3, 3, size).requires_grad_()
    assert loss(scores, torch.full((size,), 0.7)).item() == 0
    assert gradient(loss, scores, torch.full((size,), 0.7)).abs().max() == 0


@pytest.mark.parametrize("loss", RANKING)
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_large_scores_overflow_nowhere(loss, scale):
    labels = torch.tensor([0.0, 1.0, 1.0, 3.0])
    for sign in (1, -1):
        scores = (sign * scale * torch.arange(4.0)).requires_grad_()
        value, slopes = loss(scores, labels), gradient(loss, scores, labels)
        assert value.isfinite()
        assert slopes.isfinite().all()
        if sign > 0:
            assert value == 0
            assert slopes.abs().max() == 0
        else:
            assert value > 0.1 * scale
            assert slopes[3] < 0 < slopes[0]


@pytest.mark.parametrize("loss", [hinge, warp])
def test_the_losses_with_a_margin_vanish_exactly_beyond_it(loss):
    labels = torch.arange(4.0)
    scores = (0.11 * labels).requires_grad_()
    assert loss(scores, labels) == 0
    assert gradient(loss, scores, labels).abs().max() == 0
    assert loss(0.09 * labels, labels) > 0


def test_losses_by_name():
    assert [LOSSES[name] for name in ("hinge", "logistic", "listmle", "warp", "mse")] == [
        hinge,
        logistic,
        listmle,
        warp,
        mse,
    ]
