"""Drawings shaded by importance: what is darker, what the legend and the tooltips say, what a block shows, and what is
refused.
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, small_graph
from hypothesis import given, settings
from hypothesis import strategies as st

import cgir
from cgir.drawing.export import to_html, to_png, to_svg
from cgir.drawing.importance import BOX_COLOR, Importance, Scale, Shading, relative_luminance, text_color
from cgir.drawing.module_blocks import collapse, every_node
from cgir.graph import Graph, Node
from cgir.graph_batch import GraphBatch
from frontends import spaces

SVG = "{http://www.w3.org/2000/svg}"


def chain(size):
    nodes = [
        Node("Input", shape=(4,)),
        *(Node("ReLU", (i,), ((4,),), (4,)) for i in range(size)),
        Node("Output", (size,), ((4,),), (4,)),
    ]
    return Graph(tuple(nodes), "chain")


def drawn(graph, tmp_path, nodes=None, edges=None, caption="", **options):
    """The drawing's root element."""
    nodes = np.zeros(len(graph)) if nodes is None else nodes
    edges = np.zeros(graph.num_edges) if edges is None else edges
    to_svg(graph, tmp_path / "g.svg", importance=Importance(nodes, edges, caption), **options)
    return ElementTree.parse(tmp_path / "g.svg").getroot()


def fills(root):
    """Of each box the fill, the tooltip, and the colours of its text."""
    boxes = [group for group in root.findall(f"{SVG}g") if group.find(f"{SVG}rect") is not None]
    return [
        (
            box.find(f"{SVG}rect").get("fill"),
            box.find(f"{SVG}title").text,
            [text.get("fill") for text in box.findall(f"{SVG}text")],
        )
        for box in boxes
    ]


def lines(root):
    """Of each piece of an edge: the colour, the width, the importance as its tooltip says it."""
    found = []
    for path in root.findall(f"{SVG}path"):
        if path.get("class") == "e":
            colour, width = re.fullmatch(r"stroke:(#\w{6});stroke-width:([\d.]+)", path.get("style")).groups()
            found.append((colour, float(width), float(path.find(f"{SVG}title").text.removeprefix("importance "))))
    return found


def legend(root):
    return " ".join(text.text for text in root.findall(f"{SVG}text"))


# --- colours


def test_luminance_and_text_color_are_those_of_wcag():
    # https://www.w3.org/TR/WCAG22/#dfn-relative-luminance: weights of the primaries; #767676 is the lightest grey that
    # white text stands out from by 4.5
    assert [
        round(relative_luminance(color), 4) for color in ("#ffffff", "#000000", "#ff0000", "#00ff00", "#0000ff")
    ] == [
        1,
        0,
        0.2126,
        0.7152,
        0.0722,
    ]
    assert 1.05 / (relative_luminance("#767676") + 0.05) > 4.5 > 1.05 / (relative_luminance("#777777") + 0.05)
    assert text_color("#ffffff") == "#000000"
    assert text_color("#08306b") == "#ffffff"


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.booleans(), st.sampled_from(["#ffffff", "#cccccc"]))
def test_darker_is_stronger_and_text_stands_out(a, b, signed, faint):
    scale = Scale.from_values(np.asarray([a, b, 0.0]), signed, faint)
    one, other = scale.color(a), scale.color(b)
    if scale.intensity(a) < scale.intensity(b) - 0.01 and (not signed or a * b >= 0):
        assert relative_luminance(one) > relative_luminance(other)
    for color in (one, other):
        high, low = sorted((relative_luminance(color), relative_luminance(text_color(color))), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5
    if signed and abs(a) == scale.high > 0:
        assert one == ("#08306b" if a > 0 else "#67000d")
    assert scale.color(0.0) == faint or not signed


# --- drawings


def test_more_important_nodes_are_darker(tmp_path):
    graph, rng = chain(12), np.random.default_rng(0)
    nodes, edges = rng.random(len(graph)), rng.random(graph.num_edges)
    root = drawn(graph, tmp_path, nodes, edges, full=True)
    boxes = fills(root)
    assert [float(title.rpartition("importance ")[2]) for _, title, _ in boxes] == pytest.approx(nodes, rel=1e-3)
    order = np.argsort(nodes)
    luminances = np.asarray([relative_luminance(fill) for fill, _, _ in boxes])[order]
    assert (np.diff(luminances) <= 0).all()
    assert luminances[0] == 1
    assert luminances[-1] == relative_luminance("#08306b")
    assert all(set(texts) == {text_color(fill)} for fill, _, texts in boxes)
    colours, widths, values = zip(*sorted(lines(root), key=lambda line: line[2]), strict=True)
    assert values == pytest.approx(np.sort(edges), rel=1e-3)
    assert (np.diff([relative_luminance(color) for color in colours]) <= 0).all()
    assert (np.diff(widths) >= 0).all()
    assert widths[0] < widths[-1]


def test_signs_have_colours_of_their_own(tmp_path):
    graph = chain(3)
    boxes = fills(drawn(graph, tmp_path, [-1, -0.5, 0, 0.5, 1], full=True))
    parts = [[int(fill[place : place + 2], 16) for place in (1, 3, 5)] for fill, _, _ in boxes]
    assert [np.sign(red - blue) for red, _, blue in parts] == [1, 1, 0, -1, -1]
    assert boxes[2][0] == BOX_COLOR
    assert relative_luminance(boxes[0][0]) < relative_luminance(boxes[1][0])
    assert relative_luminance(boxes[4][0]) < relative_luminance(boxes[3][0])


def test_legend_has_the_ranges(tmp_path):
    graph = chain(3)
    text = legend(drawn(graph, tmp_path, [0.25, 0.5, 0.75, 0.5, 0.5], [0.125, 0.25, 0.25, 0.375], "masks"))
    for piece in ("masks; darker: more important", "0.25 0.75  nodes", "0.125 0.375  edges"):
        assert piece in text
    text = legend(drawn(graph, tmp_path, [-0.25, 0.5, 0, 0, 0]))
    assert "blue raises the score, red lowers it" in text
    assert "-0.5 0.5  nodes" in text
    swatches = [
        rect.get("fill")
        for rect in drawn(graph, tmp_path, [-0.25, 0.5, 0, 0, 0]).findall(f"{SVG}rect[@class='legend']")
    ]
    assert (swatches[0], swatches[7], swatches[14]) == ("#67000d", BOX_COLOR, "#08306b")


def test_without_importance_there_is_no_legend(tmp_path):
    to_svg(chain(3), tmp_path / "g.svg")
    root = ElementTree.parse(tmp_path / "g.svg").getroot()
    assert not root.findall(f"{SVG}rect[@class='legend']")
    assert "importance" not in (tmp_path / "g.svg").read_text()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40))
