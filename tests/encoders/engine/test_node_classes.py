"""Classes of nodes or nodes one by one: the same vectors and gradients, whatever the graphs, their order and the way
they are handed over.
"""

import threading

import numpy as np
import pytest
import torch
from cgir_samples import random_graph, shuffled
from encoders_samples import random_cnns
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import NAMES, small

from cgir import GraphBatch, GraphStore
from cgir.errors import CgirError, InvalidGraphError
from cgir.graph import Graph, Node
from encoders.engine import streaming as streaming
from encoders.engine.batching import GraphTensors
from encoders.engine.streaming import prefetch, prepared_parts, unique_graphs
from encoders.models.checkpoints import load_encoder, save_encoder
from encoders.models.conv_layers import LAYERS
from encoders.models.encoder import Encoder, EncoderConfig
from encoders.models.norms import NORMS
from encoders.models.pooling import POOLS
from frontends import spaces

GRAPHS = random_cnns(12)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def outcome(config, graphs, engine, dtype=torch.float64, device="cpu"):
    """One training step's embedding, gradients as one vector, and running statistics."""
    encoder = Encoder(config, seed=1).to(device, dtype).train()
    out = encoder(GraphTensors(graphs, config.layers, engine).minibatch(range(len(graphs))).to(device))
    weights = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(out)
    gradients = torch.autograd.grad((out * weights).sum(), list(encoder.parameters()))
    vectors = [out.detach(), torch.cat([g.flatten() for g in gradients])]
    return [v.double().cpu() for v in [*vectors, *(b for b in encoder.buffers() if b.dim())]]


def distance(found, expected):
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


def configs(seed):
    """Some layer, norm and pool."""
    rng = np.random.default_rng(seed)
    layer, norm, pool = (list(table)[rng.integers(len(table))] for table in (LAYERS, NORMS, POOLS))
    return EncoderConfig(width=8, layers=int(rng.integers(1, 6)), layer=layer, norm=norm, pool=pool)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_engines_agree_on_random_graphs(seed, sizes):
    rng, config = np.random.default_rng(seed), configs(seed)
    graphs = [random_graph(rng, size) for size in sizes]
    graphs += [graphs[0]]
    assert distance(outcome(config, graphs, "compressed"), outcome(config, graphs, "plain")) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_engines_agree_on_every_space(name):
    space, rng = small(name), np.random.default_rng(8)
    batch = space.graphs([space.sample(rng) for _ in range(6)])
    for layer in LAYERS:
        config = EncoderConfig(
            width=8, layers=4, layer=layer, norm=list(NORMS)[rng.integers(2)], pool=list(POOLS)[rng.integers(4)]
        )
        assert distance(outcome(config, batch, "compressed"), outcome(config, batch, "plain")) < 1e-12
        found, expected = (outcome(config, batch, engine, torch.float32) for engine in ("compressed", "plain"))
        gradients = [vectors.pop(1) for vectors in (found, expected)]
        assert distance(found, expected) < 1e-5
        # as near as that in test_encoders_layers; among a million activations one may be so near zero that rounding
        # decides whether ReLU passes it
        assert distance(gradients[:1], gradients[1:]) < 1e-2


def test_classes_are_fewer_than_nodes_and_stand_for_all_of_them():
    graphs = GraphTensors(GRAPHS * 2, 4, "compressed")
    batch = graphs.minibatch(range(len(graphs)))
    for direction in (batch.forward_stream, batch.backward_stream):
        sizes = [len(block) for block in direction.blocks]
        assert sizes == sorted(sizes)
        assert sizes[-1] <= graphs.batch.num_nodes // 2
        assert all(int(block.multiplicity.sum()) == graphs.batch.num_nodes for block in direction.blocks)


def test_auto_takes_classes_where_they_pay():
    def rows(graphs, engine):
        return [
            len(block) for block in GraphTensors(graphs, 4, engine).minibatch(range(len(graphs))).forward_stream.blocks
        ]

    repeated, single = GRAPHS * 4, GRAPHS[0]
    assert rows(repeated, "auto") == rows(repeated, "compressed") != rows(repeated, "plain")
    batch = GraphBatch.from_graphs([single])
    kinds = tuple(
        batch.kinds[kind]._replace(op="ReLU", attrs=(("number", node),)) for node, kind in enumerate(batch.kind)
    )
    distinct = GraphBatch(kinds, np.arange(len(kinds)), batch.src, batch.dst, batch.ptr)
    assert GraphTensors(distinct, 4, "auto").minibatch([0]).forward_stream.blocks[-1].multiplicity is None
    with pytest.raises(CgirError, match="unknown engine 'fast'; expected one of auto, plain, compressed"):
        GraphTensors(GRAPHS, engine="fast")


