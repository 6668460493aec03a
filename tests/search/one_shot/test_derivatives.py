"""Products with second derivatives are those of `torch.func`, and what finite differences tend to where they exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from one_shot_derivative_samples import digits, double_supernet, relative_error, sample_loss
from torch import Tensor
from torch.func import grad, jvp
from torch.nn.functional import cross_entropy

from search.one_shot import derivatives
from search.one_shot.derivatives import (
    Point,
    batch_loss,
    hessian_product,
    loss_and_gradient,
    mean_over,
    mixed_product,
    mixed_transpose_product,
    supernet_point,
)

PRODUCTS = {
    "hessian": (hessian_product, 0, 0),
    "mixed": (mixed_product, 0, 1),
    "transpose": (mixed_transpose_product, 1, 0),
}
Products = pytest.mark.parametrize("product", list(PRODUCTS))


def direction(like: Tensor, seed: int = 1) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(seed))


# PyTorch's own, where it first differentiates forwards
ForwardWarning = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")


def forward_over_reverse(loss: Any, point: Point, of: int, along: int, vector: Tensor) -> Tensor:
    """How the gradient in `point[of]` changes along a direction in `point[along]`."""

    def gradient(moved: Tensor) -> Tensor:
        parts = [moved if index == along else part for index, part in enumerate(point)]
        result: Tensor = grad(loss, of)(*parts)
        return result

    result: Tensor = jvp(gradient, (point[along],), (vector,))[1]
    return result


@ForwardWarning
@Products
@pytest.mark.parametrize("partial", [1, 2])
def test_products_are_those_of_torch_func(product: str, partial: int) -> None:
    loss, point = sample_loss(double_supernet(partial=partial))
    function, of, along = PRODUCTS[product]
    vector = direction(point[along])
    expected = forward_over_reverse(loss, point, of, along, vector)
    assert relative_error(function(loss, point, vector), expected) < 1e-10


def test_loss_and_gradient_are_the_modules() -> None:
    network, images = double_supernet(), digits(8)
    mixture = network.mix(torch.randn(network.num_weights, dtype=torch.float64))
    batch = images.pixels.double(), images.labels
    value, gradient = loss_and_gradient(batch_loss(network, batch), supernet_point(network, mixture))
    expected = cross_entropy(network(batch[0], mixture), batch[1])
    expected.backward()
    flat = torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])
    assert float(value) == pytest.approx(expected.item(), abs=1e-14)
    assert relative_error(gradient, flat) < 1e-12


@Products
def test_differences_converge_without_kinks(product: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, point = sample_loss(double_supernet(smooth=True))
    errors = difference_errors(product, loss, point, monkeypatch)
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 50
    assert errors[2] < 1e-4


def test_differences_do_not_converge_with_kinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer units pass a kink within a smaller step, but each of them weighs more."""
    loss, point = sample_loss(double_supernet(), count=64)
    errors = difference_errors("mixed", loss, point, monkeypatch)
    assert min(errors) > 0.01
    assert errors[2] > errors[0] / 50


def difference_errors(product: str, loss: Any, point: Point, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """At the published step, a tenth and a hundredth of it."""
    function, _, along = PRODUCTS[product]
    vector = direction(point[along])
    exact, errors = function(loss, point, vector), []
    for step in (1e-2, 1e-3, 1e-4):
        monkeypatch.setattr(derivatives, "STEP", step)
        errors.append(relative_error(function(loss, point, vector, published=True), exact))
    return errors


def test_published_step_of_darts() -> None:
    """Eq. 8: epsilon = .01 / norm."""
    loss, point = sample_loss(double_supernet())
    vector = direction(point.theta)
    step = 0.01 / float(vector.norm())
    plus, minus = (grad(loss, 1)(point.theta + sign * step * vector, point.mixture) for sign in (1, -1))
    found = mixed_transpose_product(loss, point, vector, published=True)
    assert relative_error(found, (plus - minus) / (2 * step)) < 1e-12


@Products
@pytest.mark.parametrize("published", [False, True])
def test_nothing_along_no_direction(product: str, published: bool) -> None:
    loss, point = sample_loss(double_supernet())
    function, of, along = PRODUCTS[product]
    found = function(loss, point, torch.zeros_like(point[along]), published=published)
    assert torch.equal(found, torch.zeros_like(point[of]))


def test_a_direction_of_equal_logits_changes_nothing() -> None:
    """So the influential magnitude in the logits is zero, as the softmax takes out what all of them have in common."""
    network = double_supernet()
    loss, point = sample_loss(network)
    logits = point.mixture.log()

    def in_logits(theta: Tensor, logits: Tensor) -> Tensor:
        return loss(theta, network.mix(logits))

    ones = torch.ones_like(logits)
    moved = mixed_product(in_logits, Point(point.theta, logits), ones)
    assert float(moved.abs().max()) < 1e-12
    assert float(mixed_product(loss, point, ones).abs().max()) > 1e-2


def test_a_loss_without_the_mixture_has_no_mixed_derivative() -> None:
    point = Point(torch.ones(3), torch.ones(2))
    assert torch.equal(mixed_product(lambda theta, _: (theta**3).sum(), point, torch.ones(2)), torch.zeros(3))
    assert torch.equal(mixed_transpose_product(lambda theta, _: theta.sum(), point, torch.ones(3)), torch.zeros(2))


@ForwardWarning
def test_mean_over_batches() -> None:
    network = double_supernet()
    (first, point), (second, _) = sample_loss(network, seed=0), sample_loss(network, seed=1)
    vector = direction(point.theta)
    both = mean_over([first, second], lambda loss: hessian_product(loss, point, vector))
    expected = forward_over_reverse(lambda *at: (first(*at) + second(*at)) / 2, point, 0, 0, vector)
    assert relative_error(both, expected) < 1e-10


@Products
def test_order_of_the_images_does_not_matter(product: str) -> None:
    network, images = double_supernet(), digits(16)
    point = sample_loss(network)[1]
    function, _, along = PRODUCTS[product]
    backwards = images.select(torch.arange(15, -1, -1))
    found, expected = (
        function(batch_loss(network, (part.pixels.double(), part.labels)), point, direction(point[along]))
        for part in (backwards, images)
    )
    assert relative_error(found, expected) < 1e-10


def test_module_and_random_state_stay() -> None:
    network = double_supernet().eval().requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    loss, point = sample_loss(network)
    with torch.no_grad():
        for published in (False, True):
            for function, _, along in PRODUCTS.values():
                function(loss, point, direction(point[along]), published=published)
    assert not network.training
    assert all(torch.equal(state[name], t) for name, t in network.state_dict().items())
    assert all(weight.grad is None and not weight.requires_grad for weight in network.parameters())
    assert not point.theta.requires_grad
    assert point.theta.grad is None
    assert not point.mixture.requires_grad
    assert torch.equal(torch_state, torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(numpy_state, np.random.get_state(), strict=True))
