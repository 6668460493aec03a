import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, shuffled, small_graph

from cgir.drawing.export import dump, to_dot, to_html, to_networkx, to_svg
from cgir.drawing.layered_layout import layout
from cgir.drawing.module_blocks import every_node
from cgir.drawing.svg import svg
from cgir.graph import Graph, Node
from cgir.node_text import short_attributes

SVG = "{http://www.w3.org/2000/svg}"


def graphs():
    rng = np.random.default_rng(0)
    return [resnet50(), small_graph(), ring_graph(3, 4), random_graph(rng, 40), random_graph(rng, 3), Graph(())]


def test_dump_has_one_aligned_line_a_node():
    lines = dump(small_graph()).splitlines()
    assert lines[0] == "small (module): 8 nodes, 7 edges"
    assert lines[1].split() == ["op", "shape", "attributes", "inputs", "params", "module"]
    assert lines[3].split() == ["1", "Conv", "4x8x8", "3x3", "pad", "1", "0", "4x3x3x3", "4", "body"]
    assert lines[10] == ""  # behind the nodes: why totals are not exact
    start = lines[1].index("inputs")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines[3:10])
    assert str(small_graph()) == dump(small_graph())


def test_networkx_has_everything():
    graph = small_graph()
    net = to_networkx(graph)
    assert isinstance(net, nx.MultiDiGraph)
    assert net.number_of_edges() == graph.num_edges
    assert net.nodes[1]["attrs"]["kernel"] == (3, 3)
    assert net.nodes[1]["params"] == [("1.0", (4, 3, 3, 3)), ("1.1", (4,))]
    assert net.nodes[5]["module"] == "head"
    twice = Graph(
        (Node("Input", shape=(4,)), Node("Sub", (0, 0), ((4,), (4,)), (4,)), Node("Output", (1,), ((4,),), (4,)))
    )
    assert sorted(data["slot"] for _, _, data in to_networkx(twice).edges(data=True)) == [0, 0, 1]


def test_dot_has_all_nodes_edges_and_clusters():
    graph = resnet50()
    text = to_dot(graph, full=True)
    assert len(re.findall(r"^ +n\d+ \[label=", text, re.M)) == len(graph)
    edges = re.findall(r"^  n(\d+) -> n(\d+);", text, re.M)
    assert sorted((int(a), int(b)) for a, b in edges) == sorted(
        (s, t) for t, node in enumerate(graph.nodes) for s in node.inputs
    )
    assert re.findall(r"label=\"(layer\d)\"", text) == ["layer1", "layer2", "layer3", "layer4"]
    assert text.count("{") == text.count("}")


def test_dot_escapes():
    graph = replace(small_graph(), name='a "b" \\ c')
    assert to_dot(graph).startswith('digraph "a \\"b\\" \\\\ c" {')


def test_frames_of_all_nodes_skip_a_common_wrapper():
    def frames(*modules):
        return {
            frame.name: frame.boxes
            for frame in every_node(Graph(tuple(Node("ReLU", module=module) for module in modules))).frames
        }

    assert frames("net.a.x", "net.b", "net.a.y", "") == {"net.a": (0, 2), "net.b": (1,)}
    assert frames("a.x", "b.y") == {"a": (0,), "b": (1,)}
    assert frames("a.x", "a") == {"a": (0, 1)}


def sources(graph):
    return [node.inputs for node in graph.nodes]


@pytest.mark.parametrize("graph", graphs())
def test_layout_keeps_order_and_distance(graph):
    places = layout(sources(graph))
    for index, node in enumerate(graph.nodes):
        assert all(places.layer[i] < places.layer[index] for i in node.inputs)
    rows = {}
    for (node, layer), x in places.x.items():
        rows.setdefault(layer, []).append((x, 0.5 if places.layer[node] == layer else 0.07))
    for row in rows.values():
        row.sort()
        assert all(b[0] - a[0] >= a[1] + b[1] - 1e-6 for a, b in pairwise(row))
        assert row[0][0] - row[0][1] >= -1e-6


def test_every_edge_is_drawn_from_its_source_to_its_target():
    graph = shuffled(random_graph(np.random.default_rng(1), 40), np.random.default_rng(2))
    places = layout(sources(graph))
    segments = nx.DiGraph(places.segments)
    for index, node in enumerate(graph.nodes):
        for source in set(node.inputs):
            path = [(source, layer) for layer in range(places.layer[source], places.layer[index])] + [
                (index, places.layer[index])
            ]
            assert nx.is_path(segments, path)
    assert segments.number_of_edges() == len(places.segments)


def test_chains_are_straight():
    places = layout(sources(resnet50()))
    graph = resnet50()
    main = [
        places.x[i, places.layer[i]]
        for i, node in enumerate(graph.nodes)
        if node.op in ("Add", "GlobalAvgPool", "MaxPool", "Output")
    ]
    assert np.ptp(main) < 1e-6


@pytest.mark.parametrize("graph", graphs())
def test_svg_is_well_formed_and_complete(graph, tmp_path):
    to_svg(graph, tmp_path / "g.svg", full=True)
    root = ElementTree.parse(tmp_path / "g.svg").getroot()
    boxes = root.findall(f"{SVG}g/{SVG}rect")
    assert len(boxes) == len(graph)
    width, height = float(root.get("width")), float(root.get("height"))
    for box in boxes:
        assert 0 <= float(box.get("x")) <= width - float(box.get("width"))
        assert 0 <= float(box.get("y")) <= height - float(box.get("height"))
    assert len(root.findall(f"{SVG}path")) == len(layout(sources(graph)).segments)


def test_tooltips_say_everything():
    text = svg(small_graph(), every_node(small_graph()))
    for piece in (
        "kernel = (3, 3)",
        "parameter 1.0: 4x3x3x3",
        "module body",
        "node 1 \u00e9",
        "13,824 FLOPs",
        "input 0: node 0 as 3x8x8",
    ):
        assert piece in text


def test_names_cannot_break_the_drawing(tmp_path):
    graph = small_graph()
    nasty = '</title><script>"&\x00\x0b'
    graph = replace(graph.with_nodes(replace(node, name=nasty, module=nasty) for node in graph.nodes), name=nasty)
    ElementTree.fromstring(svg(graph, every_node(graph)))
    to_html(graph, tmp_path / "g.html")
    text = (tmp_path / "g.html").read_text(encoding="utf-8")
    assert text.count("<script") == 2
    assert text.count("</title>") == 1
    assert nasty[:8] not in text.partition("</title>")[2]


def test_html_is_one_self_contained_page(tmp_path):
    graph = resnet50()
    graph.to_html(tmp_path / "g.html")
    text = (tmp_path / "g.html").read_text(encoding="utf-8")
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    Reader().feed(text)
    assert tags.count("script") == 2
    assert "25,557,032" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_short_attributes():
    def conv(**attrs):
        base = {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1), "padding": ((0, 0), (0, 0)), "groups": 1}
        return short_attributes(
            Node("Conv", (0,), ((8, 9, 9),), (8, 7, 7), attrs=tuple(sorted((base | attrs).items())))
        )

    assert conv() == "3x3"
    assert conv(stride=(2, 2), groups=8) == "3x3 /2 depthwise"
    assert conv(stride=(2, 1), dilation=(2, 2), groups=2) == "3x3 /2x1 dil 2x2 groups 2"
    assert conv(padding=((0, 1), (0, 1))) == "3x3 pad 0:1,0:1"
    assert short_attributes(Node("Clip", attrs=(("max", 6.0), ("min", 0)))) == "max=6 min=0"
