"""Graphs that are held out: the same share of each family, no step learns from them, and losses are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns

from cgir.analysis.graph_properties import properties
from cgir.errors import CgirError
from contrastive import PretrainConfig, pretrain
from contrastive.held_out import EVERY, split
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import as_pool
from encoders import EncoderConfig

GRAPHS = random_cnns(60)
FAMILIES = np.repeat([0, 1, 2], [40, 17, 3])
CONFIG = PretrainConfig(
    steps=4, batch=16, projection=4, held_out=0.25, encoder=EncoderConfig(width=8, layers=2, pool="mixed", dropout=0.5)
)


def test_a_share_of_each_family():
    train, held = split(FAMILIES, 0.25, seed=0)
    assert sorted([*train, *held]) == list(range(60))
    assert np.bincount(FAMILIES[held], minlength=3).tolist() == [10, 4, 0]  # of three none, as two have to stay
    assert not np.array_equal(held, split(FAMILIES, 0.25, seed=1)[1])
    assert [len(part) for part in split(FAMILIES, 0.0, seed=0)] == [60, 0]
    with pytest.raises(CgirError, match=r"held_out=0.25 of 6 graphs is not two of any family"):
        split(np.repeat([0, 1], 3), 0.25, seed=0)


def test_no_step_learns_from_them():
    run = PretrainingRun(as_pool(GRAPHS, FAMILIES), CONFIG)
    train, held = split(FAMILIES, 0.25, CONFIG.seed)
    drawn = np.concatenate([run.pairs.draw(step).indices for step in range(200)])
    assert set(drawn) == set(train)
    assert run.held_out is not None
    assert set(run.held_out.pairs.indices) <= set(held)


def test_their_losses_are_those_of_the_encoder_without_dropout():
    """The regression of properties, computed here from embeddings; and the weighted sum."""
    found = {}
    run = PretrainingRun(as_pool(GRAPHS, FAMILIES), CONFIG)
    for _ in range(CONFIG.steps):
        run.advance()
        found[run.step] = dict(run.losses)
    assert [step for step, losses in found.items() if "held_out" in losses] == [4]
    assert run.objective.training
    assert run.held_out is not None
    chosen, values = run.held_out.pairs.indices, properties(GRAPHS)
    spread = values.std(0)
    standardised = (values - values.mean(0)) / np.where(spread > 0, spread, 1)
    embeddings = run.objective.encoder.embed([GRAPHS[i] for i in chosen], progress=False)
    logs = torch.from_numpy(np.sign(embeddings) * np.log1p(np.abs(embeddings)))
    with torch.no_grad():
        predicted = run.objective.terms["property"].head(logs).numpy()
    expected = ((predicted - standardised[chosen]) ** 2).mean()
    assert found[4]["held_out_property"] == pytest.approx(expected, rel=1e-3)
    parts = [found[4][f"held_out_{name}"] for name in ("contrast", "property", "path")]
    assert found[4]["held_out"] == pytest.approx(np.dot(parts, (1.0, 1.0, 0.5)), rel=1e-5)


def test_they_are_looked_at_now_and_then():
    seen = []
    config = replace(CONFIG, steps=EVERY + 2, encoder=EncoderConfig(width=4, layers=1))
    pretrain(GRAPHS, config, FAMILIES, progress=False, callback=lambda step, losses: seen.append((step, losses)))
    assert [step for step, losses in seen if "held_out_contrast" in losses] == [EVERY, EVERY + 2]
