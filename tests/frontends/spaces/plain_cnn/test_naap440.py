"""NAAP-440: strings, the published networks and their costs, and children of two parents."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from space_checks import check_traces, rows, small

import cgir
from frontends import spaces

BAD = (
    ("k3w12s2 k3w16s2", "2 blocks"),
    ("k3w12s2 k3w16s2 k1w16s1 k1w32s1 k1w32s1", "5 blocks"),
    ("k3w12s1 k3w16s2 k1w16s1", "block 0"),
    ("k3w12s2 k3w16s2 k1w24s1r", "block 2"),  # the addition needs equal widths
    ("k3w12s2 k3w16s2 k1w16s2r", "block 2"),
    ("k3w12s2 k3w16s2 k1w16s2 k1w32s2", "block 3"),  # one of the two may halve the size
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=f"^naap440: .*{complaint}"):
        spaces.get("naap440").parse(text)


def thop_macs(graph: cgir.Graph) -> int:
    """As the tool thop counts them: 4 for an element of BatchNorm, and the sums and quotients of pooling."""
    total = graph.flops // 2
    for node in graph.nodes:
        if node.op == "BatchNorm":
            total += 4 * prod(node.shape)
        if node.op == "GlobalAvgPool":
            total += (prod(node.in_shapes[0][1:]) + 1) * node.shape[0]
    return total


def test_every_published_cost() -> None:
    space = spaces.get("naap440")
    published = {row["arch"]: (int(row["params"]), int(row["macs"])) for row in rows("more/naap440_cifar10.csv.gz")}
    graphs = {space.format(spec): space.graph(spec) for spec in space.enumerate()}
    assert {text: (graph.num_params, thop_macs(graph)) for text, graph in graphs.items()} == published


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("naap440"), 40, seed=1)


def test_mutations_change_one_block() -> None:
    space, rng = spaces.get("naap440"), np.random.default_rng(0)
    networks = set(space.enumerate())
    for spec in (space.sample(rng) for _ in range(40)):
        child = space.mutate(spec, rng)
        assert child in networks
        padded = [(*blocks, None)[:4] for blocks in (spec, child)]
        assert sum(a != b for a, b in zip(*padded, strict=True)) == 1


def test_blocks_of_children_stay_in_their_places() -> None:
    space, rng = small("naap440"), np.random.default_rng(0)
    networks, mixed = set(space.enumerate()), 0
    for _ in range(60):
        first, second = space.sample(rng), space.sample(rng)
        child = space.crossover(first, second, rng)
        assert child in networks
        padded = [(*blocks, None)[:4] for blocks in (child, first, second)]
        assert all(block in parents for block, *parents in zip(*padded, strict=True))
        mixed += child not in (first, second)
    assert mixed > 50
