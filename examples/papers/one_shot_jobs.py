"""The supernets of `examples.papers.one_shot`: spaces, sizes, seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search.one_shot import Supernet, supernet

SEEDS = range(5)
SPACES: dict[str, dict[str, Any]] = {
    "NAS-Bench-201": {"name": "nasbench201"},
    **{f"NAS-Bench-1Shot1, space {n}": {"name": "nasbench1shot1", "subspace": n} for n in (1, 2, 3)},
}


@dataclass(frozen=True)
class Schedule:
    """A size of supernets and trainings.

    Attributes:
        pixels: height and width of the images.
        skeleton: fields of the space, by its name.
        training: settings of `train`, by the same name.
    """

    pixels: int
    skeleton: Mapping[str, dict[str, Any]]
    training: Mapping[str, dict[str, Any]]


SCHEDULES = {
    "small": Schedule(
        16,
        {"nasbench201": {"channels": 8, "cells": 1}, "nasbench1shot1": {"channels": 8, "cells": 1}},
        {"nasbench201": {"steps": 2000}, "nasbench1shot1": {"steps": 500}},
    ),
    "paper": Schedule(
        32,
        {"nasbench201": {"channels": 16, "cells": 5}, "nasbench1shot1": {"channels": 16, "cells": 3}},
        {name: {"steps": 39_000, "alpha_lr": 3e-4} for name in ("nasbench201", "nasbench1shot1")},
    ),
}


@dataclass(frozen=True)
class Job:
    """One supernet: space, K of PC-DARTS, seed, schedule."""

    space: str
    partial: int
    seed: int
    schedule: str

    @property
    def name(self) -> str:
        """Of its files."""
        space = self.space.replace(", ", "-").replace(" ", "")
        return f"{self.schedule}-{space}{'-partial' if self.partial > 1 else ''}-{self.seed}"

    @property
    def training(self) -> dict[str, Any]:
        """Settings of `train`."""
        return SCHEDULES[self.schedule].training[SPACES[self.space]["name"]]

    def supernet(self, normalize: bool = False) -> Supernet:
        """Newly initialised."""
        schedule, fields = SCHEDULES[self.schedule], dict(SPACES[self.space])
        fields |= schedule.skeleton[fields["name"]]
        image = (3, schedule.pixels, schedule.pixels)
        return supernet(**fields, image=image, partial=self.partial, normalize=normalize, seed=self.seed)


def jobs(schedule: str) -> Iterator[Job]:
    """All supernets of a schedule."""
    for partial_channels in (1, 4):
        for space in SPACES:
            if partial_channels == 1 or SPACES[space]["name"] == "nasbench1shot1":
                yield from (Job(space, partial_channels, seed, schedule) for seed in SEEDS)
