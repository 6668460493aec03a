"""GraphGym's design space (You et al. 2020): graph networks of equal budget on 32 tasks; 1,944 architectures.

Strings: "pre=1;mp=4;post=2;stage=skipsum;agg=mean;bn=True;act=prelu" has a linear layer before and two after four
layers of message passing, each of which adds its input to the mean of its messages. All layers have one width, the
least with which the network has as many parameters as a baseline of width 256; so it is not searched. The 96 networks
of the condensed space have `bn=True`, `act=prelu`, `pre` 1 or 2, `post` 2 or 3, and no `stack`. Dropout, batch size,
learning rate, optimiser and epochs, of which the design space has several too, are not of the architecture.

A task gives features, classes, and whether nodes, graphs or links are classified: `TASKS` of `graphgym_spec`. The
graph on which the network runs is a stand-in of `nodes` and `edges`; parameters do not depend on it.
Source: sections 4 and 5, and the authors' graphgym/models/gnn.py, layer.py and head.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.choices import check_choices, check_text, resample, uniform_crossover
from frontends.spaces.space import Space

from .graph_inputs import check_edges
from .graphgym_spec import CHOICES, LEVELS, TASKS, Spec, width_of
from .layers import add_bias, gather, neighbour_sum, scaled, scatter

if TYPE_CHECKING:
    import torch

NAMES = ("pre", "mp", "post", "stage", "agg", "bn", "act")  # of the choices, in strings
VALUES = {
    name: {str(choice): choice for choice in choices} for name, choices in zip(NAMES, CHOICES.values(), strict=True)
}
ACTIVATION_OPS = {"prelu": "PReLU", "relu": "ReLU", "swish": "SiLU"}


@dataclass(frozen=True)
class GraphGym(Space[Spec]):
    """Linear layers, message passing, linear layers; logits of every node, of the graph, or of every edge.

    `budget_features` is the number of features with which parameters are counted against the budget.
    """

    name: ClassVar[str] = "graphgym"
    features: int = TASKS["Cora"].features
    classes: int = TASKS["Cora"].classes
    level: str = field(default="node", metadata={"choices": LEVELS})
    budget_features: int = 1
    nodes: int = 2_708
    edges: int = 10_556

    def __post_init__(self) -> None:
        super().__post_init__()
        check_edges(self.name, self.nodes, self.edges)

    def parse(self, text: str) -> Spec:
        """`pre=1;mp=4;post=2;stage=skipsum;agg=mean;bn=True;act=prelu` -> spec.

        Raises:
            SpecError: another form, or another choice.
        """
        parts = [part.partition("=") for part in check_text(text, self.name, 200).split(";")]
        if [part[:2] for part in parts] != [(name, "=") for name in NAMES]:
            raise SpecError(f"{self.name}: {text!r}; expected {'=..;'.join(NAMES)}=..")
        for name, _, value in parts:
            check_choices(text, (value,), VALUES[name], name, self.name)
        return Spec._make(VALUES[name][value] for name, _, value in parts)

    def format(self, spec: Spec) -> str:
        """`pre=1;mp=4;post=2;stage=skipsum;agg=mean;bn=True;act=prelu`."""
        return ";".join(f"{name}={choice}" for name, choice in zip(NAMES, spec, strict=True))

    def width(self, spec: Spec) -> int:
        """Of every layer, from the budget of parameters."""
        return width_of(spec, self.level, self.budget_features)

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        width = self.width(spec)
        x = build.input((self.features, self.nodes))
        slope = x = build.subgraph(_linear, x, width, spec.bn, spec.act)  # PReLU has one for all
        for _ in range(spec.l_pre - 1):
            x = build.subgraph(_linear, x, width, spec.bn, spec.act)
            build.tie_weights(slope, x)
        for _ in range(spec.l_mp):
            x = build.subgraph(_message_passing, x, width, spec, self.edges)
            build.tie_weights(slope, x)
        x = build.add_node("L2Norm", (x,), build.shape(x))
        if self.level == "graph":
            x = build.add_node("Sum", (x,), build.shape(x)[:1], dims=1)
        for _ in range(spec.l_post - 1):
            x = build.subgraph(_linear, x, build.shape(x)[0], spec.bn, spec.act)
            build.tie_weights(slope, x)
        if self.level == "link":
            build.subgraph(_link_head, x, self.edges)
        else:
            build.output(build.linear(x, self.classes))

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch, without dropout."""
        from .torch_graphgym import GraphGymNetwork

        return GraphGymNetwork(
            spec, self.width(spec), (self.features, self.classes), self.level, self.nodes, self.edges
        )

    def inputs(self, spec: Spec) -> tuple[torch.Tensor, ...]:
        """Features (1, nodes, features) on the meta device."""
        import torch

        return (torch.empty(1, self.nodes, self.features, device="meta"),)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the space."""
        return Spec._make(choices[int(rng.integers(len(choices)))] for choices in CHOICES.values())

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another value of one choice."""
        position = int(rng.integers(len(spec)))
        return Spec._make(resample(tuple(spec), position, tuple(CHOICES.values())[position], rng))

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each choice from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return Spec._make(uniform_crossover(tuple(first), tuple(second), rng))

    def enumerate(self) -> Iterator[Spec]:
        """All networks."""
        return map(Spec._make, product(*CHOICES.values()))

    def count(self) -> int:
        """1,944."""
        return prod(map(len, CHOICES.values()))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """The layers, "fc" and "mp_add", "mp_max" or "mp_mean", and what joins a layer and its input."""
        ops, last = ["input"], 0
        edges: list[tuple[int, int]] = []

        def append(op: str, *sources: int) -> int:
            ops.append(op)
            edges.extend((source, len(ops) - 1) for source in sources)
            return len(ops) - 1

        for _ in range(spec.l_pre):
            last = append("fc", last)
        for _ in range(spec.l_mp):
            layer = append(f"mp_{spec.agg}", last)
            join = {"skipsum": "elementwise_sum", "skipconcat": "concatenate"}.get(spec.stage)
            last = append(join, last, layer) if join else layer
        for _ in range(spec.l_post):
            last = append("fc", last)
        append("output", last)
        return CellGraph(tuple(ops), tuple(sorted(edges)))


