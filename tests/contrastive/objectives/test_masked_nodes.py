"""Prediction of masked nodes against loops over nodes; masks depend on seed and step alone."""

from math import exp, log

import encoders_naive
import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from pretraining_samples import GRAPHS, PAIRS, POOL, SMALL, B, context

from cgir.node_features import FEATURE_NAMES, categories, node_features
from cgir.ops import INDEX
from contrastive.objectives.masked_nodes import MASK_RATE, MASKED_GRAPH_STRIDE, MaskedNodePrediction
from contrastive.pretraining_set import as_pool
from encoders import Encoder


def masked_part(seed=0):
    torch.manual_seed(0)
    return MaskedNodePrediction(POOL, Encoder(SMALL), seed).double()


def naive_states(part, encoder, graphs, masked):
    """Both streams as loops over nodes, whose kind is not looked at where it is masked."""
    kinds = [node.kind for graph in graphs for node in graph.nodes]
    known = encoder.embedding(torch.from_numpy(categories(kinds)), torch.from_numpy(node_features(kinds)))
    x = torch.stack([part.mask_token if gap else row for gap, row in zip(masked, known, strict=True)])
    sources, readers, start = [], [], 0
    for graph in graphs:
        sources += [[start + u for u in node.inputs] for node in graph.nodes]
        readers += [[start + u for u in nodes] for nodes in graph.consumers]
        start += len(graph)
    along, against = (
        encoders_naive.stream(s, x, heard, [1] * len(x))[0]
        for s, heard in ((encoder.forward_stream, sources), (encoder.backward_stream, readers))
    )
    return kinds, torch.cat([along, against], dim=1)


def test_masked_nodes_are_predicted_from_their_neighbourhood():
    part, seen = masked_part(), context()
    nodes = part.draw(seen)
    kinds, states = naive_states(part, seen.encoder, [GRAPHS[i] for i in nodes.graphs], nodes.masked)
    pool_features = np.concatenate([node_features([node.kind for node in graph.nodes]) for graph in GRAPHS]).astype(
        np.float64
    )
    mean, deviation = pool_features.mean(0), pool_features.std(0)
    crosses, squares = [], []
    for v in np.flatnonzero(nodes.masked):
        told = part.head(states[v]).tolist()
        scores, attributes = told[: len(INDEX)], told[len(INDEX) :]
        crosses.append(log(sum(map(exp, scores))) - scores[INDEX[kinds[v].op]])
        own = node_features([kinds[v]])[0]
        squares += [
            (a - (own[c] - mean[c]) / deviation[c] if deviation[c] > 1e-6 else a) ** 2 for c, a in enumerate(attributes)
        ]
    assert len(squares) == len(crosses) * len(FEATURE_NAMES)
    assert len(crosses) >= 3
    assert part(seen).item() == pytest.approx(np.mean(crosses) + np.mean(squares), rel=1e-5)


def test_nobody_sees_the_kind_of_a_masked_node():
    part, encoder = masked_part(), Encoder(SMALL).double()
    # equal wiring and operators, other shapes everywhere
    one, other = (random_cnns(1, size=size)[0] for size in (16, 64))
    assert [node.inputs for node in one.nodes] == [node.inputs for node in other.nodes]
    masked = torch.ones(len(one), dtype=torch.bool)
    first, second = (
        part.states(encoder, MaskedNodePrediction(as_pool([g]), encoder, 0).graphs.minibatch([0]), masked)
        for g in (one, other)
    )
    assert torch.equal(first, second)
    masked[1] = False
    third, fourth = (
        part.states(encoder, MaskedNodePrediction(as_pool([g]), encoder, 0).graphs.minibatch([0]), masked)
        for g in (one, other)
    )
    assert not torch.equal(third, fourth)


def test_masks_depend_on_seed_and_step_and_hold_their_share():
    part, seen = masked_part(), context()
    first = part.draw(seen)
    assert (first.graphs == PAIRS.indices[::MASKED_GRAPH_STRIDE]).all()
    assert len(first.masked) == sum(len(GRAPHS[i]) for i in first.graphs)
    assert first.total == first.masked.sum()
    drawn = [part.draw(seen._replace(step=step)).masked for step in range(300)]
    assert np.mean(drawn) == pytest.approx(MASK_RATE, abs=0.01)
    assert min(nodes.sum() for nodes in drawn) >= 1
    assert not np.array_equal(drawn[1], drawn[2])
    assert np.array_equal(masked_part().draw(seen).masked, first.masked)
    assert not np.array_equal(masked_part(seed=1).draw(seen).masked, first.masked)


def test_processes_mask_what_one_would():
    part = masked_part()
    whole = part.draw(context())
    parts = [part.draw(context(slice(*cut))) for cut in ((0, 4), (4, 7), (7, B))]
    assert np.array_equal(np.concatenate([nodes.graphs for nodes in parts]), whole.graphs)
    assert np.array_equal(np.concatenate([nodes.masked for nodes in parts]), whole.masked)
    assert {nodes.total for nodes in parts} == {whole.total}
