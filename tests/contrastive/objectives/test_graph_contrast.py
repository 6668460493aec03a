"""The contrastive term against loops over graphs, and its pair weights."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from pretraining_samples import CHOSEN, CONFIG, FAMILIES, GRAPHS, PAIRS, POOL, B, context
from torch.nn.functional import normalize

from cgir import wl_distance
from contrastive.config import CONTRASTS
from contrastive.objectives.graph_contrast import PAIR_WEIGHTS, WL_SPREAD, GraphContrast
from contrastive.pair_sampler import NearestNeighbourPairs
from contrastive.pretraining_set import as_pool
from encoders.engine.devices import CPU


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
    seen = context()
    part = GraphContrast(replace(CONFIG, contrast=contrast), POOL, 16).double()
    z = normalize(part.projection(seen.embeddings)).detach()
    sims = [[float(z[i] @ z[j]) / CONFIG.temperature for j in range(B)] for i in range(B)]
    expected = 0.0
    for i in range(B):
        below = log(sum(exp(sims[i][r]) for r in range(B) if r != i))
        expected -= sum(weight * (sims[i][s] - below) for s, weight in subtree_weights(i, normalized).items()) / B
    assert part(seen).item() == pytest.approx(expected)


def test_the_sign_turns_subtree_weights_around():
    near, far = (PAIR_WEIGHTS["wl"](POOL, sign, CPU)(PAIRS, slice(None)) for sign in (-1, 1))
    for i in range(B):
        weights = subtree_weights(i, False)
        assert near[i].argmax() == max(weights, key=weights.__getitem__)
        assert far[i].argmax() == min(weights, key=weights.__getitem__)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_weights_of_some_anchors_are_those_rows_of_all(contrast):
    weigh = PAIR_WEIGHTS[contrast](POOL, -1, CPU)
    whole = weigh(PAIRS, slice(None))
    assert whole.sum(1).numpy() == pytest.approx(np.ones(B))
    assert whole.diagonal().abs().sum() == 0
    torch.testing.assert_close(torch.cat([weigh(PAIRS, slice(0, 5)), weigh(PAIRS, slice(5, B))]), whole)


def test_equal_graphs_weigh_alike_by_subtrees():
    pool = as_pool([GRAPHS[0]] * 4)
    weights = PAIR_WEIGHTS["wl"](pool, -1, CPU)(
        NearestNeighbourPairs(pool.families, pool.spectra, 4).draw(0), slice(None)
    )
    torch.testing.assert_close(weights, (1 - torch.eye(4, dtype=torch.float64)) / 3)
