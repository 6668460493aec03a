"""Collapsing to blocks: nothing is lost, nothing is in two boxes, no cycles, and real networks come out as one would
draw them.
"""

import re
from dataclasses import replace
from itertools import pairwise
from math import prod

import networkx as nx
import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph

from benchmarks.large_graphs import FAMILIES
from cgir.builder import GraphBuilder
from cgir.drawing.export import summary, to_dot, to_html, to_svg
from cgir.drawing.module_blocks import MAX_BOXES, collapse, every_node
from cgir.graph import Graph


def with_modules(graph, rng, names=("a", "a.x", "a.y", "a.y.z", "b", "b.x", "")):
    return graph.with_nodes(replace(node, module=names[rng.integers(len(names))]) for node in graph.nodes)


def stack(depth, width=8):
    """`depth` equal residual blocks in modules blocks.0, blocks.1, ..., between a stem and a head."""
    b = GraphBuilder("stack")
    x = b.conv(b.input((3, 8, 8)), width, 3)
    paths = {1: "stem"}
    for number in range(depth):
        first = len(b.nodes)
        y = b.relu(b.batch_norm(b.conv(x, width, 3)))
        x = b.add(y, x)
        paths |= {
            first: f"blocks.{number}.conv",
            first + 1: f"blocks.{number}.norm",
            first + 2: f"blocks.{number}.act",
            first + 3: f"blocks.{number}",
        }
    paths[len(b.nodes)], paths[len(b.nodes) + 1] = "pool", "head"
    b.output(b.linear(b.global_avg_pool(x), 10))
    graph = b.build()
    return graph.with_nodes(replace(node, module=paths.get(index, "")) for index, node in enumerate(graph.nodes))


def check(graph, diagram):
    assert sorted(index for box in diagram.boxes for index in box.nodes) == list(range(len(graph)))
    for number, box in enumerate(diagram.boxes):
        assert all(source < number for source in diagram.sources[number])
        assert len(box.nodes) == box.times * len(box.block.copies[0])
        kinds = [graph.nodes[index].kind for index in box.block.copies[0]]
        assert all([graph.nodes[index].kind for index in copy] == kinds for copy in box.block.copies)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("depth", [None, 1, 2, 9])
def test_every_node_is_in_one_box_and_no_path_leads_back(seed, depth):
    rng = np.random.default_rng(seed)
    graph = with_modules(random_graph(rng, int(rng.integers(1, 60))), rng)
    check(graph, collapse(graph, depth))


