"""TransNAS-Bench-101's macro-level space (Duan et al. 2021): 3,256 networks of four to six modules of ResNet blocks.

Strings are `64-433241-basic`: channels after the stem, a digit per module, and the block. Digits: 1 keeps the shape, 2
doubles the channels, 3 halves the size, 4 does both. The size is halved 1 to 4 times and the channels are doubled 1 to
3 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import ClassVar

import numpy as np

from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import check_choices, check_text

from .common import TransNas
from .tasks import TransNasBackbone

NUM_MODULES = range(4, 7)
NUM_CHANNEL_DOUBLINGS, NUM_DOWNSAMPLINGS = range(1, 4), range(1, 5)
NAMES = {1: "normal", 2: "channels_x2", 3: "resolution_/2", 4: "channels_x2_resolution_/2"}

Spec = tuple[int, ...]  # a digit per module


@dataclass(frozen=True)
class TransNasMacro(TransNas[Spec]):
    """Modules of `cells` ResNet blocks, activations first; the first block of a module changes the shape.

    Strings always begin with the benchmark's 64 channels, whatever `channels` the skeleton has.
    """

    name: ClassVar[str] = "transnas_macro"

    def parse(self, text: str) -> Spec:
        """The benchmark's string -> a digit per module.

        Raises:
            SpecError: not of the form `64-DIGITS-basic`, a digit that is not 1 to 4, or a number of modules, doublings
                or halvings out of range.
        """
        parts = check_text(text, self.name).split("-")
        if len(parts) != 3 or parts[0] != "64" or parts[2] != "basic":
            raise SpecError(f"{self.name}: {text!r} is not of the form 64-DIGITS-basic, as in 64-433241-basic")
        check_choices(text, parts[1], "1234", "module", self.name)
        spec = tuple(map(int, parts[1]))
        for count, allowed, property_name in _counts(spec):
            if count not in allowed:
                raise SpecError(
                    f"{self.name}: {text!r} has {count} {property_name}; expected {allowed[0]} to {allowed[-1]}"
                )
        return spec

    def format(self, spec: Spec) -> str:
        """The benchmark's string."""
        return f"64-{''.join(map(str, spec))}-basic"

    def backbone(self, spec: Spec) -> TransNasBackbone:
        """The block is the same in all networks."""
        return TransNasBackbone(spec, None, self.channels, self.cells)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the 3,256 strings."""
        specs = _specs()
        return specs[int(rng.integers(len(specs)))]

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """One digit changed, added or taken away, uniform over all results."""
        modules = range(len(spec))
        changed = {(*spec[:index], digit, *spec[index + 1 :]) for index in modules for digit in NAMES}
        added = {(*spec[:index], digit, *spec[index:]) for index in range(len(spec) + 1) for digit in NAMES}
        removed = {(*spec[:index], *spec[index + 1 :]) for index in modules}
        neighbours = sorted(other for other in changed | added | removed if other != spec and _is_valid(other))
        return neighbours[int(rng.integers(len(neighbours)))]

    def enumerate(self) -> Iterator[Spec]:
        """All 3,256 strings, short ones first."""
        return (spec for modules in NUM_MODULES for spec in product(NAMES, repeat=modules) if _is_valid(spec))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain: the input, what each module does to the shape, the output."""
        return chain([NAMES[digit] for digit in spec])


def _counts(spec: Spec) -> tuple[tuple[int, range, str], ...]:
    """Properties that the space limits: their count in the spec, the allowed counts, and what is counted."""
    return (
        (len(spec), NUM_MODULES, "modules"),
        (sum(digit % 2 == 0 for digit in spec), NUM_CHANNEL_DOUBLINGS, "modules that double the channels (2 or 4)"),
        (sum(digit > 2 for digit in spec), NUM_DOWNSAMPLINGS, "modules that halve the size (3 or 4)"),
    )


def _is_valid(spec: Spec) -> bool:
    return all(count in allowed for count, allowed, _ in _counts(spec))


@lru_cache(maxsize=1)
def _specs() -> tuple[Spec, ...]:
    return tuple(TransNasMacro().enumerate())
