"""The copy of a network and the passes that proxies share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import zero_cost_naive_gradients as naive
from torch import Tensor, nn
from torch.nn import functional as F
from zero_cost_naive_gradients import CLASSES, batch

from search.zero_cost import score
from search.zero_cost.probe import Probe
from search.zero_cost.recorder import Recorder

X, Y = batch()
PASSES: Counter[str] = Counter()


class Counted(nn.Module):
    """Counts its forward and backward passes; in place, in training mode and with dropout and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(),
            nn.Linear(256, CLASSES),
        )  # fmt: skip
        naive.started(self)

    def forward(self, x: Tensor) -> Tensor:
        PASSES["forward"] += 1
        logits: Tensor = self.inner(x.mul_(2))
        if logits.requires_grad:
            logits.register_hook(lambda _: PASSES.update(["backward"]))
        return logits


def test_one_forward_pass_serves_all_that_look_at_the_batch() -> None:
    PASSES.clear()
    names = ["params", "grad_norm", "snip", "grasp", "fisher", "jacob_cov", "naswot", "swap"]
    assert None not in score(Counted(), X, Y, names=names).values()
    assert PASSES["forward"] == 1
    assert PASSES["backward"] == 4  # weights and layers together, the Jacobian, and two of the Hessian's product


def test_calls_draw_the_same_numbers_and_change_no_buffer_and_no_input() -> None:
    probe = Probe(Counted(), X, Y)
    before = {name: buffer.clone() for name, buffer in probe.module.named_buffers()}
    first = probe.call(probe.module, probe.inputs)
    assert torch.equal(probe.call(probe.module, probe.inputs), first)
    assert torch.equal(probe.forward_pass.output, first)
    assert torch.equal(probe.inputs[0], X)
    assert all(torch.equal(buffer, before[name]) for name, buffer in probe.module.named_buffers())
    assert torch.equal(Probe(Counted(), X, Y).forward_pass.output, first)
    assert not torch.equal(Probe(Counted(), X, Y, seed=1).forward_pass.output, first)


def test_fresh_copies_share_nothing() -> None:
    module = Counted().eval().requires_grad_(False)
    probe = Probe(module, X, Y)
    fresh = probe.fresh()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    assert fresh.training
    assert all(parameter.requires_grad for parameter in fresh.parameters())
    for name, weight in module.named_parameters():
        assert torch.equal(probe.module.get_parameter(name), weight)
        assert weight.any()
        assert not weight.requires_grad


def test_weights_are_kernels_and_matrices() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.LayerNorm((4, 6, 6)), nn.Flatten(), nn.Linear(144, 2)]
    assert list(Probe(nn.Sequential(*layers), X).weights) == ["0.weight", "4.weight"]


def test_gradients_are_those_of_an_ordinary_backward_pass() -> None:
    module = naive.DeadEnd()
    found = Probe(module, X, Y).gradients
    F.cross_entropy(module.train()(X), Y).backward()
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            expected, gradient = parameter.grad, found.weights[name]
            assert (expected is None) == (gradient is None)
            assert expected is None or torch.allclose(expected, gradient, atol=1e-6)
    assert [call.channels for call, _ in found.layers] == [-3, -3, -3, -1]
    assert [gradient is None for _, gradient in found.layers] == [False, True, False, False]


RELUS: dict[str, Callable[[Tensor], Any]] = {
    "module": nn.ReLU(), "in place": nn.ReLU(inplace=True), "relu6": nn.ReLU6(), "functional": F.relu,
    "functional in place": lambda x: F.relu(x, inplace=True), "functional relu6": F.relu6, "method": Tensor.relu,
    "method in place": Tensor.relu_, "clamp": lambda x: x.clamp(min=0), "clamp to 6": lambda x: torch.clamp(x, 0, 6),
    "clamp_min": lambda x: x.clamp_min(0.0), "clip": lambda x: x.clip(0), "threshold": nn.Threshold(0, 0),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
}  # fmt: skip
OTHERS: dict[str, Callable[[Tensor], Any]] = {
    "gelu": F.gelu, "leaky": F.leaky_relu, "clamp": lambda x: x.clamp(-1, 1), "clamp max": lambda x: x.clamp(max=0),
    "hardtanh": F.hardtanh, "hardswish": F.hardswish, "threshold": nn.Threshold(0.1, 0), "sigmoid": torch.sigmoid,
}  # fmt: skip


@pytest.mark.parametrize("name", RELUS)
def test_every_way_to_call_relu_is_seen(name: str) -> None:
    """And its value kept, though the network changes it afterwards."""
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    with Recorder() as recorder:
        RELUS[name](x * 1).mul_(5)
    assert [(call.is_relu, call.output.tolist()) for call in recorder.calls] == [(True, [0, 2])]


@pytest.mark.parametrize("name", OTHERS)
def test_other_activations_are_no_relu(name: str) -> None:
    with Recorder() as recorder:
        OTHERS[name](torch.tensor([-1.0, 2.0], requires_grad=True) * 1)
    assert recorder.calls == []