def _activation(build: GraphBuilder, x: int, act: str) -> int:
    params = ((1,),) if act == "prelu" else ()
    return build.add_node(ACTIVATION_OPS[act], (x,), build.shape(x), params)


def _linear(build: GraphBuilder, x: int, width: int, bn: bool, act: str) -> int:
    x = build.linear(x, width, bias=not bn)
    return _activation(build, build.batch_norm(x) if bn else x, act)


def _message_passing(build: GraphBuilder, x: int, width: int, spec: Spec, edges: int) -> int:
    values = build.linear(x, width, bias=False)
    if spec.agg == "max":
        result = scatter(build, gather(build, values, edges), build.shape(x)[1], "ReduceMax")
    else:
        result = neighbour_sum(build, values, edges)
        result = scaled(build, result, "Div") if spec.agg == "mean" else result
    if spec.bn:
        result = build.batch_norm(result)
    elif spec.stage != "skipsum":
        result = add_bias(build, result)
    if spec.stage == "skipsum":
        result = build.add(x, result) if spec.bn else add_bias(build, x, result)
    elif spec.stage == "skipconcat":
        result = build.concat(x, result)
    return _activation(build, result, spec.act)


def _link_head(build: GraphBuilder, x: int, edges: int) -> int:
    x = build.linear(x, build.shape(x)[0])
    product = build.add_node("Mul", (gather(build, x, edges), gather(build, x, edges)), (build.shape(x)[0], edges))
    return build.output(build.add_node("Sum", (product,), (edges,), dims=1))
