from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cgir.errors import CgirError
from frontends import spaces
from search.zero_cost.small_networks import natural_noise, small_space

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"


def test_noise_falls_with_frequency_as_photographs_do() -> None:
    images = natural_noise(64, 3, 32).double()
    assert images.shape == (64, 3, 32, 32)
    assert float(images.var()) == pytest.approx(1, abs=1e-3)
    power = (
        np.abs(np.fft.fft(images.numpy(), axis=3)).__pow__(2).mean((0, 1, 2))
    )  # of rows: 1 / f^2 summed over columns
    slope = np.polyfit(np.log(np.arange(2, 14)), np.log(power[2:14]), 1)[0]
    assert -1.5 < slope < -0.7
    assert torch.equal(natural_noise(2, 3, 8, 1), natural_noise(2, 3, 8, 1))
    assert not torch.equal(natural_noise(2, 3, 8, 1), natural_noise(2, 3, 8, 2))


@pytest.mark.parametrize(
    ("name", "channels", "pixels"), [("nasbench201", 8, 16), ("nasbench_macro", 8, 16), ("transnas_micro", 16, 64)]
)
def test_smallest_maps_have_two_positions_a_side_or_more(name: str, channels: int, pixels: int) -> None:
    space: Any = spaces.get(name)
    spec = space.sample(np.random.default_rng(0))
    small: Any
    small, images = small_space(space, spec)
    assert images.shape == (16, 3, pixels, pixels)
    assert small.image == (3, pixels, pixels)
    assert small.channels == channels
    with torch.no_grad():
        small.module(spec)(images)


def test_a_smaller_skeleton_stays_and_a_larger_one_is_cut() -> None:
    space: Any = spaces.get("nasbench201", channels=4)
    small, _ = small_space(space, space.parse(CELL))
    assert small == replace(space, cells=1, image=(3, 16, 16))


def test_given_images_are_used() -> None:
    space: Any = spaces.get("nasbench201")
    images = torch.zeros(20, 1, 24, 24)
    small: Any
    small, found = small_space(space, space.parse(CELL), images)
    assert found is images
    assert small.image == (1, 24, 24)


def test_networks_of_text_are_refused() -> None:
    space: Any = spaces.get("nasbench_nlp")
    with pytest.raises(CgirError, match=r"^rehearse: networks of nasbench_nlp read inputs of .*; expected images$"):
        small_space(space, space.sample(np.random.default_rng(0)))
