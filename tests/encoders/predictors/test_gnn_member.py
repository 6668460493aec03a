"""GNNs beside a Gaussian process: when they are trained, and how their outputs are blended in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Predictor
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.metrics import spearman
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.gnn_member import GnnMember
from encoders.training.loop import TrainConfig

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
ALL = compute_features(BATCH, None)
SEEN, NEW = np.arange(45), np.arange(45, 90)
SHORT = BlendConfig(gnn_train=TrainConfig(epochs=30, batch=100))


def blend(config: BlendConfig = SHORT, gnn: bool = True) -> Predictor:
    predictor = Predictor(gnn=gnn)
    assert isinstance(predictor.estimator, BlendEstimator)
    predictor.estimator.config = config
    return predictor


@pytest.fixture
def preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cross-validation prefers them."""
    monkeypatch.setattr(BlendEstimator, "_gnn_improves", lambda *_: True)


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


@pytest.mark.usefixtures("preferred")
def test_they_are_trained_from_forty_to_a_hundred_labels() -> None:
    assert (SHORT.gnn_min_labels, SHORT.gnn_max_labels) == (40, 100)
    short = replace(SHORT, gnn_max_labels=60, gnn_members=1, gnn_train=TrainConfig(epochs=2, batch=100))
    predictor = blend(short)
    for count, trained in ((39, False), (40, True), (60, True), (61, False)):
        rows = np.arange(count)
        predictor.fit(BATCH.select(rows), LABELS[rows], pool=BATCH)
        assert (learned(predictor).gnn_member is not None) == trained
    predictor.fit(BATCH.select(SEEN), LABELS[SEEN])
    assert learned(predictor).gnn_member is not None
    predictor.fit(BATCH.select(SEEN[:5]), LABELS[:5])
    assert learned(predictor).gnn_member is None  # those of labels before are forgotten
    unasked = blend(short, gnn=False).fit(BATCH.select(SEEN), LABELS[SEEN])
    assert learned(unasked).gnn_member is None


@pytest.mark.parametrize("better", [True, False])
def test_cross_validation_decides(better: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that know the labels are taken, members that turn them round are not; each is asked for graphs that it
    was not trained on.
    """
    asked: list[tuple[int, int]] = []

    class Oracle(GnnMember):
        """Scores are labels, of graphs found by their properties."""

        def blend(self, features: GraphFeatures, process_scores: FloatArray) -> FloatArray:
            asked.append((self.weight_rows, len(features)))
            table = {row.tobytes(): label for row, label in zip(ALL.properties, LABELS, strict=True)}
            values = np.asarray([table[row.tobytes()] for row in features.properties])
            return values if better else -values

        weight_rows = 0

    def fit(features: GraphFeatures, *_: object) -> Oracle:
        member = Oracle(None, np.zeros((2, 2)), 0.2)  # type: ignore[arg-type]
        Oracle.weight_rows = len(features)
        return member

    monkeypatch.setattr(GnnMember, "fit", fit)
    predictor = blend().fit(ALL.select(SEEN), LABELS[SEEN], pool=ALL)
    assert (learned(predictor).gnn_member is not None) == better
    assert sorted(asked) == [(33, 12), (34, 11), (34, 11), (34, 11)]


@pytest.mark.usefixtures("preferred")
def test_a_blend_mixes_them_in_and_keeps_its_standard_deviations(tmp_path: Path) -> None:
    estimator = learned(predictor := blend().fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH))
    member, gp, features = estimator.gnn_member, estimator.gp, compute_features(BATCH, None)
    assert member is not None
    assert gp is not None
    blended, stds = estimator.predict_normal_scores(gp, features, 0)
    estimator.gnn_member = None
    alone, same = estimator.predict_normal_scores(gp, features, 0)
    estimator.gnn_member = member
    np.testing.assert_array_equal(blended, member.blend(features, alone))
    np.testing.assert_array_equal(stds, same)
    again = blend().fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH)
    np.testing.assert_array_equal(again.predict(BATCH), predictor.predict(BATCH))
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path)
    assert learned(loaded).gnn
    for found, expected in zip(
        loaded.predict(BATCH, return_std=True), predictor.predict(BATCH, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
