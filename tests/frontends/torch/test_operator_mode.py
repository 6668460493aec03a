"""Functions outside the vocabulary and transforms: what PyTorch executes for them, as in exported programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap
from torch.utils.flop_counter import FlopCounterMode
from torch_samples import Function

import cgir
import frontends

Forward = Callable[..., Any]


def counted(model: nn.Module, *inputs: Tensor) -> tuple[int, int]:
    """Parameters, and the FLOPs that PyTorch's own counter sees when the model runs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return sum(param.numel() for param in model.parameters()), int(counter.get_total_flops())


def exported(model: nn.Module, *inputs: Tensor) -> cgir.Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return frontends.trace(torch.export.export(model, inputs, strict=False))


def trace(model: nn.Module, *inputs: Tensor) -> cgir.Graph:
    graph = frontends.trace(model, inputs)
    cgir.verify(graph)
    return graph


class Ensemble(nn.Module):
    """Members that run at once on stacked weights."""

    def __init__(self, member: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(member() for _ in range(5))

    def forward(self, x: Tensor) -> Any:
        states = stack_module_state(list(self.members))
        run = lambda weights, buffers: functional_call(self.members[0], (weights, buffers), (x,))  # noqa: E731
        return vmap(run)(*states)


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()


TRANSFORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "over weights": (
        lambda: Function(lambda m, x: vmap(lambda w: F.linear(x, w))(m.w), w=nn.Parameter(torch.zeros(3, 2, 4))),
        (1, 4),
    ),
    "over both": (
        lambda: Function(lambda m, x: vmap(F.linear)(x.expand(3, 1, 4), m.w), w=nn.Parameter(torch.zeros(3, 2, 4))),
        (1, 4),
    ),
    "nested": (
        lambda: Function(
            lambda m, x: vmap(lambda a: vmap(lambda w: w @ a)(m.w))(x[0]), w=nn.Parameter(torch.zeros(3, 2, 4))
        ),
        (1, 5, 4, 6),
    ),
    "ensemble": (lambda: Ensemble(lambda: nn.Linear(4, 3)), (1, 4)),
    "convolutions": (lambda: Ensemble(convolutional), (1, 3, 8, 8)),
    "swapped weights": (
        lambda: Function(
            lambda m, x: functional_call(m.a, {"weight": m.a.weight * 2, "bias": m.a.bias}, (x,)), a=nn.Linear(4, 3)
        ),
        (1, 4),
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transformed_functions_cost_what_they_execute(name: str) -> None:
    build, shape = TRANSFORMS[name]
    model, inputs = build(), torch.zeros(shape)
    graph = trace(model, inputs)
    assert (graph.num_params, graph.flops) == counted(model, inputs)
    assert graph.complete
    assert cgir.isomorphic(graph, exported(model, inputs))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own, for jvp
@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: jvp(lambda y: (y @ m.w.T).tanh(), (x,), (x,))[1],
        lambda m, x: grad(lambda y: (y @ m.w.T).square().sum())(x),
        lambda m, x: vmap(grad(lambda y: (m.w @ y).square().sum()))(x),
        lambda m, x: jacrev(lambda y: (y @ m.w.T).square().sum(0))(x),
    ],
    ids=["jvp", "grad", "vmap of grad", "jacrev"],
)
def test_derivatives_are_the_products_of_their_passes(forward: Forward) -> None:
    model, inputs = Function(forward, w=nn.Parameter(torch.zeros(2, 4))), torch.zeros(1, 4)
    graph = frontends.trace(model, inputs, raw=True)
    assert (graph.num_params, graph.flops) == counted(model, inputs)
    assert frontends.trace(model, inputs).flops == graph.flops


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("mapped", [True, False])
def test_operators_with_a_cost_of_their_own_cost_that_of_one_example(batch: int, mapped: bool) -> None:
    """The derivative of a convolution is no operator of the vocabulary."""

    def energy(m: Any, x: Tensor) -> Tensor:
        return F.conv2d(x, m.w).square().sum()

    def forward(m: Any, x: Tensor) -> Any:
        return vmap(grad(lambda image: energy(m, image[None])))(x) if mapped else grad(lambda x: energy(m, x))(x)

    model = Function(forward, w=nn.Parameter(torch.zeros(4, 3, 3, 3)))
    inputs = torch.zeros(batch, 3, 8, 8)
    graph = trace(model, inputs)
    assert graph.flops == counted(model, inputs)[1] // batch == 2 * 2 * 4 * 36 * 27
    assert graph.complete


