from __future__ import annotations

import copy

import pytest
import torch
import zero_cost_naive_features as naive
from torch import Tensor, nn
from torch.nn import functional as F

from frontends import spaces
from search.zero_cost import score
from search.zero_cost.activations import distinct_columns, hamming_kernel, log_determinant, naswot, swap
from search.zero_cost.probe import MissingLayerError, Probe

IMAGES = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PROXIES = [pytest.param(naswot, id="naswot"), pytest.param(swap, id="swap")]


@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead_end"])
def test_equals_loops(dead: bool) -> None:
    network = naive.Blocks(dead)
    activations = naive.outputs(copy.deepcopy(network), nn.ReLU, IMAGES)
    probe = Probe(network, IMAGES)
    assert naswot(probe) == pytest.approx(naive.naswot(activations), rel=1e-9)
    assert swap(probe) == naive.swap(activations)


@pytest.mark.parametrize("proxy", PROXIES)
def test_functions_in_place_count_as_modules_do(proxy) -> None:
    network = naive.Blocks()
    assert proxy(Probe(naive.Functional(network), IMAGES)) == pytest.approx(proxy(Probe(network, IMAGES)))


@pytest.mark.parametrize("proxy", PROXIES)
def test_order_of_images_does_not_matter(proxy) -> None:
    network, order = naive.Blocks(), torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(1))
    assert proxy(Probe(network, IMAGES[order])) == pytest.approx(proxy(Probe(network, IMAGES)))


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=0)


class ClampMin(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp_min(x, 0)


@pytest.mark.parametrize("kind", [nn.ReLU6, Clamp, ClampMin], ids=lambda kind: kind.__name__)
def test_other_names_of_relu(kind: type[nn.Module]) -> None:
    network = naive.Blocks()
    expected = naswot(Probe(network, IMAGES))
    for block in network.blocks:
        block.relu = kind()
    assert naswot(Probe(network, IMAGES)) == pytest.approx(expected)  # BatchNorm keeps values below 6


def test_other_bounds_are_no_relu() -> None:
    network = naive.Blocks()
    for block in network.blocks:
        block.relu = nn.Hardtanh()
    with pytest.raises(MissingLayerError):
        naswot(Probe(network, IMAGES))


@pytest.mark.parametrize("proxy", PROXIES)
def test_undefined_without_a_path(proxy) -> None:
    space = spaces.get("nasbench201", channels=4, cells=1, image=(3, 8, 8))
    network = space.module(space.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    assert proxy(Probe(network, IMAGES)) is None


def test_undefined_where_two_images_are_equal() -> None:
    twice = torch.cat([IMAGES, IMAGES[:1]])
    assert naswot(Probe(naive.Blocks(), twice)) is None
    assert swap(Probe(naive.Blocks(), twice)) is not None


@pytest.mark.parametrize("proxy", PROXIES)
def test_names_what_is_missing(proxy) -> None:
    with pytest.raises(MissingLayerError, match=r"^ReLU activations$"):
        proxy(Probe(naive.Transformer(), IMAGES))


class Gated(nn.Module):
    """A ReLU of a parameter beside one of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.gate = nn.Linear(3, 6), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.linear(x)) * F.relu(self.gate)


def test_relus_of_something_else_than_images_do_not_count() -> None:
    network, x = Gated(), torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    assert swap(Probe(network, x)) == naive.swap([F.relu(network.linear(x))])


def test_many_images_need_several_words() -> None:
    patterns = torch.rand(130, 40, generator=torch.Generator().manual_seed(3)) > 0.5
    patterns[:, 20:] = patterns[:, :20]
    patterns[127, 30] ^= True
    assert distinct_columns([patterns[:, :15], patterns[:, 15:]]) == naive.swap([patterns.float()]) == 21


def test_kernel_is_exact_and_singular_ones_have_no_determinant() -> None:
    patterns = torch.rand(5, 1000, generator=torch.Generator().manual_seed(4)) > 0.5
    kernel = hamming_kernel([patterns])
    assert torch.equal(kernel, 1000 - torch.cdist(patterns.double(), patterns.double(), p=1).round())
    assert log_determinant(kernel) == pytest.approx(float(torch.linalg.slogdet(kernel)[1]))
    assert log_determinant(torch.ones(5, 5, dtype=torch.float64)) is None
    assert log_determinant(torch.zeros(5, 5, dtype=torch.float64)) is None


class Partly(nn.Module):
    """ReLU of half of the channels, in place or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.in_place, self.layer, self.head = in_place, nn.Conv2d(3, 4, 3), nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        if self.in_place:
            nn.functional.relu_(x[:, :2])
        else:
            x = torch.cat([nn.functional.relu(x[:, :2]), x[:, 2:]], 1)
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.mark.parametrize("name", ["naswot", "swap"])
def test_a_part_changed_in_place_is_no_dead_end(name: str) -> None:
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = score(Partly(True), x, names=[name])[name]
    assert found is not None
    assert found == score(Partly(False), x, names=[name])[name]


@pytest.mark.parametrize("name", ["naswot", "swap", "jacob_cov"])
def test_numbers_that_are_none_have_no_pattern(name: str) -> None:
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[0] = torch.nan
    assert score(Partly(False), x, names=[name]) == {name: None}