@pytest.mark.parametrize("seed", range(10))
def test_edges_are_those_between_the_nodes_of_boxes(seed):
    """Against networkx's quotient, where nothing repeats."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 40)
    graph = with_modules(
        graph.with_nodes(replace(node, attrs=(("n", index),)) for index, node in enumerate(graph.nodes)), rng
    )
    diagram = collapse(graph, 1)
    edges = nx.DiGraph((source, index) for index, node in enumerate(graph.nodes) for source in node.inputs)
    edges.add_nodes_from(range(len(graph)))
    expected = nx.quotient_graph(edges, [set(box.nodes) for box in diagram.boxes])
    found = {
        (frozenset(diagram.boxes[s].nodes), frozenset(box.nodes))
        for box, sources in zip(diagram.boxes, diagram.sources, strict=True)
        for s in sources
    }
    assert found == {(frozenset(a), frozenset(b)) for a, b in expected.edges if a != b}


def test_modules_that_are_left_and_entered_again_are_split():
    b = GraphBuilder()
    x = b.conv(b.input((3, 8, 8)), 4, 3)
    b.output(b.relu(b.conv(b.relu(x), 4, 3)))
    graph = b.build()
    graph = graph.with_nodes(
        replace(node, module="shared" if node.op == "ReLU" else "convs" if node.op == "Conv" else "")
        for node in graph.nodes
    )
    diagram = collapse(graph, 1)
    check(graph, diagram)
    assert [box.label for box in diagram.boxes] == ["", "convs", "shared", "convs", "shared", ""]


def test_branches_of_one_module_share_its_box():
    b = GraphBuilder()
    x = b.input((4, 8, 8))
    b.output(b.concat(b.conv(x, 4, 1), b.conv(x, 4, 3), b.max_pool(x, 3, 1, 1)))
    graph = b.build()
    graph = graph.with_nodes(
        replace(node, module="" if node.op in ("Input", "Output") else f"inception.{index}")
        for index, node in enumerate(graph.nodes)
    )
    assert [
        len(box.nodes)
        for box in collapse(replace(graph, nodes=(*graph.nodes[:-1], replace(graph.nodes[-1], module="tail"))), 1).boxes
    ] == [1, 4, 1]


def test_equal_blocks_in_a_row_are_one_box():
    diagram = collapse(resnet50())
    check(resnet50(), diagram)
    found = {box.block.name: (box.times, len(box.nodes)) for box in diagram.boxes if box.block.name}
    assert found["layer1.0"] == (1, 12)
    assert found["layer1.1 .. 2"] == (2, 20)
    assert found["layer3.1 .. 5"] == (5, 50)
    assert len(diagram.boxes) < MAX_BOXES


def test_an_opened_block_shows_one_copy():
    graph = stack(12)
    diagram = collapse(graph)
    check(graph, diagram)
    assert [(frame.name, frame.copies) for frame in diagram.frames] == [("blocks", 1), ("blocks.0 .. 11", 12)]
    inside = [diagram.boxes[box] for box in diagram.frames[1].boxes]
    assert [(box.label, box.times) for box in inside] == [("conv", 12), ("norm", 12), ("act", 12), ("", 12)]
    # the sum reads the stem and the activation
    assert diagram.sources[diagram.frames[1].boxes[-1]] == (1, diagram.frames[1].boxes[2])
    closed = collapse(graph, 2)
    assert [box.block.name for box in closed.boxes if len(box.nodes) > 1] == ["blocks.0 .. 11"]


@pytest.mark.parametrize("modules", [True, False])
def test_a_thousand_nodes_fit_in_a_picture(modules):
    graph = stack(250)
    if not modules:
        graph = graph.with_nodes(replace(node, module="") for node in graph.nodes)
    assert len(graph) > 1000
    diagram = collapse(graph)
    check(graph, diagram)
    assert len(diagram.boxes) <= 12


@pytest.mark.parametrize("seed", range(3))
def test_without_modules_and_repetition_too(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 1000)
    assert len(collapse(graph).boxes) <= MAX_BOXES
    check(graph, collapse(graph))
    assert len(collapse(ring_graph(200)).boxes) <= MAX_BOXES


def test_all_levels_open_show_every_node_of_one_copy():
    graph = stack(12)
    assert all(len(box.block.copies[0]) == 1 for box in collapse(graph, 99).boxes)
    assert len(every_node(graph).boxes) == len(graph)
    assert collapse(Graph(())).boxes == ()


def test_the_table_adds_up():
    graph = resnet50()
    lines = summary(graph).splitlines()
    assert "layer3.1 .. 5" in "".join(lines)
    left, *ends = (lines[2].index(name) + len(name) for name in ("operators", "nodes", "parameters", "FLOPs"))
    left = max(left, max(len(line[: ends[0]].rstrip(" 0123456789,")) for line in lines[3:]))
    cells = [[line[a:b].strip(" %").replace(",", "") for a, b in pairwise((left, *ends))] for line in lines[3:]]
    assert sum(int(nodes or 0) for nodes, _, _ in cells) == len(graph)
    assert sum(int(params or 0) for _, params, _ in cells) == sum(
        prod(param.shape) for node in graph.nodes for param in node.params
    )
    assert sum(float(flops or 0) for _, _, flops in cells) == pytest.approx(100, abs=0.5)


def test_dot_nests_opened_blocks():
    text = to_dot(stack(12))
    assert 'label="12 \u00d7 blocks.0 .. 11"' in text or 'label="12 \u00d7 0 .. 11"' in text
    assert text.count("{") == text.count("}")
    boxes = collapse(stack(12))
    assert len(re.findall(r"^ +n\d+ \[label=", text, re.M)) == len(boxes.boxes)
    assert len(re.findall(r"^  n\d+ -> n\d+;", text, re.M)) == sum(map(len, boxes.sources))


def test_hover_tells_about_blocks_and_nodes(tmp_path):
    to_svg(stack(12), tmp_path / "g.svg", depth=2)
    text = (tmp_path / "g.svg").read_text(encoding="utf-8")
    assert "12 times, the first of them:" in text
    assert "48 nodes in all" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chain", "fan", "random DAG", "mixture of experts"])
def test_large_graphs_stay_small_pictures(name, tmp_path):
    graph = FAMILIES[name](100_000)
    to_html(graph, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 5e6
    to_svg(graph, tmp_path / "drawing.svg")
    assert (tmp_path / "drawing.svg").stat().st_size < 200_000


def test_tooltips_of_large_sums_are_cut(tmp_path):
    to_svg(FAMILIES["fan"](300), tmp_path / "fan.svg", full=True)
    assert "... and 197 more inputs" in (tmp_path / "fan.svg").read_text()


def test_equal_nodes_side_by_side_are_one_box():
    diagram = collapse(FAMILIES["fan"](1000))
    check(FAMILIES["fan"](1000), diagram)
    assert [(box.times, box.block.beside) for box in diagram.boxes] == [(1, False), (997, True), (1, False), (1, False)]
    assert diagram.sources == ((), (0,), (1,), (2,))


def test_experts_are_opened_once():
    """Layers of 64 experts, each of three nodes, and a sum."""
    graph = FAMILIES["mixture of experts"](193 * 30 + 2)
    diagram = collapse(graph)
    check(graph, diagram)
    assert [(frame.copies, frame.beside) for frame in diagram.frames] == [(30, False), (64, True)]
    assert [box.times for box in diagram.boxes] == [1, 1920, 1920, 1920, 30, 1]


def test_readers_of_one_node_with_different_readers_are_not_side_by_side():
    b = GraphBuilder()
    x = y = b.input((4,))
    readers = [b.relu(x) for _ in range(9)]
    for reader in readers:
        y = b.add(y, reader)
    b.output(y)
    assert not any(box.block.beside for box in collapse(b.build()).boxes)
