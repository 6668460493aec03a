"""Recipes of NAS-Bench-NLP's recurrent cells (Klyuchnikov et al. 2020): reading, checking, drawing and changing them.

Source: the authors' custom_rnn.py (what a recipe means) and search_space.py (which ones they drew).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import numpy as np

ACTIVATIONS = ("activation_tanh", "activation_sigm", "activation_leaky_relu")
MANY = 1 << 30
# operator -> least and most inputs
OPS = {
    "linear": (1, MANY),
    "blend": (3, 3),
    "elementwise_prod": (2, MANY),
    "elementwise_sum": (2, MANY),
    **dict.fromkeys(ACTIVATIONS, (1, 1)),
}
# by number of inputs - 1: what mutation exchanges
ALIKE = (ACTIVATIONS, ("linear", "elementwise_prod", "elementwise_sum"), ("linear", "blend"))

# search_space.py: RecepieGenerator's defaults, and the sizes it was called with
STATES, INNER_NODES = (1, 2, 3), (7, 14, 21)
MAIN_OPS, MAIN_WEIGHTS = ("linear", "blend", "elementwise_prod", "elementwise_sum"), np.array([3, 1, 1, 1]) / 6
LINEAR_INPUTS, LINEAR_WEIGHTS = (2, 3), np.array([4, 1]) / 5


class Node(NamedTuple):
    """One node of a recipe: what it is called, what it computes, and the nodes it reads."""

    name: str
    op: str
    inputs: tuple[str, ...]


Recipe = tuple[Node, ...]  # in the order of the text, which need not be topological


def new_states(recipe: Recipe) -> tuple[str, ...]:
    """Names of the states after a step, the first one also being the layer's output."""
    return tuple(f"h_new_{i}" for i in range(sum(_is_new(node.name) for node in recipe)))


def old_states(recipe: Recipe) -> tuple[str, ...]:
    """Names of the states before a step."""
    return tuple(name.replace("new", "prev") for name in new_states(recipe))


def _is_new(name: str) -> bool:
    return re.fullmatch(r"h_new_[0-9]+", name) is not None


def ordered(recipe: Recipe) -> tuple[Node, ...]:
    """The nodes so that each stands after what it reads.

    Raises:
        CycleError: there is no such order.
    """
    nodes = {node.name: node for node in recipe}
    sorter = TopologicalSorter({node.name: [name for name in node.inputs if name in nodes] for node in recipe})
    return tuple(nodes[name] for name in sorter.static_order())


def uses(recipe: Recipe) -> Counter[str]:
    """How often every name is read; a new state is also read by the next step."""
    return Counter([name for node in recipe for name in node.inputs] + list(new_states(recipe)))


# --- text


def read(text: str) -> Recipe | str:
    """The recipe that a text spells, or what is wrong with the text."""
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"is no JSON ({error})"
    if not isinstance(pairs, tuple) or not pairs:
        return 'is no recipe; expected {"node": {"op": ..., "input": [...]}, ...}'
    recipe = []
    for name, fields in pairs:
        if not isinstance(fields, tuple) or sorted(key for key, _ in fields) != ["input", "op"]:
            return f'node {name!r} is not of the form {{"op": ..., "input": [...]}}'
        given: dict[str, Any] = dict(fields)
        if (
            not isinstance(given["op"], str)
            or not isinstance(given["input"], list)
            or not all(isinstance(source, str) for source in given["input"])
        ):
            return (
                f"node {name!r} is not made of strings; expected the name of an operator and a list of names of nodes"
            )
        recipe.append(Node(name, given["op"], tuple(given["input"])))
    return problem(tuple(recipe)) or tuple(recipe)


def write(recipe: Recipe) -> str:
    """Compact JSON, nodes in their order."""
    return json.dumps(
        {node.name: {"op": node.op, "input": node.inputs} for node in recipe}, separators=(",", ":"), ensure_ascii=False
    )


def problem(recipe: Recipe) -> str | None:
    """What is wrong with a recipe, naming the node."""
    return next(_problems(recipe), None)


def _problems(recipe: Recipe) -> Iterator[str]:
    names = Counter(node.name for node in recipe)
    known = {*names, "x", *old_states(recipe)}
    for node in recipe:
        if names[node.name] > 1 or node.name == "x" or re.fullmatch(r"h_prev_[0-9]+", node.name):
            yield f"node {node.name!r} has the name of another node or of an input"
        if node.op not in OPS:
            yield f"node {node.name!r} has operator {node.op!r}; expected one of {', '.join(OPS)}"
        least, most = OPS[node.op]
        if not least <= len(node.inputs) <= most:
            yield f"node {node.name!r} ({node.op}) has {len(node.inputs)} inputs; expected {least}{'' if least == most else ' or more'}"
    missing = next((name for name in new_states(recipe) or ("h_new_0",) if name not in names), None)
    if missing:
        yield f"has no node {missing!r}; the states after a step are h_new_0, h_new_1 ..."
    for node in recipe:
        unknown = next((name for name in node.inputs if name not in known), None)
        if unknown is not None:
            yield f"node {node.name!r} reads {unknown!r}; expected another node, x{''.join(f', {name}' for name in old_states(recipe))}"
        if "x" in node.inputs and node.op != "linear":
            yield f"node {node.name!r} ({node.op}) reads x, whose size differs from that of the states; only linear nodes may"
    yield from _path_problems(recipe)