@pytest.mark.parametrize("out_dim", [0, 1, -1])
@pytest.mark.parametrize("in_dim", [1, -1])
def test_mapped_axes_may_stand_anywhere(in_dim: int, out_dim: int) -> None:
    model = Function(
        lambda m, x: vmap(lambda row: F.linear(row, m.w), in_dims=in_dim, out_dims=out_dim)(x),
        w=nn.Parameter(torch.zeros(3, 4)),
    )
    inputs = torch.zeros((2, 5, 4) if in_dim == 1 else (2, 4, 5))
    graph = trace(model, inputs)
    assert (graph.num_params, graph.flops) == (12, counted(model, inputs)[1] // 2)


def test_derivatives_of_autograd_are_refused() -> None:
    def by_backward(m: Any, x: Tensor) -> Any:
        x = x.detach().requires_grad_()
        m.a(x).sum().backward()
        return x.grad

    for forward in (lambda m, x: torch.autograd.grad(m.a(x).sum(), x)[0], by_backward):
        with pytest.raises(cgir.TraceError, match=r"the forward differentiates .*torch\.func\.grad"):
            frontends.trace(Function(forward, a=nn.Linear(4, 3)), torch.zeros(1, 4))


def test_a_failure_inside_of_a_transform_leaves_none_behind() -> None:
    model = Function(lambda m, x: vmap(lambda row: row.sum().item())(x))
    with pytest.raises(cgir.TraceError):
        frontends.trace(model, torch.zeros(3, 4))
    assert torch._C._functorch.maybe_current_level() is None
    assert nn.Linear(2, 2)(torch.rand(1, 2)).shape == (1, 2)


# --- one network, written as a module and exported

SQUARE = (1, 4, 4)  # as a matrix
IMAGE = (1, 4, 8, 8)
CALLS: dict[str, tuple[Forward, tuple[int, ...]]] = {
    "einsum of a list": (lambda m, x: torch.einsum("ij,jk", [x, m.w]), SQUARE),
    "einsum with a diagonal": (lambda m, x: torch.einsum("abii->abi", m.w @ x), (1, 2, 4, 4)),
    "einsum with a trace": (lambda m, x: torch.einsum("ii,ij->j", x, m.w), SQUARE),
    "tensordot": (lambda m, x: torch.tensordot(x, m.w, dims=1), (1, 3, 4)),
    "tensordot of axes": (lambda m, x: torch.tensordot(x, m.w, dims=([2], [1])), (1, 3, 4)),
    "nearest-exact": (lambda m, x: F.interpolate(x, size=(5, 5), mode="nearest-exact"), IMAGE),
    "scaled nearest-exact": (lambda m, x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"), (1, 4, 8)),
    "area": (lambda m, x: F.interpolate(x, size=(5, 3), mode="area"), IMAGE),
    "local response norm": (lambda m, x: F.local_response_norm(x, 3), IMAGE),
    "local response norm in 1d": (
        lambda m, x: F.local_response_norm(F.conv1d(x, m.w.unsqueeze(-1)), 2, alpha=0.1, beta=0.5, k=2.0),
        (1, 4, 8),
    ),
    "stft": (lambda m, x: torch.stft(x, 16, window=torch.ones(16), return_complex=True), (1, 64)),
    "istft": (lambda m, x: torch.istft(torch.complex(x, x), 16, window=torch.ones(16)), (1, 9, 12)),
    "istft of a length": (
        lambda m, x: torch.istft(torch.complex(x, x), 16, 8, window=m.w.flatten(), length=40),
        (1, 9, 12),
    ),
    "unpooling": (lambda m, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), IMAGE),
    "fractional pooling": (lambda m, x: F.fractional_max_pool2d(x, 3, output_size=(5, 5)), IMAGE),
    "hard gumbel": (lambda m, x: F.gumbel_softmax(x @ m.w, hard=True), SQUARE),
    "soft gumbel": (lambda m, x: F.gumbel_softmax(x @ m.w, tau=0.5), SQUARE),
    "bags": (lambda m, x: F.embedding_bag(x.long(), m.w, mode="sum"), (1, 5)),
    "renormed embedding": (lambda m, x: F.embedding(x.long(), m.w, max_norm=1.0), (1, 5)),
    "softmin": (lambda m, x: F.softmin(x, dim=-1), SQUARE),
    "softsign": (lambda m, x: F.softsign(x @ m.w), SQUARE),
    "nuclear norm": (lambda m, x: torch.norm(x, "nuc"), SQUARE),
    "indices of maxima": (lambda m, x: x.max(-1)[1], SQUARE),
    "unravelled": (lambda m, x: torch.unravel_index(x.long(), (3, 4))[1], SQUARE),
    "margins": (lambda m, x: F.multilabel_soft_margin_loss(x, m.w), SQUARE),
    "conjugates of real numbers": (lambda m, x: x.conj() @ m.w.mH, SQUARE),
    "reciprocal": (lambda m, x: 1 / x, SQUARE),
    "number by a tensor": (lambda m, x: 3.0 / (x + 1), SQUARE),
    "mean and deviation": (lambda m, x: (x - x.mean()) / (x.std() + 1e-6), SQUARE),
    "outer": (lambda m, x: torch.outer(x[0], x[1]), SQUARE),
    "cosine similarity": (lambda m, x: F.cosine_similarity(x, m.w), SQUARE),
    "pairwise distance": (lambda m, x: F.pairwise_distance(x, m.w), SQUARE),
    "quantile": (lambda m, x: torch.quantile(x, 0.25, dim=1), SQUARE),
    "differences": (lambda m, x: torch.diff(x), SQUARE),
    "weight norm": (lambda m, x: F.linear(x, torch._weight_norm(m.w, x[:, :1])), SQUARE),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_module_and_its_export_are_one_graph(name: str) -> None:
    forward, shape = CALLS[name]
    inputs = torch.rand(shape)
    call = (lambda m, x: forward(m, x[0])) if shape == SQUARE else forward
    model = Function(call, w=nn.Parameter(torch.rand(4, 4)))
    graph = trace(model, inputs)
    other = exported(model, inputs)
    assert cgir.isomorphic(graph, other), cgir.diff(graph, other)
    assert (graph.num_params, graph.flops) == (other.num_params, other.flops)
    assert graph.flops == counted(model, inputs)[1]


def test_covariances_and_correlations_are_products_of_centred_rows() -> None:
    """Exporting them fails in PyTorch, whose operator looks at values."""
    weights = torch.tensor([1, 2, 1, 3])
    for forward in (
        lambda m, x: torch.cov(x[0] @ m.w),
        lambda m, x: torch.corrcoef(x[0] @ m.w),
        lambda m, x: torch.cov(x[0] @ m.w, correction=0, fweights=weights, aweights=weights.float()),
    ):
        model, inputs = Function(forward, w=nn.Parameter(torch.rand(4, 4))), torch.rand(SQUARE)
        graph = trace(model, inputs)
        assert (graph.num_params, graph.flops) == counted(model, inputs)
        assert graph.nodes[-1].shape == tuple(model(inputs).shape)


# --- one operator, one name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda x: x.median(), lambda x: torch.median(x)),
        (lambda x: x.kthvalue(2)[0], lambda x: torch.kthvalue(x, 2)[0]),
        (lambda x: x.mode()[1], lambda x: torch.mode(x)[1]),
        (lambda x: x.det(), lambda x: torch.linalg.det(x)),
        (lambda x: x.int() << 1, lambda x: torch.bitwise_left_shift(x.int(), 1).clone()),
        (lambda x: x.logit(), lambda x: torch.special.logit(x)),
        (lambda x: torch.sigmoid(x), lambda x: torch.special.expit(x)),
        (lambda x: torch.as_tensor(x).relu(), lambda x: torch.asarray(x).relu()),
        (lambda x: x.max(-1)[1], lambda x: x.argmax(-1)),
        (lambda x: x.aminmax(dim=-1)[1], lambda x: x.amax(-1)),
        (lambda x: torch.var_mean(x, -1)[1], lambda x: x.mean(-1)),
        (
            lambda x: F.max_unpool2d(*F.max_pool2d(x[None], 2, return_indices=True), 2),
            lambda x: torch._C._nn.max_unpool2d(*F.max_pool2d(x[None], 2, return_indices=True), (4, 4)),
        ),
    ],
)
def test_spelling_makes_no_difference(first: Forward, second: Forward) -> None:
    graphs = [frontends.trace(Function(lambda m, x, f=f: f(x[0])), torch.rand(1, 4, 4)) for f in (first, second)]
    assert cgir.isomorphic(*graphs), cgir.diff(*graphs)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda x: x.max(-1)[0], lambda x: x.max(-1)[1]),
        (lambda x: torch.std_mean(x, -1)[0], lambda x: torch.std_mean(x, -1)[1]),
        (lambda x: x.median(-1)[0], lambda x: x.median(-1)[1]),
        (lambda x: torch.linalg.eigh(x)[0], lambda x: torch.linalg.svdvals(x)),
    ],
)
def test_results_of_one_call_differ(first: Forward, second: Forward) -> None:
    graphs = [frontends.trace(Function(lambda m, x, f=f: f(x[0])), torch.rand(1, 4, 4)) for f in (first, second)]
    assert not cgir.isomorphic(*graphs)