def test_any_graph_can_be_shaded(tmp_path_factory, seed, size):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, size)
    nodes, edges = rng.normal(size=len(graph)), rng.normal(size=graph.num_edges)
    root = drawn(graph, tmp_path_factory.mktemp("d"), nodes, edges, full=True)
    left, top, width, height = map(float, root.get("viewBox").split())
    assert len(fills(root)) == len(graph)
    for rect in root.iter(f"{SVG}rect"):
        assert left <= float(rect.get("x")) <= left + width - float(rect.get("width"))
        assert top <= float(rect.get("y")) <= top + height - float(rect.get("height"))
    # Edges with one source share a lane, which shows the strongest; what ends at a box is one edge's, or of equal ones'
    # the strongest.
    pairs = {}
    for (source, reader), value in zip(
        [(s, r) for r, node in enumerate(graph.nodes) for s in node.inputs], edges, strict=True
    ):
        pairs.setdefault((source, reader), []).append(value)
    expected = {f"{max(values, key=abs):.4g}" for values in pairs.values()}
    shown = {f"{value:.4g}" for _, _, value in lines(root)}
    assert shown <= expected
    assert not edges.size or f"{max(edges, key=abs):.4g}" in shown


def test_a_graph_without_edges_can_be_shaded(tmp_path):
    graph = Graph((Node("Input", shape=(4,)), Node("Output", shape=(4,))))
    assert len(fills(drawn(graph, tmp_path, [1.0, 0.0]))) == 2
    assert legend(drawn(Graph(()), tmp_path)) == legend(drawn(Graph(()), tmp_path, [], []))


# --- blocks


def test_a_box_shows_the_strongest_of_all_nodes_behind_it():
    graph, rng = resnet50(), np.random.default_rng(0)
    nodes, edges = rng.normal(size=len(graph)), rng.normal(size=graph.num_edges)
    shading = Shading(graph, Importance(nodes, edges))
    for diagram in (collapse(graph), collapse(graph, 1), every_node(graph)):
        assert sorted(index for box in diagram.boxes for index in box.nodes) == list(range(len(graph)))
        for box in diagram.boxes:
            assert shading.box_value(box) == max((nodes[index] for index in box.nodes), key=abs)
        owner = {index: number for number, box in enumerate(diagram.boxes) for index in box.nodes}
        values = shading.edge_values(diagram)
        for target, sources in enumerate(diagram.sources):
            for source in sources:
                between = [
                    value
                    for (a, b), value in zip(
                        [(s, r) for r, node in enumerate(graph.nodes) for s in node.inputs], edges, strict=True
                    )
                    if (owner[a], owner[b]) == (source, target)
                ]
                assert values[source, target] == max(between, key=abs)


