"""The parts of the pretraining loss, each against loops over graphs or nodes, and their sum."""

from dataclasses import replace
from math import exp, log

import encoders_naive
import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from torch.nn.functional import normalize

from cgir import GraphBatch, wl_distance
from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from cgir.node_features import FEATURE_NAMES, categories, node_features
from cgir.ops import INDEX
from contrastive import PretrainConfig
from contrastive.config import CONTRASTS, WEIGHTS
from contrastive.objectives.graph_contrast import PAIR_WEIGHTS, WL_SPREAD, GraphContrast
from contrastive.objectives.masked_nodes import MASK_RATE, MASKED_GRAPH_STRIDE, MaskedNodePrediction
from contrastive.objectives.property_regression import PropertyRegression
from contrastive.objectives.step_context import StepContext
from contrastive.objectives.weighted_sum import Objective
from contrastive.pair_sampler import NearestNeighbourPairs
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import as_pool
from encoders import Encoder, EncoderConfig
from encoders.engine.batching import GraphTensors

SMALL = EncoderConfig(width=8, layers=2)
CONFIG = PretrainConfig(steps=3, batch=12, projection=4, encoder=SMALL)
GRAPHS = random_cnns(20) + random_cnns(10, seed=1, channels=(32,))
FAMILIES = np.repeat([0, 1], [20, 10])
POOL = as_pool(GRAPHS, FAMILIES)
PAIRS = NearestNeighbourPairs(FAMILIES, POOL.spectra, CONFIG.batch).draw(0)
CHOSEN = [GRAPHS[i] for i in PAIRS.indices]
B = CONFIG.batch


def view(rows=slice(None), step=0, seed=0):
    encoder = Encoder(SMALL, seed=seed).double()
    vectors = encoder(encoder_batch([CHOSEN[i] for i in range(B)[rows]]))
    return StepContext(step, PAIRS, rows, vectors, encoder)


def encoder_batch(graphs):
    return GraphTensors(graphs, SMALL.layers).minibatch(np.arange(len(graphs)))


def subtree_weights(i, normalized):
    """alpha^(i) of eq. 4.5 from distances of graphs two by two, relative to their mean."""
    family = FAMILIES[PAIRS.indices]
    distances = {
        s: wl_distance(CHOSEN[i], CHOSEN[s], normalized) for s in range(B) if s != i and family[s] == family[i]
    }
    mean = sum(distances.values()) / len(distances)
    powers = {s: exp(-d / mean / WL_SPREAD) for s, d in distances.items()}
    return {s: power / sum(powers.values()) for s, power in powers.items()}


@pytest.mark.parametrize(("contrast", "normalized"), [("wl", False), ("wl_shares", True)])
def test_contrast_by_subtrees(contrast, normalized):
    seen = view()
    part = GraphContrast(replace(CONFIG, contrast=contrast), POOL, 16).double()
    z = normalize(part.projection(seen.embeddings)).detach()
    sims = [[float(z[i] @ z[j]) / CONFIG.temperature for j in range(B)] for i in range(B)]
    expected = 0.0
    for i in range(B):
        below = log(sum(exp(sims[i][r]) for r in range(B) if r != i))
        expected -= sum(weight * (sims[i][s] - below) for s, weight in subtree_weights(i, normalized).items()) / B
    assert part(seen).item() == pytest.approx(expected)


def test_the_sign_turns_subtree_weights_around():
    near, far = (PAIR_WEIGHTS["wl"](POOL, sign)(PAIRS, slice(None)) for sign in (-1, 1))
    for i in range(B):
        weights = subtree_weights(i, False)
        assert near[i].argmax() == max(weights, key=weights.__getitem__)
        assert far[i].argmax() == min(weights, key=weights.__getitem__)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_weights_of_some_anchors_are_those_rows_of_all(contrast):
    weigh = PAIR_WEIGHTS[contrast](POOL, -1)
    whole = weigh(PAIRS, slice(None))
    assert whole.sum(1).numpy() == pytest.approx(np.ones(B))
    assert whole.diagonal().abs().sum() == 0
    torch.testing.assert_close(torch.cat([weigh(PAIRS, slice(0, 5)), weigh(PAIRS, slice(5, B))]), whole)


