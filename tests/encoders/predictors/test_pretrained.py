"""Weights that come with the package, with a small stand-in: by name, with what families taught, and in the unit of a
task.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns
from scipy.interpolate import interp1d

from cgir.errors import CgirError
from encoders import Encoder, EncoderConfig, Predictor, TrainConfig, load_pretrained
from encoders.predictors import pretrained as pretrained
from encoders.predictors.pretrained import card
from encoders.predictors.source_families import PretrainedEncoder
from encoders.predictors.zero_shot import reliability, zero_shot
from frontends import trace
from frontends.reference import mobilenet_v3_small, resnet50, vit_b16

GRAPHS = random_cnns(60)
LABELS = conv_share(GRAPHS)
ABOUT: dict[str, Any] = {
    "scores": [-0.2, -0.1, 0.0, 0.3],
    "values": [60.0, 61.5, 63.0, 66.0],
    "deviation": 1.25,
    "unit": "percent",
    "reference": "digits",
    "worth": {"cells": 0.912, "chains": 0.5},
}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """What was saved as the weights that come with the package."""
    predictor = Predictor(Encoder(EncoderConfig(width=8, layers=2)), ensemble=2, train=TrainConfig(source_steps=40))
    predictor.fit_sources([(GRAPHS[:20], LABELS[:20]), (GRAPHS[20:40], LABELS[20:40])])
    predictor.save(tmp_path / "universal")
    (tmp_path / "universal" / "card.json").write_text(json.dumps({"tasks": {"accuracy": ABOUT}}))
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    return predictor


def test_an_encoder_comes_with_what_families_taught(shipped: Predictor) -> None:
    encoder = load_pretrained()
    assert isinstance(encoder, PretrainedEncoder)
    assert not encoder.training
    np.testing.assert_array_equal(Predictor(encoder).predict(GRAPHS), shipped.predict(GRAPHS))
    one, other = (
        Predictor(weights).fit(GRAPHS[40:50], LABELS[40:50]) for weights in (encoder, load_pretrained("universal"))
    )
    np.testing.assert_array_equal(one.predict(GRAPHS), other.predict(GRAPHS))
    np.testing.assert_array_equal(one.predict(GRAPHS), shipped.fit(GRAPHS[40:50], LABELS[40:50]).predict(GRAPHS))


def test_scores_stand_for_labels_of_the_reference(shipped: Predictor) -> None:
    scores, found = shipped.predict(GRAPHS), zero_shot(GRAPHS, "accuracy")
    assert scores.min() < -0.2  # beyond both ends, and between them
    assert scores.max() > 0.3
    assert ((scores > -0.2) & (scores < 0.3)).any()
    for score, value in zip(scores, found.scores, strict=True):
        inside = interp1d(ABOUT["scores"], ABOUT["values"])(np.clip(score, -0.2, 0.3))
        beyond = score - np.clip(score, -0.2, 0.3)
        assert value == pytest.approx(inside + beyond * (66 - 60) / (0.3 + 0.2))
    np.testing.assert_array_equal(np.argsort(found.scores, kind="stable"), np.argsort(scores, kind="stable"))
    np.testing.assert_array_equal(found.stds, np.full(60, 1.25))
    assert found.unit == "percent"
    assert found.reliability == reliability("accuracy", card()["tasks"]["accuracy"])
    for word in ("digits", "cells 0.91", "chains 0.50"):
        assert word in found.reliability
    assert len(zero_shot(GRAPHS[0], "accuracy").scores) == 1


def test_unknown_names_are_refused(shipped: Predictor) -> None:
    for ask in (load_pretrained, card):
        with pytest.raises(CgirError, match="no weights are called 'imagenet'; there are universal"):
            ask("imagenet")
    with pytest.raises(CgirError, match="no task 'latency'; there are accuracy"):
        zero_shot(GRAPHS, "latency")


def test_the_shipped_weights_are_small_and_say_where_they_come_from() -> None:
    folder = pretrained.WEIGHTS / "universal"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000_000
    about = card()
    assert sum(about["corpus"]["families"].values()) == about["corpus"]["graphs"] >= 200_000
    assert {"ofa_mbv3", "timm_imagenet", "nasbench101"} <= set(about["labels"]) == set(about["networks"])
    assert {"0", "10", "50"} <= set(about["scores"]["NAS-Bench-101"])


def test_the_shipped_weights_know_small_networks_from_large_ones() -> None:
    """Published ImageNet top-1 of the three: 67.7, 76.1 and 81.1 (torchvision's first weights of each)."""
    with torch.device("meta"):
        graphs = [trace(build(), input_shape=(1, 3, 224, 224)) for build in (mobilenet_v3_small, resnet50, vit_b16)]
    found = zero_shot(graphs, "imagenet_top1")
    assert (np.diff(found.scores) > 0).all()
    assert (abs(found.scores - [67.7, 76.1, 81.1]) < 2 * found.stds).all()
    assert (Predictor(load_pretrained()).rank(graphs) == [2, 1, 0]).all()
