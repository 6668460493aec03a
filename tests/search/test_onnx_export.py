"""Modules as ONNX: ONNX Runtime computes what the module does, the module is as before, and errors are one line."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from cgir import CgirError
from search import onnx_export
from search.onnx_export import OnnxModel, export


class Nested(nn.Module):
    """Integers in, keywords, a number, an input that nothing depends on; a dictionary out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(20, 8), nn.Linear(8, 4)

    def forward(self, ids: Tensor, unused: Tensor | None = None, *, pair: Any, scale: float = 1.0) -> dict[str, Any]:
        left, right = pair
        return {"scores": scale * self.linear(self.embedding(ids)) + left, "kept": [right + 1], "note": "no tensor"}


class Counting(nn.Module):
    """Changes itself in its forward pass, and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))
        self.seen: list[int] = []
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        self.seen.append(len(x))
        self.count += 1
        drawn = torch.rand(()).item() + random.random() + np.random.random()
        result: Tensor = self.drop(self.norm(x)) + drawn
        return result


def convolutions() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Hardswish(), nn.Dropout(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(8, 5),
        )  # fmt: skip
        for tensor in net[1].buffers():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
        return net


def run(model: OnnxModel) -> list[Any]:
    session = onnxruntime.InferenceSession(model.model, providers=["CPUExecutionProvider"])
    read = {info.name for info in session.get_inputs()}
    return list(session.run(None, {name: array for name, array in model.feeds.items() if name in read}))


def refuse(*_: Any) -> bytes:
    raise RuntimeError("cannot")


def test_onnx_runtime_computes_what_the_module_does_in_evaluation_mode() -> None:
    net, x = convolutions().train(), torch.randn(2, 3, 9, 9)
    (found,) = run(export(net, x))
    assert found == pytest.approx(net.eval()(x).detach().numpy(), rel=1e-5, abs=1e-6)


def test_what_the_caller_has_switched_on_does_not_count() -> None:
    net, x = convolutions(), torch.randn(2, 3, 9, 9)
    expected = export(net, x).model
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert export(net, x).model == expected
    with torch.inference_mode():
        assert export(net, x).model == expected


def test_the_inputs_are_left_as_they_are() -> None:
    class InPlace(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.add_(1)

    x = torch.zeros(2, 3)
    export(InPlace(), x)
    torch.testing.assert_close(x, torch.zeros(2, 3))


def test_nested_inputs_and_outputs() -> None:
    inputs = {
        "ids": torch.randint(20, (2, 6)), "unused": torch.ones(3), "pair": [torch.randn(4), torch.arange(3)],
        "scale": 2.0,
    }  # fmt: skip
    net = Nested()
    expected = net(**inputs)
    scores, kept = run(export(net, inputs))
    assert scores == pytest.approx(expected["scores"].detach().numpy(), rel=1e-5, abs=1e-6)
    assert np.array_equal(kept, expected["kept"][0].numpy())


def test_inputs_without_values_are_drawn() -> None:
    meta = (torch.empty(2, 3, device="meta"), torch.empty(2, dtype=torch.int64, device="meta"))

    class Both(nn.Module):
        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            return x[:, :2] * index

    feeds = export(Both(), meta).feeds.values()
    assert [(array.dtype, array.shape) for array in feeds] == [(np.float32, (2, 3)), (np.int64, (2,))]
    assert [bool(np.ptp(array)) for array in feeds] == [True, False]
    half = nn.Linear(3, 2).half()
    assert export(half, input_shape=(1, 3)).feeds["input_0"].dtype == np.float16


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_module_and_all_settings_are_as_before(
    interrupted: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    net = Counting()
    net.norm.eval()  # one of its parts is frozen
    hook = net.register_forward_hook(lambda module, args, output: None)
    if interrupted:
        monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    before = {name: (id(tensor), tensor.clone()) for name, tensor in net.state_dict(keep_vars=True).items()}

    def settings() -> list[Any]:
        return [
            [module.training for module in net.modules()], list(net._forward_hooks), net.count, net.seen,
            torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),
            torch.is_grad_enabled(), logging.root.manager.disable, list(warnings.filters),
            torch._C._jit_is_onnx_log_enabled(), [parameter.requires_grad for parameter in net.parameters()],
        ]  # fmt: skip

    expected = settings()
    try:
        export(net, input_shape=(3, 4))
    except KeyboardInterrupt:
        assert interrupted
    assert settings() == expected
    after = net.state_dict(keep_vars=True)
    assert all(id(after[name]) == key and torch.equal(after[name], value) for name, (key, value) in before.items())
    assert net._forward_hooks == {hook.id: net._forward_hooks[hook.id]}
    assert capfd.readouterr() == ("", "")


def test_where_one_exporter_fails_the_other_writes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tried = []
    is_logging = torch._C._jit_is_onnx_log_enabled()  # by whoever has exported a module before
    monkeypatch.setattr(onnx_export, "_by_torch_export", lambda *args: tried.append(args) or refuse())

    class Decomposed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvals(x).real

    with pytest.raises(CgirError, match=r"cannot write Decomposed as ONNX \(UnsupportedOperatorError: .*eigvals"):
        export(Decomposed(), input_shape=(1, 4, 4))
    assert len(tried) == 1
    assert capfd.readouterr() == ("", "")
    assert torch._C._jit_is_onnx_log_enabled() == is_logging


@pytest.mark.slow
def test_both_exporters_write_the_same(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    net, x = convolutions(), torch.randn(2, 3, 9, 9)
    expected = run(export(net, x))[0]
    monkeypatch.setattr(onnx_export, "_by_torchscript", refuse)
    assert run(export(net, x))[0] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)  # whose fast path TorchScript cannot write
    monkeypatch.undo()
    tokens = torch.randn(2, 5, 16)
    found = run(export(layer, tokens))[0]
    assert found == pytest.approx(layer.eval()(tokens).detach().numpy(), rel=1e-4, abs=1e-5)
    assert capfd.readouterr() == ("", "")


def no_tensor() -> nn.Module:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    return Silent()


def large() -> nn.Module:
    net = nn.Linear(1, 1)
    net.weight = nn.Parameter(torch.zeros(1).expand(600_000_000), requires_grad=False)  # 2.4 GB that take no memory
    return net


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        return nn.Sequential(torch.jit.script(nn.Linear(4, 2)))


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        (scripted, (2, 4), "Sequential is a TorchScript module, or has one; give the nn.Module"),
        (lambda: nn.Linear(4, 2), (2, 3), r"Linear refuses inputs of shape \(2, 3\) \(RuntimeError: mat1"),
        (lambda: nn.Linear(4, 2), ((2, 4), (2, 4)), "the inputs do not fit Linear.forward"),
        (lambda: nn.Linear(4, 2), (0, 4), "input_shape must be positive integers"),
        (lambda: nn.Linear(4, 2, device="meta"), (2, 4), "Linear has weights on the meta device"),
        (lambda: nn.LazyLinear(2), (2, 4), "LazyLinear has lazy parameters without a shape"),
        (lambda: nn.Linear(4, 2).bfloat16(), (2, 4), "Linear takes torch.bfloat16, which NumPy does not have"),
        (no_tensor, (2, 4), "Silent returns no tensor"),
        (large, (2, 1), "Linear has 2.4 GB of weights, and an ONNX model in memory holds 2; write it with"),
    ],
)
def test_errors_are_one_line(build: Callable[[], nn.Module], shape: Any, message: str) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        export(build(), input_shape=shape)
    assert "\n" not in str(caught.value)


def test_compiled_modules_are_unwrapped() -> None:
    net = nn.Linear(3, 2)
    assert export(torch.compile(net, backend="eager"), input_shape=(1, 3)).label == "Linear"
