"""NAS-Bench-201 (Dong & Yang 2020): 15,625 cells, operations on the six edges of a complete graph of four nodes.

Strings are `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`: nodes 1 to 3, each with an operation for every earlier node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.cell_program import SUM, CellProgram
from frontends.spaces.choices import check_text, resample, uniform_crossover
from frontends.spaces.edge_cell import EDGES, compile_cell, edge_cell_graph, edge_names
from frontends.spaces.space import Space

from .spec import OPS, Spec

if TYPE_CHECKING:
    import torch

SYNTAX = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


@dataclass(frozen=True)
class NasBench201(Space[Spec]):
    """Three stages of `cells` cells, a residual block that doubles channels and halves the size between them."""

    name: ClassVar[str] = "nasbench201"
    channels: int = 16
    cells: int = 5
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(size % 4 for size in self.image[1:]):  # halved twice, by a convolution and by pooling, which differ
            raise SpecError(f"{self.name}: image={self.image!r}; expected height and width to be multiples of 4")

    def parse(self, text: str) -> Spec:
        """The benchmark's string -> operations of the six edges.

        Raises:
            SpecError: not of the form `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, or an operation the space does not have.
        """
        nodes = check_text(text, self.name).strip().split("+")
        if len(nodes) != 3:
            raise SpecError(f"nasbench201: {len(nodes)} nodes separated by '+' in {text!r}; expected 3, as in {SYNTAX}")
        spec: list[str] = []
        for target, node in enumerate(nodes, 1):
            if not re.fullmatch(rf"\|([^|]*\|){{{target}}}", node):
                raise SpecError(
                    f"nasbench201: node {target} of {text!r} is {node!r}; "
                    f"expected {target} edges between '|', as in {SYNTAX}"
                )
            for source, edge in enumerate(node[1:-1].split("|")):
                op, _, number = edge.partition("~")
                if op not in OPS or number != str(source):
                    raise SpecError(
                        f"nasbench201: edge {source} into node {target} of {text!r} is {edge!r}; "
                        f"expected OP~{source}, OP one of {', '.join(OPS)}"
                    )
                spec.append(op)
        return tuple(spec)

    def format(self, spec: Spec) -> str:
        """The benchmark's string."""
        nodes = (
            "".join(f"{op}~{source}|" for (t, source), op in zip(EDGES, spec, strict=True) if t == target)
            for target in (1, 2, 3)
        )
        return "+".join("|" + node for node in nodes)

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network.

        A cell without a path from input to output leaves an Input and an Output that are not connected.
        """
        x = build.input(self.image)
        program = compile_cell(spec)
        if program is None:
            build.add_node("Output", (), (self.classes,))
            return
        x = build.subgraph(_stem, x, self.channels)
        for stage in range(3):
            if stage:
                x = build.subgraph(_reduction, x, self.channels * 2**stage)
            for _ in range(self.cells):
                x = build.subgraph(_cell, x, program)
        build.subgraph(_head, x, self.classes)

    def module_names(self, spec: Spec) -> dict[str, str]:
        """Edges of each cell: `cell3.edge 0->2: nor_conv_3x3`."""
        names = enumerate(edge_names(spec))
        return {f"cell{c}.edge{k}": f"cell{c}.{name}" for k, name in names for c in range(3 * self.cells)}

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import NasBench201Network

        return NasBench201Network(spec, self.channels, self.cells, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the 15,625 strings."""
        return tuple(OPS[i] for i in rng.integers(len(OPS), size=len(EDGES)))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another operation on one edge."""
        return resample(spec, int(rng.integers(len(EDGES))), OPS, rng)

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each edge from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return uniform_crossover(first, second, rng)

    def enumerate(self) -> Iterator[Spec]:
        """All 15,625 strings; 5,425 are distinct as canonical graphs."""
        return product(OPS, repeat=len(EDGES))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """Eight nodes: the input, the operations of the six edges in the order of the string, the output."""
        return edge_cell_graph(spec)


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.batch_norm(build.conv(x, channels, 3))


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    x = build.global_avg_pool(build.relu(build.batch_norm(x)))
    return build.output(build.linear(x, classes))


def _relu_conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    return build.batch_norm(build.conv(build.relu(x), channels, kernel, stride))


def _cell(build: GraphBuilder, x: int, program: CellProgram) -> int:
    values = [x]
    for op, operands, _ in program.instructions:
        if op == SUM:
            values.append(build.add(*[values[operand] for operand in operands]))
        else:
            values.append(build.subgraph(_edge, values[operands[0]], op))
    return values[program.results[0]]


def _edge(build: GraphBuilder, x: int, op: str) -> int:
    if op == "avg_pool_3x3":
        return build.avg_pool(x, 3, 1, 1, include_pad=False)
    return _relu_conv_bn(build, x, build.shape(x)[0], 1 if op == "nor_conv_1x1" else 3)


def _reduction(build: GraphBuilder, x: int, channels: int) -> int:
    y = _relu_conv_bn(build, _relu_conv_bn(build, x, channels, 3, stride=2), channels, 3)
    return build.add(build.conv(build.avg_pool(x, 2, 2), channels, 1), y)
