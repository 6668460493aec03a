"""Recipes, the specs of NAS-Bench-NLP's recurrent cells (Klyuchnikov et al. 2020): parse, check, sample, mutate.

Sources: the authors' custom_rnn.py (what a recipe means) and search_space.py (which ones they sampled).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import numpy as np

ACTIVATIONS = ("activation_tanh", "activation_sigm", "activation_leaky_relu")
UNBOUNDED = 1 << 30
# operator -> least and most inputs
ARITY = {
    "linear": (1, UNBOUNDED),
    "blend": (3, 3),
    "elementwise_prod": (2, UNBOUNDED),
    "elementwise_sum": (2, UNBOUNDED),
    **dict.fromkeys(ACTIVATIONS, (1, 1)),
}
# activation -> operator of the graph
ACTIVATION_OPS = {"activation_tanh": "Tanh", "activation_sigm": "Sigmoid", "activation_leaky_relu": "LeakyReLU"}
LEAKY_SLOPE = 0.01
# by number of inputs - 1: operators that mutation exchanges
EXCHANGEABLE = (ACTIVATIONS, ("linear", "elementwise_prod", "elementwise_sum"), ("linear", "blend"))

# search_space.py: RecepieGenerator's defaults, and the sizes it was called with
NUM_STATES, NUM_OTHER_NODES = (1, 2, 3), (7, 14, 21)
MAIN_OPS, MAIN_PROBABILITIES = ("linear", "blend", "elementwise_prod", "elementwise_sum"), np.array([3, 1, 1, 1]) / 6
NUM_LINEAR_INPUTS, LINEAR_PROBABILITIES = (2, 3), np.array([4, 1]) / 5


class Node(NamedTuple):
    """One node of a recipe: what it is called, what it computes, and the nodes it reads."""

    name: str
    op: str
    inputs: tuple[str, ...]


Recipe = tuple[Node, ...]  # in the order of the text, which need not be topological


def next_states(recipe: Recipe) -> tuple[str, ...]:
    """Names of the states after a step, the first one also being the layer's output."""
    return tuple(f"h_new_{i}" for i in range(sum(_is_next_state(node.name) for node in recipe)))


def previous_states(recipe: Recipe) -> tuple[str, ...]:
    """Names of the states before a step."""
    return tuple(name.replace("new", "prev") for name in next_states(recipe))


def _is_next_state(name: str) -> bool:
    return re.fullmatch(r"h_new_[0-9]+", name) is not None


def topological_order(recipe: Recipe) -> tuple[Node, ...]:
    """The nodes so that each stands after what it reads.

    Raises:
        CycleError: there is no such order.
    """
    nodes = {node.name: node for node in recipe}
    sorter = TopologicalSorter({node.name: [name for name in node.inputs if name in nodes] for node in recipe})
    return tuple(nodes[name] for name in sorter.static_order())


def count_uses(recipe: Recipe) -> Counter[str]:
    """How often every name is read; a next state is also read by the step after."""
    return Counter([name for node in recipe for name in node.inputs] + list(next_states(recipe)))


def parse_recipe(text: str) -> Recipe:
    """The recipe in a JSON string.

    Raises:
        ValueError: the problem, phrased as the end of a sentence about the string.
    """
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is no JSON ({error})") from None
    if not isinstance(pairs, tuple) or not pairs:
        raise ValueError('is no recipe; expected {"node": {"op": ..., "input": [...]}, ...}')
    recipe = tuple(_node(name, fields) for name, fields in pairs)
    problem = find_problem(recipe)
    if problem:
        raise ValueError(problem)
    return recipe


def _node(name: str, fields: object) -> Node:
    if not isinstance(fields, tuple) or sorted(key for key, _ in fields) != ["input", "op"]:
        raise ValueError(f'node {name!r} is not of the form {{"op": ..., "input": [...]}}')
    values: dict[str, object] = dict(fields)
    op, inputs = values["op"], values["input"]
    if not isinstance(op, str) or not isinstance(inputs, list) or not all(isinstance(name, str) for name in inputs):
        raise ValueError(
            f"node {name!r} is not made of strings; expected the name of an operator and a list of names of nodes"
        )
    return Node(name, op, tuple(inputs))


def format_recipe(recipe: Recipe) -> str:
    """Compact JSON, nodes in their order."""
    return json.dumps(
        {node.name: {"op": node.op, "input": node.inputs} for node in recipe}, separators=(",", ":"), ensure_ascii=False
    )


def find_problem(recipe: Recipe) -> str | None:
    """What is wrong with a recipe, naming the node; None if it is valid."""
    return next(_problems(recipe), None)


def _problems(recipe: Recipe) -> Iterator[str]:
    names = Counter(node.name for node in recipe)
    states = previous_states(recipe)
    readable = {*names, "x", *states}
    for node in recipe:
        if any("\ud800" <= character <= "\udfff" for character in node.name):
            yield f"node {node.name!r} has half a surrogate in its name, which no file can hold"
        if names[node.name] > 1 or node.name == "x" or re.fullmatch(r"h_prev_[0-9]+", node.name):
            yield f"node {node.name!r} has the name of another node or of an input"
        if node.op not in ARITY:
            yield f"node {node.name!r} has operator {node.op!r}; expected one of {', '.join(ARITY)}"
        least, most = ARITY[node.op]
        if not least <= len(node.inputs) <= most:
            expected = f"{least}{'' if least == most else ' or more'}"
            yield f"node {node.name!r} ({node.op}) has {len(node.inputs)} inputs; expected {expected}"
    missing = next((name for name in next_states(recipe) or ("h_new_0",) if name not in names), None)
    if missing:
        yield f"has no node {missing!r}; the states after a step are h_new_0, h_new_1 ..."
    for node in recipe:
        unknown = next((name for name in node.inputs if name not in readable), None)
        if unknown is not None:
            yield f"node {node.name!r} reads {unknown!r}; expected another node, {', '.join(('x', *states))}"
        if "x" in node.inputs and node.op != "linear":
            yield (
                f"node {node.name!r} ({node.op}) reads x, whose size differs from that of the states; "
                "only linear nodes may"
            )
    yield from _path_problems(recipe)


