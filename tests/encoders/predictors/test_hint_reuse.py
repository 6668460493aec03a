"""Hints are smoothed once for fits of a predictor with the same ones, and again when anything of them changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.graph_batch import GraphBatch
from encoders import Predictor
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.predictors import hints as hints_module
from encoders.predictors.hints import SmoothedHints

GRAPHS = random_cnns(40)
LABELS = conv_share(GRAPHS)


@pytest.fixture
def smoothed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at every smoothing."""
    calls: list[int] = []
    fit = SmoothedHints.fit

    def counted(*arguments: Any) -> SmoothedHints:
        calls.append(1)
        return fit(*arguments)

    monkeypatch.setattr(SmoothedHints, "fit", counted)
    return calls


def features() -> GraphFeatures:
    return compute_features(GraphBatch.from_graphs(GRAPHS), None)


def test_hints_are_smoothed_once_while_they_are_the_same(smoothed: list[int]) -> None:
    graphs, predictor = features(), Predictor()
    values = LABELS + 0.1 * np.random.default_rng(0).normal(size=40)
    weight = 0.5

    def scores(start: int) -> np.ndarray:
        rows = np.arange(start, start + 10)
        hints = {"other": (graphs, values, weight)}  # made anew, as a caller would
        predictor.fit(graphs.select(rows), LABELS[rows], pool=graphs, hints=hints)
        return predictor.predict(graphs)

    first = scores(0)
    scores(10)
    assert len(smoothed) == 1
    np.testing.assert_array_equal(scores(0), first)
    assert len(smoothed) == 1
    values[3] += 1  # in place
    assert not np.array_equal(scores(0), first)
    assert len(smoothed) == 2
    weight = 0.9
    scores(0)
    graphs = features()
    scores(0)
    assert len(smoothed) == 4


def test_another_seed_draws_other_graphs(smoothed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_module, "MAX_GRAPHS", 20)
    graphs, predictor = features(), Predictor()
    hints = {"other": (graphs, LABELS)}
    first, again, other = (
        predictor.fit([], [], pool=graphs, hints=hints, seed=seed).predict(graphs) for seed in (0, 0, 1)
    )
    assert len(smoothed) == 2
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)
