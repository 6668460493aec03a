"""The pretraining loss is the weighted sum of its terms, each of which is learned alone."""

from dataclasses import replace

import numpy as np
import pytest
from pretraining_samples import CHOSEN, CONFIG, FAMILIES, GRAPHS, PAIRS, POOL, encoder_batch

from cgir import GraphBatch
from contrastive.config import WEIGHTS
from contrastive.objectives.step_context import StepContext
from contrastive.objectives.weighted_sum import Objective
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import as_pool


def test_the_loss_is_the_weighted_sum_of_its_parts():
    weights = dict(zip(WEIGHTS, (0.5, 2.0, 3.0, 0.25, 4.0), strict=True))
    objective = Objective(replace(CONFIG, **weights), POOL)
    arrays = encoder_batch(CHOSEN)
    seen = StepContext(5, PAIRS, slice(None), objective.encoder(arrays), objective.encoder)
    assert list(objective.terms) == ["contrast", "property", "path", "mask", "behaviour"]
    expected = sum(
        weight * objective.terms[name](seen).item()
        for name, weight in zip(objective.terms, weights.values(), strict=True)
    )
    assert objective.losses(arrays, PAIRS, 5)["loss"].item() == pytest.approx(expected)
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
