from __future__ import annotations

import copy

import pytest
import torch
import zero_cost_naive_features as naive
from torch import nn

from search.zero_cost.feature_maps import as_image, ends_of_sizes, layout_of, live_maps, watched
from search.zero_cost.probe import MissingLayerError, Probe

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "image", "layout"),
    [
        ((2, 5, 8, 8), (16, 16), "BCHW"),
        ((2, 8, 8, 5), (16, 16), "BHWC"),
        ((2, 8, 8, 8), (16, 16), "BCHW"),
        ((2, 5, 4, 8), (16, 32), "BCHW"),
        ((2, 4, 8, 5), (16, 32), "BHWC"),
        ((2, 16, 5), (16, 16), "tokens"),
        ((2, 17, 5), (16, 16), "tokens"),
        ((2, 18, 5), (16, 16), None),
        ((2, 5), (16, 16), None),
        ((2, 0, 8, 8), (16, 16), None),
    ],
    ids=str,
)
def test_layouts(shape: tuple[int, ...], image: tuple[int, int], layout: str | None) -> None:
    assert layout_of(torch.zeros(shape), image) == layout


def test_numbers_that_are_not_floating_point_are_no_map() -> None:
    assert layout_of(torch.zeros(2, 5, 8, 8, dtype=torch.long), (16, 16)) is None


def test_maps_of_any_layout_have_the_same_positions() -> None:
    value = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    tokens = value.flatten(2).transpose(1, 2)
    with_class = torch.cat([torch.zeros(2, 1, 5), tokens], 1)
    for found in (
        as_image(value, "BCHW"), as_image(value.permute(0, 2, 3, 1), "BHWC"),
        as_image(tokens, "tokens"), as_image(with_class, "tokens"),
    ):  # fmt: skip
        assert torch.equal(found, value)


def test_dead_ends_are_no_maps_and_the_last_of_a_size_is_its_end() -> None:
    probe = Probe(naive.Blocks(dead=True), IMAGES)
    maps = live_maps(probe, probe.module, probe.inputs)
    assert [name for name, _ in maps if name.count(".") < 2] == ["stem", "blocks.0", "blocks.1", "blocks.2", "blocks"]
    assert not any(name.startswith("dead") for name, _ in maps)
    assert ends_of_sizes(maps) == {(8, 8): ("blocks.0", 0), (4, 4): ("blocks", 0)}
    assert ends_of_sizes(maps, smallest=5) == {(8, 8): ("blocks.0", 0)}


def test_what_was_seen_stays_when_the_network_changes_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Sequential(nn.Conv2d(4, 4, 3)))
    expected = network[0](IMAGES)
    seen: dict[tuple[str, int], torch.Tensor] = {}
    with watched({"0": network[0]}, seen.__setitem__):
        output = network(IMAGES)
        network(IMAGES)
    assert list(seen) == [("0", 0), ("0", 1)]
    assert torch.equal(seen["0", 0], expected)
    assert torch.equal(output, network(IMAGES))
    assert len(seen) == 2


def test_a_module_called_twice_has_two_maps() -> None:
    layer = nn.Conv2d(3, 3, 3, padding=1)
    probe = Probe(nn.Sequential(layer, nn.ReLU(), layer), IMAGES)
    assert [key for key in live_maps(probe, probe.module, probe.inputs) if key[0] == "0"] == [("0", 0), ("0", 1)]


def test_the_network_is_as_before() -> None:
    probe = Probe(naive.Blocks(), IMAGES)
    state = copy.deepcopy(probe.module.state_dict())
    live_maps(probe, probe.module, probe.inputs)
    assert all(torch.equal(value, state[name]) for name, value in probe.module.state_dict().items())
    assert not any(module._forward_hooks for module in probe.module.modules())


def test_names_what_is_missing() -> None:
    for network, x in ((nn.Linear(3, 2), torch.zeros(2, 3)), (naive.Functional(naive.Blocks()), IMAGES)):
        probe = Probe(network, x)
        with pytest.raises(MissingLayerError, match="feature maps"):
            live_maps(probe, probe.module, probe.inputs)


def test_only_maps_of_the_batch_count() -> None:
    """Not kernels that a module computes, though they have the shape of maps."""

    class Kernel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3, 3, 3))

        def forward(self) -> torch.Tensor:
            return self.weight * 2

    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.last = Kernel(), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.last(nn.functional.conv2d(x, self.kernel()))
            return result

    probe = Probe(Dynamic(), IMAGES)
    assert list(live_maps(probe, probe.module, probe.inputs)) == [("last", 0), ("", 0)]
