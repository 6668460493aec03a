"""Regression of behaviours against a loop over graphs, and what a pool without them says."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from pretraining_samples import BEHAVIOURS, CONFIG, FAMILIES, GRAPHS, PAIRS, POOL, B, context

from cgir.errors import CgirError
from contrastive.objectives.behaviour_regression import BehaviourRegression, behaviour_targets
from contrastive.objectives.weighted_sum import Objective
from contrastive.pretraining_set import as_pool


def naive_targets():
    """Of each graph and behaviour: the logarithm with its sign over all graphs, the normal score in its family."""
    logs, ranks = np.full(BEHAVIOURS.shape, np.nan), np.full(BEHAVIOURS.shape, np.nan)
    for column, values in enumerate(BEHAVIOURS.T):
        known = [row for row, value in enumerate(values) if value == value]
        signed = {row: np.sign(values[row]) * np.log(1 + abs(values[row])) for row in known}
        mean, deviation = np.mean(list(signed.values())), np.std(list(signed.values()))
        for row in known:
            logs[row, column] = np.clip((signed[row] - mean) / deviation, -5, 5)
        for family in (0, 1):
            members = [row for row in known if FAMILIES[row] == family]
            places = {row: sum(values[o] < values[row] for o in members) for row in members}
            ties = {row: sum(values[o] == values[row] for o in members) for row in members}
            scores = {r: NormalDist().inv_cdf((places[r] + ties[r] / 2) / len(members)) for r in members}
            for row in members:
                ranks[row, column] = scores[row] / np.std(list(scores.values()))
    return np.concatenate([logs, ranks], axis=1)


def test_targets_are_logarithms_and_ranks_inside_families():
    targets = behaviour_targets(BEHAVIOURS, FAMILIES)
    np.testing.assert_allclose(targets, naive_targets(), rtol=1e-9, atol=1e-9)
    assert np.isnan(targets[20:, [2, 5]]).all()


def test_unknown_numbers_cost_nothing():
    seen, part = context(), BehaviourRegression(POOL, 16).double()
    told, wanted = part.head(seen.embeddings).tolist(), naive_targets()
    errors = [
        (told[row][column] - wanted[index, column]) ** 2
        for row, index in enumerate(PAIRS.indices)
        for column in range(wanted.shape[1])
        if wanted[index, column] == wanted[index, column]
    ]
    known = np.mean(~np.isnan(wanted))
    assert part(seen).item() == pytest.approx(sum(errors) / (B * wanted.shape[1] * known), rel=1e-5)


def test_shares_of_processes_add_up():
    part = BehaviourRegression(POOL, 16).double()
    shares = [part(context(slice(*rows))) for rows in ((0, 5), (5, B))]
    torch.testing.assert_close(sum(shares), part(context()))


def test_a_behaviour_that_nobody_showed_is_no_target():
    missing = np.column_stack([BEHAVIOURS, np.full(len(GRAPHS), np.nan)])
    assert np.isnan(behaviour_targets(missing, FAMILIES)[:, [3, 7]]).all()


@pytest.mark.parametrize(
    "behaviours",
    [np.zeros(len(GRAPHS)), np.zeros((3, 2)), np.full((len(GRAPHS), 2), np.inf)],
    ids=["flat", "short", "infinite"],
)
def test_behaviours_that_do_not_fit_are_refused(behaviours):
    with pytest.raises(CgirError, match="behaviours must be"):
        as_pool(GRAPHS, FAMILIES, behaviours=behaviours)


def test_a_pool_without_behaviours_is_refused():
    with pytest.raises(CgirError, match="the pool has no behaviours"):
        Objective(replace(CONFIG, behaviour_weight=1.0), as_pool(GRAPHS, FAMILIES))


def test_a_run_belongs_to_its_behaviours():
    assert POOL.fingerprint() != as_pool(GRAPHS, FAMILIES).fingerprint()
