"""Gradient proxies against loops written from their equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from frontends import spaces
from search.zero_cost import score

IMAGE = (3, 8, 8)


def network(text: str) -> nn.Module:
    torch.manual_seed(3)
    space = spaces.get("nasbench201", channels=4, cells=1, image=IMAGE)
    return space.module(space.parse(text))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(8, *IMAGE, generator=generator), torch.randint(0, 10, (8,), generator=generator)


CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"


def test_grad_norm() -> None:
    module, (x, y) = network(CONV), batch()
    value = score(module, x, y, names=["grad_norm"])["grad_norm"]
    cross_entropy(module.train()(x), y).backward()
    expected = sum(float(p.grad.norm()) for p in module.parameters() if p.grad is not None and p.dim() > 1)
    assert value == pytest.approx(expected, rel=1e-5)
