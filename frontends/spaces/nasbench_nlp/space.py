"""NAS-Bench-NLP (Klyuchnikov et al. 2020): language models with a searched recurrent cell; 14,322 were trained.

Strings are the authors' recipes as compact JSON, nodes in the order given:
`{"f":{"op":"linear","input":["x","h_prev_0"]},"h_new_0":{...}}`. A node names its operator and the nodes it reads: `x`
is an element of the sequence, `h_prev_0`, `h_prev_1` ... are the previous states, and nodes called `h_new_0`, `h_new_1`
... the next states, of which the first is also what the layer returns. A linear node has a matrix for each input and
one bias; a blend of a, b, c is a b + (1 - a) c.

The layers run over the sequence as loops: the graph has the nodes of one step, with the number of steps as `trips`, and
then a Loop that reads the previous states, the next states and the output. So parameters count once and FLOPs every
step, and states that feed only themselves stay, as in the benchmark's own count. Source: the authors' custom_rnn.py,
multilinear.py, model.py and main_one_model_train.py (AWD-LSTM of Merity et al. 2018 with another cell); the loss
applies the decoder, here it is part of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from cgir.graph import Attr, Shape
from frontends.spaces.cell import CellGraph
from frontends.spaces.choices import check_text
from frontends.spaces.space import Space

from .recipes import (
    ACTIVATION_OPS,
    LEAKY_SLOPE,
    Node,
    Recipe,
    count_uses,
    format_recipe,
    mutate_recipe,
    next_states,
    parse_recipe,
    previous_states,
    sample_recipe,
    topological_order,
)

if TYPE_CHECKING:
    import torch


LONGEST_RECIPE = 1 << 20  # characters


@dataclass(frozen=True)
class NasBenchNlp(Space[Recipe]):
    """Embedding, recurrent layers, a decoder tied to the embedding; for sequences of `steps` tokens.

    The states of the last of the `layers` have the size of the `embedding`, those of the others `hidden`.
    """

    name: ClassVar[str] = "nasbench_nlp"
    vocabulary: int = 10_000
    embedding: int = 400
    hidden: int = 600
    layers: int = 3
    steps: int = 70

    def parse(self, text: str) -> Recipe:
        """A recipe as JSON.

        Raises:
            SpecError: no JSON; an unknown operator or input, a cycle, a missing h_new_0, a wrong number of inputs, a
                node that leads nowhere: by its name.
        """
        try:
            return parse_recipe(check_text(text, self.name, LONGEST_RECIPE))
        except SpecError:
            raise
        except ValueError as error:
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise SpecError(f"{self.name}: {shown!r} {error}") from None

    def format(self, spec: Recipe) -> str:
        """Compact JSON, nodes in the order in which they were given."""
        return format_recipe(spec)

    def network(self, build: GraphBuilder, spec: Recipe) -> None:
        """The whole network; its inputs are the tokens and the initial states of every layer."""
        tokens = build.input((self.steps,))
        states = [tuple(build.input((size,)) for _ in previous_states(spec)) for size in self.sizes]
        embedded = build.add_node(
            "Embedding", (tokens,), (self.embedding, self.steps), ((self.vocabulary, self.embedding),)
        )
        x = embedded
        for size, initial in zip(self.sizes, states, strict=True):
            x = build.subgraph(_layer, (x, *initial), spec, size, self.steps)
        weights = ((self.vocabulary, self.embedding), (self.vocabulary,))
        x = build.add_node("Linear", (x,), (self.vocabulary, self.steps), weights, ((self.embedding, self.steps),))
        build.tie_weights(embedded, x)
        build.output(x)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of the states of each layer."""
        return (self.hidden,) * (self.layers - 1) + (self.embedding,)

    def module(self, spec: Recipe) -> torch.nn.Module:
        """The whole network in PyTorch, without dropout."""
        from .torch_network import NasBenchNlpNetwork

        return NasBenchNlpNetwork(spec, self.vocabulary, self.embedding, self.sizes)

    def inputs(self, spec: Recipe) -> tuple[torch.Tensor, ...]:
        """Tokens (1, steps), and the initial states of every layer, (1, size) each, on the meta device."""
        import torch

        states = (torch.empty(1, size, device="meta") for size in self.sizes for _ in previous_states(spec))
        return (torch.empty(1, self.steps, dtype=torch.int64, device="meta"), *states)

    def sample(self, rng: np.random.Generator) -> Recipe:
        """A recipe by the authors' generator (search_space.py), which is not uniform.

        There are 1 to 3 states and 7, 14 or 21 other nodes, uniformly. Nodes are sampled one by one: linear half of the
        time, with an activation after it, else blend, product or sum; then some become the next states, and what leads
        to none of these is dropped. Repeated until every previous state is read, and by no next state directly.
        """
        return sample_recipe(rng)

    def mutate(self, spec: Recipe, rng: np.random.Generator) -> Recipe:
        """Another operator or one other input at a node, uniform over the valid recipes; a new one if there is none."""
        return mutate_recipe(spec, rng) or self.sample(rng)

    def enumerate(self) -> Iterator[Recipe]:
        """Not available: the space is infinite.

        Raises:
            SpecError: always; there is no largest recipe.
        """
        raise SpecError(f"{self.name}: the space is not finite, so it cannot be enumerated; sample(rng) draws from it")

    def count(self) -> None:
        """None: there is no largest recipe."""

    def cell_graph(self, spec: Recipe) -> CellGraph:
        """The recipe: x and the previous states, the nodes by their operators, the next states."""
        nodes = topological_order(spec)
        names = ("x", *previous_states(spec), *(node.name for node in nodes))
        index_of = {name: index for index, name in enumerate(names)}
        outputs = {name: len(names) + index for index, name in enumerate(next_states(spec))}
        links = {(index_of[source], index_of[node.name]) for node in nodes for source in node.inputs}
        ops = (
            "input",
            *(f"input_{name}" for name in previous_states(spec)),
            *(node.op for node in nodes),
            *(f"output_{name}" for name in outputs),
        )
        return CellGraph(ops, tuple(sorted(links | {(index_of[name], output) for name, output in outputs.items()})))


