from __future__ import annotations

import copy
import math

import pytest
import torch
import zero_cost_naive_features as naive
from torch import Tensor, nn
from torch.nn import functional as F

from search.zero_cost.drawing_weights import draw_weights
from search.zero_cost.probe import MissingLayerError, Probe
from search.zero_cost.zen import zen

IMAGES = torch.zeros(4, 3, 8, 8)


@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead_end"])
def test_equals_a_loop(dead: bool) -> None:
    network = naive.Blocks(dead)
    copied, generator = copy.deepcopy(network), torch.Generator().manual_seed(3)
    draw_weights(copied, lambda weight: torch.randn(weight.shape, generator=generator))
    x = torch.randn(4, 3, 8, 8, generator=generator)
    moved = x + 0.01 * torch.randn(4, 3, 8, 8, generator=generator)
    total = 0.0
    for block in range(3):
        before = copied.blocks[:block](copied.stem(x))
        inner = copied.blocks[block].conv(before).detach().double()
        channels = [inner[:, c].flatten() for c in range(inner.shape[1])]
        total += math.log(math.sqrt(sum(float(c.var(correction=0)) for c in channels) / len(channels)))
    change = copied.blocks(copied.stem(x)) - copied.blocks(copied.stem(moved))
    total += math.log(sum(math.sqrt(float((d.double() ** 2).sum())) for d in change.detach()) / 4)
    assert zen(Probe(network, IMAGES, seed=3)) == pytest.approx(total, rel=1e-5)


class Called(nn.Module):
    """BatchNorm as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.scale, self.shift, training=True)


def test_batch_norm_as_a_function_counts() -> None:
    networks = [
        nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Conv2d(4, 4, 3)) for norm in (nn.BatchNorm2d(4), Called())
    ]
    found = [zen(Probe(network, IMAGES)) for network in networks]
    assert found[0] is not None
    assert found[0] == pytest.approx(found[1])


def test_without_modules_there_is_nothing_to_look_at() -> None:
    with pytest.raises(MissingLayerError, match="modules that return feature maps"):
        zen(Probe(naive.Functional(naive.Blocks()), IMAGES))


def test_depends_on_sizes_of_the_batch_only() -> None:
    network = naive.Blocks()
    assert zen(Probe(network, IMAGES)) == zen(Probe(network, IMAGES + 1)) == zen(Probe(network, IMAGES))


def test_undefined_without_a_path() -> None:
    assert zen(Probe(naive.Cut(), IMAGES)) is None


def test_names_what_is_missing() -> None:
    with pytest.raises(MissingLayerError, match=r"^BatchNorm$"):
        zen(Probe(naive.Transformer(), IMAGES))
