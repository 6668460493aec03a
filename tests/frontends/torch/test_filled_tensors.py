"""Random draws and fills that are functions of traced tensors: nothing before them may be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, Binomial, Categorical, Dirichlet, Gamma, Normal, OneHotCategorical, Poisson
from torch_samples import Function

import cgir
import frontends

# probabilities p (1, 2) -> something of shape (1, 2)
DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "bernoulli": torch.bernoulli,
    "Tensor.bernoulli": lambda p: p.bernoulli(),
    "bernoulli_": lambda p: torch.empty_like(p).bernoulli_(p),
    "bernoulli_ of a constant": lambda p: torch.zeros(1, 2).bernoulli_(p),
    "multinomial": lambda p: torch.multinomial(p, 2).float(),
    "normal with a mean": lambda p: torch.normal(p, 1.0),
    "normal with a deviation": lambda p: torch.normal(0.0, p),
    "normal with both": lambda p: torch.normal(p, std=p),
    "normal with a constant": lambda p: torch.normal(torch.zeros(1, 2), p),
    "poisson": torch.poisson,
    "binomial": lambda p: torch.binomial(torch.ones(1, 2), p),
    "gamma": lambda p: torch._standard_gamma(p),
}
EXPORTED = [name for name in DRAWS if name != "binomial"]  # PyTorch has no shape of its result
FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "fill_": lambda p: torch.zeros(1, 2).fill_(p.sum()),
    "fill_ of a part": lambda p: p.new_zeros(1, 2)[:, :1].fill_(p.sum()).expand(1, 2),
    "full": lambda p: torch.full((1, 2), p.sum()),
    "full_like": lambda p: torch.full_like(p, fill_value=p.sum()),
    "new_full": lambda p: p.new_full((1, 2), p.sum()),
    "tensor": lambda p: torch.tensor([[p.sum(), 1.0]]),
    "new_tensor": lambda p: p.new_tensor(p),
}
DISTRIBUTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Bernoulli": lambda p: Bernoulli(p).sample(),
    "Categorical": lambda p: F.one_hot(Categorical(p).sample(), 2).float(),
    "OneHotCategorical": lambda p: OneHotCategorical(logits=p).sample(),
    "Normal": lambda p: Normal(0.0, p).sample(),
    "Poisson": lambda p: Poisson(p).sample(),
    "Binomial": lambda p: Binomial(3, p).sample(),
    "Gamma": lambda p: Gamma(p, 1.0).sample(),
    "Dirichlet": lambda p: Dirichlet(p).rsample(),
}


def between_layers(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """Two linear layers, 8 and 15 parameters, and the function of probabilities between them."""
    parts: dict[str, Any] = {"first": nn.Linear(3, 2), "second": nn.Linear(2, 5)}
    return Function(lambda m, x: m.second(function(m.first(x).sigmoid())), **parts)


@pytest.mark.parametrize("function", [*DRAWS.values(), *FILLS.values(), *DISTRIBUTIONS.values()])
def test_what_comes_before_stays(function: Callable[[Tensor], Tensor]) -> None:
    graph = frontends.trace(between_layers(function), torch.zeros(1, 3))
    cgir.verify(graph)
    assert graph.num_params == 3 * 2 + 2 + 2 * 5 + 5
    assert graph.flops == 2 * 3 * 2 + 2 * 2 * 5


@pytest.mark.parametrize("name", EXPORTED)
def test_draws_are_those_of_the_exported_program(name: str) -> None:
    model, x = between_layers(DRAWS[name]).eval(), torch.zeros(1, 3)
    assert cgir.isomorphic(frontends.trace(model, x), frontends.trace(torch.export.export(model, (x,), strict=False)))


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x * torch.bernoulli(x, 0.5),
        lambda m, x: x * torch.empty_like(x).normal_(1.0, 2.0),
        lambda m, x: x * torch.bernoulli(torch.full((1, 3), 0.5)),
        lambda m, x: x * x.clone().geometric_(0.5),
    ],
)
def test_draws_that_take_only_a_size_are_constants(function: Callable[[nn.Module, Tensor], Tensor]) -> None:
    graph = frontends.trace(Function(function), torch.zeros(1, 3))
    assert graph.op_counts()["Mul"] == 1
    assert not graph.op_counts().keys() - {"Input", "Mul", "Constant", "Output"}


OVERWRITING: dict[str, Callable[[Tensor], Tensor]] = {
    "zero_": lambda x: x.zero_(),
    "uniform_": lambda x: x.uniform_(),
    "uniform_ in a range": lambda x: x.uniform_(-1, 1),
    "exponential_": lambda x: x.exponential_(),
    "cauchy_": lambda x: x.cauchy_(),
    "geometric_": lambda x: x.geometric_(0.5),
    "log_normal_": lambda x: x.log_normal_(),
    "normal_": lambda x: x.normal_(),
    "random_": lambda x: x.random_(),
    "random_ below a bound": lambda x: x.random_(5),
    "bernoulli_": lambda x: x.bernoulli_(0.5),
}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", OVERWRITING)
def test_draws_in_place_are_constants_of_programs_without_side_effects(name: str) -> None:
    model, x = Function(lambda m, x: x * OVERWRITING[name](x.exp())), torch.zeros(1, 3)
    program = torch.export.export(model, (x,), strict=False).run_decompositions({})
    graph = frontends.trace(model, x)
    assert not graph.op_counts().keys() - {"Input", "Mul", "Constant", "Output"}
    assert cgir.isomorphic(graph, frontends.trace(program))


def test_parameters_that_are_probabilities_count() -> None:
    model = Function(lambda m, x: x * torch.bernoulli(m.p.sigmoid()), p=nn.Parameter(torch.zeros(3)))
    assert frontends.trace(model, torch.zeros(1, 3), raw=True).num_params == 3