def test_equal_graphs_weigh_alike_by_subtrees():
    pool = as_pool([GRAPHS[0]] * 4)
    weights = PAIR_WEIGHTS["wl"](pool, -1)(NearestNeighbourPairs(pool.families, pool.spectra, 4).draw(0), slice(None))
    torch.testing.assert_close(weights, (1 - torch.eye(4, dtype=torch.float64)) / 3)


@pytest.mark.parametrize("values_of", [properties, path_features])
def test_regression(values_of):
    values, seen = values_of(GRAPHS), view()
    part = PropertyRegression(values, 16).double()
    told = part.head(seen.embeddings).tolist()
    mean, deviation = values.mean(0), values.std(0)
    errors = []
    for row, index in enumerate(PAIRS.indices):
        for column in range(values.shape[1]):
            varies = deviation[column] > 1e-6 * (1 + abs(mean[column]))
            wanted = np.clip((values[index, column] - mean[column]) / deviation[column], -5, 5) if varies else 0.0
            errors.append((told[row][column] - wanted) ** 2)
    assert part(seen).item() == pytest.approx(np.mean(errors), rel=1e-5)


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


def test_masked_nodes_are_told_from_what_is_around_them():
    part, seen = masked_part(), view()
    gaps = part.draw(seen)
    kinds, states = naive_states(part, seen.encoder, [GRAPHS[i] for i in gaps.graphs], gaps.masked)
    pool_features = np.concatenate([node_features([node.kind for node in graph.nodes]) for graph in GRAPHS]).astype(
        np.float64
    )
    mean, deviation = pool_features.mean(0), pool_features.std(0)
    crosses, squares = [], []
    for v in np.flatnonzero(gaps.masked):
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
    part, seen = masked_part(), view()
    first = part.draw(seen)
    assert (first.graphs == PAIRS.indices[::MASKED_GRAPH_STRIDE]).all()
    assert len(first.masked) == sum(len(GRAPHS[i]) for i in first.graphs)
    assert first.total == first.masked.sum()
    drawn = [part.draw(seen._replace(step=step)).masked for step in range(300)]
    assert np.mean(drawn) == pytest.approx(MASK_RATE, abs=0.01)
    assert min(gaps.sum() for gaps in drawn) >= 1
    assert not np.array_equal(drawn[1], drawn[2])
    assert np.array_equal(masked_part().draw(seen).masked, first.masked)
    assert not np.array_equal(masked_part(seed=1).draw(seen).masked, first.masked)


def test_processes_mask_what_one_would():
    part = masked_part()
    whole = part.draw(view())
    parts = [part.draw(view(slice(*cut))) for cut in ((0, 4), (4, 7), (7, B))]
    assert np.array_equal(np.concatenate([gaps.graphs for gaps in parts]), whole.graphs)
    assert np.array_equal(np.concatenate([gaps.masked for gaps in parts]), whole.masked)
    assert {gaps.total for gaps in parts} == {whole.total}


def test_the_loss_is_the_weighted_sum_of_its_parts():
    weights = dict(zip(WEIGHTS, (0.5, 2.0, 3.0, 0.25), strict=True))
    objective = Objective(replace(CONFIG, **weights), POOL)
    arrays = encoder_batch(CHOSEN)
    seen = StepContext(5, PAIRS, slice(None), objective.encoder(arrays), objective.encoder)
    assert list(objective.terms) == ["contrast", "property", "path", "mask"]
    expected = sum(
        weight * objective.terms[name](seen).item()
        for name, weight in zip(objective.terms, weights.values(), strict=True)
    )
    assert objective.loss(arrays, PAIRS, 5).item() == pytest.approx(expected)
    assert list(Objective(CONFIG, POOL).terms) == ["contrast"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_part_alone_is_learned(name):
    alone = {weight: float(weight == name) for weight in WEIGHTS}
    run = PretrainingRun(POOL, replace(CONFIG, **alone, steps=60, lr=3e-3))
    losses = [run.advance() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])


def test_a_batch_needs_no_graphs_as_objects():
    batch = GraphBatch.from_graphs(GRAPHS)
    config = replace(CONFIG, path_weight=1.0, mask_weight=1.0, contrast="wl")
    assert PretrainingRun(as_pool(batch, FAMILIES), config).advance() == PretrainingRun(POOL, config).advance()