def _path_problems(recipe: Recipe) -> Iterator[str]:
    try:
        order = topological_order(recipe)
    except CycleError as error:
        yield f"has a cycle: {' -> '.join(map(repr, error.args[1]))}"
        return
    needed = set(next_states(recipe))
    for node in reversed(order):
        needed.update(node.inputs if node.name in needed else ())
    for node in recipe:
        if node.name not in needed:
            yield f"node {node.name!r} leads to no new state; leave it out"
    if "x" not in needed:
        yield "reads x nowhere"


def can_be_sampled(recipe: Recipe) -> bool:
    """The authors' condition: every previous state is read, none of them directly by a next state."""
    states, operands = set(previous_states(recipe)), {name for node in recipe for name in node.inputs}
    return states <= operands and not any(_is_next_state(node.name) and states & set(node.inputs) for node in recipe)


def mutate_recipe(recipe: Recipe, rng: np.random.Generator) -> Recipe | None:
    """Another operator for one node, or one other input, uniform over the valid recipes; None where there is none."""
    names = ("x", *previous_states(recipe), *(node.name for node in recipe))
    candidates: list[tuple[int, Node]] = []  # position and new node
    for position, node in enumerate(recipe):
        ops = EXCHANGEABLE[len(node.inputs) - 1] if len(node.inputs) <= len(EXCHANGEABLE) else ()
        candidates += [(position, node._replace(op=op)) for op in ops if op != node.op and node.op in ops]
        for slot in range(len(node.inputs)):
            replacements = (name for name in names if name not in node.inputs and name != node.name)
            candidates += [
                (position, node._replace(inputs=(*node.inputs[:slot], name, *node.inputs[slot + 1 :])))
                for name in replacements
            ]
    was_sampled = can_be_sampled(recipe)
    for choice in rng.permutation(len(candidates)).tolist():
        position, node = candidates[choice]
        mutated = (*recipe[:position], node, *recipe[position + 1 :])
        if find_problem(mutated) is None and (can_be_sampled(mutated) or not was_sampled):
            return mutated
    return None


def sample_recipe(rng: np.random.Generator) -> Recipe:
    """A recipe by the authors' generator, sampled again until it meets their condition (`can_be_sampled`).

    Numbers of states and nodes are uniform over those they called it with.
    """
    while True:
        recipe = _sample_once(
            rng,
            NUM_STATES[int(rng.integers(len(NUM_STATES)))],
            NUM_OTHER_NODES[int(rng.integers(len(NUM_OTHER_NODES)))],
        )
        if recipe and find_problem(recipe) is None and can_be_sampled(recipe):
            return recipe


def _sample_once(rng: np.random.Generator, num_states: int, num_others: int) -> Recipe:
    """Nodes one by one, some of which become the next states; nodes that lead to none of these are dropped."""
    states = [f"h_prev_{i}" for i in range(num_states)]
    nodes: list[Node] = []
    activated: list[str] = []
    while len(nodes) < num_states + num_others:
        op = MAIN_OPS[rng.choice(len(MAIN_OPS), p=MAIN_PROBABILITIES)]
        if op == "linear":
            pool = ["x", *states, *activated]
            count = min(NUM_LINEAR_INPUTS[rng.choice(len(NUM_LINEAR_INPUTS), p=LINEAR_PROBABILITIES)], len(pool))
            nodes.append(Node(f"node_{len(nodes)}", op, _choose(rng, pool, count)))
            nodes.append(Node(f"node_{len(nodes)}", ACTIVATIONS[rng.integers(len(ACTIVATIONS))], (nodes[-1].name,)))
            activated.append(nodes[-1].name)
            continue
        pool = [*states, *(node.name for node in nodes)]
        count = 3 if op == "blend" else 2
        if count <= len(pool):
            nodes.append(Node(f"node_{len(nodes)}", op, _choose(rng, pool, count)))
    new_names = {name: f"h_new_{i}" for i, name in enumerate(_choose(rng, [node.name for node in nodes], num_states))}
    renamed = {
        node.name: Node(
            new_names.get(node.name, node.name), node.op, tuple(new_names.get(name, name) for name in node.inputs)
        )
        for node in nodes
    }
    needed = set(new_names.values())
    for node in reversed(renamed.values()):
        needed.update(node.inputs if node.name in needed else ())
    inner_nodes = [node for name, node in renamed.items() if name not in new_names and node.name in needed]
    return (*inner_nodes, *(renamed[name] for name in new_names))


def _choose(rng: np.random.Generator, pool: list[str], count: int) -> tuple[str, ...]:
    return tuple(pool[i] for i in rng.choice(len(pool), count, replace=False))
