"""What the page reads: every node once in the tree of blocks, costs that add up, names of what repeats."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, small_graph

from benchmarks.large_graphs import FAMILIES
from cgir.drawing.page_data import page_data
from cgir.graph import Graph
from frontends import spaces

CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
GRAPHS = {
    "resnet": resnet50(),
    "small": small_graph(),
    "random": random_graph(np.random.default_rng(0), 300),
    "experts": FAMILIES["mixture of experts"](1000),
    "nothing": Graph(()),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_tree_has_every_node_once_and_outer_blocks_first(name: str) -> None:
    graph = GRAPHS[name]
    data = json.loads(json.dumps(page_data(graph)))
    items = data["blocks"][3]
    everything = [item for inside in items for item in inside]
    assert sorted(everything) == [i for i in range(len(graph) + len(items)) if i != len(graph)]
    assert all(item > block for block, inside in enumerate(items, len(graph)) for item in inside if item >= len(graph))
    assert all(len(inside) > 1 for inside in items[1:])
    # inside of every block readers come after what they read
    place = {
        item: (block, number) for block, inside in enumerate(items, len(graph)) for number, item in enumerate(inside)
    }
    for index, node in enumerate(graph.nodes):
        for source in node.inputs:
            above, below = source, index
            while place[above][0] != place[below][0]:  # up to the block that has both: inner blocks have larger numbers
                if place[above][0] > place[below][0]:
                    above = place[above][0]
                else:
                    below = place[below][0]
            assert above == below or place[above][1] < place[below][1]


@pytest.mark.parametrize("name", ["resnet", "small", "random"])
def test_columns_are_those_of_the_graph(name: str) -> None:
    graph = GRAPHS[name]
    data = page_data(graph)
    assert sum(data["params"]) == graph.num_params
    assert sum(data["flops"]) == graph.flops
    for index, node in enumerate(graph.nodes):
        kind = data["kinds"][data["kind"][index]]
        assert (kind["category"] == "io") == (node.op in ("Input", "Output"))
        assert kind["shape"] == "x".join(map(str, node.shape))
        assert dict(kind["attrs"]).keys() == dict(node.attrs).keys()
        assert data["modules"][data["module"][index]] == node.module
        assert [row[0] for row in data["param_rows"].get(index, [])] == [param.id for param in node.params]


def test_what_repeats_in_a_cell_is_called_by_its_edges() -> None:
    """Two equal edges in a row, with a sum between them, are one block of two."""
    space = spaces.get("nasbench201")
    _, labels, _, _ = page_data(space.graph(space.parse(CELL)))["blocks"]
    assert {"cell3", "edge 0->1: nor_conv_3x3", "edge 2->3: nor_conv_3x3"} < set(labels)
    assert not any(label.startswith("nodes") for label in labels)
    assert all(labels[1:])
