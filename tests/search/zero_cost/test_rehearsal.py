from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
import zero_cost_naive_features as naive
from torch import Tensor, nn

from cgir import GraphBatch
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.errors import CgirError
from frontends import spaces, trace
from frontends.spaces import Space
from search.zero_cost import dense_regression, rehearse
from search.zero_cost.isolation import isolated
from search.zero_cost.small_networks import natural_noise

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SPACE: Space[Any] = spaces.get("nasbench201", cells=1)


class Interrupting(nn.Module):
    """Ctrl-C while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


def networks(count: int) -> list[nn.Module]:
    return [nn.Sequential(naive.Block(3, 4 + i), naive.Block(4 + i, 4, 2)) for i in range(count)]


def test_values_of_modules_are_those_of_dense_regression() -> None:
    modules = networks(3)
    found = rehearse(modules, count=3, images=IMAGES, steps=3, seed=4)
    assert sorted(found.outcomes) == [0, 1, 2]
    for number, trained in found.trained.items():
        score = dense_regression(modules[number], IMAGES, steps=3, seed=4)
        assert score is not None
        assert -trained.losses.sum() == pytest.approx(score / 2)  # mean over both sizes
        assert graph_hashes(trained.graph) == graph_hashes(GraphBatch.of(trace(modules[number], IMAGES[:1])))
    graphs, values, weight = found.as_hint()
    assert len(graphs) == len(values) == 3
    assert 0 < weight <= 1
    assert found.failed == 0


def test_values_are_losses_of_the_last_fifth_of_steps() -> None:
    found = rehearse(networks(2), count=2, images=IMAGES, steps=10)
    expected = [-(trained.losses[8] + trained.losses[9]) / 2 for trained in found.trained.values()]
    np.testing.assert_allclose(found.values, expected)


def test_networks_of_a_space_are_trained_small_and_described_whole() -> None:
    pool = [SPACE.sample(np.random.default_rng(i)) for i in range(4)]
    found = rehearse(SPACE, pool, count=2, steps=2, seed=1)
    small: Any = spaces.get("nasbench201", cells=1, channels=8, image=(3, 16, 16))
    for number, trained in found.trained.items():
        with isolated(1, torch.device("cpu")):
            module = small.module(pool[number])
        score = dense_regression(module, natural_noise(16, 3, 16, 1), steps=2, seed=1)
        assert score is not None
        assert -trained.losses.mean() == pytest.approx(score / (2 * 3))
        assert graph_hashes(trained.graph) == graph_hashes(GraphBatch.of(SPACE.graph(pool[number])))


def test_without_a_pool_networks_of_the_space_are_drawn() -> None:
    found = rehearse(SPACE, count=3, steps=1)
    assert len(found.outcomes) == 3
    assert np.isfinite(found.values).all()


def test_done_is_not_run_again() -> None:
    modules = networks(4)
    whole = rehearse(modules, count=4, images=IMAGES, steps=1)
    first = rehearse(modules, count=2, images=IMAGES, steps=1)
    cut = [modules[i] if i not in first.outcomes else Interrupting() for i in range(4)]
    second = rehearse(cut, count=4, images=IMAGES, steps=1, done=first)
    assert second.seconds > first.seconds
    assert list(second.outcomes) == list(whole.outcomes)
    np.testing.assert_array_equal(second.values, whole.values)


def test_interrupted_and_out_of_time(caplog: pytest.LogCaptureFixture) -> None:
    last = list(rehearse(networks(3), count=3, images=IMAGES, steps=1).outcomes)[-1]
    cut = [Interrupting() if i == last else module for i, module in enumerate(networks(3))]
    with caplog.at_level(logging.WARNING):
        assert len(rehearse(networks(3), count=3, seconds=0, images=IMAGES, steps=1).outcomes) == 1
        assert len(rehearse(cut, count=3, images=IMAGES, steps=1).outcomes) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "rehearse: 1 of 3 networks in 0 seconds",
        "rehearse: interrupted, 2 of 3 networks tried",
    ]


def test_failures_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    modules = [*networks(1), naive.Cut(), nn.Sequential(nn.Conv2d(4, 3, 1))]
    found = rehearse(modules, count=3, images=IMAGES, steps=1)
    assert (list(found.trained), found.failed) == ([0], 2)
    assert "2 of 3 networks failed" in caplog.text
    with pytest.raises(CgirError, match=r"^rehearse: none of 1 networks was trained, 1 failed \(.*refuses inputs"):
        rehearse(modules[2:], count=3, images=IMAGES, steps=1)


def test_the_seed_decides_all() -> None:
    values = [rehearse(SPACE, count=2, steps=1, seed=seed).values for seed in (0, 0, 1)]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_bad_input() -> None:
    with pytest.raises(CgirError, match=r"^rehearse: modules are given as a list, without a pool, and with images"):
        rehearse(networks(1))
    with pytest.raises(CgirError, match=r"^rehearse: count=0; expected 1 network or more$"):
        rehearse(SPACE, count=0)
    with pytest.raises(CgirError, match=r"^rehearse: no networks to choose from$"):
        rehearse(SPACE, [])
