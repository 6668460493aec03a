"""GPT shapes of OpenLM (Gadre et al. 2024): decoder-only language models by width, number of layers and heads.

Strings are `d=1024;l=12;h=16`. The default choices hold the grid of the paper's runs (`openlm` among the label tables)
and the larger models of the authors' model_configs; other shapes are other `widths`, `depths` and `heads`. A head has
`d // h` channels, an even number because rotary positions turn pairs of them; where `h` does not divide `d`, the
attention is narrower than the network, as in the authors' open_lm/model.py. The SwiGLU has 8/3 `d` hidden channels,
rounded up to a multiple of 256.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import uniform_crossover
from frontends.spaces.mbconv.blocks import IntegerCode, format_codes, parse_codes
from frontends.spaces.space import Space

if TYPE_CHECKING:
    import torch

EXAMPLE = "d=1024;l=12;h=16"


class Spec(NamedTuple):
    """Channels, number of blocks, heads of each attention."""

    d: int
    l: int  # noqa: E741 the authors' letter
    h: int

    @property
    def hidden(self) -> int:
        """Channels of the SwiGLU."""
        return -(-(8 * self.d // 3) // 256) * 256

    @property
    def is_valid(self) -> bool:
        """Whether a head has an even number of channels, and any."""
        return self.d // self.h > 0 and self.d // self.h % 2 == 0


@dataclass(frozen=True)
class Gpt(Space[Spec]):
    """`widths`, `depths` and `heads` are the choices; sequences are of `context` tokens."""

    name: ClassVar[str] = "gpt"
    widths: tuple[int, ...] = (96, 192, 288, 320, 488, 512, 576, 640, 768, 1024, 1536, 2048, 2560, 4096)
    depths: tuple[int, ...] = (4, 8, 12, 16, 24, 32, 40)
    heads: tuple[int, ...] = (4, 8, 12, 16, 32)
    vocabulary: int = 50_432
    context: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in zip(("widths", "depths", "heads"), self._choices, strict=True):
            if len(set(values)) < len(values):
                raise SpecError(f"gpt: {name}={values!r}; expected different numbers")
        if not self._shapes:
            raise SpecError(
                f"gpt: widths={self.widths!r} and heads={self.heads!r}; expected some that give a head an even number "
                "of channels"
            )

    def parse(self, text: str) -> Spec:
        """`d=..;l=..;h=..` -> spec.

        Raises:
            SpecError: not of this form, a number that is not among the choices, or heads of an odd number of channels.
        """
        codes = {key: IntegerCode(1, choices) for key, choices in zip("dlh", self._choices, strict=True)}
        spec = Spec(*(number for (number,) in parse_codes(self.name, text, codes, EXAMPLE)))
        if not spec.is_valid:
            raise SpecError(
                f"gpt: {spec.d // spec.h} channels a head in {text!r}; expected an even number, as in {EXAMPLE}"
            )
        return spec

    def format(self, spec: Spec) -> str:
        """`d=..;l=..;h=..`."""
        return format_codes({key: (number,) for key, number in zip("dlh", spec, strict=True)})

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = build.input((self.context,))
        x = build.add_node("Embedding", (x,), (spec.d, self.context), ((self.vocabulary, spec.d),))
        for _ in range(spec.l):
            x = build.subgraph(_block, x, spec.h, spec.hidden)
        build.output(build.linear(_norm(build, x), self.vocabulary, bias=False))

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import GptNetwork

        return GptNetwork(spec.d, spec.l, spec.h, spec.hidden, self.vocabulary, self.context)

    def inputs(self, spec: Spec) -> tuple[torch.Tensor, ...]:
        """Tokens (1, context), on the meta device."""
        import torch

        return (torch.empty(1, self.context, dtype=torch.int64, device="meta"),)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over all shapes."""
        return self._shapes[int(rng.integers(len(self._shapes)))]

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another width, depth or number of heads; uniform over the shapes that differ in one of them.

        Raises:
            SpecError: there is no such shape.
        """
        others = [other for other in self._shapes if sum(a != b for a, b in zip(other, spec, strict=True)) == 1]
        if not others:
            raise SpecError(f"gpt: no other shape differs from {self.format(spec)} in one number; give more choices")
        return others[int(rng.integers(len(others)))]

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each number from one of two, drawn until the heads have an even number of channels.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        while True:
            spec = Spec(*uniform_crossover(tuple(first), tuple(second), rng))
            if spec.is_valid:
                return spec

    def enumerate(self) -> Iterator[Spec]:
        """Every shape of the choices whose heads have an even number of channels."""
        return iter(self._shapes)

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks' parts, "attention_WIDTH_HEADS" and "swiglu_WIDTH_HIDDEN" in turn."""
        return chain([f"attention_{spec.d}_{spec.h}", f"swiglu_{spec.d}_{spec.hidden}"] * spec.l)

    @property
    def _choices(self) -> tuple[tuple[int, ...], ...]:
        return self.widths, self.depths, self.heads

    @cached_property
    def _shapes(self) -> tuple[Spec, ...]:
        return tuple(spec for spec in (Spec(*numbers) for numbers in product(*self._choices)) if spec.is_valid)


def _block(build: GraphBuilder, x: int, heads: int, hidden: int) -> int:
    width, context = build.shape(x)
    head = (heads, context, width // heads)
    inner = head[0] * head[2]
    projected = build.linear(_norm(build, x), 3 * inner, bias=False)
    queries, keys = (_rotated(build, projected, head) for _ in range(2))
    mixed = build.add_node("Attention", (queries, keys, projected), head, (), (head,) * 3)
    x = build.add(x, build.add_node("Linear", (mixed,), (width, context), ((width, inner),), ((inner, context),)))
    both, half = build.linear(_norm(build, x), 2 * hidden, bias=False), (hidden, context)
    gate = build.add_node("SiLU", (both,), half, (), (half,))
    return build.add(x, build.linear(build.add_node("Mul", (gate, both), half, (), (half, half)), width, bias=False))


def _rotated(build: GraphBuilder, projected: int, head: tuple[int, int, int]) -> int:
    """Queries or keys turned by their positions; constants, the tables of cosines and sines, are no nodes."""
    half = (*head[:2], head[2] // 2)
    turned = build.add_node("Mul", (projected,), head, (), (head,))
    swapped = build.add_node("Neg", (projected,), half, (), (half,))
    swapped = build.add_node("Concat", (swapped, projected), head, (), (half, half))
    return build.add(turned, build.add_node("Mul", (swapped,), head))


def _norm(build: GraphBuilder, x: int) -> int:
    return build.add_node("LayerNorm", (x,), build.shape(x), ((build.shape(x)[0],),), dims=1)
