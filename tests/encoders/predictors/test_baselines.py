"""Boosted trees on hand-made properties: scikit-learn's, fitted to ranks, whatever the order of the graphs."""

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns
from scipy.stats import norm, rankdata
from sklearn.ensemble import GradientBoostingRegressor

from cgir.analysis.graph_properties import properties
from cgir.errors import CgirError, LabelError
from cgir.graph_batch import GraphBatch
from encoders import TreesPredictor, metrics
from encoders.predictors.baselines import BOOSTING

BATCH = GraphBatch.from_graphs(random_cnns(90))
LABELS = conv_share(random_cnns(90))
TRAIN, REST = np.arange(40), np.arange(40, 90)


def fitted(rows=TRAIN, seed=0):
    return TreesPredictor().fit(BATCH.select(rows), LABELS[rows], seed)


def test_scores_are_those_of_scikit_learn_on_ranks():
    vectors = properties(BATCH)
    order = sorted(TRAIN.tolist(), key=lambda row: (*vectors[row][::-1], LABELS[row]))
    targets = norm.ppf((rankdata(LABELS[order]) - 0.5) / len(order))
    model = GradientBoostingRegressor(**BOOSTING, random_state=7).fit(vectors[order], targets)
    expected = model.predict(vectors[REST])
    found = fitted(seed=7).predict(BATCH.select(REST))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(rankdata(found), rankdata(expected))
    inside = np.abs(expected) < targets.max()
    known = np.unique(targets), np.unique(LABELS[TRAIN])
    np.testing.assert_allclose(found[inside], np.interp(expected[inside], *known), rtol=1e-12)


def test_they_learn_what_linear_costs_do_not_show():
    labels = -((LABELS - np.median(LABELS)) ** 2)
    scores = TreesPredictor().fit(BATCH.select(TRAIN), labels[TRAIN]).predict(BATCH.select(REST))
    assert metrics.kendall_tau(scores, labels[REST]) > 0.4


@pytest.mark.parametrize(
    "rows", [TRAIN[::-1], np.random.default_rng(0).permutation(TRAIN)], ids=["reversed", "shuffled"]
)
def test_the_order_of_the_graphs_does_not_matter(rows):
    expected = fitted().predict(BATCH)
    np.testing.assert_array_equal(fitted(rows).predict(BATCH), expected)
    back = np.arange(90)[::-1]
    np.testing.assert_array_equal(fitted().predict(BATCH.select(back)), expected[back])
    assert not np.array_equal(fitted(rows, seed=1).predict(BATCH), expected)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_labels_are_enough(count):
    rows = np.argsort(LABELS)[np.linspace(0, 89, count).astype(int)]
    scores = fitted(rows).predict(BATCH.select(rows))
    assert scores[0] < scores[-1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.0, 1.0, 1.0], "all 3 labels equal"),
        ([1.0, np.nan, 2.0], "label 1 is nan"),
        ([1.0, 2.0], "3 graphs need 3 labels"),
        ([[1.0, 2.0, 3.0]], "shape"),
    ],
    ids=["constant", "nan", "few", "matrix"],
)
def test_bad_labels_are_refused(labels, message):
    with pytest.raises(LabelError, match=message):
        TreesPredictor().fit(BATCH.select(np.arange(3)), labels)


def test_predicting_before_fitting_is_refused():
    with pytest.raises(CgirError, match="nothing was fitted"):
        TreesPredictor().predict(BATCH)
