"""Spectra with a potential: matrices built by networkx, what they distinguish, and that embeddings follow them."""

from math import log2

import networkx as nx
import numpy as np
import pytest
from encoders_samples import random_cnns

from cgir import GraphBatch, GraphBuilder, spectrum
from cgir.cost import kind_flops
from contrastive import PretrainConfig, operator_spectrum, pretrain
from contrastive.potential_spectrum import MAX_HASH_OFFSET, MAX_LOG2_FLOPS
from encoders import Encoder, EncoderConfig
from encoders.metrics import spearman

GRAPHS = random_cnns(12)


def chain(kernel, depth=4):
    b = GraphBuilder()
    x = b.input((8, 16, 16))
    for _ in range(depth):
        x = b.relu(b.conv(x, 8, kernel))
    b.output(x)
    return b.build()


def test_eigenvalues_lie_between_those_of_laplacian_and_potential():
    """Weyl's inequalities bound eigenvalues of a sum; the trace gives their sum exactly, up to the part that hashes
    decide.
    """
    for graph in GRAPHS:
        net = nx.Graph((u, v) for v, node in enumerate(graph.nodes) for u in node.inputs)
        net.add_nodes_from(range(len(graph)))
        laplacian = nx.normalized_laplacian_matrix(net, nodelist=range(len(graph))).toarray()
        cost = np.asarray([max(0, 1 - log2(1 + kind_flops(node.kind)) / MAX_LOG2_FLOPS) for node in graph.nodes])
        low = np.linalg.eigvalsh(laplacian + np.diag(cost))
        found = operator_spectrum(graph, k=len(graph))[0]
        assert (low - 1e-9 <= found).all()
        assert (found <= low + MAX_HASH_OFFSET + 1e-9).all()
        assert 0 < (found - low).sum() < MAX_HASH_OFFSET * len(graph)


def test_operators_are_distinguished_where_wiring_is_equal():
    small, large = chain(1), chain(3)
    assert np.array_equal(spectrum(small), spectrum(large))
    assert np.abs(operator_spectrum(small) - operator_spectrum(large)).max() > 0.01


def test_order_of_nodes_and_company_do_not_matter():
    graph = chain(3)
    first, second = [], []  # the same two branches, written in either order
    for flip, out in ((False, first), (True, second)):
        b = GraphBuilder()
        x = b.input((8, 16, 16))
        parts = [lambda x=x, b=b: b.conv(x, 8, 3), lambda x=x, b=b: b.avg_pool(x, 3, 1, 1)]
        ends = [part() for part in (parts[::-1] if flip else parts)]
        b.output(b.relu(b.add(*ends)))
        out.append(b.build())
    np.testing.assert_allclose(operator_spectrum(first), operator_spectrum(second), atol=1e-12)
    together = operator_spectrum(GraphBatch.from_graphs([graph, *GRAPHS]))
    np.testing.assert_allclose(together[0], operator_spectrum(graph)[0], atol=1e-12)
    assert (np.diff(together, axis=1) >= 0).all()


def test_small_graphs_are_padded_above_every_eigenvalue():
    b = GraphBuilder()
    b.output(b.relu(b.input((3, 4, 4))))
    values = operator_spectrum(b.build())[0]
    assert values[:3].max() < values[3:].min()
    assert values[3:] == pytest.approx(np.full(8, 3 + MAX_HASH_OFFSET))


def test_embeddings_come_to_follow_it():
    graphs = random_cnns(40)
    values = operator_spectrum(graphs)
    pairs = np.triu_indices(40, 1)
    distance = np.linalg.norm(values[:, None] - values, axis=2)[pairs]

    def follows(encoder):
        vectors = encoder.embed(graphs)
        vectors = vectors - vectors.mean(axis=0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return spearman((vectors @ vectors.T)[pairs], -distance)

    config = PretrainConfig.paper(steps=150, batch=32, projection=16, encoder=EncoderConfig(width=16, layers=3))
    before, after = (
        follows(Encoder(config.encoder, seed=0)),
        follows(pretrain(graphs, config, spectra=values, progress=False)),
    )
    assert after > before + 0.1
