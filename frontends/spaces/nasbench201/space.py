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
from frontends.spaces.edge_cell import EDGES, Plan, cell_graph, plan
from frontends.spaces.space import Space

if TYPE_CHECKING:
    import torch

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"

Spec = tuple[str, ...]  # the operation of every edge in `EDGES`


@dataclass(frozen=True)
class NasBench201(Space[Spec]):
    """Three stages of `cells` cells, a residual block that doubles channels and halves the size between them."""

    name: ClassVar[str] = "nasbench201"
    channels: int = 16
    cells: int = 5
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def parse(self, text: str) -> Spec:
        """The benchmark's string -> operations of the six edges.

        Raises:
            SpecError: not of the form `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, or an operation the space does not have.
        """
        nodes = text.strip().split("+")
        if len(nodes) != 3:
            raise SpecError(f"nasbench201: {len(nodes)} nodes separated by '+' in {text!r}; expected 3, as in {FORM}")
        spec: list[str] = []
        for target, node in enumerate(nodes, 1):
            if not re.fullmatch(rf"\|([^|]*\|){{{target}}}", node):
                raise SpecError(
                    f"nasbench201: node {target} of {text!r} is {node!r}; expected {target} edges between '|', as in {FORM}"
                )
            for source, edge in enumerate(node[1:-1].split("|")):
                op, _, number = edge.partition("~")
                if op not in OPS or number != str(source):
                    raise SpecError(
                        f"nasbench201: edge {source} into node {target} of {text!r} is {edge!r}; expected OP~{source}, OP one of {', '.join(OPS)}"
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
        """The whole network. A cell through which nothing flows leaves an input and an output that are not connected."""
        x = build.input(self.image)
        steps = plan(spec)
        if steps is None:
            build.add_node("Output", (), (self.classes,))
            return
        x = build.subgraph(_stem, x, self.channels)
        for stage in range(3):
            if stage:
                x = build.subgraph(_reduction, x, self.channels * 2**stage)
            for _ in range(self.cells):
                x = build.subgraph(_cell, x, steps)
        build.subgraph(_head, x, self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import Network

        return Network(spec, self.channels, self.cells, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the 15,625 strings."""
        return tuple(OPS[i] for i in rng.integers(len(OPS), size=len(EDGES)))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another operation on one edge."""
        place = int(rng.integers(len(EDGES)))
        others = [op for op in OPS if op != spec[place]]
        return (*spec[:place], others[int(rng.integers(len(others)))], *spec[place + 1 :])

    def enumerate(self) -> Iterator[Spec]:
        """All 15,625 strings; 5,425 are distinct as canonical graphs."""
        return product(OPS, repeat=len(EDGES))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """Eight nodes: the input, the operations of the six edges in the order of the string, the output."""
        return cell_graph(spec)


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.batch_norm(build.conv(x, channels, 3))


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    x = build.global_avg_pool(build.relu(build.batch_norm(x)))
    return build.output(build.linear(x, classes))


def _relu_conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    return build.batch_norm(build.conv(build.relu(x), channels, kernel, stride))


def _cell(build: GraphBuilder, x: int, steps: Plan) -> int:
    values = [x]
    for op, inputs in steps.steps:
        sources = [values[slot] for slot in inputs]
        if op == "sum":
            values.append(build.add(*sources))
        else:
            values.append(build.subgraph(_edge, sources[0], op))
    return values[steps.result]


def _edge(build: GraphBuilder, x: int, op: str) -> int:
    if op == "avg_pool_3x3":
        return build.avg_pool(x, 3, 1, 1, include_pad=False)
    return _relu_conv_bn(build, x, build.shape(x)[0], 1 if op == "nor_conv_1x1" else 3)


def _reduction(build: GraphBuilder, x: int, channels: int) -> int:
    y = _relu_conv_bn(build, _relu_conv_bn(build, x, channels, 3, stride=2), channels, 3)
    return build.add(build.conv(build.avg_pool(x, 2, 2), channels, 1), y)
