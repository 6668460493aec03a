from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import zero_cost_naive_features as naive
from torch import Tensor, nn

from search.zero_cost.meco import least_correlation, meco
from search.zero_cost.probe import MissingLayerError, Probe

IMAGES = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead_end"])
def test_equals_a_loop_over_layers(dead: bool) -> None:
    network = naive.Blocks(dead)
    pair = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    layers = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    expected = sum(naive.meco([y[0] for y in naive.outputs(copy.deepcopy(network), kind, pair)]) for kind in layers)
    assert expected > 0.1
    assert meco(Probe(network, IMAGES, seed=5)) == pytest.approx(expected, abs=1e-6)


class Residual(nn.Module):
    """Activations in place: of the first, BatchNorm's own result is overwritten."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace))
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.relu = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.relu(x + self.second(x))


def test_activations_in_place_count_the_same() -> None:
    network, other = Residual(False), Residual(True)
    other.load_state_dict(network.state_dict())
    assert meco(Probe(network, IMAGES)) == pytest.approx(meco(Probe(other, IMAGES)))


@pytest.mark.parametrize("shape", [(4, 30), (6, 5), (5, 6), (1, 9)], ids=str)
def test_least_eigenvalue(shape: tuple[int, int]) -> None:
    channels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    correlation = np.atleast_2d(np.corrcoef(channels.double().numpy()))
    assert least_correlation(channels) == pytest.approx(float(np.linalg.eigvalsh(correlation)[0]), abs=1e-9)


def test_a_constant_channel_makes_it_zero() -> None:
    channels = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    channels[1] = 0.1
    assert least_correlation(channels) == 0


def test_does_not_depend_on_the_batch_but_on_the_seed() -> None:
    network = naive.Blocks()
    assert meco(Probe(network, IMAGES)) == meco(Probe(network, torch.ones(5, 3, 8, 8)))
    assert meco(Probe(network, IMAGES)) != meco(Probe(network, IMAGES, seed=1))


def test_undefined_without_a_path() -> None:
    assert meco(Probe(naive.Cut(), IMAGES)) is None


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 8, 8)], ids=["vectors", "images"])
def test_names_what_is_missing(shape: tuple[int, ...]) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 if len(shape) == 2 else 192, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(MissingLayerError, match="feature maps"):
        meco(Probe(network, torch.zeros(shape)))
