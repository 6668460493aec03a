from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import zero_cost_naive_features as naive
from torch import Tensor, nn

from cgir.errors import CgirError
from frontends import spaces
from search.zero_cost.az_nas import block_maps, channel_entropy, components, conditioning, he_normal, rank_az_nas
from search.zero_cost.drawing_weights import draw_weights
from search.zero_cost.feature_maps import FeatureMap
from search.zero_cost.isolation import isolated
from search.zero_cost.probe import Probe

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead_end"])
def test_equals_loops_on_known_blocks(dead: bool) -> None:
    network = naive.Blocks(dead)
    found = components(Probe(network, IMAGES, seed=3))
    assert found is not None
    with isolated(3, CPU):
        draw_weights(network, he_normal)
    network.train()
    maps = [network.blocks[:depth](network.stem(IMAGES)).detach() for depth in (1, 2, 3)]
    entropies = [naive.entropy(feature) for feature in maps]
    assert found.expressivity == pytest.approx(sum(entropies), rel=1e-5)
    assert found.progressivity == pytest.approx(min(b - a for a, b in pairwise(entropies)))
    generator = torch.Generator().manual_seed(3)
    terms = []
    for block, before, after in zip(network.blocks[1:], maps, maps[1:], strict=False):
        signs = torch.randint(0, 2, after.shape, generator=generator) * 2.0 - 1
        terms.append(naive.conditioning(block, before, signs))
    assert found.trainability == pytest.approx(np.mean(terms), rel=1e-4)


def test_known_jacobian() -> None:
    """Of an orthogonal matrix all singular values are 1, so trainability is best, 0; of three times it, -4/3."""
    matrix = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    x = torch.randn(8, 6, 64, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for factor, expected in ((1, 0.0), (3, -4 / 3)):
        y = torch.einsum("oc,bchw->bohw", factor * matrix, x)
        found = conditioning(FeatureMap(x, "BCHW"), FeatureMap(y, "BCHW"), torch.Generator().manual_seed(2))
        assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("before", "after"), [(7, 4), (4, 8), (9, 3), (2, 7)], ids=str)
def test_any_change_of_size(before: int, after: int) -> None:
    x = torch.randn(2, 3, before, before, generator=torch.Generator().manual_seed(1), requires_grad=True)
    y = nn.functional.interpolate(x, size=(after, after))
    found = conditioning(FeatureMap(x, "BCHW"), FeatureMap(y, "BCHW"), torch.Generator().manual_seed(2))
    assert found is not None
    assert found <= 0


def test_blocks_that_return_their_input_and_blocks_without_a_path() -> None:
    x, generator = torch.randn(2, 3, 4, 4, requires_grad=True), torch.Generator()
    assert conditioning(FeatureMap(x, "BCHW"), FeatureMap(x.clone(), "BCHW"), generator) == -math.inf
    other = (torch.randn(2, 3, 4, 4, requires_grad=True) * 2).relu()
    assert conditioning(FeatureMap(x, "BCHW"), FeatureMap(other, "BCHW"), generator) is None


def test_entropy() -> None:
    orthogonal = torch.zeros(1, 2, 2, 2)
    orthogonal[0, 0], orthogonal[0, 1] = torch.tensor([[1.0, -1], [1, -1]]), torch.tensor([[1.0, 1], [-1, -1]])
    assert channel_entropy(orthogonal) == pytest.approx(math.log(2))
    assert channel_entropy(orthogonal[:, [0, 0]]) == pytest.approx(0, abs=1e-9)
    assert math.isnan(channel_entropy(torch.ones(2, 3, 4, 4)))
    wide = torch.randn(2, 40, 3, 3, generator=torch.Generator().manual_seed(0))
    assert channel_entropy(wide) == pytest.approx(naive.entropy(wide), rel=1e-6)


def test_ranks_equal_a_loop() -> None:
    networks = [naive.Blocks(channels=widths) for widths in ((4, 6, 6), (8, 8, 4), (5, 9, 7), (3, 3, 3))]
    table = [components(Probe(network, IMAGES)) for network in networks]
    assert len({*map(tuple, table)}) == 4
    assert rank_az_nas(networks, IMAGES) == pytest.approx(naive.az_ranks([tuple(row) for row in table]))


def test_undefined_networks_do_not_count() -> None:
    networks = [naive.Blocks(), naive.Cut(), naive.Blocks(channels=(8, 8, 8))]
    scores = rank_az_nas(networks, IMAGES)
    assert np.isnan(scores).tolist() == [False, True, False]
    assert scores[[0, 2]] == pytest.approx(rank_az_nas([networks[0], networks[2]], IMAGES))
    assert rank_az_nas([], IMAGES).shape == (0,)


def test_equal_networks_are_equal_in_any_order_and_gradient_mode() -> None:
    networks = [naive.Blocks(), naive.Blocks(channels=(8, 8, 8)), naive.Blocks()]
    scores = rank_az_nas(networks, IMAGES)
    assert scores[0] == scores[2]  # weights are drawn anew
    with torch.no_grad():
        assert np.array_equal(rank_az_nas(networks[::-1], IMAGES), scores[::-1])


def test_leaves_modules_and_random_state() -> None:
    network = naive.Blocks().eval()
    network.stem.weight.requires_grad_(False)
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    rank_az_nas([network], IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert not network.stem.weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


class Plain(nn.Module):
    """No blocks: the maps before pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).flatten(1)


def test_without_blocks_ends_of_sizes_count() -> None:
    network = Plain()
    probe = Probe(network, IMAGES)
    maps = block_maps(probe, probe.module)
    assert torch.equal(maps[0].value, network.layers[:2](IMAGES))
    assert torch.equal(maps[1].value, network.layers[:5](IMAGES))
    assert len(maps) == 2
    assert components(probe) is not None


def test_transformers() -> None:
    probe = Probe(naive.Transformer(), IMAGES)
    maps = block_maps(probe, probe.module)
    assert [feature.size for feature in maps] == [(4, 4)] * 3
    assert components(probe) is not None


@pytest.mark.parametrize("name", ["nasbench201", "nasbench101", "darts", "nasbench_macro"])
def test_search_spaces(name: str) -> None:
    space = spaces.get(name, channels=4) if name != "nasbench_macro" else spaces.get(name)
    network = space.module(space.sample(np.random.default_rng(0)))
    found = components(Probe(network, torch.randn(2, *space.image, generator=torch.Generator().manual_seed(0))))
    assert found is not None
    assert math.isfinite(found.expressivity)


def test_a_network_that_cannot_be_scored_is_named() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with pytest.raises(CgirError, match=r"^rank_az_nas: network 1: needs .*feature maps, and Sequential has none"):
        rank_az_nas([naive.Blocks(), flat], IMAGES)
    with pytest.raises(CgirError, match=r"^rank_az_nas: network 0: .*refuses inputs"):
        rank_az_nas([naive.Blocks()], torch.zeros(2, 4, 8, 8))


def test_one_network_is_no_list_of_its_layers() -> None:
    with pytest.raises(CgirError, match="modules are one Sequential; give a list of networks"):
        rank_az_nas(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGES)  # type: ignore[arg-type]


def test_what_is_not_finite_has_no_rank() -> None:
    images = IMAGES.clone()
    images[0] = torch.nan
    assert np.isnan(rank_az_nas([naive.Blocks()], images)).all()
