"""Heads of the behaviour tables see no label of the family they rank, and behaviours are those of its proxies."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from encoders.features.label_transforms import normal_scores
from examples.papers import behaviour_heads
from examples.papers.behaviour_table import PARTS, SCORES, behaviours

RNG = np.random.default_rng(0)
NAMES = ("a", "b", "c")
VECTORS = {name: RNG.normal(size=(40, 5)) for name in NAMES}
LABELS = {name: x[:, 0] - 0.5 * x[:, 3] + 0.3 * RNG.normal(size=40) for name, x in VECTORS.items()}


def perceptrons(vectors, labels):
    return behaviour_heads.perceptrons(vectors, labels, 0)


@pytest.mark.parametrize("head", [perceptrons, behaviour_heads.ridge])
def test_a_family_left_out_shows_no_label(head):
    told, blind = head(VECTORS, LABELS), head(VECTORS, LABELS | {"b": -LABELS["b"]})
    np.testing.assert_allclose(told["b"], blind["b"], rtol=1e-5, atol=1e-6)
    assert not np.allclose(told["a"], blind["a"])
    assert min(behaviour_heads.rho(told[name], LABELS[name]) for name in NAMES) > 0.7


def test_ridge_is_that_of_scikit_learn():
    scaled = {name: (x - x.mean(0)) / x.std(0) for name, x in VECTORS.items()}
    model = Ridge(behaviour_heads.RIDGE * 40, fit_intercept=False)
    model.fit(np.vstack([scaled["a"], scaled["c"]]), np.hstack([normal_scores(LABELS[name]) for name in "ac"]))
    np.testing.assert_allclose(behaviour_heads.ridge(VECTORS, LABELS)["b"], model.predict(scaled["b"]))


def test_more_labels_rank_better_and_expectations_help():
    rho = [behaviour_heads.with_labels([VECTORS["a"]], LABELS["a"], count) for count in (5, 20)]
    assert rho[0] < rho[1]
    assert behaviour_heads.with_labels([VECTORS["a"]], LABELS["a"], 5, expected=LABELS["a"]) > rho[0]


def test_behaviours_are_the_same_again():
    text = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    found = {part: behaviours("nasbench201", text, part) for part in PARTS}
    assert set(found["scores"]) == set(SCORES)
    assert all(value is not None for row in found.values() for value in row.values())
    again = behaviours("nasbench201", text, "passes")
    assert found["passes"] | {"seconds": 0} == again | {"seconds": 0}
