"""`GraphBatch` against the graphs it packs, and `to_pyg` against PyTorch Geometric and networkx."""

import sys
from collections import Counter

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, small_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from cgir.errors import CgirError
from cgir.graph import Graph, Node
from cgir.graph_batch import GraphBatch
from cgir.node_features import FEATURE_NAMES, node_features
from cgir.ops import INDEX, OPS


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_batches_hold_every_graph(seed, count):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 12, count)]
    batch = GraphBatch.from_graphs(graphs)
    assert len(batch) == count
    assert batch.num_nodes == sum(map(len, graphs))
    assert len(set(batch.kinds)) == len(batch.kinds)
    for g, graph in enumerate(graphs):
        start, stop = batch.ptr[g], batch.ptr[g + 1]
        assert [batch.kinds[k] for k in batch.kind[start:stop]] == [node.kind for node in graph.nodes]
        inside = (batch.dst >= start) & (batch.dst < stop)
        edges = list(zip((batch.src - start)[inside].tolist(), (batch.dst - start)[inside].tolist(), strict=True))
        assert edges == [(s, t) for t, node in enumerate(graph.nodes) for s in node.inputs]
        assert (batch.graph_of_node[start:stop] == g).all()


def same(a, b):
    arrays = all(np.array_equal(x, y) for x, y in ((a.src, b.src), (a.dst, b.dst), (a.ptr, b.ptr)))
    return arrays and [a.kinds[k] for k in a.kind] == [b.kinds[k] for k in b.kind]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 8))
def test_select_and_concatenate_are_what_from_graphs_gives(seed, count):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 8, 6)] + [Graph((Node("Input", shape=(1,)),))]
    batch = GraphBatch.from_graphs(graphs)
    chosen = rng.integers(0, len(graphs), count)
    assert same(batch.select(chosen), GraphBatch.from_graphs(graphs[i] for i in chosen))
    parts = [batch.select(chosen), batch.select([2]), GraphBatch.from_graphs(graphs[:2])]
    assert same(
        GraphBatch.concatenate(parts), GraphBatch.from_graphs([*(graphs[i] for i in chosen), graphs[2], *graphs[:2]])
    )


def test_select_takes_what_an_array_takes() -> None:
    rng = np.random.default_rng(0)
    batch = GraphBatch.from_graphs([random_graph(rng, n) for n in (3, 5, 2, 4)])
    assert same(batch.select([-1, 1]), batch.select([3, 1]))
    assert same(batch.select(np.asarray([True, False, False, True])), batch.select([0, 3]))
    assert len(batch.select([])) == len(batch.select(np.zeros(0))) == 0
    for wrong in ([4], [-5], np.asarray([True, False])):
        with pytest.raises(IndexError):
            batch.select(wrong)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 6))
def test_pointers_of_edges(seed, count):
    rng = np.random.default_rng(seed)
    batch = GraphBatch.from_graphs([random_graph(rng, int(n)) for n in rng.integers(1, 12, count)])
    assert batch.edge_ptr.tolist() == np.searchsorted(batch.dst, batch.ptr).tolist()
    assert batch.in_edge_ptr.tolist() == np.searchsorted(batch.dst, np.arange(batch.num_nodes + 1)).tolist()
    assert batch.edge_ptr is batch.edge_ptr


def test_of_takes_a_graph_several_or_a_batch():
    graphs = [small_graph(), ring_graph(3)]
    batch = GraphBatch.of(graphs)
    assert GraphBatch.of(batch) is batch
    assert same(GraphBatch.of(iter(graphs)), batch)
    assert same(GraphBatch.of(graphs[0]), GraphBatch.from_graphs(graphs[:1]))
    assert len(GraphBatch.of([])) == 0


