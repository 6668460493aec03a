"""Shadows of modules: the same tensors and results, and whatever a forward writes to is their own."""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict, deque
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm
from torch_samples import Function

import frontends
from frontends.torch.module_shadow import named_modules, named_tensors, shadow_of


class _Helper:
    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer


class _Slotted(nn.Module):
    __slots__ = ("extra",)

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "extra", [1])

    def forward(self, x: Tensor) -> Tensor:
        return x * len(self.extra)


class _Writer(nn.Module):
    """Writes wherever a module can keep something, and reaches its layer in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = layer = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(1))
        self.calls, self.seen, self.cache, self.names, self.recent = 0, [], OrderedDict(), {"a"}, deque([1])
        self.hidden, self.by_name, self.pair = [layer], {"x": {"y": layer}}, (layer, 1)
        self.closure, self.bound, self.partial = lambda x: layer(x), layer.forward, functools.partial(_call, layer)
        self.owner, self.reference, self.helper = weakref.ref(self), weakref.ref(layer), _Helper(layer)
        self.default = _with_default(layer)
        self.circle: list[Any] = [layer]
        self.circle.append(self.circle)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(x)
        self.cache["x"] = x
        self.names.add("b")
        self.last = x
        self.count = self.count + 1
        self.layer.extra = x
        del self.recent
        self.layer.register_forward_hook(lambda *_: None)
        assert self.owner() is self
        ways = [self.hidden[0], self.by_name["x"]["y"], self.pair[0], self.reference(), self.helper.layer]
        assert all(way is self.layer for way in (*ways, self.circle[0], self.circle[1][0]))
        for call in (self.layer, self.closure, self.bound, self.partial, self.default):
            x = call(x)
        return x


def _call(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)  # type: ignore[no-any-return]


def _with_default(layer: nn.Module) -> Any:
    def call(x: Tensor, layer: nn.Module = layer) -> Tensor:
        return layer(x)  # type: ignore[no-any-return]

    return call


def _state(model: nn.Module) -> list[Any]:
    containers = (list, dict, set, deque)
    return [
        {key: value.copy() if isinstance(value, containers) else value for key, value in vars(module).items()}
        for module in model.modules()
    ]


@pytest.mark.parametrize("traced", [True, False])
def test_what_a_forward_writes_stays_in_the_shadow(traced: bool) -> None:
    model = _Writer()
    before = repr(_state(model))
    if traced:
        assert frontends.trace(model, input_shape=(2, 4)).op_counts()["Linear"] == 5
    else:
        shadow_of(model)(torch.zeros(2, 4))
    assert repr(_state(model)) == before
    assert not model.layer._forward_hooks
    assert model.recent == deque([1])


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2),
        lambda: nn.LSTM(8, 3, 2, bidirectional=True),
        lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True)),
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)), weight_norm(nn.Linear(8, 2))),
        lambda: parametrizations.spectral_norm(nn.Linear(8, 8)),
        lambda: nn.ModuleList([_Slotted()])[0],
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_shadow_computes_the_same_with_the_same_tensors(build: Any) -> None:
    model = build()
    model.train(False)
    x = torch.linspace(-1, 1, 5 * 4 * 8).reshape(5, 4, 8)
    x = x[0] if isinstance(model, nn.Sequential) else x
    shadow = shadow_of(model)
    for mine, theirs in zip(_tensors(shadow(x)), _tensors(model(x)), strict=True):
        assert torch.equal(mine, theirs)
    assert type(shadow) is type(model)
    for (name, mine), (other, theirs) in zip(shadow.named_parameters(), model.named_parameters(), strict=True):
        assert name == other
        assert mine is theirs


def _tensors(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [tensor for part in result for tensor in _tensors(part)]


def test_names_are_those_of_pytorch() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(
        shared, nn.Sequential(shared, nn.BatchNorm1d(2)), nn.ModuleDict({"a": nn.ReLU(), "b": shared})
    )
    assert list(named_modules(model).items()) == list(model.named_modules())
    modules = named_modules(model)
    assert list(named_tensors(modules, "_parameters")) == list(model.named_parameters())
    assert list(named_tensors(modules, "_buffers")) == list(model.named_buffers())


def test_depth_has_no_limit() -> None:
    model: nn.Module = nn.Linear(2, 2)
    for _ in range(3000):
        model = nn.Sequential(model)
    assert len(named_modules(shadow_of(model))) == 3001


def test_calls_by_other_ways_keep_the_path() -> None:
    graph = frontends.trace(_Writer(), input_shape=(2, 4), raw=True)
    assert {node.module for node in graph.nodes if node.op == "Linear"} >= {"layer"}


def test_functions_that_lead_to_no_module_are_kept() -> None:
    seen: list[Tensor] = []
    model = Function(lambda m, x: (seen.append(x), x)[1])
    frontends.trace(model, input_shape=(1, 2))
    assert len(seen) == 1


class _Cached(nn.Module):
    """Calls a method of its own that remembers its results."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 4), 0
        self.remembered = functools.lru_cache(maxsize=8)(self._call)

    def _call(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.remembered(x)


def test_cached_methods_are_those_of_the_shadow() -> None:
    model = _Cached()
    assert frontends.trace(model, input_shape=(1, 4)).op_counts()["Linear"] == 1
    assert (model.calls, model.remembered.cache_info().currsize) == (0, 0)
    assert shadow_of(model).remembered.cache_parameters() == {"maxsize": 8, "typed": False}
