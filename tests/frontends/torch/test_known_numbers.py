"""Constants of one element where PyTorch takes numbers: the graph is that of the number itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cgir
import frontends


class Numbers(nn.Module):
    """A function of the input and of 8.0, 2 and 1, as buffers or as numbers."""

    def __init__(self, function: Callable[..., Any], as_buffers: bool) -> None:
        super().__init__()
        self.function = function
        for name, value in (("real", 8.0), ("two", 2), ("one", 1)):
            if as_buffers:
                self.register_buffer(name, torch.tensor(value))
            else:
                setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        """What the function returns."""
        return self.function(x, self.real, self.two, self.one)


USES: dict[str, Callable[..., Any]] = {
    "new_full": lambda x, real, two, one: x + x.new_full((4, 8, 8), real),
    "full_like": lambda x, real, two, one: x + torch.full_like(x, fill_value=real),
    "pad": lambda x, real, two, one: F.pad(x, (1, 1), value=real),
    "leaky_relu": lambda x, real, two, one: F.leaky_relu(x, real),
    "elu by name": lambda x, real, two, one: F.elu(x, alpha=real),
    "threshold": lambda x, real, two, one: F.threshold(x, real, real),
    "add": lambda x, real, two, one: torch.add(x, x.exp(), alpha=real),
    "addcmul": lambda x, real, two, one: torch.addcmul(x, x, x, value=real),
    "topk": lambda x, real, two, one: x.topk(two)[0],
    "cumsum": lambda x, real, two, one: x.cumsum(one),
    "softmax": lambda x, real, two, one: x.softmax(one),
    "F.softmax": lambda x, real, two, one: F.softmax(x, dim=one),
    "sum": lambda x, real, two, one: x.sum(one),
    "mean over two": lambda x, real, two, one: x.mean((one, two)),
    "std": lambda x, real, two, one: x.std(one, correction=two),
    "conv": lambda x, real, two, one: F.conv2d(x, torch.ones(3, 4, 2, 2), stride=two),
    "conv in a pair": lambda x, real, two, one: F.conv2d(x, torch.ones(3, 4, 2, 2), stride=(two, one)),
    "max_pool": lambda x, real, two, one: F.max_pool2d(x, two),
    "avg_pool": lambda x, real, two, one: F.avg_pool2d(x, two, stride=one),
    "adaptive_avg_pool": lambda x, real, two, one: F.adaptive_avg_pool2d(x, (two, one)),
    "one_hot": lambda x, real, two, one: F.one_hot(x.long(), two),
    "group_norm": lambda x, real, two, one: F.group_norm(x, two),
    "layer_norm": lambda x, real, two, one: F.layer_norm(x, (8,), eps=real),
    "dropout": lambda x, real, two, one: F.dropout(x, one, True),
    "interpolate to a size": lambda x, real, two, one: F.interpolate(x, size=(two, two)),
    "view": lambda x, real, two, one: x.view(x.shape[0], two, -1),
    "repeat": lambda x, real, two, one: x.repeat(one, two, one, one),
    "new_zeros": lambda x, real, two, one: x + x.new_zeros(one, one),
    "narrow": lambda x, real, two, one: x.narrow(1, one, two),
    "roll": lambda x, real, two, one: x.roll(two, one),
    "attention": lambda x, real, two, one: F.scaled_dot_product_attention(x, x, x, scale=real),
    "fill_": lambda x, real, two, one: x + x.clone().fill_(real),
}


@pytest.mark.parametrize("name", USES)
def test_constants_are_the_numbers_they_hold(name: str) -> None:
    x = torch.zeros(2, 4, 8, 8)
    constants, numbers = (frontends.trace(Numbers(USES[name], as_buffers), x) for as_buffers in (True, False))
    assert USES[name](x, torch.tensor(8.0), torch.tensor(2), torch.tensor(1)).dim()  # PyTorch takes them
    assert cgir.isomorphic(constants, numbers)


def test_numbers_written_during_the_forward_are_the_new_ones() -> None:
    class Growing(Numbers):
        def forward(self, x: Tensor) -> Tensor:
            self.two.add_(1)
            return x[..., : self.two].topk(self.two)[0]

    model = Growing(lambda x: x, True)
    graph = frontends.trace(model, torch.zeros(2, 4, 8, 8))
    assert graph.nodes[-1].shape == (4, 8, 3)
    assert model.two == 2


def test_tensors_stay_where_tensors_are_expected() -> None:
    def function(x: Tensor, real: Tensor, two: Tensor, one: Tensor) -> Tensor:
        return torch.where(x > 0, real, x).clamp(max=real) * real + torch.stack([real, x.sum()]).sum()

    graph = frontends.trace(Numbers(function, True), torch.zeros(2, 4, 8, 8), raw=True)
    assert sum(node.op == "Constant" and node.attr("value") == 8.0 for node in graph.nodes) == 1
