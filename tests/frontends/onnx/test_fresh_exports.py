"""Untrained networks as PyTorch exports them: zeros are left out, equal tensors stored once; `diff` says just that."""

from __future__ import annotations

import pytest
import torch
from onnx_samples import exported
from torch import nn

import cgir
import frontends


class Fresh(nn.Module):
    """A convolution with fresh BatchNorm, two linear layers with biases of zeros, LayerNorms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        nn.init.zeros_(self.first.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.stem(x).mean((2, 3))).relu()
        return self.norms[1](self.second(self.norms[0](x)))


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("dynamo", "biases that only a has, of 2 nodes (node 1 Conv (stem.0), node 4 Linear (first)); exporters leave"),
        ("script", "vectors that are used again, 0 in a, 4 in b; exporters store equal tensors once"),
    ],
)
@pytest.mark.parametrize("trained", [False, True])
def test_fresh_networks(how: str, found: str, trained: bool) -> None:
    module, inputs = Fresh().eval(), torch.zeros(1, 3, 8, 8)
    if trained:
        for weight in module.parameters():
            nn.init.normal_(weight)
    file = exported(module, (inputs,), how)
    for level in ("module", "inference"):
        a, b = frontends.trace(module, inputs, level=level), frontends.trace(file, level=level)
        text = cgir.diff(a, b)
        at = 'at level="inference" (--level inference), where BatchNorm is folded, they are '
        start = at if level == "module" else ""
        if trained:
            assert text.endswith(f"{start}isomorphic" if start else "")
            assert bool(text) == bool(start)
        else:
            assert text.splitlines()[-1].startswith(f"{start}equal but for {found}")
            assert "they part at" not in text
