from __future__ import annotations

import copy
import math

import pytest
import torch
import zero_cost_naive_features as naive
from torch import nn
from torch.nn.functional import cross_entropy

from cgir.errors import CgirError
from search.zero_cost import score
from search.zero_cost.probe import MissingLayerError, Probe
from search.zero_cost.zico import inverse_variation, zico

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, TARGETS = torch.randn(7, 3, 8, 8, generator=GENERATOR), torch.randint(0, 5, (7,), generator=GENERATOR)


@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead_end"])
def test_equals_a_loop_over_weights(dead: bool) -> None:
    network = naive.Blocks(dead)
    expected = naive.zico(copy.deepcopy(network), IMAGES, TARGETS)
    assert zico(Probe(network, IMAGES, TARGETS)) == pytest.approx(expected, rel=1e-4)


def test_constant_gradients_add_nothing() -> None:
    varying = torch.tensor([[1.0, -3.0]]), torch.tensor([[-1.0, 1.0]])  # sizes 1, 1 and 3, 1: mean 2, deviation 1
    constant = torch.ones(3, 3), -torch.ones(3, 3)
    assert inverse_variation([varying, constant]) == pytest.approx(math.log(2))


def test_undefined_without_a_path() -> None:
    assert inverse_variation([(torch.zeros(3, 3), torch.zeros(3, 3))]) is None
    assert zico(Probe(naive.Cut(), IMAGES, TARGETS)) is not None  # the layers behind the cut have gradients


def test_bad_input() -> None:
    with pytest.raises(CgirError, match=r"^zico: a batch of 1; .* 2 images or more$"):
        zico(Probe(naive.Blocks(), IMAGES[:1], TARGETS[:1]))
    with pytest.raises(MissingLayerError):
        zico(Probe(torch.nn.BatchNorm2d(3), IMAGES, TARGETS))
    with pytest.raises(CgirError, match=r"^zico: targets are a set of which there is not one"):
        zico(Probe(naive.Blocks(), IMAGES, {1}))
    with pytest.raises(CgirError, match="targets"):
        zico(Probe(naive.Blocks(), IMAGES))


def test_several_targets_are_halved_each() -> None:
    x, y = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    module = nn.Linear(5, 3)
    expected = score(module, x, y, names=["zico"])
    pair = score(module, x, (y, y), names=["zico"], loss=lambda out, both: cross_entropy(out, both[0]))
    named = score(module, x, {"class": y}, names=["zico"], loss=lambda out, both: cross_entropy(out, both["class"]))
    assert pair == named == expected
    with pytest.raises(CgirError, match="not one for each of 2 inputs"):
        score(module, x, [0.1, 0.2, 0.3], names=["zico"], loss=lambda out, _: out.sum())


def test_gradients_that_are_not_finite_give_no_score() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, torch.inf])
    assert inverse_variation([(a, a + 1), (a, b)]) is None