def test_chunks_are_the_batch_in_order():
    rng = np.random.default_rng(0)
    batch = GraphBatch.from_graphs([random_graph(rng, size) for size in (3, 30, 1, 1, 1, 5, 8)])
    assert next(iter(batch.chunks(1000))) is batch
    assert list(GraphBatch.of([]).chunks(5)) == []
    for max_nodes, max_graphs in ((1, None), (12, None), (12, 2), (1000, 3)):
        chunks = list(batch.chunks(max_nodes, max_graphs))
        assert same(GraphBatch.concatenate(chunks), batch)
        assert all(chunk.num_nodes <= max_nodes or len(chunk) == 1 for chunk in chunks)
        assert all(max_graphs is None or len(chunk) <= max_graphs for chunk in chunks)


def samples() -> list[Graph]:
    rng = np.random.default_rng(0)
    lonely = Graph((Node("Input", shape=(4,)), Node("Output")))
    return [resnet50(), small_graph(), lonely, *(random_graph(rng, size) for size in (1, 20, 40))]


@pytest.fixture(scope="module")
def pyg():
    return pytest.importorskip("torch_geometric", reason="pip install torch_geometric")


@pytest.mark.usefixtures("pyg")
def test_to_pyg_tensors_are_the_batchs() -> None:
    import torch

    batch = GraphBatch.from_graphs(samples())
    found = batch.to_pyg()
    nodes = [node for graph in samples() for node in graph.nodes]
    assert found.num_graphs == len(samples())
    assert (found.x.dtype, found.op.dtype, found.edge_index.dtype) == (torch.float32, torch.int64, torch.int64)
    np.testing.assert_array_equal(found.x.numpy(), node_features([node.kind for node in nodes]))
    assert found.op.tolist() == [INDEX[node.op] for node in nodes]
    assert [list(OPS)[row] for row in found.op.tolist()] == [node.op for node in nodes]
    assert found.ptr.tolist() == batch.ptr.tolist()
    assert found.batch.tolist() == batch.graph_of_node.tolist()
    assert found.edge_index.tolist() == [batch.src.tolist(), batch.dst.tolist()]
    assert found.feature_names == FEATURE_NAMES
    assert found.x.shape[1] == len(found.feature_names) == found.num_node_features
    found.validate()


@pytest.mark.usefixtures("pyg")
def test_to_pyg_parts_are_the_graphs() -> None:
    parts = GraphBatch.from_graphs(samples()).to_pyg().to_data_list()
    assert len(parts) == len(samples())
    for graph, part in zip(samples(), parts, strict=True):
        alone = GraphBatch.of(graph).to_pyg()
        assert alone.num_graphs == 1
        for name in ("x", "op", "edge_index"):
            assert part[name].equal(alone[name]), name
        edges = Counter((source, target) for source, target, _ in graph.to_networkx().edges)
        assert Counter(map(tuple, part.edge_index.T.tolist())) == edges
        assert part.num_nodes == len(graph)


def test_to_pyg_runs_layers(pyg) -> None:
    import torch
    from torch_geometric.nn import GCNConv, GINConv, global_mean_pool

    torch.manual_seed(0)
    batch = GraphBatch.from_graphs(samples()).to_pyg()
    embed, conv = torch.nn.Embedding(len(OPS), 8), GCNConv(len(FEATURE_NAMES) + 8, 16)
    gin = GINConv(torch.nn.Linear(16, 4))
    pooled = []
    for data in (batch, *batch.to_data_list()):
        y = gin(conv(torch.cat([data.x, embed(data.op)], 1), data.edge_index).relu(), data.edge_index)
        pooled.append(global_mean_pool(y, data.batch))
    assert pooled[0].shape == (len(samples()), 4)
    torch.testing.assert_close(torch.cat(pooled[1:]), pooled[0])


def test_to_pyg_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(CgirError, match="pip install torch_geometric"):
        GraphBatch.of(small_graph()).to_pyg()


@pytest.mark.usefixtures("pyg")
def test_to_pyg_of_no_graphs() -> None:
    with pytest.raises(CgirError, match="has no graphs"):
        GraphBatch.of([]).to_pyg()
