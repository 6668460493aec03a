"""Shapes by rule are those of PyTorch, and what PyTorch refuses is left to it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from frontends.torch.meta_shapes import SHAPE_RULES


@pytest.mark.parametrize("size", [(4,), (3, 4), (2, 5, 4), (0, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_linear(size: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    x, weight = torch.zeros(size, dtype=dtype), torch.zeros(6, 4, dtype=dtype)
    vector = torch.zeros(6, dtype=dtype) if bias else None
    found, expected = SHAPE_RULES["linear"](x, weight, vector), F.linear(x, weight, vector)
    assert isinstance(found, torch.Tensor)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        (torch.zeros(6, 5), None),
        (torch.zeros(4), None),
        (torch.zeros(6, 4), torch.zeros(5)),
        (torch.zeros(6, 4, dtype=torch.float64), None),
    ],
)
def test_linear_that_does_not_fit_is_left_to_pytorch(weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    assert SHAPE_RULES["linear"](torch.zeros(3, 4), weight, bias) is None
