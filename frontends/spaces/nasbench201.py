"""NAS-Bench-201 (Dong & Yang 2020): 15,625 cells, operations on the six edges of a complete graph of four nodes.

Strings are `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`: nodes 1 to 3, each with an operation for every earlier node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError

from .cell import CellGraph
from .space import Space

if TYPE_CHECKING:
    import torch

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (target, source), in the order of the string
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
                raise SpecError(f"nasbench201: node {target} of {text!r} is {node!r}; expected {target} edges between '|', as in {FORM}")
            for source, edge in enumerate(node[1:-1].split("|")):
                op, _, number = edge.partition("~")
                if op not in OPS or number != str(source):
                    raise SpecError(f"nasbench201: edge {source} into node {target} of {text!r} is {edge!r}; expected OP~{source}, OP one of {', '.join(OPS)}")
                spec.append(op)
        return tuple(spec)

    def format(self, spec: Spec) -> str:
        """The benchmark's string."""
        nodes = ("".join(f"{op}~{source}|" for (t, source), op in zip(EDGES, spec, strict=True) if t == target) for target in (1, 2, 3))
        return "+".join("|" + node for node in nodes)

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network. A cell through which nothing flows leaves an input and an output that are not connected."""
        x = build.input(self.image)
        plan = _plan(spec)
        if plan is None:
            build.add_node("Output", (), (self.classes,))
            return
        x = build.piece(_stem, x, self.channels)
        for stage in range(3):
            if stage:
                x = build.piece(_reduction, x, self.channels * 2**stage)
            for _ in range(self.cells):
                x = build.piece(_cell, x, plan)
        build.piece(_head, x, self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .networks.nasbench201 import Network

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
        feeds = [(place, after) for place, edge in enumerate(EDGES, 1) for after, later in enumerate(EDGES, 1) if later[1] == edge[0]]
        starts = [(0, place) for place, (_, source) in enumerate(EDGES, 1) if source == 0]
        ends = [(place, len(EDGES) + 1) for place, (target, _) in enumerate(EDGES, 1) if target == 3]
        return CellGraph(("input", *spec, "output"), tuple(sorted(starts + feeds + ends)))


class Step(NamedTuple):
    """One operation of a cell: its inputs are slots, slot 0 the cell's input and slot i + 1 the result of step i."""

    op: str
    inputs: tuple[int, ...]


class Plan(NamedTuple):
    """The live part of a cell, sums flattened; `result` is the slot of its output."""

    steps: tuple[Step, ...]
    result: int


@lru_cache(maxsize=4096)
def _plan(spec: Spec) -> Plan | None:
    """What a cell computes of its input, None if its output does not depend on it."""
    live = _live_edges(spec)
    if not any(target == 3 for target, _ in live):
        return None
    steps: list[Step] = []
    slots = [0]  # where the value of each node is
    for target in (1, 2, 3):
        terms: list[int] = []
        for source in range(target):
            op = live.get((target, source))
            if op is not None and op != "skip_connect":
                steps.append(Step(op, (slots[source],)))
            if op is not None:
                terms.append(slots[source] if op == "skip_connect" else len(steps))
        if len(terms) > 1:
            steps.append(Step("sum", tuple(terms)))
        slots.append(terms[0] if len(terms) == 1 else len(steps))
    return _flatten_sums(Plan(tuple(steps), slots[3]))


def _live_edges(spec: Spec) -> dict[tuple[int, int], str]:
    """Edges on a path from the cell's input to its output."""
    edges = {edge: op for edge, op in zip(EDGES, spec, strict=True) if op != "none"}
    reached, useful = {0}, {3}
    for target, source in EDGES:
        if (target, source) in edges and source in reached:
            reached.add(target)
    for target, source in reversed(EDGES):
        if (target, source) in edges and target in useful:
            useful.add(source)
    return {(target, source): op for (target, source), op in edges.items() if source in reached and target in useful}


def _flatten_sums(plan: Plan) -> Plan:
    """Sums that only another sum reads become part of it, as in canonical graphs."""
    uses = [slot for step in plan.steps for slot in step.inputs] + [plan.result]
    in_sums = {slot for step in plan.steps if step.op == "sum" for slot in step.inputs}
    inlined = {slot for slot, step in enumerate(plan.steps, 1) if step.op == "sum" and slot in in_sums and uses.count(slot) == 1}
    kept = [slot for slot in range(1, len(plan.steps) + 1) if slot not in inlined]
    place = {0: 0} | {slot: new for new, slot in enumerate(kept, 1)}

    def expanded(slots: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new for slot in slots for new in (expanded(plan.steps[slot - 1].inputs) if slot in inlined else (place[slot],)))

    return Plan(tuple(Step(plan.steps[slot - 1].op, expanded(plan.steps[slot - 1].inputs)) for slot in kept), place[plan.result])


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.batch_norm(build.conv(x, channels, 3))


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    x = build.global_avg_pool(build.relu(build.batch_norm(x)))
    return build.output(build.linear(x, classes))


def _relu_conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    return build.batch_norm(build.conv(build.relu(x), channels, kernel, stride))


def _cell(build: GraphBuilder, x: int, plan: Plan) -> int:
    values = [x]
    for op, inputs in plan.steps:
        sources = [values[slot] for slot in inputs]
        if op == "sum":
            values.append(build.add(*sources))
        else:
            values.append(build.piece(_edge, sources[0], op))
    return values[plan.result]


def _edge(build: GraphBuilder, x: int, op: str) -> int:
    if op == "avg_pool_3x3":
        return build.avg_pool(x, 3, 1, 1, include_pad=False)
    return _relu_conv_bn(build, x, build.shape(x)[0], 1 if op == "nor_conv_1x1" else 3)


def _reduction(build: GraphBuilder, x: int, channels: int) -> int:
    y = _relu_conv_bn(build, _relu_conv_bn(build, x, channels, 3, stride=2), channels, 3)
    return build.add(build.conv(build.avg_pool(x, 2, 2), channels, 1), y)
