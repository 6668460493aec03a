"""Weights drawn anew, however a network holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from search.zero_cost import dense_regression, rank_az_nas, score
from search.zero_cost.drawing_weights import draw_weights

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def normal(weight: Tensor) -> Tensor:
    return torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))


def test_weights_are_drawn_biases_are_0_and_scales_1() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Linear(200, 100), nn.Embedding(3, 2))
    kept = network[3].weight.clone()
    draw_weights(network, normal)
    assert torch.equal(network[2].weight, normal(network[2].weight))
    assert torch.equal(network[0].weight, normal(network[0].weight))
    assert torch.equal(network[1].weight, torch.ones(64))
    assert not any(layer.bias.any() for layer in network[:3])
    assert torch.equal(network[3].weight, kept)


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(4), nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.LayerNorm((4, 3)), nn.RMSNorm(4)],
    ids=lambda layer: type(layer).__name__,
)
def test_scales_of_every_norm_are_1_and_shifts_0(layer: nn.Module) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(3)
    draw_weights(layer, normal)
    assert all(bool((p == float(name == "weight")).all()) for name, p in layer.named_parameters())


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(layer)


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def halved(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Halved())
    return layer


COMPUTED: dict[str, tuple[Callable[[nn.Module], nn.Module], Callable[[Tensor], Tensor]]] = {
    "weight norm": (parametrizations.weight_norm, lambda w: w),
    "weight norm by hook": (old_weight_norm, lambda w: w),
    "no inverse": (halved, lambda w: w / 2),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_are_those_of_what_was_drawn(name: str) -> None:
    wrap, expected = COMPUTED[name]
    layer: Any = wrap(nn.Conv2d(3, 4, 3))
    draw_weights(layer, normal)
    layer.eval()(IMAGES)
    assert torch.allclose(layer.weight, expected(normal(torch.empty(4, 3, 3, 3))), atol=1e-5)


def stages(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)]
    return nn.Sequential(*(part for layer in layers for part in (wrap(layer), nn.BatchNorm2d(layer.out_channels))))


def test_weight_norm_changes_no_proxy_of_feature_maps() -> None:
    """Its weights are no feature maps, and what was drawn is what the network computes with."""
    plain, normed = stages(lambda layer: layer), stages(parametrizations.weight_norm)
    names = ["zen", "meco"]
    assert score(normed, IMAGES, names=names) == pytest.approx(score(plain, IMAGES, names=names), rel=1e-5)
    assert dense_regression(normed, IMAGES, steps=1) == pytest.approx(dense_regression(plain, IMAGES, steps=1))
    ranks = rank_az_nas([plain, normed], IMAGES)
    assert np.isfinite(ranks).all()
