"""Batches of cells, whose nodes may read more or less than their kinds say: no analysis may count a kind's inputs."""

import networkx as nx
import numpy as np
import pytest
from space_checks import NAMES

import cgir
from cgir import GraphStore, InvalidGraphError
from cgir.analysis.computation_trees import node_classes
from cgir.analysis.graph_properties import PROPERTY_NAMES, properties
from cgir.analysis.path_features import path_features
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.analysis.wl_kernel import wl_features
from cgir.graph_batch import GraphBatch
from encoders import Encoder, EncoderConfig
from frontends import spaces

SUMMING = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def cells(name, count=20, seed=0):
    space, rng = spaces.get(name), np.random.default_rng(seed)
    return space.cell_graphs([space.sample(rng) for _ in range(count)], skip_nodes=bool(seed % 2))


def pieces(batch):
    """Of each graph: its kinds, and whom each of its nodes reads."""
    for start, end in zip(batch.ptr[:-1].tolist(), batch.ptr[1:].tolist(), strict=True):
        reads = [[] for _ in range(start, end)]
        for source, target in zip(batch.src.tolist(), batch.dst.tolist(), strict=True):
            if start <= target < end:
                reads[target - start].append(source - start)
        yield [batch.kinds[kind] for kind in batch.kind[start:end]], reads


def reordered(batch, rng):
    """The same cells with their nodes in other topological orders; edges sorted by target, then source."""
    kind, src, dst = [], [], []
    for start, (kinds, reads) in zip(batch.ptr.tolist(), pieces(batch), strict=False):
        order = []
        while len(order) < len(kinds):
            ready = [node for node in range(len(kinds)) if node not in order and set(reads[node]) <= set(order)]
            order.append(ready[rng.integers(len(ready))])
        place = {node: new for new, node in enumerate(order)}
        kind += [batch.kind[start + node] for node in order]
        edges = sorted((place[node], place[source]) for node in order for source in reads[node])
        dst += [start + target for target, _ in edges]
        src += [start + source for _, source in edges]
    return GraphBatch(batch.kinds, *(np.asarray(values, np.int64) for values in (kind, src, dst)), batch.ptr)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_order_of_nodes_does_not_matter(name, seed):
    batch = cells(name, seed=seed)
    other = reordered(batch, np.random.default_rng(seed))
    for describe in (properties, path_features, cgir.spectrum, Encoder(EncoderConfig(width=8, layers=3), seed=1).embed):
        np.testing.assert_allclose(describe(other), describe(batch), rtol=1e-5, atol=1e-5)
    if name != "nasbench_nlp":  # whose blends tell their three inputs apart, while a cell does not know which is which
        assert graph_hashes(other) == graph_hashes(batch)
    assert abs(wl_features(other) - wl_features(batch)).sum() == 0
    both = GraphBatch.concatenate([batch, other])
    for direction in ("forward", "backward", "both"):
        last = node_classes(both, 6, direction, check=True)[-1]
        found = [sorted(last[start:end].tolist()) for start, end in zip(both.ptr[:-1], both.ptr[1:], strict=True)]
        assert found[: len(batch)] == found[len(batch) :]


@pytest.mark.parametrize("name", NAMES)
def test_structure_is_that_of_the_edges(name):
    batch = cells(name)
    features, spectra, classes, number = properties(batch), cgir.spectrum(batch), node_classes(batch, 2), {}
    first = 0
    for index, (kinds, reads) in enumerate(pieces(batch)):
        graph = nx.Graph()
        graph.add_nodes_from(range(len(kinds)))
        graph.add_edges_from((source, target) for target, sources in enumerate(reads) for source in sources)
        eigenvalues = nx.normalized_laplacian_spectrum(graph) if len(graph) > 1 else np.zeros(1)
        k = min(len(kinds), spectra.shape[1])
        np.testing.assert_allclose(spectra[index, :k], np.sort(eigenvalues)[:k], atol=1e-8)
        assert 2 ** features[index, PROPERTY_NAMES.index("edges")] - 1 == pytest.approx(sum(map(len, reads)))
        once = [
            (kind, tuple(sorted(map(str, (kinds[source] for source in sources)))))
            for kind, sources in zip(kinds, reads, strict=True)
        ]
        twice = [
            (kind, tuple(sorted(str(once[source]) for source in sources)))
            for kind, sources in zip(kinds, reads, strict=True)
        ]
        for node, unfolding in enumerate(twice):
            assert number.setdefault(unfolding, classes[2][first + node]) == classes[2][first + node]
        first += len(kinds)
    assert len(set(number.values())) == len(number)


def test_a_batch_of_cells_is_no_data_set(tmp_path):
    batch = spaces.get("nasbench201").cell_graphs([spaces.get("nasbench201").parse(SUMMING)])
    with pytest.raises(
        InvalidGraphError,
        match=r"graph 0 of the batch: node \d of all .* 2 and not 1 \(Conv\); batches of cells.* stay in memory",
    ):
        GraphStore.write(tmp_path / "cells.parquet", batch)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidGraphError, match=r"node \d \(Conv.*2 inputs need as many in_shapes"):
        cgir.verify(batch.graph(0, level="raw"))
