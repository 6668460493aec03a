"""Pretraining by episodes: the loss is a Gaussian process's, and behaviours are told better than before."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

from cgir.analysis.path_features import path_features
from cgir.errors import CgirError
from contrastive import PretrainConfig
from contrastive.episodes import ASKED, SHOWN, episode_loss, pretrain_by_episodes
from contrastive.objectives.behaviour_regression import behaviour_targets
from contrastive.objectives.step_context import SignedLog
from contrastive.pretraining_set import as_pool
from encoders import Encoder, EncoderConfig

CONFIG = PretrainConfig.paper(steps=80, lr=3e-3, projection=8, encoder=EncoderConfig(width=16, layers=2, pool="mixed"))
GRAPHS = random_cnns(40) + random_cnns(40, seed=1, channels=(32,))
FAMILIES = np.repeat([0, 1], 40)
COUNT = SHOWN + ASKED


def test_the_loss_is_that_of_a_gaussian_process():
    """With one view; the other has equal rows, so that its kernel is a constant."""
    rng = np.random.default_rng(0)
    x, ranks = rng.normal(size=(COUNT, 4)), rng.normal(size=(COUNT, 2))
    unknown = np.where(np.arange(COUNT) == 3, np.nan, 1.0)
    told = episode_loss(torch.from_numpy(x), np.ones((COUNT, 3)), np.column_stack([ranks, unknown])).item()
    x = (x - x.mean(0)) / (x.std(0, ddof=1) + 1e-3)
    apart = np.mean([np.sum((a - b) ** 2) for a in x for b in x])
    long = np.mean([np.sum(a**2) for a in x])
    kernel = (
        ConstantKernel(0.5) * RBF(np.sqrt(apart))
        + ConstantKernel(0.3 / long) * DotProduct(0.0, "fixed")
        + ConstantKernel(0.5)
    )
    errors = []
    for y in ranks.T:
        y = (y - y[:SHOWN].mean()) / y.std(ddof=1)
        process = GaussianProcessRegressor(kernel, alpha=0.2, optimizer=None).fit(x[:SHOWN], y[:SHOWN])
        errors.append((process.predict(x[SHOWN:]) - y[SHOWN:]) ** 2)
    assert told == pytest.approx(np.mean(errors), rel=1e-6)


def test_behaviours_are_told_better_than_before():
    pool = as_pool(GRAPHS, FAMILIES, behaviours=path_features(GRAPHS)[:, ::4])
    ranks = behaviour_targets(pool.behaviours, pool.families)[:, pool.behaviours.shape[1] :]

    def loss(encoder):
        embeddings = SignedLog()(torch.from_numpy(encoder.embed(GRAPHS)))
        rng = np.random.default_rng(5)
        drawn = [rng.choice(np.flatnonzero(turn % 2 == FAMILIES), COUNT, replace=False) for turn in range(20)]
        return np.mean([episode_loss(embeddings[rows], pool.properties[rows], ranks[rows]).item() for rows in drawn])

    taught = pretrain_by_episodes(pool, CONFIG, progress=False)
    assert loss(taught) < 0.95 * loss(Encoder(CONFIG.encoder, CONFIG.seed).eval())
    again = pretrain_by_episodes(pool, CONFIG, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(taught.parameters(), again.parameters(), strict=True))
    before = [tensor.clone() for tensor in taught.parameters()]
    further = pretrain_by_episodes(pool, replace(CONFIG, steps=3), progress=False, start=taught)
    assert loss(further) < 0.95 * loss(Encoder(CONFIG.encoder, CONFIG.seed).eval())  # three steps go on from there
    assert all(torch.equal(a, b) for a, b in zip(taught.parameters(), before, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(taught.parameters(), further.parameters(), strict=True))


@pytest.mark.parametrize("known", [0, COUNT - 1])
def test_too_few_behaviours_are_refused(known):
    behaviours = np.full((len(GRAPHS), 1), np.nan)
    behaviours[:known] = np.arange(known)[:, None]
    for pool in (as_pool(GRAPHS, FAMILIES), as_pool(GRAPHS, FAMILIES, behaviours=behaviours)):
        with pytest.raises(CgirError, match="no family has a behaviour of 30 networks"):
            pretrain_by_episodes(pool, CONFIG)
