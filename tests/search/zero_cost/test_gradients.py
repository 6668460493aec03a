"""Gradient proxies against loops written from their equations."""

from __future__ import annotations

import pytest
import torch
import zero_cost_naive_gradients as naive
from torch import nn
from torch.nn.functional import cross_entropy
from zero_cost_naive_gradients import (
    CLASSES,
    LIVE_CELLS,
    AsModules,
    DeadEnd,
    Functional,
    Perceptron,
    Transformer,
    batch,
)

from cgir.errors import CgirError
from search.zero_cost import score

ALL = ("grad_norm", "snip", "grasp", "fisher")
X, Y = batch()


@pytest.mark.parametrize("cell", LIVE_CELLS)
@pytest.mark.parametrize("name", ["grad_norm", "snip", "fisher"])
def test_cells_score_as_the_equation_says(name: str, cell: str) -> None:
    module = naive.cell_network(cell)
    assert score(module, X, Y, names=[name])[name] == pytest.approx(getattr(naive, name)(module, X, Y), rel=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_a_perceptron_scores_as_the_equation_says(name: str) -> None:
    module = Perceptron()
    assert score(module, X, Y, names=[name])[name] == pytest.approx(getattr(naive, name)(module, X, Y), rel=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_layers_that_lead_nowhere_add_nothing(name: str) -> None:
    """Grasp is the product with the whole Hessian, through BatchNorm and ReLU; kinks have no second derivative."""
    module = DeadEnd()
    assert score(module, X, Y, names=[name])[name] == pytest.approx(getattr(naive, name)(module, X, Y), rel=1e-3)


def test_grasp_of_a_loss_linear_in_the_weights_is_zero() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
    found = score(module, X, Y, names=["grasp", "snip"], loss=lambda output, targets: output.mean())
    assert found["grasp"] == 0
    assert found["snip"]


@pytest.mark.parametrize("name", ALL)
def test_functions_count_as_modules_do(name: str) -> None:
    """Convolutions, ReLU in place and BatchNorm called as functions."""
    functional = Functional()
    expected = score(AsModules(functional), X, Y, names=[name])[name]
    assert expected
    assert score(functional, X, Y, names=[name])[name] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_without_a_path_there_is_no_score(name: str) -> None:
    module = naive.cell_network("no path")
    nn.init.zeros_(module.last[0].bias)  # as it starts; otherwise the classifier has something to read
    assert score(module, X, Y, names=[name]) == {name: None}


@pytest.mark.parametrize("name", ALL)
def test_a_loss_that_is_not_finite_gives_no_score(name: str) -> None:
    broken = X.clone()
    broken[0, 0, 0, 0] = torch.inf
    assert score(Perceptron(), broken, Y, names=[name]) == {name: None}


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_images_does_not_matter(name: str) -> None:
    module, order = naive.cell_network("mixed"), torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    value = score(module, X, Y, names=[name])[name]
    assert score(module, X[order], Y[order], names=[name])[name] == pytest.approx(value, rel=1e-3)


def test_networks_without_relu_and_batch_norm_have_them_all() -> None:
    found = score(Transformer(), X, Y, names=ALL)
    assert all(found.values())


def test_fisher_of_tokens_sums_over_them() -> None:
    """A linear layer on (B, tokens, C): channels are its last axis, tokens its positions."""
    tokens, targets = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1, 0])
    layer = nn.Linear(3, 2)

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.layer(x).square().mean(1)
            return result

    a = layer(tokens)
    (g,) = torch.autograd.grad(cross_entropy(a.square().mean(1), targets), a)
    a = a.detach()
    expected = sum(
        float((a[image, :, channel] * g[image, :, channel]).sum()) ** 2 / 2 / 4
        for image in range(4)
        for channel in range(2)
    )
    assert score(Mean(), tokens, targets, names=["fisher"])["fisher"] == pytest.approx(expected, rel=1e-4)


def test_operators_without_a_second_derivative_are_named() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: torch.autograd.function.FunctionCtx, g: torch.Tensor) -> torch.Tensor:
            return g * 2

    class Net(Perceptron):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = Once.apply(super().forward(x))
            return result

    with pytest.raises(
        CgirError, match=r"grasp of Net failed \(RuntimeError: an operator .* once_differentiable\); leave grasp out"
    ):
        score(Net(), X, Y, names=["grasp"])


@pytest.mark.parametrize("name", ["grad_norm", "fisher"])
def test_a_network_without_weights_is_an_error(name: str) -> None:
    with pytest.raises(CgirError, match=rf"score: {name} needs a .*; Flatten has none, use one of params"):
        score(nn.Flatten(), torch.randn(6, CLASSES), Y, names=[name])


def test_fisher_of_an_example_sums_over_all_its_rows() -> None:
    """Tokens joined to the batch, as windows of a Swin transformer or frames of a film are."""

    class Tokens(nn.Module):
        def __init__(self, joined: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.joined, self.layer = joined, nn.Linear(8, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1, 2)
            x = self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]) if self.joined else self.layer(x)
            logits: torch.Tensor = x.square().mean(1)
            return logits

    expected = score(Tokens(False), X, Y, names=["fisher"])["fisher"]
    assert score(Tokens(True), X, Y, names=["fisher"])["fisher"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_images_one_by_one_score_as_a_batch(name: str) -> None:
    """A convolution of one image has its channels in front."""

    class OneByOne(nn.Module):
        def __init__(self, one_by_one: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one_by_one, self.layer, self.head = one_by_one, nn.Conv2d(3, 4, 3), nn.Linear(144, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.stack([self.layer(image) for image in x]) if self.one_by_one else self.layer(x)
            logits: torch.Tensor = self.head(torch.tanh(x).flatten(1))
            return logits

    expected = score(OneByOne(False), X, Y, names=[name])[name]
    assert score(OneByOne(True), X, Y, names=[name])[name] == pytest.approx(expected, rel=1e-4)


def test_gradients_whose_square_is_no_float32_count() -> None:
    module = Perceptron()
    expected = score(module, X, Y, names=["grad_norm", "fisher"])
    tiny = score(module, X, Y, names=["grad_norm", "fisher"], loss=lambda a, b: cross_entropy(a, b) * 1e-28)
    assert tiny["grad_norm"] == pytest.approx(expected["grad_norm"] * 1e-28, rel=1e-4)  # type: ignore[operator]
    assert tiny["fisher"] == pytest.approx(expected["fisher"] * 1e-56, rel=1e-4)  # type: ignore[operator]


def test_fisher_counts_no_convolution_with_a_fixed_kernel() -> None:
    class Pooled(nn.Module):
        def __init__(self, by_convolution: bool) -> None:
            super().__init__()
            self.by_convolution = by_convolution
            self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(8, 2)
            self.register_buffer("mean", torch.full((2, 1, 2, 2), 0.25))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            pooled = nn.functional.conv2d(x, self.mean, stride=2, groups=2) if self.by_convolution else None
            return self.head((nn.functional.avg_pool2d(x, 2) if pooled is None else pooled).flatten(1))

    torch.manual_seed(0)
    one, other = Pooled(True), Pooled(False)
    other.load_state_dict(one.state_dict())
    images, labels = torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 1, 0])
    scores = [score(network, images, labels, names=("fisher",))["fisher"] for network in (one, other)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[0] != 0
