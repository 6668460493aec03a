"""Many models: the graphs of `trace` one by one, in their order, whoever traces them; one failure loses no other."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from torch import Tensor, nn

import cgir
import frontends
from cgir import CgirError, TraceError
from frontends import reference

SHAPE = (1, 3, 32, 32)
FILE = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, {channels}, 3), nn.ReLU())

def broken():
    return [][0]
"""


class Branch(nn.Module):
    """A network that cannot be traced: which way it goes depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def conv(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU())


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = []
    for channels in (4, 8):
        path = tmp_path / f"net{channels}.py"
        path.write_text(FILE.format(channels=channels))
        names.append(f"{path}:build")
    return names


def test_graphs_are_those_of_trace(files: list[str]) -> None:
    mixed: list[Any] = [conv(5), files[1], reference.mobilenet_v3_small, (conv(6), torch.zeros(2, 3, 9, 9))]
    graphs = frontends.trace_many(mixed[:3], input_shape=SHAPE, progress=False)
    expected = [frontends.trace(model, input_shape=SHAPE) for model in (conv(5), conv(8))]
    with torch.device("meta"):
        expected.append(frontends.trace(reference.mobilenet_v3_small(), input_shape=SHAPE))
    assert [graph.hash for graph in graphs] == [graph.hash for graph in expected]
    (pair,) = frontends.trace_many(mixed[3:], progress=False)
    assert pair.hash == frontends.trace(conv(6), torch.zeros(2, 3, 9, 9)).hash
    assert pair.nodes[0].shape == (3, 9, 9)


def test_processes_give_the_same_in_order(files: list[str]) -> None:
    models: list[Any] = [files[1], conv(5), files[0], files[0].replace("build", "broken"), reference.mobilenet_v3_small]
    alone = frontends.trace_many(models, errors="return", input_shape=SHAPE, progress=False)
    beside = frontends.trace_many(models, workers=2, errors="return", input_shape=SHAPE, progress=False)
    for one, other in zip(alone, beside, strict=True):
        assert type(one) is type(other)
        if isinstance(one, cgir.Graph) and isinstance(other, cgir.Graph):
            assert one == other
        else:
            assert str(one) == str(other)
    assert isinstance(alone[3], TraceError)


def test_a_failure_is_raised_with_its_number_or_returned(files: list[str]) -> None:
    models = [conv(4), Branch(), conv(8)]
    with pytest.raises(TraceError, match=r"^model 1: Branch.*needs the values of a tensor"):
        frontends.trace_many(models, input_shape=SHAPE, progress=False)
    first, error, last = frontends.trace_many(models, errors="return", input_shape=SHAPE, progress=False)
    assert isinstance(error, TraceError)
    assert isinstance(first, cgir.Graph)
    assert isinstance(last, cgir.Graph)
    assert (first.num_params, last.num_params) == (4 * 28, 8 * 28)
    with pytest.raises(TraceError, match=r"^model 0: .*broken: building the model failed"):
        frontends.trace_many([files[0].replace("build", "broken")], input_shape=SHAPE, progress=False)


def test_a_generators_models_are_freed_one_by_one() -> None:
    seen: list[ReferenceType[nn.Module]] = []
    alive: list[int] = []

    def models() -> Iterator[nn.Module]:
        for channels in range(1, 6):
            gc.collect()
            alive.append(sum(model() is not None for model in seen))
            model = conv(channels)
            seen.append(ref(model))
            yield model
            del model

    assert len(frontends.trace_many(models(), input_shape=SHAPE, progress=False)) == 5
    assert max(alive) <= 1


def local() -> Callable[[], nn.Module]:
    def inner() -> nn.Module:
        return conv(7)

    return inner


def test_functions_that_no_other_process_knows_are_called_here() -> None:
    (graph,) = frontends.trace_many([local()], workers=2, input_shape=SHAPE, progress=False)
    assert graph.num_params == 7 * 28


def test_empty_and_wrong_arguments(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert frontends.trace_many([]) == []
    assert not caplog.records
    wrong: Any = "return_"
    with pytest.raises(CgirError, match=r"errors='return_'; expected"):
        frontends.trace_many([], errors=wrong)
    with pytest.raises(CgirError, match=r"workers=0; expected a positive whole number"):
        frontends.trace_many([], workers=0)
    with pytest.raises(CgirError, match=r"is one model; expected a list"):
        frontends.trace_many("net.onnx")
