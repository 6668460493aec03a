"""NAAP-440 (Hakim 2022): 440 plain networks of three or four convolutions, some with a residual addition.

Strings are `k3w12s2 k3w16s2 k1w16s1r`: kernel, width and stride of each block of convolution, BatchNorm and ReLU; r
where the block's input is added to its result. Two convolutions 3x3 that halve the size come first; then one or two
with kernel 1 or 3, of which at most one halves the size again. Additions are possible where the shape stays. These
rules give exactly the 440 networks of the author's table; the network is that of his create_dataset.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.choices import check_text
from frontends.spaces.space import Space

from .graph_parts import Reading, chain_with_shortcuts, conv_bn_relu, conv_name, pooled_classifier
from .spec import Block

if TYPE_CHECKING:
    import torch

Spec = tuple[Block, ...]
KERNELS = (1, 3)
FEWEST, MOST = 3, 4  # blocks


@dataclass(frozen=True)
class Naap440(Space[Spec]):
    """`first` to `fourth` are the widths that each block may have."""

    name: ClassVar[str] = "naap440"
    first: tuple[int, ...] = (12, 16)
    second: tuple[int, ...] = (16, 24)
    third: tuple[int, ...] = (16, 24, 32)
    fourth: tuple[int, ...] = (32, 40)
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def parse(self, text: str) -> Spec:
        """Words for three or four blocks -> blocks.

        Raises:
            SpecError: another number of blocks, or a block that cannot stand in its place.
        """
        words = check_text(text, self.name).split()
        if not FEWEST <= len(words) <= MOST:
            raise SpecError(f"naap440: {len(words)} blocks in {text!r}; expected {FEWEST} or {MOST}")
        spec: Spec = ()
        for position, word in enumerate(words):
            allowed = {str(block): block for block in self._choices(spec)}
            if word not in allowed:
                raise SpecError(
                    f"naap440: block {position} of {text!r} is {word!r}; expected one of {', '.join(allowed)}"
                )
            spec = (*spec, allowed[word])
        return spec

    def format(self, spec: Spec) -> str:
        """A word for each block."""
        return " ".join(map(str, spec))

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = build.input(self.image)
        for block in spec:
            x = build.subgraph(_block, x, block)
        build.subgraph(pooled_classifier, x, self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_naap440 import Naap440Network

        return Naap440Network(spec, self.image[0], self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over all networks."""
        networks = _networks(self)
        return networks[int(rng.integers(len(networks)))]

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another block in one place, or a fourth block more or less."""
        near = [
            other
            for other in _networks(self)
            if sum(a != b for a, b in zip(spec, other, strict=False)) + abs(len(spec) - len(other)) == 1
        ]
        return near[int(rng.integers(len(near)))]

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each block from one of two, in a way that the space has; neither parent where there is another way.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choice.
        """
        mixed = {
            tuple(parent[place] for place, parent in enumerate(parents) if place < len(parent))
            for parents in product((first, second), repeat=MOST)
        }
        children = [spec for spec in _networks(self) if spec in mixed - {first, second}]
        return children[int(rng.integers(len(children)))] if children else first

    def enumerate(self) -> Iterator[Spec]:
        """All 440 networks; no two are equal."""
        for first, second in product(self._choices(()), self._choices((Block(3, self.first[0], 2),))):
            for third in self._choices((first, second)):
                yield first, second, third
                for fourth in self._choices((first, second, third)):
                    yield first, second, third, fourth

    def cell_graph(self, spec: Spec) -> CellGraph:
        """The convolutions, named "convolution_3_2_16", each reading the last one and what is added to it."""
        ops: list[Reading] = []
        sources: tuple[int, ...] = (0,)
        for index, block in enumerate(spec, 1):
            ops.append((conv_name(block.kernel, block.stride, block.width), sources))
            sources = (*sources, index) if block.residual else (index,)
        return chain_with_shortcuts([*ops, ("output", sources)])

    def _choices(self, before: Spec) -> list[Block]:
        """The blocks that may follow."""
        place = len(before)
        widths = (self.first, self.second, self.third, self.fourth)[place]
        if place < 2:
            return [Block(3, width, 2) for width in widths]
        strides = (1,) if before[2:] and before[2].stride == 2 else (1, 2)
        blocks = [Block(*numbers) for numbers in product(KERNELS, widths, strides)]
        return blocks + [block._replace(residual=True) for block in blocks if block[1:3] == (before[-1].width, 1)]


@lru_cache(maxsize=16)
def _networks(space: Naap440) -> tuple[Spec, ...]:
    return tuple(space.enumerate())


def _block(build: GraphBuilder, x: int, block: Block) -> int:
    y = conv_bn_relu(build, x, block.width, block.kernel, block.stride)
    return build.add(y, x) if block.residual else y
