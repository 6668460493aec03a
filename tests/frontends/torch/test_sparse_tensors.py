"""Sparse matrices, quantisation, and inputs of many sizes: graphs where shapes are known, clear words where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_samples import Function

import cgir
import frontends

ADJACENCY = torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1]])  # 5 edges from 4 to 3 nodes
FEATURES = 6
PRODUCTS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "sparse.mm": lambda m, x: torch.sparse.mm(m.a, x),
    "matmul": lambda m, x: m.a @ x,
    "mm": lambda m, x: torch.mm(m.a, x),
    "computed from constants": lambda m, x: torch.sparse.mm(m.a * 2, x),
    "after a layer": lambda m, x: torch.sparse.mm(m.a, m.layer(x)),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_sparse_constants_cost_by_their_elements(name: str, compressed: bool) -> None:
    matrix = ADJACENCY.to_sparse_csr() if compressed else ADJACENCY.to_sparse()
    model = Function(PRODUCTS[name], a=matrix, layer=nn.Linear(FEATURES, FEATURES))
    graph = frontends.trace(model, torch.zeros(4, FEATURES), batch=None)
    cgir.verify(graph)
    after_layer = name == "after a layer"
    assert graph.flops == 2 * 5 * FEATURES + after_layer * 2 * 4 * FEATURES * FEATURES
    assert graph.num_params == after_layer * (FEATURES + 1) * FEATURES
    assert graph.complete


def test_sparse_inputs_cost_by_the_elements_of_the_example() -> None:
    model = Function(lambda m, a, x: torch.sparse.mm(a, x))
    graph = frontends.trace(model, (ADJACENCY.to_sparse(), torch.zeros(4, FEATURES)), batch=None)
    assert graph.flops == 2 * 5 * FEATURES


EDGES = torch.tensor([[0, 0, 1, 2, 2], [1, 2, 0, 0, 3]])
LEARNED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "parameters": lambda m, x: torch.sparse.mm(torch.sparse_coo_tensor(EDGES, m.w, (4, 4)), x),
    "by name": lambda m, x: torch.sparse_coo_tensor(indices=EDGES, values=m.w, size=(4, 4)).coalesce() @ x,
    "transposed": lambda m, x: torch.sparse.mm(torch.sparse_coo_tensor(EDGES, m.w, (4, 4)).t(), x),
    "rows": lambda m, x: torch.sparse_csr_tensor(torch.tensor([0, 2, 3, 5, 5]), EDGES[1], m.w, (4, 4)) @ x,
    "scaled": lambda m, x: (torch.sparse_coo_tensor(EDGES, m.w, (4, 4)) * 0.5) @ x,
    "normalised": lambda m, x: (torch.sparse_coo_tensor(EDGES, m.w, (4, 4)) / x.norm()) @ x,
    "copied": lambda m, x: torch.sparse_coo_tensor(EDGES, m.w, (4, 4)).clone().to(torch.float64).float() @ x,
    "elementwise": lambda m, x: torch.sparse_coo_tensor(EDGES, m.w, (4, 4)).abs().sqrt().neg() @ x,
    "gated": lambda m, x: (torch.sparse_coo_tensor(EDGES, m.w, (4, 4)) * x[:, :4]) @ x,
    "compressed": lambda m, x: torch.sparse_coo_tensor(EDGES, m.w, (4, 4)).to_sparse_csr() @ x,
    "attention": lambda m, x: torch.sparse.mm(
        torch.sparse.softmax(torch.sparse_coo_tensor(EDGES, x[EDGES[0]].sum(-1) * m.w, (4, 4)), 1), x
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
@pytest.mark.parametrize("name", LEARNED)
def test_sparse_matrices_of_computed_values(name: str) -> None:
    model = Function(LEARNED[name], w=nn.Parameter(torch.zeros(5)))
    x = torch.zeros(4, FEATURES)
    assert LEARNED[name](model, x).shape == x.shape
    graph = frontends.trace(model, x, batch=None)
    cgir.verify(graph)
    assert (graph.flops, graph.num_params, graph.complete) == (2 * 5 * FEATURES, 5, True)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
@pytest.mark.parametrize("scale", ["parameter", "input"])
def test_sparse_constants_stay_sparse_where_they_are_scaled_by_computed_values(scale: str) -> None:
    model = Function(
        lambda m, x: (m.a * (m.s if scale == "parameter" else x.sum())) @ x, s=nn.Parameter(torch.ones(()))
    )
    model.register_buffer("a", ADJACENCY.to_sparse())
    graph = frontends.trace(model, torch.zeros(4, FEATURES), batch=None)
    assert (graph.flops, graph.complete) == (2 * 5 * FEATURES, True)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
@pytest.mark.parametrize(
    ("forward", "elements"),
    [
        (lambda a, x: (a + a.t()) @ x, 10),
        (lambda a, x: (a - a) @ x, 10),
        (lambda a, x: (a * a) @ x, 5),
        (lambda a, x: (a + x[:, :4]) @ x, 16),
        (lambda a, x: a.to_dense() @ x, 16),
        (lambda a, x: a.clone().to_dense().relu() @ x, 16),
    ],
)
def test_elements_of_sums_and_products_of_sparse_tensors(forward: Callable[..., Tensor], elements: int) -> None:
    """Sums have at most the elements of both."""
    model = Function(
        lambda m, x: forward(torch.sparse_coo_tensor(EDGES, m.w, (4, 4)), x), w=nn.Parameter(torch.zeros(5))
    )
    graph = frontends.trace(model, torch.zeros(4, FEATURES), batch=None)
    assert graph.flops == 2 * elements * FEATURES


@pytest.mark.filterwarnings("ignore:Sparse BSR tensor support is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
def test_blocks_are_multiplied_whole() -> None:
    matrix = torch.block_diag(torch.ones(2, 2), torch.eye(2)).to_sparse_bsr((2, 2))
    x = torch.zeros(4, FEATURES)
    assert frontends.trace(Function(lambda m, x: m.a @ x, a=matrix), x, batch=None).flops == 2 * 8 * FEATURES
    assert frontends.trace(Function(lambda m, a, x: a @ x), (matrix, x), batch=None).flops == 2 * 8 * FEATURES


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
def test_sizes_left_to_the_values_of_indices_are_refused() -> None:
    model = Function(lambda m, x: torch.sparse_coo_tensor(EDGES, m.w).to_dense() @ x, w=nn.Parameter(torch.zeros(5)))
    with pytest.raises(cgir.TraceError, match=r"depends on the values of indices; pass it as size="):
        frontends.trace(model, torch.zeros(4, FEATURES), batch=None)


def test_dense_products_stay_dense() -> None:
    model = Function(lambda m, x: m.a.to_dense() @ x, a=ADJACENCY.to_sparse())
    graph = frontends.trace(model, torch.zeros(4, FEATURES), batch=None)
    assert graph.flops == 2 * 3 * 4 * FEATURES


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_inputs_are_refused(layout: torch.layout) -> None:
    nested = torch.nested.nested_tensor([torch.zeros(3, 4), torch.zeros(5, 4)], layout=layout)
    with pytest.raises(cgir.TraceError, match=r"is a nested tensor.*trace the model on a padded tensor"):
        frontends.trace(nn.Linear(4, 2), (nested,))


def test_fake_quantisation_is_the_float_network() -> None:
    def quantised(m: Any, x: Tensor) -> Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)
        scale, zero = torch.ones(3), torch.zeros(3, dtype=torch.int32)
        return nn.functional.linear(x, torch.fake_quantize_per_channel_affine(m.a.weight, scale, zero, 0, 0, 255))

    layer = nn.Linear(4, 3, bias=False)
    graph = frontends.trace(Function(quantised, a=layer), torch.zeros(1, 4))
    assert cgir.isomorphic(graph, frontends.trace(Function(lambda m, x: m.a(x), a=layer), torch.zeros(1, 4)))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize(),
        lambda m, x: torch.ops.quantized.linear_dynamic(x, m.packed),
    ],
)
def test_quantised_operators_say_what_to_trace(forward: Callable[..., Any]) -> None:
    weight = torch.quantize_per_tensor(torch.zeros(3, 4), 0.1, 0, torch.qint8)
    model = Function(forward, packed=torch.ops.quantized.linear_prepack(weight, None))
    with pytest.raises(cgir.TraceError, match=r"trace the float model that was quantized"):
        frontends.trace(model, torch.zeros(1, 4))
