"""Copies of unusual networks: that the original is not touched, and passes do not depend on each other."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zero_cost_naive_gradients import CLASSES, Perceptron, batch

from cgir.errors import CgirError
from search.zero_cost import NAMES, dense_regression, rank_az_nas, score

X, Y = batch()


class Closure(nn.Module):
    """Holds a function, which a copy of the network does not copy."""

    def __init__(self, of_modules: bool) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(192, CLASSES)
        by_module, by_weight = lambda x: self.norm(x), lambda x: x * self.norm.weight[:, None, None]
        self.function = by_module if of_modules else by_weight

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.function(x)).flatten(1))
        return logits


@pytest.mark.parametrize("of_modules", [True, False], ids=["modules", "weights"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "flops"])
def test_a_network_whose_copy_would_call_the_original_is_refused(name: str, of_modules: bool) -> None:
    module = Closure(of_modules)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(CgirError, match="Closure holds a function that refers to itself"):
        score(module, X, Y, names=[name])
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_flops_of_such_a_network_do_not_touch_it() -> None:
    module = Closure(True)
    with pytest.raises(CgirError, match="refers to itself"):
        score(module, X, Y, names=["flops"])
    assert module.norm.num_batches_tracked == 0


class Stateful(Perceptron):
    """Counts its passes, and draws from generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.passes, self.numpy, self.torch = 0, np.random.default_rng(0), torch.Generator()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.passes += 1
        logits: Tensor = super().forward(x * self.passes * self.numpy.random() + torch.rand(1, generator=self.torch))
        return logits


def test_what_a_network_keeps_between_passes_does_not_tell_what_was_asked_before() -> None:
    names = ("params", "snip", "zico", "jacob_cov", "synflow")
    module = Stateful()
    together = score(module, X, Y, names=names)
    assert {name: score(module, X, Y, names=[name])[name] for name in names} == together
    assert score(module, X, Y, names=names[::-1]) == together
    assert module.passes == 0


def test_a_loss_may_change_what_it_gets() -> None:
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return output.pow_(2).sum() + targets.zero_().sum()

    together = score(Perceptron(), X, Y, names=["snip", "jacob_cov"], loss=loss)
    assert score(Perceptron(), X, Y, names=["jacob_cov"])["jacob_cov"] == together["jacob_cov"]


class TrainsSilently(Perceptron):
    def train(self, mode: bool = True) -> Any:
        super().train(mode)


@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel], ids=["train", "parallel"])
def test_wrappers_and_own_ways_to_switch_modes(wrap: Any) -> None:
    names = ["params", "snip", "synflow"]
    assert score(wrap(TrainsSilently()), X, Y, names=names) == score(Perceptron(), X, Y, names=names)


def test_a_list_of_what_passes_left_can_be_copied() -> None:
    module: Any = Perceptron()
    module.seen = [module(X)]
    assert score(module, X, names=["synflow"]) == score(Perceptron(), X, names=["synflow"])


def test_the_default_device_does_not_matter() -> None:
    def stages() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1))

    def scores() -> tuple[Any, ...]:
        names = [name for name in NAMES if name not in ("flops", "swap")]
        found = score(module, X, Y, names=names, loss=lambda a, b: a.square().mean(), device="cpu")
        return found, *rank_az_nas([module], X, device="cpu"), dense_regression(module, X, steps=1, device="cpu")

    module = stages()
    expected = scores()
    torch.set_default_device("meta")
    try:
        assert scores() == expected
    finally:
        torch.set_default_device(None)