def _path_problems(recipe: Recipe) -> Iterator[str]:
    try:
        order = ordered(recipe)
    except CycleError as error:
        yield f"has a cycle: {' -> '.join(map(repr, error.args[1]))}"
        return
    needed = set(new_states(recipe))
    for node in reversed(order):
        needed.update(node.inputs if node.name in needed else ())
    for node in recipe:
        if node.name not in needed:
            yield f"node {node.name!r} leads to no new state; leave it out"
    if "x" not in needed:
        yield "reads x nowhere"


def is_drawn(recipe: Recipe) -> bool:
    """The authors' own condition: every state before is read, none of them directly by a state after."""
    before, read_ones = set(old_states(recipe)), {name for node in recipe for name in node.inputs}
    return before <= read_ones and not any(_is_new(node.name) and before & set(node.inputs) for node in recipe)


# --- chance


def neighbour(recipe: Recipe, rng: np.random.Generator) -> Recipe | None:
    """Another operator for one node, or another input, uniform over those that leave a valid recipe; None where there
    is none.
    """
    names = ("x", *old_states(recipe), *(node.name for node in recipe))
    near: list[tuple[int, Node]] = []
    for place, node in enumerate(recipe):
        alike = ALIKE[len(node.inputs) - 1] if len(node.inputs) <= len(ALIKE) else ()
        near += [(place, node._replace(op=op)) for op in alike if op != node.op and node.op in alike]
        for slot in range(len(node.inputs)):
            others = (name for name in names if name not in node.inputs and name != node.name)
            near += [
                (place, node._replace(inputs=(*node.inputs[:slot], name, *node.inputs[slot + 1 :]))) for name in others
            ]
    drawn = is_drawn(recipe)
    for choice in rng.permutation(len(near)).tolist():
        place, node = near[choice]
        other = (*recipe[:place], node, *recipe[place + 1 :])
        if problem(other) is None and (is_drawn(other) or not drawn):
            return other
    return None


def draw(rng: np.random.Generator) -> Recipe:
    """A recipe by the authors' generator, drawn again until it meets their condition; sizes uniform over those they
    called it with.
    """
    while True:
        recipe = _draw_once(
            rng, STATES[int(rng.integers(len(STATES)))], INNER_NODES[int(rng.integers(len(INNER_NODES)))]
        )
        if recipe and problem(recipe) is None and is_drawn(recipe):
            return recipe


def _draw_once(rng: np.random.Generator, states: int, inner: int) -> Recipe:
    """Nodes one by one, some of them made new states, the rest dropped where they lead to none of these."""
    before = [f"h_prev_{i}" for i in range(states)]
    nodes: list[Node] = []
    activated: list[str] = []
    while len(nodes) < states + inner:
        op = MAIN_OPS[rng.choice(len(MAIN_OPS), p=MAIN_WEIGHTS)]
        if op == "linear":
            pool = ["x", *before, *activated]
            count = min(LINEAR_INPUTS[rng.choice(len(LINEAR_INPUTS), p=LINEAR_WEIGHTS)], len(pool))
            nodes.append(Node(f"node_{len(nodes)}", op, _some(rng, pool, count)))
            nodes.append(Node(f"node_{len(nodes)}", ACTIVATIONS[rng.integers(len(ACTIVATIONS))], (nodes[-1].name,)))
            activated.append(nodes[-1].name)
            continue
        pool = [*before, *(node.name for node in nodes)]
        count = 3 if op == "blend" else 2
        if count <= len(pool):
            nodes.append(Node(f"node_{len(nodes)}", op, _some(rng, pool, count)))
    new = {name: f"h_new_{i}" for i, name in enumerate(_some(rng, [node.name for node in nodes], states))}
    renamed = {
        node.name: Node(new.get(node.name, node.name), node.op, tuple(new.get(name, name) for name in node.inputs))
        for node in nodes
    }
    needed = set(new.values())
    for node in reversed(renamed.values()):
        needed.update(node.inputs if node.name in needed else ())
    kept = [node for name, node in renamed.items() if name not in new and node.name in needed]
    return (*kept, *(renamed[name] for name in new))


def _some(rng: np.random.Generator, pool: list[str], count: int) -> tuple[str, ...]:
    return tuple(pool[i] for i in rng.choice(len(pool), count, replace=False))