@pytest.mark.parametrize("engine", ["plain", "compressed"])
@pytest.mark.parametrize("layer", LAYERS)
def test_order_of_nodes_and_company_in_the_batch_do_not_matter(layer, engine):
    encoder = Encoder(EncoderConfig(width=16, layers=3, layer=layer, pool=list(POOLS)[len(layer) % 4]), seed=2)
    together = encoder.embed(GRAPHS, engine=engine)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(encoder.embed([shuffled(g, rng) for g in GRAPHS], engine=engine), together, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([encoder.embed(g, engine=engine) for g in GRAPHS]), together, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(GRAPHS, max_nodes=40, engine=engine), together, atol=1e-5)
    order = [*rng.permutation(len(GRAPHS)).tolist(), 0, 0]
    np.testing.assert_allclose(
        encoder(GraphTensors(GRAPHS, 3, engine).minibatch(order)).detach(), together[order], atol=1e-5
    )


def test_what_is_asked_for_again_is_not_made_again():
    graphs = GraphTensors(GRAPHS, 3)
    assert graphs.minibatch([0, 2]) is graphs.minibatch([0, 2])
    assert graphs.minibatch([2, 0]) is not graphs.minibatch([0, 2])
    assert graphs.with_depth(3) is graphs
    assert graphs.with_depth(2).depth == 2


def test_stores_and_iterables_are_read_bit_by_bit(tmp_path, monkeypatch):
    encoder = Encoder(EncoderConfig(width=8, layers=3))
    expected = encoder.embed(GRAPHS)
    GraphStore.write(tmp_path / "graphs.parquet", GRAPHS)
    store = GraphStore.open(tmp_path / "graphs.parquet")
    halves = [GraphBatch.from_graphs(GRAPHS[:5]), GraphBatch.from_graphs(GRAPHS[5:])]
    monkeypatch.setattr(streaming, "PREPARED_NODES", 60)
    monkeypatch.setattr(streaming, "PREPARED_GRAPHS", 5)
    for source in (store, iter(GRAPHS), halves, iter(halves), GraphBatch.from_graphs(GRAPHS)):
        np.testing.assert_allclose(encoder.embed(source), expected, atol=1e-6)
    assert len(list(prepared_parts(store, 3))) > 4
    assert max(piece.batch.num_nodes for piece, _ in prepared_parts(store, 3)) <= 60
    assert [len(piece) for piece, _ in prepared_parts(iter(GRAPHS[:7]), 3)][-1] <= 2
    assert encoder.embed(iter([])).shape == (0, encoder.dim)
    with pytest.raises(InvalidGraphError, match="graph 1 of 2 has no nodes"):
        encoder.embed(iter([GRAPHS[0], Graph(())]))


def test_graphs_that_are_written_alike_are_computed_once():
    order = [0, 3, 0, 5, 3, 0]
    batch = GraphBatch.from_graphs(GRAPHS).select(order)
    first, place = unique_graphs(batch)
    assert first.tolist() == [0, 1, 3]
    assert place.tolist() == [0, 1, 0, 2, 1, 0]
    assert [len(piece) for piece, _ in prepared_parts(batch, 3)] == [3]
    assert [len(piece) for piece, _ in prepared_parts(batch, 3, "plain")] == [6]
    encoder = Encoder(EncoderConfig(width=8, layers=3))
    np.testing.assert_allclose(encoder.embed(batch), encoder.embed(GRAPHS)[order], atol=1e-6)
    source = batch.src.copy()
    source[np.flatnonzero((source > 0) & (batch.dst < batch.ptr[1]))[-1]] = 0  # the same nodes, one edge from elsewhere
    assert len(unique_graphs(GraphBatch(batch.kinds, batch.kind, source, batch.dst, batch.ptr))[0]) == 4


