"""Plain surroundings: whatever the caller has switched on, public functions give the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import cgir
import contrastive
import encoders
import frontends
from cgir.analysis.graph_properties import properties
from encoders import CarlConfig, EncoderConfig, Predictor, TrainConfig
from frontends import spaces
from frontends.torch.surroundings import plain_surroundings
from search.zero_cost import score

SPACE = spaces.get("nasbench_macro")
RNG = np.random.default_rng(0)
GRAPHS = SPACE.graphs([SPACE.sample(RNG) for _ in range(16)])
ONE = SPACE.graph(SPACE.sample(RNG))
LABELS = np.arange(16.0)
TRAIN = TrainConfig(epochs=1, batch=8, hidden=8)
TINY = EncoderConfig(width=8, layers=2)
ENCODER = encoders.Encoder(TINY)


class _AddsOne(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result + 1 if isinstance(result, Tensor) and result.is_floating_point() else result


@contextmanager
def _default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _autocast() -> AbstractContextManager[None]:
    return torch.autocast("cpu", torch.bfloat16)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast": _autocast,
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "device meta": lambda: torch.device("meta"),
    "default dtype": _default_dtype,
    "deterministic": _deterministic,
    "fake tensors": FakeTensorMode,
    "dispatch mode": _AddsOne,
    "FLOP counter": lambda: FlopCounterMode(display=False),
    "floating-point errors": lambda: np.errstate(all="raise"),
    "warnings": _warnings_are_errors,
    "anomalies": lambda: torch.autograd.detect_anomaly(check_nan=False),
}
Call = Callable[[], Any]


def _fitted(head: str, **options: Any) -> Call:
    def call() -> Any:
        return (
            Predictor(TINY if head != "gp" else None, head=head, train=TRAIN, **options)
            .fit(GRAPHS, LABELS)
            .predict(GRAPHS)
        )

    return call


def _network() -> nn.Module:
    layers = nn.Linear(12, 6), nn.Dropout(0.2), nn.ReLU(), nn.Linear(6, 3)
    model = nn.Sequential(nn.Flatten(), *layers)
    for index, parameter in enumerate(model.parameters()):
        nn.init.constant_(parameter, 0.1 * (index + 1))
        parameter.data += torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)
    return model


NETWORK, IMAGES, CLASSES = _network(), torch.linspace(-1, 1, 48).reshape(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
FITTED = Predictor(TINY, head="carl", carl=CarlConfig(), train=TRAIN).fit(GRAPHS, LABELS)
CALLS: dict[str, Call] = {
    "trace": lambda: frontends.trace(NETWORK, input_shape=(2, 3, 2, 2)).hash,
    "embed": lambda: ENCODER.embed(GRAPHS),
    "gp": _fitted("gp"),
    "rank": _fitted("rank"),
    "carl": _fitted("carl"),
    "explain": lambda: FITTED.explain(ONE).nodes,
    "occlusion": lambda: FITTED.explain(ONE, "occlusion").nodes,
    "spectrum": lambda: cgir.spectrum(ONE),
    "properties": lambda: properties(GRAPHS),
    "score": lambda: list(score(NETWORK, IMAGES, CLASSES, names=("snip", "synflow", "grad_norm")).values()),
    "pretrain": lambda: contrastive.pretrain(
        GRAPHS, contrastive.PretrainConfig.paper(encoder=TINY, steps=2, batch=8, projection=8), progress=False
    ).embed(GRAPHS),
}
EXPECTED: dict[str, Any] = {}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:Anomaly Detection:UserWarning")
def test_results_are_bit_equal(name: str, mode: str) -> None:
    if name not in EXPECTED:
        EXPECTED[name] = CALLS[name]()
    with MODES[mode]():
        found = CALLS[name]()
    if isinstance(found, str):
        assert found == EXPECTED[name]
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(EXPECTED[name]))


@pytest.mark.parametrize("name", ["trace", "embed", "rank"])
def test_levels_of_functorch_do_not_reach_in(name: str) -> None:
    expected, found = CALLS[name](), []

    def function(x: Tensor) -> Tensor:
        found.append(CALLS[name]())
        return (x * x).sum()

    assert torch.func.grad(function)(torch.ones(3)).tolist() == [2.0] * 3
    assert torch.vmap(function)(torch.ones(2, 3)).tolist() == [3.0] * 2
    for result in found:
        assert (result == expected) if isinstance(result, str) else np.array_equal(result, expected)


def test_all_is_as_before_afterwards() -> None:
    def state() -> list[object]:
        return [
            *(torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
            *(torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack(), np.geterr()),
        ]

    with np.errstate(all="raise"), _autocast(), torch.device("meta"), _AddsOne(), torch.inference_mode():
        before = state()
        with plain_surroundings(grad=True):
            assert state() == [True, False, False, 0, 0, np.geterr()]
            assert torch.zeros(1).add(1).item() == 1
        assert state() == before
