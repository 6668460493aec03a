"""Explanations: occluded graphs against ones rebuilt node by node, a planted motif, a cost whose shares are known."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cgir_samples import random_graph, small_graph
from encoders_samples import conv_share, random_cnns
from hypothesis import given, settings
from hypothesis import strategies as st

import frontends
from cgir import CgirError, Graph, GraphBatch, Node
from cgir.cost import kind_flops
from encoders import Encoder, EncoderConfig, Predictor, TrainConfig
from encoders.explain import Explanation, explain, occlusion, occlusion_scores


def without_node(graph, gone):
    """The graph without a node, object by object: whoever read it reads what it read."""
    place = {old: new for new, old in enumerate(index for index in range(len(graph)) if index != gone)}
    nodes = []
    for index in place:
        inputs = []
        for source in graph.nodes[index].inputs:
            inputs += graph.nodes[gone].inputs if source == gone else [source]
        nodes.append(replace(graph.nodes[index], inputs=tuple(place[source] for source in inputs)))
    return Graph(tuple(nodes))


def without_edge(graph, reader, slot):
    inputs = graph.nodes[reader].inputs
    cut = replace(graph.nodes[reader], inputs=inputs[:slot] + inputs[slot + 1 :])
    return Graph((*graph.nodes[:reader], cut, *graph.nodes[reader + 1 :]))


def naive_variants(graph):
    inner = [index for index, node in enumerate(graph.nodes) if node.op not in ("Input", "Output") and len(graph) > 1]
    edges = [(reader, slot) for reader, node in enumerate(graph.nodes) for slot in range(len(node.inputs))]
    return inner, [
        graph,
        *(without_node(graph, index) for index in inner),
        *(without_edge(graph, *edge) for edge in edges),
    ]


def triples(batch):
    """A batch as plain lists, kinds instead of rows of its table."""
    return [batch.kinds[row] for row in batch.kind], batch.src.tolist(), batch.dst.tolist(), batch.ptr.tolist()


def with_constants(graph, rng):
    """The same graph, some of whose Inputs are constants, which have no inputs either."""
    return Graph(
        tuple(
            replace(node, op="Constant") if node.op == "Input" and rng.random() < 0.5 else node for node in graph.nodes
        )
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 200))
def test_occluded_graphs_are_those_rebuilt_by_hand(seed, size, chunk):
    rng = np.random.default_rng(seed)
    graph = with_constants(random_graph(rng, size), rng)
    inner, variants = naive_variants(graph)
    seen = []

    def predict(batch):
        seen.append(batch)
        return np.sin(np.arange(len(batch)) + len(seen))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occlusion_scores, "CHUNK_NODES", chunk)
        found = occlusion(predict, graph)
    assert triples(GraphBatch.concatenate(seen)) == triples(GraphBatch.from_graphs(variants))
    assert len(seen) == 1 or max(batch.num_nodes for batch in seen) <= max(chunk, len(graph))
    scores = np.concatenate([np.sin(np.arange(len(batch)) + number) for number, batch in enumerate(seen, 1)])
    expected = np.zeros(len(graph))
    expected[inner] = scores[0] - scores[1 : len(inner) + 1]
    np.testing.assert_array_equal(found.nodes, expected)
    np.testing.assert_array_equal(found.edges, scores[0] - scores[len(inner) + 1 :])
    assert (found.method, found.score, found.graph) == ("occlusion", scores[0], graph)


def test_occlusion_of_a_fitted_predictor_is_its_score_minus_that_of_each_graph_by_itself():
    graphs = random_cnns(24)
    predictor = Predictor(Encoder(EncoderConfig(width=16, layers=2)), head="gp").fit(graphs, conv_share(graphs))
    graph = graphs[3]
    inner, variants = naive_variants(graph)
    scores = np.asarray([predictor.predict(variant)[0] for variant in variants])
    found = explain(predictor, graph)
    np.testing.assert_allclose(found.nodes[inner], scores[0] - scores[1 : len(inner) + 1], atol=1e-5)
    np.testing.assert_allclose(found.edges, scores[0] - scores[len(inner) + 1 :], atol=1e-5)
    assert np.ptp(found.nodes) > 0.01


def flops(batch):
    return np.bincount(
        batch.graph_of_node, np.asarray([kind_flops(kind) for kind in batch.kinds], np.float64)[batch.kind], len(batch)
    )


def test_a_sum_of_costs_gives_every_node_its_own_share():
    graph = frontends.spaces.get("ofa_mbv3").graph(frontends.spaces.get("ofa_mbv3").sample(np.random.default_rng(0)))
    found = occlusion(flops, graph)
    np.testing.assert_array_equal(found.nodes, [kind_flops(node.kind) for node in graph.nodes])
    assert found.nodes.sum() == found.score == graph.flops
    assert not found.edges.any()
    assert [graph.nodes[index].op for index in found.top(3)] == ["Conv"] * 3
    np.testing.assert_array_equal(found.nodes[found.top(len(graph))], np.sort(found.nodes)[::-1])


PLAIN = ("ReLU", "GELU", "SiLU")


def chain(ops):
    nodes = [Node("Input", shape=(8,)), *(Node(op, (i,), ((8,),), (8,)) for i, op in enumerate(ops))]
    return Graph((*nodes, Node("Output", (len(ops),), ((8,),), (8,))))


def motif_chain(rng, planted):
    """Operators in a row; planted: a Sigmoid right behind a Tanh, else one of them, or both apart in any order."""
    rest = list(rng.choice(PLAIN, int(rng.integers(4, 9))))
    if planted:
        place = int(rng.integers(len(rest) + 1))
        return chain([*rest[:place], "Tanh", "Sigmoid", *rest[place:]]), {place + 1, place + 2}
    first, second = sorted(rng.choice(len(rest) + 1, 2, replace=False))
    pair = [["Tanh"], ["Sigmoid"]][:: int(rng.choice([1, -1]))]
    pair[rng.integers(2)] *= int(rng.integers(2))
    return chain([*rest[:first], *pair[0], *rest[first:second], *pair[1], *rest[second:]]), set()


def test_a_planted_motif_is_found():
    rng = np.random.default_rng(0)
    drawn = [motif_chain(rng, planted) for planted in [True, False] * 70]
    predictor = Predictor(
        Encoder(EncoderConfig(width=16, layers=2)), head="rank", train=TrainConfig(epochs=25, lr=3e-3)
    )
    predictor.fit([graph for graph, _ in drawn[:100]], [float(bool(place)) for _, place in drawn[:100]])
    found = [(explain(predictor, graph), place) for graph, place in drawn[100:] if place]
    assert np.mean([set(explanation.top(2).tolist()) == place for explanation, place in found]) >= 0.8
    assert np.mean([min(explanation.nodes[list(place)]) > 0 for explanation, place in found]) >= 0.8


def test_a_cell_is_explained():
    space = frontends.spaces.get("nasbench201")
    specs = [space.sample(np.random.default_rng(seed)) for seed in range(30)]
    cells = space.cell_graphs(specs)
    predictor = Predictor(Encoder(EncoderConfig(width=16, layers=2)), head="gp").fit(
        cells, np.diff(cells.ptr) + np.arange(30) / 100
    )
    one = cells.select([int(np.argmax(np.diff(cells.ptr)))])
    found = explain(predictor, one)
    assert triples(GraphBatch.from_graphs([found.graph])) == triples(one)
    assert found.score == predictor.predict(one)[0]
    sizes = occlusion(lambda batch: np.diff(batch.ptr).astype(float), one)
    assert sizes.nodes.tolist() == [float(node.op not in ("Input", "Output")) for node in found.graph.nodes]


def test_drawings_of_small_graphs_show_every_node_and_of_large_ones_blocks(tmp_path):
    space = frontends.spaces.get("nasbench201")
    for graph, collapsed in ((small_graph(), False), (space.graph(("nor_conv_3x3",) * 6), True)):
        found, boxes = occlusion(flops, graph), []
        for options in ({}, {"full": True}, {"depth": 1}):
            found.to_svg(tmp_path / "g.svg", **options)
            root = ElementTree.parse(tmp_path / "g.svg").getroot()
            boxes.append(sum(rect.get("rx") == "5" for rect in root.iter("{http://www.w3.org/2000/svg}rect")))
        assert boxes[1] == len(graph)
        assert (boxes[0] < len(graph)) == collapsed
        assert boxes[2] < len(graph)
        found.to_html(tmp_path / "g.html")
        text = (tmp_path / "g.html").read_text(encoding="utf-8")
        assert "occlusion, score" in text
        assert f'"depth":{len(graph) + 1 if not collapsed else "null"}' in text


def test_table_has_the_most_important_nodes():
    graph = small_graph()
    found = Explanation(graph, [0, 3, -4, 0.5, 0, 0, 0, 0], np.zeros(7), "occlusion", 1.25)
    lines = found.table(3).splitlines()
    assert lines[0] == "small: score 1.25, occlusion"
    assert [line.split()[:3] for line in lines[1:]] == [
        ["importance", "node", "operator"],
        ["-4", "2", "BatchNorm"],
        ["3", "1", "Conv"],
        ["0.5", "3", "Clip"],
    ]
    assert lines[3].endswith("Conv 3x3   4x8x8  body")
    assert found.top(100).tolist() == [2, 1, 3, 0, 4, 5, 6, 7]


def test_an_explanation_does_not_change():
    nodes = np.zeros(8)
    found = Explanation(small_graph(), nodes, np.zeros(7, np.float32), "carl masks", 0.0)
    nodes[0] = 1.0
    assert not found.nodes.any()
    assert found.edges.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        found.nodes[0] = 1.0


def masked(graph):
    """A predictor with masks, as one with a CARL head is."""
    shares = np.linspace(0, 1, len(graph)), np.linspace(1, 0, graph.num_edges)
    return SimpleNamespace(
        head="carl",
        masks=lambda asked: shares,
        predict=lambda graphs: np.asarray([2.5]) if isinstance(graphs, Graph) else flops(graphs),
    )


def test_masks_are_taken_where_there_are_any():
    graph = small_graph()
    for method in (None, "masks"):
        found = explain(masked(graph), graph, method)
        assert (found.method, found.score) == ("carl masks", 2.5)
        np.testing.assert_array_equal(found.nodes, np.linspace(0, 1, 8))
        np.testing.assert_array_equal(found.edges, np.linspace(1, 0, 7))
    assert explain(masked(graph), graph, "occlusion").method == "occlusion"
    assert explain(SimpleNamespace(predict=flops), graph).method == "occlusion"


def short(scores):
    return lambda batch: scores(len(batch))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda g: explain(SimpleNamespace(head="gp", predict=flops), g, "masks"),
            "masks belong to head='carl', and this predictor is 'gp'; use method="),
        (lambda g: explain(SimpleNamespace(predict=flops), g, "masks"), "this predictor is 'SimpleNamespace'"),
        (lambda g: explain(masked(g), g, "gradient"), "unknown method 'gradient'; expected one of masks, occlusion"),
        (lambda g: occlusion(flops, GraphBatch.from_graphs([g, g])),
         "a batch of 2 graphs; expected one, such as batch.select"),
        (lambda g: occlusion(flops, GraphBatch.from_graphs([])), "a batch of 0 graphs; expected one"),
        (lambda g: occlusion(flops, Graph(())), "a graph without nodes; expected a cgir.Graph with nodes"),
        (lambda g: occlusion(flops, [g]), "found list; expected a cgir.Graph with nodes"),
        (lambda g: occlusion(short(lambda n: np.zeros(n - 1)), g),
         "shape (13,) for 14 graphs; expected a finite number for each"),
        (lambda g: occlusion(short(lambda n: np.full(n, np.nan)), g), "scores that are not finite for 14 graphs"),
        (lambda g: Explanation(g, np.zeros(7), np.zeros(7), "", 0.0),
         "nodes has shape (7,); expected one finite value for each of its 8 nodes"),
        (lambda g: Explanation(g, np.zeros(8), np.zeros((7, 1)), "", 0.0),
         "edges has shape (7, 1); expected one finite value for each of its 7 edges"),
        (lambda g: Explanation(g, np.full(8, np.inf), np.zeros(7), "", 0.0), "nodes has values that are not finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused_in_a_line(call, message):
    with pytest.raises(CgirError, match=re.escape(message)) as error:
        call(small_graph())
    assert "\n" not in str(error.value)


def test_the_only_node_of_a_graph_is_worth_nothing():
    graph = Graph((Node("Constant", shape=(4,)),))
    found = occlusion(lambda batch: np.arange(1.0, len(batch) + 1), graph)
    assert (found.nodes.tolist(), found.edges.tolist(), found.score) == ([0.0], [], 1.0)
