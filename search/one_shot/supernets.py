"""`supernet`: the supernet of a search space, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from cgir.errors import CgirError
from encoders.training.seeding import seeded
from frontends import spaces
from search.seeds import check_seed
from search.zero_cost.isolation import plain_modes

from .arguments import check_types
from .network import Supernet

# space -> module of this room and class, imported on demand
SUPERNETS = {
    "nasbench201": ("nasbench201", "NasBench201Supernet"),
    "nasbench1shot1": ("nasbench1shot1", "NasBench1Shot1Supernet"),
    "darts": ("darts", "DartsSupernet"),
}


def supernet(name: str, *, partial: int = 1, normalize: bool = False, seed: int = 0, **skeleton: Any) -> Supernet:
    """A newly initialised supernet, with the skeleton of `frontends.spaces.get(name, **skeleton)`.

    Args:
        name: a key of `SUPERNETS`.
        partial: K of PC-DARTS (Xu et al. 2020): a K-th of the channels goes through the operations; 1 is DARTS.
        normalize: put BatchNorm behind operations without weights too; a control of selection rules.
        seed: of the initial weights.
        skeleton: channels, cells, image, classes ...; defaults as published.

    Raises:
        CgirError: no supernet of that name, or channels that `partial` does not divide.
        SpecError: the skeleton has no such field, or a value of it is out of range.
    """
    if not isinstance(name, str) or name not in SUPERNETS:
        raise CgirError(f"one_shot: no supernet is called {name!r}; there are {', '.join(SUPERNETS)}")
    space = spaces.get(name, **skeleton)
    channels = getattr(space, "channels")  # noqa: B009  (of all spaces that have a supernet)
    if type(partial) is not int or partial < 1 or channels % partial:
        raise CgirError(f"one_shot: partial={partial!r} with {channels} channels; expected a divisor of the channels")
    module, class_name = SUPERNETS[name]
    check_types("one_shot.supernet", {"normalize": normalize}, {"normalize": False})
    check_seed("one_shot.supernet", seed)
    with seeded(seed), plain_modes(torch.device("cpu")):
        network: Supernet = getattr(import_module(f".{module}", __package__), class_name)(space, partial, normalize)
    network.config = {"name": name, "partial": partial, "normalize": normalize, "seed": seed, **vars(space)}
    return network
