"""Zero-shot estimates: scores in the unit of a task, by quantiles of its reference family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from encoders_samples import random_cnns
from scipy.interpolate import interp1d
from torch import nn

from cgir.errors import CgirError
from encoders import Predictor, load_pretrained
from encoders.predictors.pretrained import card, load_reference
from encoders.predictors.zero_shot import reliability, zero_shot
from frontends import trace
from frontends.reference import mobilenet_v3_small, resnet50, vit_b16

GRAPHS = random_cnns(60)


def test_scores_stand_for_labels_of_the_reference(shipped: Predictor, card_entry: dict[str, Any]) -> None:
    scores, found = shipped.predict(GRAPHS), zero_shot(GRAPHS, "accuracy")
    assert scores.min() < -0.5  # beyond both ends, and between them
    assert scores.max() > 0.6
    assert ((scores > -0.5) & (scores < 0.6)).any()
    for score, value in zip(scores, found.scores, strict=True):
        inside = interp1d(card_entry["scores"], card_entry["values"])(np.clip(score, -0.5, 0.6))
        beyond = score - np.clip(score, -0.5, 0.6)
        assert value == pytest.approx(inside + beyond * (66 - 60) / (0.6 + 0.5))
    np.testing.assert_array_equal(np.argsort(found.scores, kind="stable"), np.argsort(scores, kind="stable"))
    beyond_ends = np.maximum.reduce([-0.5 - scores, scores - 0.6, np.zeros(60)])
    assert (found.stds >= np.sqrt(1.25**2 + np.var(card_entry["values"]) * beyond_ends) - 1e-9).all()
    known = np.setdiff1d(np.arange(60), list(found.outside))
    np.testing.assert_array_equal(found.stds[known], 1.25)
    assert (beyond_ends[known] == 0).all()
    assert (found.stds[list(found.outside)] > 1.25).all()
    assert found.unit == "percent"
    assert found.reliability == reliability("accuracy", card()["tasks"]["accuracy"])
    for word in ("digits", "cells 0.91", "chains 0.50"):
        assert word in found.reliability


def test_each_network_is_estimated_by_itself(shipped: Predictor) -> None:
    """Among networks of the reference family, not among those that it is asked about with."""
    found = zero_shot(GRAPHS, "accuracy").scores
    for row in (3, 41):
        np.testing.assert_allclose(zero_shot(GRAPHS[row], "accuracy").scores, found[[row]], atol=1e-9)
    np.testing.assert_allclose(zero_shot(GRAPHS[:0], "accuracy").scores, [])
    assert np.ptp(Predictor(load_pretrained()).predict(GRAPHS[:1])) == 0  # alone in its pool it is all that is usual
    in_pool = Predictor(load_pretrained()).fit([], [], pool=GRAPHS[30:])
    np.testing.assert_array_equal(in_pool.predict(GRAPHS), shipped.predict(GRAPHS))


def test_unknown_tasks_are_refused(shipped: Predictor) -> None:
    with pytest.raises(CgirError, match="no task 'latency'; there are accuracy"):
        zero_shot(GRAPHS, "latency")


def test_the_shipped_weights_know_small_networks_from_large_ones() -> None:
    """Published ImageNet top-1 of the three: 67.7, 76.1 and 81.1 (torchvision's first weights of each)."""
    with torch.device("meta"):
        graphs = [trace(build(), input_shape=(1, 3, 224, 224)) for build in (mobilenet_v3_small, resnet50, vit_b16)]
    found = zero_shot(graphs, "imagenet_top1")
    assert found.outside == {}
    assert (np.diff(found.scores) > 0).all()
    assert (abs(found.scores - [67.7, 76.1, 81.1]) < 2 * found.stds).all()
    assert (load_reference().rank(graphs) == [2, 1, 0]).all()


def test_what_is_no_image_classifier_is_told_from_one_and_gets_no_number_below_zero() -> None:
    with torch.device("meta"):
        shapes = {(1, 3, 224, 224): nn.Linear(224, 10), (1, 224): nn.Linear(224, 1000), (1, 3, 4, 4): nn.ReLU()}
        graphs = [trace(net, input_shape=shape) for shape, net in shapes.items()]
        graphs.append(trace(resnet50(), input_shape=(1, 3, 224, 224)))
    found = zero_shot(graphs, "imagenet_top1")
    assert list(found.outside) == [0, 1, 2]
    assert found.outside[0] == "output 10x3x224, known are vectors of classes"  # channels first
    assert found.outside[1] == "input 224, known are images of 3 channels"
    assert (found.stds[:3] > 3 * found.stds[3]).all()
    assert found.scores.min() >= 0


def test_a_network_that_answers_with_an_image_is_no_classifier() -> None:
    with torch.device("meta"):
        nets = resnet50(), nn.Sequential(resnet50(), nn.Unflatten(1, (10, 10, 10)))
    graphs = [trace(net, input_shape=(1, 3, 224, 224)) for net in nets]
    assert zero_shot(graphs, "imagenet_top1").outside == {1: "output 10x10x10, known are vectors of classes"}


def test_small_images_are_told_once_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with torch.device("meta"):
        graphs = [trace(resnet50(), input_shape=(1, 3, size, size)) for size in (64, 224)]
    found = zero_shot(graphs, "imagenet_top1")
    assert list(found.outside) == [0]
    assert found.outside[0].startswith("input 3x64x64, known is 3x224x224")
    assert found.stds[0] > found.stds[1]
    assert not caplog.records
