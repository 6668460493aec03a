"""Values that the recorder knows: constants, and tensors whose contents follow from the call that makes them."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_samples import Function

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


# --- constants that are read, and written to


class Buffers(nn.Module):
    """Two buffers with one storage, and a function of them and the input."""

    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        numbers = torch.arange(6)
        self.register_buffer("all", numbers)
        self.register_buffer("last", numbers[3:])

    def forward(self, x: Tensor) -> Any:
        """What the function returns."""
        return self.function(self, x)


def _write_to_one(m: Any, x: Tensor) -> Tensor:
    m.all.add_(1)
    return x[:, : int(m.last[0])]


def _write_to_a_view(m: Any, x: Tensor) -> Tensor:
    view = m.all[2:]
    view[1] = 1
    return x[:, : int(m.last[0])]


def _write_in_place(m: Any, x: Tensor) -> Tensor:
    m.last -= 1
    return x[:, : int(m.all[3])]


def _write_with_out(m: Any, x: Tensor) -> Tensor:
    torch.add(m.last, 2, out=m.last)
    return x[:, : int(m.all[3])]


def _write_through_numpy(m: Any, x: Tensor) -> Tensor:
    m.last.numpy()[0] = 2
    return x[:, : int(m.all[3])]


@pytest.mark.parametrize(
    ("write", "columns"),
    [
        (_write_to_one, 4),
        (_write_to_a_view, 1),
        (_write_in_place, 2),
        (_write_with_out, 5),
        (_write_through_numpy, 2),
    ],
)
def test_writes_to_constants_reach_all_that_share_them_and_not_the_module(
    write: Callable[[Any, Tensor], Tensor], columns: int
) -> None:
    model = Buffers(write)
    graph = frontends.trace(model, torch.zeros(1, 8, 2), raw=True)
    assert prod(graph.nodes[-1].shape) == 2 * columns
    assert model.all.tolist() == [0, 1, 2, 3, 4, 5]
    assert model.last.tolist() == [3, 4, 5]


def test_traced_values_in_a_view_of_a_written_constant_are_seen() -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        m.all.add_(1)
        view = m.all[1:]
        view[0] = x[0, 0]
        return m.all * 2

    graph = frontends.trace(Buffers(function), torch.zeros(1, 8, dtype=torch.long))
    assert {"Input", "Scatter", "Mul"} <= set(graph.op_counts())


def test_constants_that_are_only_read_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def attend(m: Any, x: Tensor) -> Tensor:
        scores = (x @ x.transpose(1, 2)).masked_fill(m.mask[:, :5, :5] == 0, float("-inf"))
        return scores.softmax(-1) @ x + m.mask.sum()

    def copied(storage: object) -> None:
        raise AssertionError("a constant was copied")

    monkeypatch.setattr(torch.UntypedStorage, "clone", copied)
    model = Applied(attend)
    model.register_buffer("mask", torch.ones(1, 8, 8).tril())
    assert frontends.trace(model, torch.zeros(1, 5, 6)).op_counts()["Attention"] == 1


def test_large_constants_of_the_forward_are_not_held() -> None:
    freed: list[int] = []

    def function(m: Any, x: Tensor) -> Tensor:
        for index in range(3):
            mask = torch.ones(300, 300) * index
            weakref.finalize(mask, freed.append, index)
            x = x + mask[:5, :6].sum() + mask.sum(0)[:6]
            del mask
            assert len(freed) == index + 1
        return x

    traced(function)
    assert freed == [0, 1, 2]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (lambda m, x: copy.deepcopy(m.a).weight, 20),
        (lambda m, x: nn.Parameter(m.a.weight.data.clone()), 20),
        (lambda m, x: nn.Parameter(m.a(x).T @ x), 20),
        (lambda m, x: nn.Parameter(torch.randn(4, 4)), 4),
        (lambda m, x: nn.Linear(4, 4).weight, 4),
    ],
)
def test_a_parameter_made_in_the_forward_is_none_of_the_modules(weight: Any, expected: int) -> None:
    model = Function(lambda m, x: F.linear(x, weight(m, x), m.a.bias), a=nn.Linear(4, 4))
    graph = frontends.trace(model, torch.zeros(1, 4))
    assert graph.num_params == expected
    assert {param.id for node in graph.nodes for param in node.params} <= {"a.weight", "a.bias"}
    assert graph.complete
