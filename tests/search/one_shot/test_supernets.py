"""Supernets by name, and what all of them keep to."""

from typing import Any

import pytest
import torch
from one_shot_samples import tiny
from torch import nn

from cgir.errors import CgirError, SpecError
from search.one_shot import SUPERNETS, supernet
from search.one_shot.network import MixedNetwork


@pytest.mark.parametrize("name", SUPERNETS)
def test_the_seed_decides_the_weights_and_the_global_state_stays(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = tiny(name, seed=3), tiny(name, seed=3), tiny(name, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", SUPERNETS)
@pytest.mark.parametrize("partial", [1, 2])
def test_a_second_pass_and_evaluation_mode_give_the_same(name: str, partial: int) -> None:
    network = tiny(name, partial=partial)
    x = torch.randn(5, 1, 8, 8)
    mixture = network.mix(torch.randn(network.num_weights))
    first = network(x, mixture)
    assert torch.equal(network(x, mixture), first)
    assert torch.equal(network.eval()(x, mixture), first)
    assert torch.equal(MixedNetwork(network, mixture)(x), first)
    assert not list(network.buffers())


@pytest.mark.parametrize("name", SUPERNETS)
def test_groups_are_softmaxes_and_every_entry_is_an_options(name: str) -> None:
    network = tiny(name, partial=2)
    mixture = network.mix(torch.randn(network.num_weights))
    for group in torch.split(mixture, list(network.groups)):
        assert float(group.sum()) == pytest.approx(1, abs=1e-6)
    entries = {entry for choice in network.choices for option in choice.entries for entry in option}
    assert entries == set(range(network.num_weights - (6 if name == "nasbench201" else 0)))


@pytest.mark.parametrize("name", SUPERNETS)
def test_normalised_operations_without_weights_have_batch_norm(name: str) -> None:
    def norms(network: nn.Module) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    assert norms(tiny(name, normalize=True)) > norms(tiny(name))


@pytest.mark.parametrize("name", SUPERNETS)
def test_the_configuration_rebuilds_it(name: str) -> None:
    network = tiny(name, partial=2, normalize=True, seed=5)
    again = supernet(**network.config)
    assert again.config == network.config
    assert again.space == network.space
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "nasbench101"}, "no supernet is called 'nasbench101'; there are nasbench201, nasbench1shot1, darts"),
        ({"name": "nasbench201", "channels": 6, "partial": 4}, "partial=4 with 6 channels; expected a divisor"),
        ({"name": "nasbench201", "partial": 0}, "partial=0 with"),
        ({"name": "nasbench201", "partial": 2.0}, "partial=2.0 with"),
    ],
)
def test_what_cannot_be_built(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CgirError, match=message.replace("(", r"\(")):
        supernet(**arguments)


def test_a_skeleton_of_other_fields_is_refused() -> None:
    with pytest.raises(SpecError, match="layers"):
        supernet("nasbench201", layers=3)
    with pytest.raises(SpecError, match="subspace"):
        supernet("nasbench1shot1", subspace=4)
