"""Dropping and repeating residual blocks: the graphs are those of the same network built with fewer or more layers."""

import networkx
import numpy as np
import pytest
import torch
from cgir_samples import random_graph, resnet50
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import cgir
import frontends
from cgir.builder import GraphBuilder
from contrastive.corpus import mutations
from frontends.reference import Bottleneck, VisionTransformer


def bottlenecks(depth):
    """Blocks that are equal but for the first, which widens."""
    blocks = [Bottleneck(16, 8, 1), *(Bottleneck(32, 8, 1) for _ in range(depth))]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)
    )


def transformer(depth):
    return VisionTransformer(image=32, patch=16, width=24, depth=depth, heads=2, classes=5)


def trace(build, depth):
    with torch.device("meta"):
        return frontends.trace(build(depth).eval(), input_shape=(1, 3, 32, 32))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_blocks_of_a_residual_network(depth):
    graph = trace(bottlenecks, depth)
    blocks = mutations.blocks(graph)
    assert len(blocks) == depth  # the first changes the shape
    for block in blocks:
        assert cgir.isomorphic(mutations.repeat(graph, block), trace(bottlenecks, depth + 1))
        assert cgir.isomorphic(mutations.drop(graph, block), trace(bottlenecks, depth - 1))


def test_blocks_of_a_transformer():
    graph = trace(transformer, 2)
    blocks = mutations.blocks(graph)
    assert len(blocks) == 4  # attention and MLP of both layers
    fewer = mutations.drop(mutations.drop(graph, blocks[1]), blocks[0])
    assert cgir.isomorphic(fewer, trace(transformer, 1))
    longer = mutations.repeat(graph, blocks[1])
    added = longer.num_params - graph.num_params
    layer = transformer(1).blocks[0]
    assert added == sum(parameter.numel() for part in (layer.norm2, layer.mlp) for parameter in part.parameters())


def test_a_repeated_block_shares_what_others_share():
    build = GraphBuilder("tied")
    x = build.relu(build.conv(build.input((3, 8, 8)), 4, 3))
    ends = []
    for _ in range(2):
        x = build.relu(build.add(x, build.batch_norm(build.conv(x, 4, 3))))
        ends.append(x)
    build.tie_weights(*ends, count=4)
    build.output(x)
    graph = build.build()
    blocks = mutations.blocks(graph)
    assert len(blocks) == 2
    assert mutations.repeat(graph, blocks[0]).num_params == graph.num_params


@given(st.integers(0, 2**32 - 1))
def test_dominators_are_the_dominators_of_networkx(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(2, 30)))
    edges = networkx.DiGraph(
        (source, index) for index, node in enumerate(graph.nodes) for source in node.inputs or (mutations.ROOT,)
    )
    expected = networkx.immediate_dominators(edges, mutations.ROOT)
    assert mutations._dominators(graph) == [expected[index] for index in range(len(graph))]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_mutations_are_canonical_and_repeat_themselves(seed):
    graph = resnet50()
    changed = mutations.mutate(graph, np.random.default_rng(seed), 4)
    cgir.verify(changed)
    assert cgir.canonicalize(changed) == changed
    assert changed == mutations.mutate(graph, np.random.default_rng(seed), 4)
    assert changed.nodes[0] == graph.nodes[0]
    assert changed.nodes[-1].shape == graph.nodes[-1].shape


def test_a_network_without_residual_blocks_stays():
    build = GraphBuilder("plain")
    build.output(build.relu(build.conv(build.input((3, 8, 8)), 4, 3)))
    graph = build.build()
    assert mutations.mutate(graph, np.random.default_rng(0), 4) is graph
