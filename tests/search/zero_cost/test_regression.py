from __future__ import annotations

import copy

import pytest
import torch
import zero_cost_naive_features as naive
from torch import Tensor, nn
from torch.nn import functional as F

from cgir.errors import CgirError
from search.zero_cost import dense_regression as public
from search.zero_cost.probe import Probe
from search.zero_cost.regression import dense_regression, heads_of, sinusoids

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_is_public() -> None:
    assert public is dense_regression


def test_waves_equal_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    frequency, direction, phase = (torch.rand(2, 3, generator=generator) * 6 for _ in range(3))
    found = sinusoids(frequency, direction, phase, (4, 6))
    assert found.shape == (2, 3, 4, 6)
    for b in range(2):
        for k in range(3):
            wave = [float(value[b, k]) for value in (frequency, direction, phase)]
            for i in range(4):
                for j in range(6):
                    assert float(found[b, k, i, j]) == pytest.approx(naive.sinusoid(*wave, i, j, (4, 6)), abs=1e-5)


def test_waves_have_variance_one() -> None:
    generator = torch.Generator().manual_seed(0)
    frequency, direction, phase = (torch.rand(2000, 8, generator=generator) * 6 for _ in range(3))
    assert float(sinusoids(frequency, direction, phase * 1.05, (4, 4)).pow(2).mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead_end"])
def test_equals_a_loop(dead: bool) -> None:
    network = naive.Blocks(dead)
    copied = copy.deepcopy(network).train()
    probe = Probe(network, IMAGES, seed=2)
    heads = list(heads_of(probe, probe.module).values())  # of the map of 4 x 4, then of 8 x 8

    def loss() -> Tensor:
        large = copied.blocks[0](copied.stem(IMAGES))
        small = copied.blocks[2](copied.blocks[1](large))
        total = torch.zeros(())
        for head, feature in zip(heads, (small, large), strict=True):
            mean, variance = feature.mean((0, 2, 3), keepdim=True), feature.var((0, 2, 3), correction=0, keepdim=True)
            normal = (feature - mean) / (variance + 1e-5).sqrt()
            drawn = torch.einsum("oc,bchw->bohw", head.weight[:, :, 0, 0], normal) + head.bias[:, None, None]
            total = total + ((drawn - head.target) ** 2).mean()
        return total

    parameters = [*copied.stem.parameters(), *copied.blocks.parameters(), *(p for h in heads for p in h.parameters())]
    expected = naive.adam(loss, parameters, 4, 0.005)
    assert expected[-1] < expected[0]
    assert dense_regression(network, IMAGES, steps=4, seed=2) == pytest.approx(-sum(expected), rel=1e-4)


def test_frequencies_are_up_to_half_the_map() -> None:
    probe = Probe(naive.Blocks(), IMAGES)
    targets = [head.target for head in heads_of(probe, probe.module).values()]
    assert [target.shape for target in targets] == [(16, 8, 4, 4), (16, 8, 8, 8)]
    assert not torch.equal(targets[0][0], targets[0][1])


def test_learns_more_with_more_steps() -> None:
    network = naive.Blocks()
    few, many = (dense_regression(network, IMAGES, steps=steps) / steps for steps in (5, 40))
    assert -2.7 < few < many < 0  # two sizes, each with variance 1 to draw and 1/3 of untrained heads


def test_same_twice_and_other_with_another_seed() -> None:
    network = nn.Sequential(naive.Block(3, 4), nn.Dropout2d(), naive.Block(4, 4, 2))
    assert dense_regression(network, IMAGES, steps=3) == dense_regression(network, IMAGES, steps=3)
    assert dense_regression(network, IMAGES, steps=3) != dense_regression(network, IMAGES, steps=3, seed=1)


def test_sixteen_images_are_used() -> None:
    network = naive.Blocks()
    assert dense_regression(network, torch.cat([IMAGES, IMAGES]), steps=2) == dense_regression(network, IMAGES, steps=2)


def test_leaves_module_and_random_state() -> None:
    network, calls = naive.Blocks(dead=True).eval(), []
    network.stem.register_forward_hook(lambda *_: calls.append(1))
    network.stem.weight.requires_grad_(False)
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        assert dense_regression(network, IMAGES, steps=2) is not None
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert not network.stem.weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not calls


def test_undefined() -> None:
    assert dense_regression(naive.Cut(), IMAGES) is None
    network = naive.Blocks()
    with torch.no_grad():
        network.stem.weight.fill_(torch.inf)
    assert dense_regression(network, IMAGES) is None


def test_transformers() -> None:
    assert dense_regression(naive.Transformer(), IMAGES, steps=2) is not None


def test_bad_input() -> None:
    with pytest.raises(CgirError, match=r"^dense_regression needs .*feature maps.*Linear"):
        dense_regression(nn.Linear(3, 2), torch.zeros(16, 3))
    with pytest.raises(CgirError, match=r"^dense_regression: 0 steps; expected an integer of 1 or more$"):
        dense_regression(naive.Blocks(), IMAGES, steps=0)
    with pytest.raises(CgirError, match="refuses inputs"):
        dense_regression(naive.Blocks(), torch.zeros(16, 4, 8, 8))


def test_one_stage_is_enough() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.conv(x)).mean((2, 3))

    assert dense_regression(Stage(), IMAGES, steps=2) is not None
