"""Pools that a contrast can learn nothing from are named, with what to do; others are not."""

from __future__ import annotations

import logging
import re
from math import log

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from torch.nn.functional import normalize

from contrastive import PretrainConfig, pretrain
from contrastive.learnability import WAIT, ContrastWatch, contrast_range
from contrastive.objectives.contrastive_losses import family_weights, spectral_weights, weighted_log_similarity
from encoders import EncoderConfig
from frontends import spaces

TINY = EncoderConfig(width=4, layers=1)
OPTIONS = {"steps": 1, "batch": 24, "projection": 4, "encoder": TINY}
CNNS = random_cnns(40)
TWO = np.repeat(["a", "b"], 20)
SPACE, RNG = spaces.get("ofa_mbv3"), np.random.default_rng(0)
ELASTIC = [SPACE.graph(SPACE.sample(RNG)) for _ in range(40)]  # their wiring hardly differs


def warnings_of(caplog, graphs, config, families=None, **options):
    with caplog.at_level(logging.WARNING):
        pretrain(graphs, config, families, progress=False, **options)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("seed", range(3))
def test_the_range_of_a_contrast(seed):
    """Equal vectors have the upper end, and no others less than the lower one."""
    rng = torch.Generator().manual_seed(seed)
    families = torch.randint(3, (20,), generator=rng)
    alpha = spectral_weights(families, torch.rand(20, 5, dtype=torch.float64, generator=rng), spread=0.2)
    highest, lowest = contrast_range(alpha)
    equal = torch.ones(20, 3, dtype=torch.float64) / 3**0.5
    assert weighted_log_similarity(alpha, equal).item() == pytest.approx(highest) == pytest.approx(log(19))
    of_families = normalize(torch.eye(3, dtype=torch.float64)[families] + 0.01)
    for z in (of_families, normalize(torch.randn(20, 3, dtype=torch.float64, generator=rng))):
        for temperature in (0.01, 0.1, 1.0):
            assert weighted_log_similarity(alpha, z, temperature).item() >= lowest
    alike = family_weights(torch.zeros(20))
    assert contrast_range(alike) == (pytest.approx(log(19)), pytest.approx(log(19)))


@pytest.mark.parametrize(
    ("config", "graphs", "families", "message"),
    [
        (PretrainConfig.paper(**OPTIONS), ELASTIC, None, "their spectra hardly differ.*'spectral' can learn noth"),
        (PretrainConfig.paper(**OPTIONS), CNNS[:1] * 30, None, "their spectra are all equal.*give contrast='wl'"),
        (PretrainConfig.paper(**OPTIONS), ELASTIC, TWO, "hardly differ, so that the contrast tells families apart"),
        (PretrainConfig.paper(**OPTIONS, contrast="supcon"), CNNS, None, "'supcon' tells families apart"),
        (PretrainConfig(**OPTIONS), CNNS[:1] * 30, None, "graphs hardly differ.*'wl' can learn nothing"),
        (PretrainConfig(**OPTIONS), CNNS, None, "all 40 graphs are of one family"),
    ],
    ids=["same wiring", "one network", "families alone", "supcon", "repeated", "one family"],
)
def test_what_is_amiss_is_said_once(caplog, config, graphs, families, message):
    (found,) = warnings_of(caplog, graphs, config, families)
    assert re.search(message, found)


def test_equal_spectra_with_another_contrast(caplog):
    found = warnings_of(caplog, CNNS, PretrainConfig(**OPTIONS), TWO, spectra=np.repeat([[1.0], [2.0]], 20, axis=0))
    assert [text[:54] for text in found] == ["pretrain: the spectra of each family are all equal, so"]


@pytest.mark.parametrize("make", [PretrainConfig, PretrainConfig.paper], ids=["universal", "paper"])
def test_a_pool_of_two_families_that_differ_is_fine(caplog, make):
    assert warnings_of(caplog, CNNS, make(**OPTIONS), TWO) == []


def test_a_contrast_that_learns_nothing(caplog):
    """At a temperature so high all vectors are alike."""
    config = PretrainConfig.paper(**{**OPTIONS, "steps": WAIT + 5, "temperature": 1e6})
    (found,) = warnings_of(caplog, CNNS, config, TWO)
    assert f"after {WAIT} steps the contrast is still 3.135, that of equal vectors (3.135)" in found


def test_a_contrast_that_falls_is_not_mentioned(caplog):
    watch = ContrastWatch(batch=24, first_step=7)
    for step in range(8, 300):
        watch.see(step, log(23) - 0.06)
    assert not caplog.records
