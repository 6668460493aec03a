"""Costs against PyTorch's own counter and parameters that get a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import zero_cost_naive_gradients as naive
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from zero_cost_naive_gradients import CELLS, CLASSES, Perceptron, batch

from cgir.errors import CgirError
from search.zero_cost import score

X, Y = batch()
NAMES = ("params", "flops")


@pytest.mark.parametrize("cell", CELLS)
def test_parameters_are_those_that_get_a_gradient(cell: str) -> None:
    module = naive.cell_network(cell)
    found = score(module, X, names=NAMES)
    cross_entropy(module.train()(X), Y).backward()
    assert found["params"] == sum(p.numel() for p in module.parameters() if p.grad is not None)


def test_flops_are_those_of_one_example() -> None:
    module = naive.cell_network("convolutions")
    found = score(module, X, names=NAMES)
    with FlopCounterMode(display=False) as counter:
        module(X)
    assert found["flops"] == counter.get_total_flops() / len(X)


def test_dead_ends_cost_nothing() -> None:
    """Counted by hand: products of weights and positions of stem, two reductions and classifier."""
    found = score(naive.cell_network("dead ends"), X, names=NAMES)
    stem, first, second = 108 * 64, (288 + 576 + 32) * 16, (1152 + 2304 + 128) * 4
    assert found["flops"] == 2 * (stem + first + second + 160)


def test_operators_of_unknown_cost_have_no_flops() -> None:
    class Inverse(Perceptron):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return torch.linalg.inv(logits.unsqueeze(2) @ logits.unsqueeze(1) + torch.eye(CLASSES)).sum(2)

    assert score(Inverse(), X, names=NAMES) == {"params": 351.0, "flops": None}


class Result:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


@dataclass
class Record:
    logits: Tensor


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [(Result, None), (Record, 15), (lambda x: {"a": [x]}, 15)],
    ids=["object", "dataclass", "dict"],
)
def test_outputs_of_any_form(wrap: Any, expected: float | None) -> None:
    """What holds its tensors where they cannot be found has no number of parameters, rather than 0."""

    class Net(nn.Linear):
        def forward(self, input: Tensor) -> Any:
            return wrap(super().forward(input))

    if expected is None:
        with pytest.raises(CgirError, match="the output is a Result without a tensor that can be found"):
            score(Net(4, 3), torch.ones(2, 4), names=["params"])
    else:
        assert score(Net(4, 3), torch.ones(2, 4), names=["params"]) == {"params": expected}


def test_without_gradients_the_number_of_parameters_is_unknown() -> None:
    class Net(nn.Linear):
        @torch.no_grad()
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input)

    assert score(Net(4, 3), torch.ones(2, 4), names=["params"]) == {"params": None}
    assert score(nn.ReLU(), torch.ones(2, 4), names=["params"]) == {"params": 0}
