"""Tracing beside other threads that call, trace or change the same module; and modules that are hostile themselves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch_samples import Function

import frontends
from benchmarks.fuzz import modules, threads
from cgir import CgirError, TraceError


@pytest.fixture(autouse=True)
def _fast_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_nothing_is_disturbed() -> None:
    for row in (
        threads.forwards_beside_traces(1500),
        threads.draws_beside_traces(150),
        threads.traces_beside_traces(24),
    ):
        assert row["disturbed"] == 0, row
        assert row["count"]


def _globals() -> list[object]:
    import random

    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return [
        *(torch.compile, torch.compiler.is_compiling.__code__, vars(Distribution)["_validate_args"]),
        *(torch._C.ScriptFunction.__call__, np.random.rand, random.random, torch.manual_seed),
        *(getattr(dynamo, "_stance", None), torch.get_default_dtype(), sys.getrecursionlimit()),
    ]


def test_globals_are_as_before_whoever_ends_first() -> None:
    before = _globals()
    inside, leave = threading.Event(), threading.Event()

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        inside.set()
        assert leave.wait(30)
        return x.relu()

    first = threading.Thread(target=frontends.trace, args=(Function(forward),), kwargs={"input_shape": (1, 2)})
    first.start()
    assert inside.wait(30)

    def second(m: nn.Module, x: Tensor) -> Tensor:
        leave.set()  # the trace that began first ends first
        first.join()
        return torch.distributions.Normal(x, 1.0).rsample()

    frontends.trace(Function(second), input_shape=(1, 2))
    assert _globals() == before


def test_other_threads_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "_validate_args", True)  # importing the compiler ends checks
    told: list[object] = []

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        def look() -> None:
            told.extend([torch.compiler.is_compiling(), torch.compiler.is_exporting()])
            with pytest.raises(ValueError, match="scale"):
                torch.distributions.Normal(0.0, -1.0)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return x.relu() if torch.compiler.is_compiling() else x.relu() if bool(x.sum() > 0) else x

    graph = frontends.trace(Function(forward), input_shape=(1, 2))
    assert "ReLU" in graph.op_counts()
    assert told == [False] * 4


def test_a_trace_inside_a_trace() -> None:
    inner: list[Any] = []

    def forward(m: Any, x: Tensor) -> Tensor:
        if not inner:
            inner.append(None)
            inner[0] = frontends.trace(m, input_shape=(3, 4))
        return m.layer(x).relu()  # type: ignore[no-any-return]

    model = Function(forward, layer=nn.Linear(4, 2))
    assert frontends.trace(model, input_shape=(3, 4)) == inner[0]


def test_threads_of_the_forward_are_not_recorded() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        thread = threading.Thread(target=m.layer, args=(torch.zeros(1, 4),))
        thread.start()
        thread.join()
        return m.layer(x)  # type: ignore[no-any-return]

    model = nn.Sequential(Function(forward, layer=nn.Linear(4, 2)))
    graph = frontends.trace(model, input_shape=(1, 4))
    assert graph.op_counts()["Linear"] == 1
    assert [node.module for node in graph.nodes if node.op == "Linear"] == ["0.layer"]


def test_hooks_may_come_and_go_meanwhile() -> None:
    model, stop = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), threading.Event()

    def change() -> None:
        while not stop.is_set():
            handle = model[0].register_forward_hook(lambda *_: None)
            model.train(not model.training)
            model[1].extra = 1  # type: ignore[assignment]
            del model[1].extra
            handle.remove()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        graphs = [frontends.trace(model, input_shape=(2, 4)) for _ in range(30)]
    finally:
        stop.set()
        thread.join()
    assert all(graph == graphs[0] for graph in graphs)


# --- hostile modules


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_process_passes(error: type[BaseException]) -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        raise error

    before = _globals()
    with pytest.raises(error):
        frontends.trace(Function(forward), input_shape=(1, 2))
    assert _globals() == before
    assert frontends.trace(nn.ReLU(), input_shape=(1, 2))


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.filterwarnings("ignore")
def test_a_graph_or_one_clean_error(seed: int) -> None:
    item = modules.TARGET.write(np.random.default_rng(seed), None, None)  # type: ignore[arg-type]
    messages = []
    try:
        modules.TARGET.read(item)
    except CgirError as error:
        messages.append(str(error))
    assert all(message.isprintable() and len(message) <= 500 for message in messages)


def _nested(depth: int) -> nn.Module:
    module: nn.Module = nn.ReLU()
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


def test_modules_may_be_nested_as_deeply_as_they_run() -> None:
    assert frontends.trace(_nested(200), input_shape=(1, 2)).op_counts()["ReLU"] == 1
    with pytest.raises(TraceError, match=r"(?i)recursion"):
        frontends.trace(_nested(2000), input_shape=(1, 2))


@pytest.mark.parametrize(
    ("forward", "shape", "message"),
    [
        (lambda m, x: modules._holds_itself(x), (1, 2), "nested deeper than 100 containers"),
        (lambda m, x: x, (2**40, 2**40), r"more elements than a framework can count \(2\*\*56\)"),
        (lambda m, x: modules._nested(1000, x), (1, 2), "nested deeper than 100 containers"),
    ],
)
def test_errors_say_what_is_wrong(forward: Callable[..., Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        frontends.trace(Function(forward), input_shape=shape)
