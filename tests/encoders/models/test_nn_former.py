"""The sibling transformer against a loop over one graph's nodes, heads and neighbours, from the paper's equations."""

from math import exp, sqrt

import numpy as np
import pytest
import torch
from cgir_samples import random_graph, shuffled
from encoders_samples import random_cnns
from hypothesis import given, settings
from hypothesis import strategies as st

import encoders.models.nn_former
from cgir import GraphBatch, GraphStore, Node
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.node_features import categories, node_features
from encoders.engine.batching import GraphTensors
from encoders.models.nn_former import HEADS, SiblingConfig, SiblingTransformer, size_groups

CONFIG = SiblingConfig(width=8, layers=2, feed_forward=12)
GRAPHS = random_cnns(7)


def model(seed=0, config=CONFIG):
    """In double precision, with norms that scale and shift."""
    encoder = SiblingTransformer(config, seed).double()
    with torch.no_grad():
        for layer in [m for m in encoder.modules() if isinstance(m, torch.nn.LayerNorm)]:
            layer.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(seed))
            layer.bias.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(seed))
    return encoder


def vectors(encoder, graphs):
    return encoder(GraphTensors(graphs, encoder.config.layers, "plain").minibatch(range(len(graphs)))).detach().numpy()


def norm(layer, rows):
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.array([(row - row.mean()) / sqrt(row.var() + 1e-5) * weight + bias for row in rows])


def naive_attention(layer, x, relations):
    """ASMA: each head a softmax over those its relation allows, and the node itself."""
    queries, keys, values = (part.detach().numpy() for part in layer.qkv.weight.chunk(3))
    depth = x.shape[1] // HEADS
    seen = np.zeros_like(x)
    for head, relation in enumerate(relations):
        rows = slice(head * depth, (head + 1) * depth)
        for i in range(len(x)):
            allowed = [j for j in range(len(x)) if j == i or relation[i, j]]
            powers = [exp((queries[rows] @ x[i]) @ (keys[rows] @ x[j]) / sqrt(depth)) for j in allowed]
            seen[i, rows] = sum(
                power / sum(powers) * (values[rows] @ x[j]) for power, j in zip(powers, allowed, strict=True)
            )
    return seen @ layer.attention_out.weight.detach().numpy().T


def naive_feed_forward(layer, x, adjacency):
    """BGIFFN: ReLU(concat(A H W_1, A^T H W_2) + H W_3) W_4."""
    own, neighbours, out = (
        part.weight.detach().numpy() for part in (layer.self_linear, layer.neighbour_linear, layer.feed_forward_out)
    )
    first, second = np.split(neighbours, 2)
    hidden = np.concatenate([adjacency @ x @ first.T, adjacency.T @ x @ second.T], axis=1) + x @ own.T
    return np.maximum(hidden, 0) @ out.T


def naive(encoder, graph):
    """One graph's embedding; the adjacency has an edge from each input to the node that reads it."""
    batch = GraphBatch.from_graphs([graph])
    ops, features = torch.from_numpy(categories(batch.kinds)), torch.from_numpy(node_features(batch.kinds))
    x = norm(encoder.norm, encoder.embedding(ops, features).detach().numpy()[batch.kind])
    adjacency = np.zeros((len(x), len(x)))
    for node, inputs in enumerate(n.inputs for n in graph.nodes):
        for read in inputs:
            adjacency[read, node] += 1
    for layer in encoder.layers:
        x = x + naive_attention(
            layer,
            norm(layer.attention_norm, x),
            [adjacency, adjacency.T, adjacency.T @ adjacency, adjacency @ adjacency.T],
        )
        x = x + naive_feed_forward(layer, norm(layer.feed_forward_norm, x), adjacency)
    return norm(encoder.last_norm, x).mean(axis=0)


@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_it_is_the_loop_over_the_equations(seed, sizes):
    rng, encoder = np.random.default_rng(seed), model(seed % 7)
    graphs = [random_graph(rng, size) for size in sizes]
    np.testing.assert_allclose(
        vectors(encoder, graphs), [naive(encoder, graph) for graph in graphs], rtol=1e-9, atol=1e-11
    )


