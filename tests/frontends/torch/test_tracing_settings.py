"""What libraries are told during a trace, and that they are told nothing else afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution
from torch_samples import Function

import cgir
import frontends


def settings() -> tuple[object, ...]:
    from torch._dynamo import eval_frame

    flags = torch.compiler.is_compiling(), torch.compiler.is_exporting()
    return (*flags, Distribution._validate_args, torch.compile, eval_frame._stance)


@torch.compile(backend="eager")
def compiled(x: Tensor) -> Tensor:
    return x.relu() * 2


def test_compiled_functions_and_modules_run_as_they_were_written() -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    layers = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    layers.compile(backend="eager")
    for inner in (layers, Function(lambda m, x: compiled(m.layer(x)), layer=nn.Linear(4, 2))):
        before = settings()
        graph = frontends.trace(nn.Sequential(nn.Identity(), inner), torch.zeros(1, 4))
        assert [node.op for node in graph.nodes][:3] == ["Input", "Linear", "ReLU"]
        assert graph.num_params == 10
        assert settings() == before
    assert layers._compiled_call_impl is not None
    assert not counters["frames"]


def test_functions_compiled_inside_are_compiled_later() -> None:
    kept: list[Any] = []

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        kept.append(torch.compile(lambda y: y.exp(), backend="eager"))
        return kept[-1](x)

    before = settings()
    graph = frontends.trace(Function(forward), torch.zeros(1, 4))
    assert [node.op for node in graph.nodes] == ["Input", "Exp", "Output"]
    assert settings() == before
    assert hasattr(kept[0], "_torchdynamo_orig_callable")  # a function to be compiled, as outside of a trace


# --- distributions

POLICIES: dict[str, Callable[[Tensor], Tensor]] = {
    "Normal.rsample": lambda x: distributions.Normal(x, 1.0).rsample(),
    "Normal of a constant": lambda x: distributions.Normal(x, torch.ones(2)).rsample(),
    "Normal that checks": lambda x: distributions.Normal(x, x.exp(), validate_args=True).log_prob(x),
    "log_prob": lambda x: distributions.Normal(x, x.exp()).log_prob(torch.zeros(2)).sum(-1),
    "entropy": lambda x: distributions.Categorical(logits=x).entropy(),
    "kl": lambda x: distributions.kl_divergence(distributions.Normal(x, x.exp()), distributions.Normal(0.0, 1.0)),
    "Independent": lambda x: distributions.Independent(distributions.Normal(x, x.exp()), 1).log_prob(x),
    "tanh": lambda x: distributions.TransformedDistribution(
        distributions.Normal(x, x.exp()), [distributions.TanhTransform(cache_size=1)]
    ).rsample(),
    "Beta": lambda x: distributions.Beta(x.exp(), x.exp()).log_prob(x.sigmoid()),
}


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("name", POLICIES)
def test_distributions_do_not_look_at_values(name: str, checks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether arguments are checked depends on what ran before in the process: importing the compiler ends it."""
    monkeypatch.setattr(Distribution, "_validate_args", checks)
    model = Function(lambda m, x: POLICIES[name](m.layer(x)), layer=nn.Linear(4, 2))
    graph = frontends.trace(model, torch.zeros(1, 4))
    assert Distribution._validate_args is checks
    assert (graph.num_params, graph.flops) == (10, 16)


@pytest.mark.parametrize(
    "check",
    [lambda x: torch._assert((x > 0).all(), "not positive"), lambda x: torch._check_tensor_all(x > 0)],
)
def test_assertions_of_pytorch_hold(check: Callable[[Tensor], object]) -> None:
    model = Function(lambda m, x: (check(x), m.layer(x))[1], layer=nn.Linear(4, 2))
    assert frontends.trace(model, torch.zeros(1, 4)).num_params == 10


class _Rejecting(distributions.Laplace):
    """Draws again until all samples are positive."""

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        sample = super().rsample(sample_shape)
        return sample if (sample > 0).all() else sample.abs()


def test_distributions_that_decide_by_values_are_refused() -> None:
    with pytest.raises(cgir.TraceError, match=rf"{__file__}:\d+\): Tensor.__bool__ needs the values"):
        frontends.trace(Function(lambda m, x: _Rejecting(x, x.exp(), validate_args=True).sample()), torch.zeros(1, 4))


def test_checks_that_are_ended_inside_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the compiler does when it is imported: what it follows later has no checks."""
    monkeypatch.setattr(Distribution, "_validate_args", True)

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        Distribution.set_default_validate_args(False)
        return distributions.Normal(x, 1.0).rsample()

    frontends.trace(Function(forward), torch.zeros(1, 4))
    assert Distribution._validate_args is False


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: torch.broadcast_tensors(x, m.w)[1] * x,
        lambda m, x: torch.broadcast_tensors(torch.ones(3, 1), x)[0] * m.w * x,
        lambda m, x: torch.broadcast_tensors(m.w, x)[1] * m.w,
    ],
)
def test_constants_and_parameters_are_broadcast(function: Callable[[nn.Module, Tensor], Tensor]) -> None:
    graph = frontends.trace(Function(function, w=nn.Parameter(torch.ones(4))), torch.zeros(3, 4))
    assert graph.num_params == 4
    assert set(graph.op_counts()) <= {"Input", "Mul", "Param", "Output"}


# --- where the tensor is


@pytest.mark.parametrize(
    "question", [lambda x: x.is_meta, lambda x: not x.is_cpu, lambda x: x.is_cuda, lambda x: x.get_device() >= 0]
)
def test_tensors_answer_as_those_of_the_module_would(question: Callable[[Tensor], bool]) -> None:
    graph = frontends.trace(Function(lambda m, x: x.relu() if question(x) else x.tanh()), torch.zeros(1, 4))
    assert [node.op for node in graph.nodes] == ["Input", "Tanh", "Output"]


# --- exports


def _checks(m: Any, x: Tensor) -> Tensor:
    if not torch.compiler.is_exporting() and (x == 0).all():
        return x
    return m.layer(x)


def test_libraries_that_look_at_values_unless_they_are_exported_do_not_look() -> None:
    model, x = Function(_checks, layer=nn.Linear(4, 2)), torch.ones(1, 4)
    before = settings()
    graph = frontends.trace(model, x)
    assert graph.num_params == 10
    assert settings() == before
    assert cgir.isomorphic(graph, frontends.trace(torch.export.export(model, (x,), strict=False)))


def test_what_eager_code_follows_is_followed_as_it_is() -> None:
    model = Function(lambda m, x: x.exp() if torch.compiler.is_exporting() else x.tanh())
    assert frontends.trace(model, torch.ones(1, 4)).op_counts() == {"Input": 1, "Tanh": 1, "Output": 1}


def test_settings_are_restored_after_an_error() -> None:
    def fails(m: nn.Module, x: Tensor) -> Tensor:
        assert torch.compile is not before[3]
        return x if (x > 0).all() else -x

    before = settings()
    with pytest.raises(cgir.TraceError, match="needs the values"):
        frontends.trace(Function(fails), torch.ones(1, 4))
    assert settings() == before
