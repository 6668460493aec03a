"""Bayesian model averaging of Gaussian processes, by hand and by sampling; labels choose the prior mean."""

from __future__ import annotations

import numpy as np
import pytest

from cgir.typing import FloatArray
from encoders.gaussian_process.model_averaging import AveragingConfig, BayesianModelAverage
from encoders.gaussian_process.regression import GaussianProcess

CONFIG = AveragingConfig()
WEIGHTS, PRIOR = np.asarray(CONFIG.prior_mean_weights, np.float64), np.asarray(CONFIG.model_prior, np.float64)
ENOUGH, LEAST = CONFIG.max_labels, CONFIG.min_posterior_weight


def sample(
    count: int, seed: int = 0, column: int = 0, width: int = 4
) -> tuple[list[FloatArray], FloatArray, FloatArray]:
    """Views that say nothing, scores (count, width), and labels that are one of the scores with a little noise."""
    rng = np.random.default_rng(seed)
    views, scores = [rng.normal(size=(count, 6)), rng.normal(size=(count, 4))], rng.normal(size=(count, width))
    y = (scores[:, column] if width else views[0][:, 0]) + 0.1 * rng.normal(size=count)
    return views, scores, (y - y.mean()) / y.std()


def test_weights_and_moments_are_those_of_the_mixture() -> None:
    views, scores, y = sample(50)
    seen, given = [view[:10] for view in views], scores[:10]
    fitted = BayesianModelAverage.fit(seen, given, y[:10])
    explained = [min(float(shares @ shares), 1 - CONFIG.min_residual_variance) for shares in WEIGHTS]
    alone = [
        GaussianProcess(seen, y[:10], prior_mean=given @ shares, explained_variance=e)
        for shares, e in zip(WEIGHTS, explained, strict=True)
    ]
    likely = np.asarray([belief * np.exp(process.log_evidence) for process, belief in zip(alone, PRIOR, strict=True)])
    likely /= likely.sum()
    assert 1 < (likely >= LEAST).sum() < len(WEIGHTS)  # there is something to average, and something to drop
    np.testing.assert_array_equal(fitted.prior_mean_weights, WEIGHTS[likely >= LEAST])
    np.testing.assert_allclose(fitted.posterior_weights, likely[likely >= LEAST] / likely[likely >= LEAST].sum())
    mean, std = fitted.predict([view[10:] for view in views], scores[10:])
    rng = np.random.default_rng(0)
    which = rng.choice(len(fitted.posterior_weights), size=100_000, p=fitted.posterior_weights)
    parts = [
        process.predict([view[10:] for view in views], scores[10:] @ shares)
        for process, shares in zip(alone, WEIGHTS, strict=True)
    ]
    means, stds = (np.stack([parts[index][side] for index in np.flatnonzero(likely >= LEAST)]) for side in (0, 1))
    for graph in range(5):
        drawn = rng.normal(means[which, graph], stds[which, graph])
        assert mean[graph] == pytest.approx(drawn.mean(), abs=0.02)
        assert std[graph] == pytest.approx(drawn.std(), rel=0.02)
    np.testing.assert_allclose(
        std**2, np.average(stds**2 + means**2, axis=0, weights=fitted.posterior_weights) - mean**2
    )


@pytest.mark.parametrize(("count", "width"), [(ENOUGH + 1, 4), (ENOUGH + 1, 2), (30, 0)])
def test_with_nothing_to_expect_or_enough_labels_it_is_a_plain_process(count: int, width: int) -> None:
    views, scores, y = sample(count + 20, width=width)
    fitted = BayesianModelAverage.fit([view[:count] for view in views], scores[:count], y[:count], seed=1)
    plain = GaussianProcess([view[:count] for view in views], y[:count], seed=1)
    for found, expected in zip(
        fitted.predict([view[count:] for view in views], scores[count:]),
        plain.predict([view[count:] for view in views]),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("column", range(4))
def test_labels_choose_what_is_expected(column: int, seed: int) -> None:
    fitted = BayesianModelAverage.fit(*sample(20, seed, column))
    best = fitted.prior_mean_weights[fitted.posterior_weights.argmax()]
    assert np.flatnonzero(best).tolist() == [column]  # this score and no other
    assert (fitted.posterior_weights @ fitted.prior_mean_weights)[column] > 0.3
    assert BayesianModelAverage.fit(*sample(8, width=2)).prior_mean_weights.shape[1] == 2


def test_order_of_labelled_graphs_does_not_matter() -> None:
    views, scores, y = sample(40)
    order = np.random.default_rng(5).permutation(12)
    one = BayesianModelAverage.fit([view[:12] for view in views], scores[:12], y[:12])
    other = BayesianModelAverage.fit([view[order] for view in views], scores[order], y[order])
    np.testing.assert_allclose(other.posterior_weights, one.posterior_weights, atol=1e-9)
    for found, expected in zip(other.predict(views, scores), one.predict(views, scores), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
