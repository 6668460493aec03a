"""Gradients of both levels, in float64; with SiLU in place of ReLU where derivatives are taken by steps."""

import pytest
import torch
from one_shot_samples import tiny
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.functional import cross_entropy

from search.one_shot import Supernet
from search.one_shot.bilevel import Batch, Unrolled, architecture_gradient, weight_gradient


def smooth(module: nn.Module) -> None:
    for name, inner in module.named_children():
        if isinstance(inner, nn.ReLU):
            setattr(module, name, nn.SiLU())
        smooth(inner)


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(8, 1, 8, 8, generator=generator, dtype=torch.float64)
    return pixels, torch.randint(10, (8,), generator=generator)


def problem(network: Supernet, momentum: float = 0.9) -> tuple[Tensor, Unrolled]:
    """Logits, and a step with a momentum behind it."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(network.num_weights, generator=generator, dtype=torch.float64).requires_grad_()
    buffers = [0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in network.parameters()]
    return logits, Unrolled(batch(0), 0.05, momentum, 3e-4, buffers)


def loss_of(network: Supernet, weights: dict[str, Tensor], logits: Tensor, data: Batch) -> Tensor:
    return cross_entropy(functional_call(network, weights, (data[0], network.mix(logits))), data[1])


def naive_looked_ahead(network: Supernet, logits: Tensor, step: Unrolled) -> Tensor:
    """Validation loss after a step of SGD, by torch.func."""
    weights = dict(network.named_parameters())
    gradient = grad(lambda w: loss_of(network, w, logits, step.batch))(weights)
    moved = {
        name: weight - step.lr * (step.momentum * buffer + gradient[name] + step.weight_decay * weight)
        for (name, weight), buffer in zip(weights.items(), step.buffers, strict=True)
    }
    return loss_of(network, moved, logits, batch(1))


def test_the_first_order_is_the_gradient_at_the_present_weights() -> None:
    network = tiny().double()
    logits, _ = problem(network)
    result = architecture_gradient(network, logits, batch(1))
    loss = loss_of(network, dict(network.named_parameters()), logits, batch(1))
    torch.testing.assert_close(result.gradient, torch.autograd.grad(loss, [logits]), rtol=1e-12, atol=1e-14)
    assert result.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    lower = weight_gradient(network, logits, batch(1))
    loss = loss_of(network, dict(network.named_parameters()), logits, batch(1))
    expected = torch.autograd.grad(loss, list(network.parameters()))
    torch.testing.assert_close(lower.gradient, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["nasbench201", "nasbench1shot1", "darts"])
def test_the_second_order_is_a_naive_unrolled_step(name: str) -> None:
    network = tiny(name, channels=2).double()
    logits, step = problem(network)
    result = architecture_gradient(network, logits, batch(1), step)
    expected = grad(lambda values: naive_looked_ahead(network, values, step))(logits.detach()).detach()
    torch.testing.assert_close(result.gradient[0], expected, rtol=1e-9, atol=1e-12)
    first = architecture_gradient(network, logits, batch(1)).gradient[0]
    assert float((expected - first).norm() / first.norm()) > 1e-3


def test_the_second_order_is_the_slope_of_the_loss() -> None:
    network = tiny().double()
    smooth(network)
    logits, step = problem(network)
    (gradient,) = architecture_gradient(network, logits, batch(1), step).gradient
    for seed in range(3):
        way = torch.randn(len(logits), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            up, down = (naive_looked_ahead(network, logits + sign * 1e-5 * way, step) for sign in (1, -1))
        torch.testing.assert_close(gradient @ way, (up - down) / 2e-5, rtol=1e-6, atol=1e-10)


def test_the_second_order_is_equation_7_and_close_to_its_published_approximation() -> None:
    network = tiny().double()
    smooth(network)
    logits, step = problem(network)
    step = step._replace(momentum=0.0, weight_decay=0.0)
    names, weights = zip(*network.named_parameters(), strict=True)

    def of_logits(values: list[Tensor], data: Batch) -> Tensor:
        loss = loss_of(network, dict(zip(names, values, strict=True)), logits, data)
        return torch.autograd.grad(loss, logits)[0]

    gradient = torch.autograd.grad(loss_of(network, dict(network.named_parameters()), logits, step.batch), weights)
    moved = [(w - step.lr * g).detach().requires_grad_() for w, g in zip(weights, gradient, strict=True)]
    ahead = torch.autograd.grad(loss_of(network, dict(zip(names, moved, strict=True)), logits, batch(1)), moved)
    inner = torch.autograd.grad(
        loss_of(network, dict(zip(names, weights, strict=True)), logits, step.batch), weights, create_graph=True
    )
    product = torch.autograd.grad(sum((a * b).sum() for a, b in zip(inner, ahead, strict=True)), logits)[0]
    result = architecture_gradient(network, logits, batch(1), step).gradient[0]
    torch.testing.assert_close(result, of_logits(moved, batch(1)) - step.lr * product, rtol=1e-9, atol=1e-12)

    eps = 0.01 / torch.cat([part.flatten() for part in ahead]).norm()  # equation 8
    both = [[(w + sign * eps * v).detach() for w, v in zip(weights, ahead, strict=True)] for sign in (1, -1)]
    up, down = (of_logits(values, step.batch) for values in both)
    approximate = of_logits(moved, batch(1)) - step.lr * (up - down) / (2 * eps)
    assert float((approximate - result).norm() / (step.lr * product).norm()) < 0.05


def test_the_step_is_that_of_sgd() -> None:
    network = tiny().double()
    logits, step = problem(network)
    copy = tiny().double()
    optimizer = torch.optim.SGD(copy.parameters(), step.lr, momentum=step.momentum, weight_decay=step.weight_decay)
    for weight, buffer in zip(copy.parameters(), step.buffers, strict=True):
        optimizer.state[weight]["momentum_buffer"] = buffer.clone()
    cross_entropy(copy(step.batch[0], copy.mix(logits.detach())), step.batch[1]).backward()
    optimizer.step()
    answers = copy(batch(1)[0], copy.mix(logits.detach()))
    result = architecture_gradient(network, logits, batch(1), step)
    torch.testing.assert_close(result.answers, answers.detach(), rtol=1e-10, atol=1e-12)


def test_before_the_first_step_there_is_no_momentum() -> None:
    network = tiny().double()
    logits, step = problem(network)
    zeros = step._replace(buffers=[torch.zeros_like(weight) for weight in network.parameters()])
    empty = step._replace(buffers=[])
    for a, b in zip(*(architecture_gradient(network, logits, batch(1), s) for s in (zeros, empty)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_nothing_is_left_behind() -> None:
    network = tiny().double()
    logits, step = problem(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    architecture_gradient(network, logits, batch(1), step)
    weight_gradient(network, logits, batch(0))
    assert logits.grad is None
    assert all(weight.grad is None for weight in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