def test_copies_of_a_block_are_all_counted(tmp_path):
    graph = resnet50()
    diagram = collapse(graph)
    box = next(box for box in diagram.boxes if len(box.block.copies) > 1)
    nodes = np.zeros(len(graph))
    nodes[box.block.copies[-1][0]] = 1.0  # in the last copy alone
    dark = [title for fill, title, _ in fills(drawn(graph, tmp_path, nodes)) if fill == "#08306b"]
    assert len(dark) == 1
    assert dark[0].startswith(box.block.name)
    assert f"importance 1, the strongest of {len(box.nodes):,} nodes; their mean {1 / len(box.nodes):.4g}" in dark[0]


# --- files


NASTY = "</title></text><script>alert(1)</script>\"'&\x00\x0b"


def test_names_cannot_break_the_drawing(tmp_path):
    graph = small_graph()
    graph = replace(graph.with_nodes(replace(node, name=NASTY, module=NASTY) for node in graph.nodes), name=NASTY)
    importance = Importance(np.arange(len(graph)), np.arange(graph.num_edges), NASTY)
    for full in (False, True):
        root = drawn(graph, tmp_path, importance.nodes, importance.edges, NASTY, full=full)
        assert not list(root.iter(f"{SVG}script"))
        to_html(graph, tmp_path / "g.html", full=full, importance=importance)
        text = (tmp_path / "g.html").read_text(encoding="utf-8")
        assert "alert(1)</script>" not in text
        assert text.count("<script") == 2


def test_a_shaded_page_is_self_contained(tmp_path):
    graph = resnet50()
    to_html(
        graph,
        tmp_path / "g.html",
        importance=Importance(np.linspace(-1, 1, len(graph)), np.linspace(0, 1, graph.num_edges), "occlusion"),
    )
    text = (tmp_path / "g.html").read_text(encoding="utf-8")

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert not {"src", "href"} & {name for name, _ in attrs}

    Reader().feed(text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert '"caption":"occlusion"' in text


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ([1.0] * 4, [1.0] * 4, "nodes has shape (4,); expected (5,), a value for each of its 5 nodes"),
        ([1.0] * 5, [1.0] * 5, "edges has shape (5,); expected (4,), a value for each of its 4 edges"),
        ([[1.0] * 5], [1.0] * 4, "nodes has shape (1, 5); expected (5,)"),
        ([1.0, np.nan, 1, 1, 1], [1.0] * 4, "value 1 of nodes is not finite"),
        ([1.0] * 5, [1.0, 1, 1, np.inf], "value 3 of edges is not finite"),
    ],
)
def test_wrong_importance_is_refused_in_a_line(tmp_path, nodes, edges, message):
    for write, name in ((to_svg, "out.svg"), (to_html, "out.html"), (to_png, "out.png")):
        with pytest.raises(cgir.CgirError) as error:
            write(chain(3), tmp_path / name, importance=Importance(nodes, edges))
        assert f"importance of graph 'chain': {message}" in str(error.value)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


# --- one graph of a batch


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_graphs_of_a_batch_are_the_packed_ones(seed, count):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(rng.integers(0, 20))) for _ in range(count)]
    batch = GraphBatch.from_graphs(graphs)
    for index, graph in enumerate(graphs):
        found = batch.graph(index, "named", "raw")
        plain = tuple(replace(node, name="", module="", params=()) for node in graph.nodes)
        assert (tuple(replace(node, params=()) for node in found.nodes), found.name, found.level) == (
            plain,
            "named",
            "raw",
        )
        assert [node.kind for node in found.nodes] == [node.kind for node in graph.nodes]
        assert batch.graph(index - count) == batch.graph(index)
        params = [param.id for node in found.nodes for param in node.params]
        assert len(set(params)) == len(params)
    for index in (count, -count - 1):
        with pytest.raises(IndexError, match=f"graph {index} of a batch of {count} graphs"):
            batch.graph(index)


def test_a_network_of_a_batch_is_isomorphic_to_itself():
    space = spaces.get("transnas_macro")
    specs = [space.sample(np.random.default_rng(seed)) for seed in range(3)]
    batch = space.graphs(specs)
    for index, spec in enumerate(specs):
        found = batch.graph(index)
        cgir.verify(found)
        assert cgir.isomorphic(found, space.graph(spec))
