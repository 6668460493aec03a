"""Values that the recorder knows: constants, and tensors whose contents follow from the call that makes them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cgir
import frontends


class Applied(nn.Module):
    """A function as a module, with a table of embeddings to use."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.table = function, nn.Parameter(torch.ones(10, 6))

    def forward(self, x: Tensor) -> Tensor:
        """What the function makes of the input."""
        return self.function(self, x)


def traced(function: Callable[[nn.Module, Tensor], Tensor], raw: bool = False) -> cgir.Graph:
    return frontends.trace(Applied(function), torch.randn(4, 5, 6), raw=raw)


def _fully_masked(m: nn.Module, x: Tensor) -> Tensor:
    mask = x > 0
    mask[torch.where(mask.sum(-1) == 6)] = False
    return x.masked_fill(mask, 0)


KNOWN: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "new_ones": lambda m, x: x[:, : int(x.new_ones(3).sum())],
    "full_like": lambda m, x: x[:, torch.full_like(x[0, :, 0], 1).bool()],
    "zeros_like, written to": lambda m, x: torch.zeros_like(x).add_(x),
    "new_tensor": lambda m, x: x[:, : int(x.new_tensor([1.0, 2.0]).max())],
    "masked_select": lambda m, x: x.masked_select(torch.arange(6) < 2),
    "where as an index": _fully_masked,
    "embedding of one number": lambda m, x: x + F.embedding(torch.full((), 3), m.table),
    "clamp to numbers in tensors": lambda m, x: x.clamp(torch.tensor(0.0), torch.tensor(1.0)),
    "cdist": lambda m, x: torch.cdist(x, m.table[None, :, :].expand(4, 10, 6)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_shapes_that_follow_from_known_values(name: str) -> None:
    """The output has as many elements as the real one."""
    graph = traced(KNOWN[name], raw=True)
    real = KNOWN[name](Applied(KNOWN[name]), torch.randn(4, 5, 6))
    stored = next(node.shape for node in graph.nodes if node.op == "Output")
    assert prod(stored) in (real.numel(), real.numel() // 4)  # without the batch, where there is one


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: x[torch.where(x > 0)],
        lambda m, x: torch.where(x > 0)[0],
        lambda m, x: x.new_ones(len(torch.where(x > 0))),
        lambda m, x: x[x > 0],
    ],
)
def test_indices_that_depend_on_values_are_refused(use: Callable[[nn.Module, Tensor], Tensor]) -> None:
    with pytest.raises(cgir.TraceError, match="needs the values of a tensor"):
        traced(use)


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        (
            lambda m, x: torch.cdist(x, x),
            lambda m, x: torch.linalg.vector_norm(x.unsqueeze(-2) - x.unsqueeze(-3), 2, -1),
        ),
        (
            lambda m, x: F.mse_loss(x, m.table[:5].expand_as(x)),
            lambda m, x: (x - m.table[:5].expand_as(x)).square().mean(),
        ),
        (
            lambda m, x: F.l1_loss(x, m.table[:5].expand_as(x), reduction="sum"),
            lambda m, x: (x - m.table[:5].expand_as(x)).abs().sum(),
        ),
        (
            lambda m, x: F.mse_loss(x, m.table[:5].expand_as(x), None, None, "none"),
            lambda m, x: (x - m.table[:5].expand_as(x)).square(),
        ),
    ],
)
def test_distances_and_losses_are_their_definitions(
    whole: Callable[[nn.Module, Tensor], Tensor], parts: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    module = Applied(whole)
    x = torch.randn(4, 5, 6)
    assert torch.allclose(whole(module, x), parts(module, x), atol=1e-5)  # also to PyTorch
    assert cgir.isomorphic(traced(whole), traced(parts))
    assert cgir.isomorphic(frontends.trace(torch.export.export(module, (x,), strict=False)), traced(parts))


@pytest.mark.parametrize(("classes", "computed"), [(10, True), (1 << 20, False)])
def test_large_constants_are_not_computed(classes: int, computed: bool) -> None:
    graph = traced(lambda m, x: x + F.one_hot(torch.arange(6), classes).sum(-1), raw=True)
    assert any(node.op == "OneHot" for node in graph.nodes) != computed


@pytest.mark.parametrize("count", [1, 3])
def test_results_of_vmap_may_repeat_what_their_function_did_not_use(count: int) -> None:
    def repeated(m: Any, x: Tensor) -> Tensor:
        many = torch.vmap(lambda a, unused: a @ m.table.T, in_dims=(None, 0))
        return many(x, torch.arange(count)).exp()

    graph = traced(repeated)
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (60, 2 * 5 * 6 * 10)
    assert prod(graph.nodes[-1].shape) == count * 5 * 10


class _Square(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass


def test_autograd_functions_inside_of_vmap_are_looked_into() -> None:
    graph = traced(lambda m, x: torch.vmap(lambda row: _Square.apply(row @ m.table.T))(x))
    assert graph.num_params == 60
    assert {node.op for node in graph.nodes} <= {"Input", "Linear", "Mul", "Pow", "Output"}
