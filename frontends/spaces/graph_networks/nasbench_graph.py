"""NAS-Bench-Graph (Qin et al. 2022): 26,206 graph networks of four operations, trained on seven graph data sets.

Strings are `link;operations`: "0 1 1 2;gat cheb arma sage" has four operations, of which the first reads the features
of the nodes (0), the second and third what the first returns (1), and the fourth what the second returns. What no
operation reads is concatenated. Operations are the graph layers of `layer_names`, "fc", a linear layer of each node
alone, and "skip". Two strings that mean the same network are one spec; skips stand where the authors have them: before
the other operations, or last beside an operation that is not on the features.

A data set gives features, classes, width and linear layers. The graph on which the network runs is a stand-in of
`nodes` and `edges`; `DATA_SETS` of `nasbench_graph_spec` has those of the real ones. Parameters do not depend on it,
and all that a layer computes grows with nodes or edges.
Source: section 3 and the authors' architecture code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.choices import check_choices, check_text
from frontends.spaces.space import Space

from .graph_inputs import check_edges
from .layer_names import SKIP
from .layers import LAYERS
from .nasbench_graph_spec import DATA_SETS, LINKS, OPS, Spec, misplaced_skip, ordered

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NasBenchGraph(Space[Spec]):
    """Four operations on a graph, in the network of a data set, on a stand-in graph of `nodes` and `edges`."""

    name: ClassVar[str] = "nasbench_graph"
    data: str = field(default="cora", metadata={"choices": tuple(DATA_SETS)})
    nodes: int = DATA_SETS["cora"].nodes
    edges: int = DATA_SETS["cora"].edges

    def __post_init__(self) -> None:
        super().__post_init__()
        check_edges(self.name, self.nodes, self.edges)

    def parse(self, text: str) -> Spec:
        """`0 1 1 2;gat cheb arma sage` -> spec.

        Raises:
            SpecError: another form, link or operation, or a skip where the space has none.
        """
        words = [part.split(" ") for part in check_text(text, self.name, 100).split(";")]
        if [len(part) for part in words] != [4, 4]:
            raise SpecError(f"{self.name}: {text!r}; expected link and operations, as '0 1 1 2;gat cheb arma sage'")
        check_choices(text, words[0], ("0", "1", "2", "3"), "link", self.name)
        check_choices(text, words[1], OPS, "operation", self.name)
        link, ops = tuple(map(int, words[0])), tuple(words[1])
        if link not in LINKS:
            known = ", ".join(" ".join(map(str, link)) for link in LINKS)
            raise SpecError(f"{self.name}: link {words[0]} of {text!r}; expected one of {known}")
        spec = ordered(link, ops)
        if (place := misplaced_skip(spec)) is not None:
            raise SpecError(
                f"{self.name}: operation {place} of {self.format(spec)!r} is a skip; expected one before all other "
                "operations, or last beside an operation that does not read the features"
            )
        return spec

    def format(self, spec: Spec) -> str:
        """`0 1 1 2;gat cheb arma sage`."""
        return f"{' '.join(map(str, spec.link))};{' '.join(spec.ops)}"

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        data = DATA_SETS[self.data]
        x = build.input((data.features, self.nodes))
        results = [build.relu(build.linear(x, data.width)) if data.linear_before else x]
        for source, op in zip(spec.link, spec.ops, strict=True):
            x = results[source]
            results.append(x if op == SKIP else build.subgraph(_operation, x, op, data.width, self.edges))
        x = build.concat(*(results[leaf] for leaf in spec.leaves))
        build.subgraph(_head, x, data.width if data.linear_after else 0, data.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch, without dropout."""
        from .torch_nasbench_graph import NasBenchGraphNetwork

        return NasBenchGraphNetwork(spec, DATA_SETS[self.data], self.nodes, self.edges)

    def inputs(self, spec: Spec) -> tuple[torch.Tensor, ...]:
        """Features (1, nodes, features) on the meta device."""
        import torch

        return (torch.empty(1, self.nodes, DATA_SETS[self.data].features, device="meta"),)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the space: operations of all links are drawn, and drawn again where they are no spec."""
        while True:
            link = LINKS[int(rng.integers(len(LINKS)))]
            spec = Spec(link, tuple(OPS[int(choice)] for choice in rng.integers(len(OPS), size=4)))
            if spec == ordered(*spec) and misplaced_skip(spec) is None:
                return spec

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another operation at one place, or, once in five times, another link; drawn again where it is no spec."""
        while True:
            link, ops, place = spec.link, list(spec.ops), int(rng.integers(5))
            if place == 4:
                link = LINKS[int(rng.integers(len(LINKS)))]
            else:
                ops[place] = OPS[int(rng.integers(len(OPS)))]
            child = ordered(link, tuple(ops))
            if child != spec and misplaced_skip(child) is None:
                return child

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """The link and each operation from one of two; drawn again where that is no spec.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        while True:
            link = (first, second)[int(rng.integers(2))].link
            takes = rng.integers(2, size=4)
            ops = tuple((a, b)[int(take)] for a, b, take in zip(first.ops, second.ops, takes, strict=True))
            child = ordered(link, ops)
            if misplaced_skip(child) is None:
                return child

    def enumerate(self) -> Iterator[Spec]:
        """All 26,206 networks, by link."""
        for link in LINKS:
            for ops in product(OPS, repeat=4):
                spec = Spec(link, ops)
                if spec == ordered(link, ops) and misplaced_skip(spec) is None:
                    yield spec

    def cell_graph(self, spec: Spec) -> CellGraph:
        """Features, the operations, and the output, which reads what no operation reads."""
        edges = [(source, number) for number, source in enumerate(spec.link, 1)]
        return CellGraph(("input", *spec.ops, "output"), tuple(sorted(edges + [(leaf, 5) for leaf in spec.leaves])))


def _operation(build: GraphBuilder, x: int, op: str, width: int, edges: int) -> int:
    shape = (width, build.shape(x)[1])
    result = LAYERS[op](build, x, width, edges)
    # heads stand side by side behind the nodes, as the framework has them, until an axis of channels is asked for
    return build.relu(build.add_node("BatchNorm", (result,), shape, ((width,), (width,)), (shape,)))


def _head(build: GraphBuilder, x: int, width: int, classes: int) -> int:
    if width:
        x = build.relu(build.linear(x, width))
    return build.output(build.linear(x, classes))
