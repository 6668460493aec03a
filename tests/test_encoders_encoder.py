"""The encoder against a loop over nodes written from the equations, and the invariances it promises."""

import numpy as np
import pytest
import torch
from cgir_samples import shuffled
from encoders_samples import random_cnns

from cgir.errors import CgirError, InvalidGraphError
from cgir.features import GraphBatch, node_features, op_ids
from cgir.graph import Graph
from encoders.batching import GraphTensors
from encoders.encoder import Encoder, EncoderConfig
from encoders.layers import GCN
from encoders.sparse import sparse
from encoders.unfolding import colours

GRAPHS = random_cnns(12)
LAYERS = ("graphconv", "gcn")


def naive_stream(stream, x, heard):
    """Node by node; `heard[v]` lists the nodes that v listens to, once per edge."""
    for layer, norm in zip(stream.layers, stream.norms, strict=True):
        states = []
        for v, row in enumerate(x):
            messages = [x[u] for u in heard[v]]
            if isinstance(layer, GCN):  # W (h_v + sum h_u) / (|N(v)| + 1) + b
                out = layer.linear.weight @ (sum(messages, row) / (len(messages) + 1)) + layer.linear.bias
            else:  # W1 h_v + b + W2 mean h_u
                mean = sum(messages) / len(messages) if messages else torch.zeros_like(row)
                out = layer.own.weight @ row + layer.own.bias + layer.neighbours.weight @ mean
            states.append(row + torch.relu(norm(out)))
        x = torch.stack(states)
    return x.mean(dim=0)


def naive_encode(encoder, graph):
    kinds = [node.kind for node in graph.nodes]
    x = encoder.embedding(torch.from_numpy(op_ids(kinds)), torch.from_numpy(node_features(kinds)).to(encoder.embedding.op.weight.dtype))
    readers = graph.consumers
    return torch.cat([naive_stream(encoder.along, x, [n.inputs for n in graph.nodes]), naive_stream(encoder.against, x, readers)])


@pytest.mark.parametrize("layer", LAYERS)
def test_equals_a_loop_over_nodes_and_so_do_its_gradients(layer):
    encoder = Encoder(EncoderConfig(width=8, layers=3, layer=layer), seed=1).double()
    batch = GraphTensors(GRAPHS, 3).take(range(len(GRAPHS))).to(dtype=torch.float64)
    fast, slow = encoder(batch), torch.stack([naive_encode(encoder, g) for g in GRAPHS])
    torch.testing.assert_close(fast, slow, atol=1e-9, rtol=1e-7)  # 1/degree is kept in single precision
    weights = torch.randn(fast.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for a, b in zip(*(torch.autograd.grad((out * weights).sum(), list(encoder.parameters())) for out in (fast, slow)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_sparse_product_is_the_dense_one_and_passes_gradcheck():
    rng = np.random.default_rng(0)
    starts, columns, values = np.asarray([0, 3, 3, 5, 6]), np.asarray([2, 0, 2, 1, 0, 1]), rng.normal(size=6)  # row 0 names column 2 twice, row 1 is empty
    dense = np.zeros((4, 3))
    np.add.at(dense, (np.repeat(np.arange(4), np.diff(starts)), columns), values.astype(np.float32))
    matrix = sparse(starts, columns, values, 3).to(dtype=torch.float64)
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.testing.assert_close(matrix @ x, torch.from_numpy(dense) @ x)
    assert torch.autograd.gradcheck(lambda x: matrix @ x, (x,))


@pytest.mark.parametrize("layer", LAYERS)
def test_order_of_nodes_and_company_in_the_batch_do_not_matter(layer):
    encoder = Encoder(EncoderConfig(layer=layer), seed=2)
    together = encoder.embed(GRAPHS)
    assert together.dtype == np.float32
    assert together.shape == (len(GRAPHS), encoder.dim)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(encoder.embed([shuffled(g, rng) for g in GRAPHS]), together, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([encoder.embed(g) for g in GRAPHS]), together, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(GraphBatch.from_graphs(GRAPHS), max_nodes=40), together, atol=1e-5)
    order = [*rng.permutation(len(GRAPHS)).tolist(), 0, 0]
    np.testing.assert_allclose(encoder.embed(GraphBatch.from_graphs(GRAPHS).select(order)), together[order], atol=1e-5)
    assert np.ptp(together, axis=0).max() > 0.1  # different graphs are told apart


def test_direction_matters():
    """Reversing every arrow exchanges the two streams' views: with equal weights in both, the halves of the embedding swap."""
    encoder = Encoder(seed=3)
    encoder.against.load_state_dict(encoder.along.state_dict())
    batch = GraphBatch.from_graphs(GRAPHS)
    order = np.argsort(batch.src, kind="stable")
    reverse = GraphBatch(batch.kinds, batch.kind, batch.dst[order], batch.src[order], batch.ptr)
    there, back = encoder.embed(batch), encoder.embed(reverse)
    np.testing.assert_allclose(np.roll(back, encoder.dim // 2, axis=1), there, atol=1e-5)
    assert np.abs(back - there).max() > 0.1


def test_colours_are_the_unfoldings():
    batch = GraphBatch.from_graphs(GRAPHS[:4])
    incoming = [[] for _ in range(batch.num_nodes)]
    for source, target in zip(batch.src, batch.dst, strict=True):
        incoming[target].append(source)

    def unfold(v, depth):
        return (int(batch.kind[v]), tuple(sorted(unfold(u, depth - 1) for u in incoming[v])) if depth else ())

    for depth, colour in enumerate(colours(batch.kind, batch.src, batch.dst, 4)):
        trees = [unfold(v, depth) for v in range(batch.num_nodes)]
        pairs = set(zip(trees, colour.tolist(), strict=True))
        assert len(pairs) == len(set(trees)) == len(set(colour.tolist())) == colour.max() + 1


def test_nothing_global_changes():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    encoder = Encoder(EncoderConfig(dropout=0.5), seed=5)
    encoder.train()
    encoder.embed(GRAPHS[:2])
    assert encoder.training
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), Encoder(EncoderConfig(dropout=0.5), seed=5).parameters(), strict=True))


def test_edges_of_the_input():
    encoder = Encoder(EncoderConfig(width=4, layers=2))
    assert encoder.embed([]).shape == (0, 8)
    lonely = Graph(GRAPHS[0].nodes[:1])  # one node and no edge
    assert np.isfinite(encoder.embed(lonely)).all()
    with pytest.raises(InvalidGraphError, match="graph 1 of 2 has no nodes"):
        encoder.embed([lonely, Graph(())])


@pytest.mark.parametrize("options", [{"layer": "gat"}, {"width": 0}, {"layers": 0}, {"dropout": 1.0}])
def test_impossible_shapes_are_refused(options):
    with pytest.raises(CgirError, match="encoder"):
        EncoderConfig(**options)