class RecurrentCellProgram(NamedTuple):
    """A recipe compiled to the nodes of its canonical graph.

    Attributes:
        nodes: in topological order, without the sigmoids that became part of a SiLU.
        inlined: names of nodes whose terms are added by the sum that reads them; they have no Add of their own.
        previous: names of the states before the step.
        next: names of the states after it.
    """

    nodes: tuple[Node, ...]
    inlined: frozenset[str]
    previous: tuple[str, ...]
    next: tuple[str, ...]


@lru_cache(maxsize=4096)
def _compile_recipe(recipe: Recipe) -> RecurrentCellProgram:
    uses, nodes = count_uses(recipe), {node.name: node for node in recipe}
    once = {node.name for node in recipe if uses[node.name] == 1}
    inlined = {name for node in recipe if node.op == "elementwise_sum" for name in node.inputs} & once
    gates = set()  # sigmoids that a product with their own input turns into a SiLU
    for node in recipe:
        if node.op in ("elementwise_prod", "blend"):
            first, second = node.inputs[:2]
            # a blend reads the first input a second time
            pairs = ((second, first), (first, second))[: 1 if node.op == "blend" else 2]
            gates |= {
                gate
                for gate, x in pairs
                if gate in once and nodes[gate].op == "activation_sigm" and nodes[gate].inputs == (x,)
            }
    remaining = tuple(node for node in topological_order(recipe) if node.name not in gates)
    return RecurrentCellProgram(remaining, frozenset(inlined), previous_states(recipe), next_states(recipe))


def _layer(build: GraphBuilder, x: tuple[int, ...], recipe: Recipe, size: int, steps: int) -> int:
    """One step of the cell, and the loop over the sequence `x[0]`; `x[1:]` are the initial states."""
    writer, program = _StepWriter(build, x[0], size, {"trips": steps} if steps > 1 else {}), _compile_recipe(recipe)
    values: dict[str, tuple[int, ...]] = {
        name: (index,) for name, index in zip(("x", *program.previous), x, strict=True)
    }
    for node in program.nodes:
        terms = writer.terms(node.op, node.inputs, values)
        values[node.name] = terms if node.name in program.inlined else (writer.add(terms),)
    states = [values[name][0] for name in program.next]
    return build.add_node("Loop", (*x[1:], *states, states[0]), (size,))


class _StepWriter:
    """Writes the nodes of one time step: all of the size of the states, with attributes for the number of steps."""

    def __init__(self, build: GraphBuilder, sequence: int, size: int, attrs: dict[str, Attr]) -> None:
        self.build, self.attrs = build, attrs
        self.shape: Shape = (size,)
        self.in_features = build.shape(sequence)[0]

    def terms(self, op: str, inputs: tuple[str, ...], values: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Nodes whose sum is the result of an operator of a recipe.

        Args:
            op: the operator.
            inputs: names of what it reads.
            values: name -> the nodes whose sum is its value.
        """
        if op == "elementwise_sum":
            return tuple(term for name in inputs for term in values[name])
        if op == "linear":
            return tuple(self.linear(values[name][0], name == "x", bias=slot == 0) for slot, name in enumerate(inputs))
        if op in ACTIVATION_OPS:
            slope: dict[str, Attr] = {"slope": LEAKY_SLOPE} if op == "activation_leaky_relu" else {}
            return (self.node(ACTIVATION_OPS[op], values[inputs[0]][0], **slope),)
        product = self.product(inputs[0], inputs[1], values)
        if op == "blend":
            complement = self.node("Sub", values[inputs[0]][0], scalar=1, reverse=True)
            return (product, self.node("Mul", complement, values[inputs[2]][0]))
        for name in inputs[2:]:
            product = self.node("Mul", product, values[name][0])
        return (product,)

    def product(self, first: str, second: str, values: dict[str, tuple[int, ...]]) -> int:
        """A product of two values, or a SiLU where one is the other's sigmoid, which then has no node of its own.

        Args:
            first: name of a value.
            second: name of another.
            values: name -> the nodes whose sum is its value.
        """
        if first in values and second in values:
            return self.node("Mul", values[first][0], values[second][0])
        return self.node("SiLU", values[first if first in values else second][0])

    def linear(self, source: int, is_element: bool, bias: bool) -> int:
        """The part of a linear node that reads one input.

        Args:
            source: the node that is read.
            is_element: whether it is the sequence, of which one element is read.
            bias: whether this part has the bias.
        """
        in_shape = (self.in_features,) if is_element else self.shape
        return self.build.add_node(
            "Linear", (source,), self.shape, (self.shape + in_shape, self.shape)[: 1 + bias], (in_shape,), **self.attrs
        )

    def add(self, terms: tuple[int, ...]) -> int:
        """Their sum; a single one passes through."""
        return terms[0] if len(terms) == 1 else self.node("Add", *terms)

    def node(self, op: str, *inputs: int, **attrs: Attr) -> int:
        """An operator on states."""
        return self.build.add_node(op, inputs, self.shape, (), (self.shape,) * len(inputs), **attrs, **self.attrs)