def test_costs_of_opaque_operators_are_known_where_they_have_no_products() -> None:
    for forward, complete in (
        (lambda m, x: torch.logaddexp(x, x), True),
        (lambda m, x: x.median(-1)[0], True),
        (lambda m, x: torch.renorm(x, 2, 0, 1.0), True),
        (lambda m, x: torch.linalg.inv(x), False),
        (lambda m, x: torch.matrix_exp(x), False),
    ):
        graph = frontends.trace(Function(forward), torch.rand(1, 4, 4))
        assert "Opaque" in {node.op for node in graph.nodes}
        assert graph.complete is complete


def test_operators_without_shapes_are_named() -> None:
    with pytest.raises(cgir.TraceError, match=r"PyTorch has no meta kernel for torch\.geqrf"):
        frontends.trace(Function(lambda m, x: torch.geqrf(x)[0]), torch.rand(4, 4))


def test_complex_convolutions_cost_what_pytorch_counts() -> None:
    model, inputs = nn.Conv2d(4, 6, 3, dtype=torch.cfloat), torch.zeros(1, 4, 8, 8, dtype=torch.cfloat)
    graph = trace(model, inputs)
    assert (graph.num_params, graph.flops) == counted(model, inputs)


@pytest.mark.parametrize(("layer", "size"), [(nn.Linear(4, 3), (1, 4)), (nn.Conv1d(4, 3, 1), (1, 4, 2))], ids=str)
def test_weights_that_are_normalised_have_a_known_cost(layer: nn.Module, size: tuple[int, ...]) -> None:
    graph = frontends.trace(nn.utils.parametrizations.weight_norm(layer), input_shape=size)
    assert graph.complete
    assert graph.num_params == 12 + 3 + 3  # directions, lengths, biases