def test_so_it_is_on_networks():
    encoder = model()
    np.testing.assert_allclose(
        vectors(encoder, GRAPHS), [naive(encoder, graph) for graph in GRAPHS], rtol=1e-9, atol=1e-11
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_the_order_of_nodes_does_not_count(seed):
    rng, encoder = np.random.default_rng(seed), model()
    graphs = [random_graph(rng, int(rng.integers(1, 20))) for _ in range(3)]
    np.testing.assert_allclose(
        vectors(encoder, [shuffled(graph, rng) for graph in graphs]), vectors(encoder, graphs), rtol=1e-9, atol=1e-11
    )


def test_neither_other_graphs_nor_padding_nor_groups_count(monkeypatch):
    """One by one nothing is padded, with a large graph everything, in as many groups as there are graphs nothing."""
    encoder = model()
    large = random_graph(np.random.default_rng(0), 60)
    alone = np.concatenate([vectors(encoder, [graph]) for graph in [*GRAPHS, large]])
    assert len(list(size_groups([len(graph) for graph in [*GRAPHS, large]]))) > 1
    np.testing.assert_allclose(vectors(encoder, [*GRAPHS, large]), alone, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(vectors(encoder, [large, *GRAPHS[::-1]])[::-1], alone, rtol=1e-9, atol=1e-11)
    for pairs in (0, 10**9):
        monkeypatch.setattr(encoders.models.nn_former, "MAX_NODE_PAIRS", pairs)
        np.testing.assert_allclose(vectors(encoder, [*GRAPHS, large]), alone, rtol=1e-9, atol=1e-11)


@given(sizes=st.lists(st.integers(1, 4000), max_size=40))
@settings(deadline=None)
def test_groups_hold_every_graph_once_and_stay_small(sizes):
    found = list(size_groups(sizes))
    assert sorted(graph for group in found for graph in group) == list(range(len(sizes)))
    for group in found:
        largest, smallest = max(sizes[graph] for graph in group), min(sizes[graph] for graph in group)
        assert len(group) == 1 or len(group) * largest**2 <= encoders.models.nn_former.MAX_NODE_PAIRS
        assert largest - smallest <= max(16, largest / 4)


def test_a_node_is_told_apart_by_its_siblings():
    """Attention alone, one layer of it, sees what else reads a node's input, and what else its reader reads."""
    encoder = model(config=SiblingConfig(width=8, layers=1, feed_forward=12))
    torch.nn.init.zeros_(encoder.layers[0].feed_forward_out.weight)
    states = [
        encoder.nodes(GraphTensors([graph], 1, "plain").minibatch([0])).detach()
        for graph in (siblings("ReLU", "ReLU"), siblings("Sigmoid", "ReLU"), siblings("ReLU", "Sigmoid"))
    ]
    assert all((states[0][2] - other[2]).abs().max() > 1e-3 for other in states[1:])


def siblings(beside, other):
    """x feeds node 2 and `beside`; node 2 and `other`, which reads another input, are added."""
    chain = [Node("Input", (), (), (4,)), Node("Input", (), (), (4,))]
    chain += [Node(op, (source,), ((4,),), (4,)) for op, source in (("ReLU", 0), (beside, 0), (other, 1))]
    added = Node("Add", (2, 4), ((4,), (4,)), (4,))
    return Graph((*chain, added, Node("Output", (5,), ((4,),), (4,)), Node("Output", (3,), ((4,),), (4,))), "siblings")


def test_one_node_and_no_edges():
    encoder = model()
    lonely, scattered = Graph(GRAPHS[0].nodes[:1]), Graph((Node("Input", shape=(3,)), Node("Input", shape=(5,))))
    found = vectors(encoder, [scattered, lonely, scattered])
    np.testing.assert_allclose(
        found, [naive(encoder, graph) for graph in (scattered, lonely, scattered)], rtol=1e-9, atol=1e-11
    )
    assert encoder.embed([]).shape == (0, CONFIG.width)


def test_embeddings_of_graphs_in_any_form(tmp_path):
    encoder = SiblingTransformer(CONFIG).train()
    batch = GraphBatch.from_graphs(GRAPHS)
    expected = encoder.embed(GRAPHS)
    GraphStore.write(tmp_path / "store", GRAPHS, family="cnns")
    forms = [
        batch,
        GraphTensors(batch, 5),
        GraphTensors(batch, 1, "compressed"),
        GraphTensors(batch, 2, "plain"),
        iter(GRAPHS),
        GraphStore.open(tmp_path / "store"),
    ]
    for form in forms:
        np.testing.assert_allclose(encoder.embed(form, max_nodes=30), expected, atol=1e-6)
    assert encoder.training
    assert expected.dtype == np.float32
    assert expected.shape == (len(GRAPHS), encoder.dim)


def test_gradients_are_finite_and_reach_every_weight():
    encoder = SiblingTransformer(CONFIG, seed=2)
    lonely = Graph(GRAPHS[0].nodes[:1])
    out = encoder(GraphTensors([*GRAPHS, lonely], 2, "plain").minibatch(range(len(GRAPHS) + 1)))
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 0, name


def test_dropout_is_drawn_in_training_only():
    encoder = SiblingTransformer(SiblingConfig(width=8, layers=2, feed_forward=12, dropout=0.5), seed=1)
    arrays = GraphTensors(GRAPHS, 2, "plain").minibatch([0, 1])
    assert not torch.equal(encoder(arrays), encoder(arrays))
    encoder.eval()
    assert torch.equal(encoder(arrays), encoder(arrays))
    encoder.load_state_dict(SiblingTransformer(CONFIG, seed=1).state_dict())
    assert torch.equal(encoder(arrays), SiblingTransformer(CONFIG, seed=1)(arrays))


def test_batches_without_reads_are_refused():
    encoder = SiblingTransformer(CONFIG)
    assert encoder.plain
    arrays = GraphTensors(GRAPHS, 2, "compressed").minibatch([0, 1])
    with pytest.raises(CgirError, match=r"sibling transformer.*engine='plain'"):
        encoder(arrays)


@pytest.mark.parametrize(
    "options", [{"width": 10}, {"width": 0}, {"layers": 0}, {"feed_forward": 7}, {"feed_forward": 0}, {"dropout": 1.0}]
)
def test_impossible_shapes_are_refused(options):
    with pytest.raises(CgirError, match="sibling transformer"):
        SiblingConfig(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_is_the_same():
    encoder = SiblingTransformer(CONFIG)
    expected = encoder.embed(GRAPHS)
    np.testing.assert_allclose(encoder.to("cuda").embed(GRAPHS), expected, atol=1e-4)