def test_cells_with_equal_nodes_and_distances_but_other_readers_are_not_alike():
    kinds = (Node("ReLU", (0,), ((4,),), (4,)).kind,)
    kind, ptr = np.zeros(5, np.int64), np.asarray([0, 5])
    wirings = [[(0, 1), (0, 2), (1, 2), (1, 3), (3, 4)], [(0, 1), (0, 2), (2, 3), (2, 4), (3, 4)]]
    cells = []
    for wiring in wirings:
        src, dst = np.asarray(wiring).T
        cells.append(GraphBatch(kinds, kind, src, dst, ptr))
    assert (cells[0].dst - cells[0].src).tolist() == (cells[1].dst - cells[1].src).tolist()
    batch = GraphBatch.concatenate([*cells, cells[0]])
    assert unique_graphs(batch)[1].tolist() == [0, 1, 0]
    encoder = Encoder(EncoderConfig(width=8, layers=3), seed=1)
    for engine in ("auto", "compressed", "plain"):
        found = encoder.embed(batch, engine=engine)
        assert np.abs(found[0] - found[1]).max() > 1e-3
        np.testing.assert_allclose(
            found, encoder.embed(GraphBatch.concatenate(cells), engine="plain")[[0, 1, 0]], atol=1e-6
        )


def test_kinds_are_not_taken_for_edges():
    kinds = (Node("Input", shape=(4,)).kind, Node("ReLU", (0,), ((4,),), (4,)).kind)
    # four nodes without edges, of kinds 0 0 1 1, and two, of kinds 0 0, of which number 1 reads what stands 1 before it
    batch = GraphBatch(kinds, np.asarray([0, 0, 1, 1, 0, 0]), np.asarray([4]), np.asarray([5]), np.asarray([0, 4, 6]))
    assert unique_graphs(batch)[1].tolist() == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_cells_alike_are_those_equal_node_for_node(name):
    space, rng = spaces.get(name), np.random.default_rng(5)
    specs = [space.sample(rng) for _ in range(40)]
    batch = space.cell_graphs(specs * 2)
    written = []
    for index in range(len(batch)):
        graph = batch.graph(index)
        written.append(tuple((node.kind, node.inputs) for node in graph.nodes))
    first = dict[tuple, int]()
    expected = [first.setdefault(text, len(first)) for text in written]
    assert unique_graphs(batch)[1].tolist() == expected


def test_only_the_next_piece_is_made_ahead_and_errors_arrive():
    made, here = [], threading.get_ident()

    def items():
        for number in range(5):
            made.append((number, threading.get_ident()))
            yield number
        raise InvalidGraphError("the sixth is broken")

    stream = prefetch(items())
    for number in range(3):
        assert next(stream) == number
        assert len(made) <= number + 2
    assert [thread == here for _, thread in made] == [True] + [False] * (len(made) - 1)
    with pytest.raises(InvalidGraphError, match="the sixth"):
        list(stream)
    assert [number for number, _ in made] == list(range(5))


@pytest.mark.parametrize("layer", LAYERS)
def test_checkpoints_hold_every_layer_and_running_statistics(layer, tmp_path):
    encoder = Encoder(EncoderConfig(width=8, layers=2, layer=layer, norm="batch", pool="attention"), seed=5).train()
    before = encoder.embed(GRAPHS)
    encoder(GraphTensors(GRAPHS, 2).minibatch(range(len(GRAPHS))))
    after = encoder.embed(GRAPHS)
    assert not np.allclose(before, after)
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    assert np.array_equal(load_encoder(tmp_path / "encoder.safetensors").embed(GRAPHS), after)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_autocast_changes_digits_only(layer, norm):
    encoder = Encoder(EncoderConfig(width=32, layers=3, layer=layer, norm=norm), seed=3)
    batch = GraphTensors(GRAPHS, 3).minibatch(range(len(GRAPHS)))
    exact = encoder(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = encoder(batch)
    rough.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
    assert float((rough.float() - exact).detach().norm() / exact.detach().norm()) < 0.03


@CUDA
@pytest.mark.parametrize("engine", ["plain", "compressed"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("layer", LAYERS)
def test_cuda_gives_the_same(layer, pool, norm, engine):
    config = EncoderConfig(width=16, layers=3, layer=layer, norm=norm, pool=pool)
    expected = outcome(config, GRAPHS, engine)
    assert distance(outcome(config, GRAPHS, engine, device="cuda"), expected) < 1e-12
    assert distance(outcome(config, GRAPHS, engine, torch.float32, "cuda"), expected) < 1e-4


@CUDA
def test_embeddings_and_autocast_on_cuda():
    encoder = Encoder(EncoderConfig(width=16, layers=3), seed=4)
    expected = encoder.embed(GRAPHS)
    encoder.cuda()
    np.testing.assert_allclose(encoder.embed(GRAPHS), expected, atol=1e-5)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        rough = encoder(GraphTensors(GRAPHS, 3).minibatch(range(len(GRAPHS))).to("cuda"))
    rough.float().square().mean().backward()
    assert np.linalg.norm(rough.float().detach().cpu() - expected) < 0.03 * np.linalg.norm(expected)
