"""Whole networks beside a Gaussian process: when they are asked, and what is made of their outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.graph_batch import GraphBatch
from encoders import Predictor
from encoders.engine.batching import GraphTensors
from encoders.metrics import spearman
from encoders.predictors import gnn_member as whole
from encoders.predictors import predictor as predictor
from encoders.predictors.gnn_member import SHARE, GnnMember
from encoders.training.loop import TrainConfig

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
SEEN, NEW = np.arange(45), np.arange(45, 90)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "TRAINING", TrainConfig(epochs=30, batch=100))


def test_outputs_get_the_scale_of_the_process_and_a_share() -> None:
    graphs, pool = (GraphTensors(BATCH.select(rows)) for rows in (SEEN, NEW))
    scores = np.linspace(-3, 5, 45)
    found = GnnMember.fit(graphs, LABELS[SEEN], pool, scores, seed=0)
    outputs = found.networks.predict(pool)[0]
    assert spearman(outputs, LABELS[NEW]) > 0.7
    expected = (1 - SHARE) * scores + SHARE * (1 + (outputs - outputs.mean()) / outputs.std() * scores.std())
    np.testing.assert_allclose(found.blend(pool, scores), expected)
    ranked = found.blend(pool, np.full(45, 0.5))  # where the process is undecided they decide
    assert spearman(ranked, outputs) == pytest.approx(1)


def test_they_are_asked_from_forty_to_a_hundred_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "ENOUGH", 60)
    for count, asked in ((39, False), (40, True), (60, True), (61, False)):
        rows = np.arange(count)
        fitted = Predictor().fit(BATCH.select(rows), LABELS[rows], pool=BATCH)
        assert (fitted.whole is not None) == asked
        assert Predictor(head="gp").fit(BATCH.select(rows), LABELS[rows]).whole is None
    fitted.fit(BATCH.select(SEEN), LABELS[SEEN])
    assert fitted.fit(BATCH.select(SEEN[:5]), LABELS[:5]).whole is None  # those of labels before are forgotten


def test_a_blend_mixes_them_in_and_keeps_its_deviations(tmp_path: Path) -> None:
    fitted = Predictor().fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH)
    assert fitted.whole is not None
    mixed, deviations = fitted._scores(fitted._read(BATCH))
    beside, fitted.whole = fitted.whole, None
    alone, same = fitted._scores(fitted._read(BATCH))
    np.testing.assert_array_equal(mixed, beside.blend(GraphTensors(BATCH), alone))
    np.testing.assert_array_equal(deviations, same)
    fitted.whole = beside
    np.testing.assert_array_equal(
        Predictor().fit(BATCH.select(SEEN), LABELS[SEEN], pool=BATCH).predict(BATCH), fitted.predict(BATCH)
    )
    fitted.save(tmp_path)
    for found, expected in zip(
        Predictor.load(tmp_path).predict(BATCH, return_std=True), fitted.predict(BATCH, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
