"""GNNs beside a Gaussian process: when they are trained, and how their outputs are blended in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.graph_batch import GraphBatch
from encoders import Predictor, load_pretrained
from encoders.features.graph_features import compute_features
from encoders.metrics import spearman
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.gnn_member import GnnMember
from encoders.training.loop import TrainConfig

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
SEEN, NEW = np.arange(45), np.arange(45, 90)
SHORT = BlendConfig(gnn_train=TrainConfig(epochs=30, batch=100))


def blend(config: BlendConfig = SHORT) -> Predictor:
    predictor = Predictor()
    assert isinstance(predictor.estimator, BlendEstimator)
    predictor.estimator.config = config
    return predictor


def learned(predictor: Predictor) -> BlendEstimator:
    assert isinstance(predictor.estimator, BlendEstimator)
    return predictor.estimator


def test_outputs_get_the_scale_of_the_process_and_a_share() -> None:
    features, pool = (compute_features(BATCH.select(rows), None) for rows in (SEEN, NEW))
    scores = np.linspace(-3, 5, 45)
    member = GnnMember.fit(features, LABELS[SEEN], pool, scores, 0, SHORT)
    outputs = member.ensemble.predict(pool)[0]
    assert spearman(outputs, LABELS[NEW]) > 0.7
    share = SHORT.gnn_weight
    expected = (1 - share) * scores + share * (1 + (outputs - outputs.mean()) / outputs.std() * scores.std())
    np.testing.assert_allclose(member.blend(pool, scores), expected)
    ranked = member.blend(pool, np.full(45, 0.5))  # where the process is undecided they decide
    assert spearman(ranked, outputs) == pytest.approx(1)


def test_they_are_trained_from_forty_to_a_hundred_labels() -> None:
    assert (SHORT.gnn_min_labels, SHORT.gnn_max_labels) == (40, 100)
    predictor = blend(replace(SHORT, gnn_max_labels=60))
    for count, trained in ((39, False), (40, True), (60, True), (61, False)):
        rows = np.arange(count)
        predictor.fit(BATCH.select(rows), LABELS[rows], pool=BATCH)
        assert (learned(predictor).gnn is not None) == trained
    predictor.fit(BATCH.select(SEEN), LABELS[SEEN])
    assert learned(predictor).gnn is not None
    predictor.fit(BATCH.select(SEEN[:5]), LABELS[:5])
    assert learned(predictor).gnn is None  # those of labels before are forgotten


def test_a_blend_mixes_them_in_and_keeps_its_standard_deviations(tmp_path: Path) -> None:
    estimator = learned(predictor := blend().fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH))
    member, gp, features = estimator.gnn, estimator.gp, compute_features(BATCH, None)
    assert member is not None
    assert gp is not None
    blended, stds = estimator.predict_normal_scores(gp, features, 0)
    estimator.gnn = None
    alone, same = estimator.predict_normal_scores(gp, features, 0)
    estimator.gnn = member
    np.testing.assert_array_equal(blended, member.blend(features, alone))
    np.testing.assert_array_equal(stds, same)
    again = blend().fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH)
    np.testing.assert_array_equal(again.predict(BATCH), predictor.predict(BATCH))
    predictor.save(tmp_path)
    for found, expected in zip(
        Predictor.load(tmp_path).predict(BATCH, return_std=True), predictor.predict(BATCH, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_predictor_may_do_without_them(tmp_path: Path) -> None:
    predictor = Predictor(gnn=False).fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH)
    assert isinstance(predictor.estimator, BlendEstimator)
    assert predictor.estimator.gnn is None
    predictor.save(tmp_path / "saved")
    again = Predictor.load(tmp_path / "saved").fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH)
    assert isinstance(again.estimator, BlendEstimator)
    assert again.estimator.gnn is None
    np.testing.assert_array_equal(again.predict(BATCH), predictor.predict(BATCH))
    pretrained = Predictor(load_pretrained(), gnn=False)
    known = Predictor(load_pretrained())
    np.testing.assert_array_equal(pretrained.predict(BATCH), known.predict(BATCH))
    assert isinstance(pretrained.estimator, BlendEstimator)
    assert isinstance(known.estimator, BlendEstimator)
    assert pretrained.estimator.config == replace(known.estimator.config, gnn_max_labels=0)
