"""The covariance of Jacobians against NumPy's correlation and eigenvalues."""

from __future__ import annotations

import math

import pytest
import torch
import zero_cost_naive_gradients as naive
from torch import nn
from zero_cost_naive_gradients import CLASSES, LIVE_CELLS, Perceptron, Transformer, batch

from cgir.errors import CgirError
from search.zero_cost import score

X, _ = batch()
NAMES = ["jacob_cov"]


@pytest.mark.parametrize("cell", LIVE_CELLS)
def test_cells_score_as_the_equation_says(cell: str) -> None:
    module = naive.cell_network(cell)
    value = score(module, X, names=NAMES)["jacob_cov"]
    assert value == pytest.approx(naive.jacob_cov(module, X), rel=1e-3)


def test_without_batch_norm_rows_are_the_jacobians_of_single_images() -> None:
    module = Perceptron()
    jacobians = [torch.autograd.functional.jacobian(lambda x: module(x[None]).sum(), image).flatten() for image in X]
    values = torch.linalg.eigvalsh(torch.corrcoef(torch.stack(jacobians).double())) + 1e-5
    expected = -float((values.log() + 1 / values).sum())
    assert score(module, X, names=NAMES)["jacob_cov"] == pytest.approx(expected, rel=1e-3)


def test_equal_jacobians_have_the_worst_score() -> None:
    """Of a linear network all rows are equal: one eigenvalue B, the others 0."""
    value = score(nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)), X, names=NAMES)["jacob_cov"]
    expected = -(math.log(6 + 1e-5) + 1 / (6 + 1e-5) + 5 * (math.log(1e-5) + 1e5))
    assert value == pytest.approx(expected, rel=1e-6)


def test_constant_jacobians_have_no_score() -> None:
    """None of them correlates with anything: no path to the output, or the mean of all pixels."""
    assert score(naive.cell_network("no path"), X, names=NAMES) == {"jacob_cov": None}
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, CLASSES))
    assert score(mean, X[:, :1], names=NAMES) == {"jacob_cov": None}


def test_the_order_of_images_does_not_matter() -> None:
    module = naive.cell_network("mixed")
    value = score(module, X, names=NAMES)["jacob_cov"]
    assert score(module, X.flip(0), names=NAMES)["jacob_cov"] == pytest.approx(value, rel=1e-4)


def test_inputs_without_a_batch_do_not_count() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Perceptron()

        def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.inner(x) * scale
            return result

    value = score(Perceptron(), X, names=NAMES)["jacob_cov"]
    assert score(Scaled(), (X, torch.tensor([2.0])), names=NAMES)["jacob_cov"] == pytest.approx(value, rel=1e-4)


def test_transformers_have_a_score() -> None:
    assert score(Transformer(), X, names=NAMES)["jacob_cov"] is not None


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(CgirError, match="jacob_cov compares images, and the batch has one"):
        score(Perceptron(), X[:1], names=NAMES)
    with pytest.raises(CgirError, match="these are integers; leave jacob_cov out"):
        score(nn.Sequential(nn.Embedding(9, 4), nn.Flatten()), torch.tensor([[1, 2], [3, 4]]), names=NAMES)
