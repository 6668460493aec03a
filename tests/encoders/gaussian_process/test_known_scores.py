"""A Gaussian process beside a linear function of known scores: against a naive dense computation, against scikit-learn
and against Bayesian linear regression.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from cgir.typing import FloatArray
from encoders.gaussian_process import regression
from encoders.gaussian_process.regression import DEFAULT_PRIOR, GaussianProcess, LinearPrior

THETA = np.log([0.7, 0.9, 0.4, 0.05])


def problem(count: int, q: int = 3, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray, LinearPrior]:
    """A view, known scores, labels that follow both, and a prior of the weights."""
    rng = np.random.default_rng(seed)
    x, scores = rng.normal(size=(count, 5)), rng.normal(size=(count, q))
    y = np.sin(2 * x[:, 0]) + scores @ np.linspace(1, -0.5, q) + 0.2 * rng.normal(size=count)
    root = rng.normal(size=(q, q))
    return x, scores, (y - y.mean()) / y.std(), LinearPrior(rng.normal(size=q), root @ root.T / q + 0.1 * np.eye(q))


def kernel(x: FloatArray, other: FloatArray, theta: FloatArray, reference: FloatArray) -> FloatArray:
    """That of the docstring, graph by graph, scaled by reference graphs."""
    a, b, c, _ = np.exp(theta)
    near = np.mean([((u - v) ** 2).sum() for u in reference for v in reference])
    size = np.mean([u @ u for u in reference])
    return np.asarray([[a * np.exp(-b * ((u - v) ** 2).sum() / near) + c * (u @ v) / size for v in other] for u in x])


@pytest.mark.parametrize("theta", [THETA, None], ids=["given", "fitted"])
def test_posterior_is_that_of_a_normal_distribution_of_all_labels(theta: FloatArray | None) -> None:
    """Condition the joint distribution of labelled and unlabelled graphs, written out densely."""
    x, scores, y, prior = problem(40)
    seen, new = slice(None, 25), slice(25, None)
    process = GaussianProcess([x[seen]], y[seen], theta, scores=scores[seen], linear_prior=prior)
    found = process.log_hyperparameters
    mean = scores @ prior.mean
    joint = scores @ prior.covariance @ scores.T + kernel(x, x, found, x[seen]) + np.exp(found[-1]) * np.eye(40)
    gain = joint[new, seen] @ np.linalg.inv(joint[seen, seen])
    scored = process.predict([x[new]], scores[new])
    np.testing.assert_allclose(scored[0], mean[new] + gain @ (y[seen] - mean[seen]), atol=1e-8)
    variances = np.diag(joint[new, new] - gain @ joint[seen, new])
    np.testing.assert_allclose(scored[1], np.sqrt(variances), atol=1e-8)
    if theta is None:
        start = DEFAULT_PRIOR.log_hyperparameters(1)
        density = multivariate_normal(mean[seen], joint[seen, seen]).logpdf(y[seen])
        density += norm(start, regression.PRIOR_STD).logpdf(found).sum()
        constant = 25 / 2 * np.log(2 * np.pi) - norm.logpdf(np.zeros(4), scale=regression.PRIOR_STD).sum()
        assert process.log_evidence == pytest.approx(density + constant, rel=1e-8)


def test_weights_are_a_linear_kernel_of_scikit_learn() -> None:
    """Scores times a root of W are more columns of scikit-learn's dot product, which its RBF does not see."""
    x, scores, y, prior = problem(50)
    train, new = slice(None, 30), slice(30, None)
    a, b, c, noise = np.exp(THETA)
    near = np.mean([((u - v) ** 2).sum() for u in x[train] for v in x[train]])
    root = np.sqrt(c / np.mean([u @ u for u in x[train]]))
    columns = np.concatenate([root * x, scores @ np.linalg.cholesky(prior.covariance)], axis=1)
    lengths = [root * np.sqrt(near / (2 * b))] * 5 + [1e9] * 3
    kernels = ConstantKernel(a) * RBF(lengths) + DotProduct(1e-12) + WhiteKernel(noise)
    theirs = GaussianProcessRegressor(kernels, alpha=0.0, optimizer=None)
    theirs.fit(columns[train], (y - scores @ prior.mean)[train])
    mean, std = theirs.predict(columns[new], return_std=True)
    ours = GaussianProcess([x[train]], y[train], THETA, scores=scores[train], linear_prior=prior)
    found = ours.predict([x[new]], scores[new])
    np.testing.assert_allclose(found[0], mean + scores[new] @ prior.mean, atol=1e-8)
    np.testing.assert_allclose(found[1], std, atol=1e-8)
    parts = ours._scaled([regression.sq_dists_and_gram(view, view) for view in ours.views])
    known = ours.scores @ prior.covariance @ ours.scores.T
    residuals = ours.y - ours.scores @ prior.mean
    value, _ = regression._negative_log_posterior(parts, residuals, known, THETA)(THETA)
    assert -value - 15 * np.log(2 * np.pi) == pytest.approx(theirs.log_marginal_likelihood_value_, rel=1e-10)


@pytest.mark.parametrize("count", [2, 10, 1000])
def test_where_graphs_say_nothing_weights_are_those_of_bayesian_linear_regression(count: int) -> None:
    """Rasmussen & Williams, eq. 2.8, with a mean; scores that are unit vectors ask for one weight each."""
    _, scores, y, prior = problem(count)
    noise = 0.3
    theta = np.log([1e-12, 1.0, 1e-12, noise])
    process = GaussianProcess([np.ones((count, 1))], y, theta, scores=scores, linear_prior=prior)
    precision = np.linalg.inv(prior.covariance)
    covariance = np.linalg.inv(precision + scores.T @ scores / noise)
    weights = covariance @ (precision @ prior.mean + scores.T @ y / noise)
    mean, std = process.predict([np.ones((3, 1))], np.eye(3))
    np.testing.assert_allclose(mean, weights, atol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(np.diag(covariance) + noise), atol=1e-6)
    if count == 1000:  # the prior is forgotten
        np.testing.assert_allclose(mean, np.linalg.lstsq(scores, y)[0], atol=0.01)


def test_without_labels_to_speak_of_weights_are_those_of_the_prior() -> None:
    x, scores, y, prior = problem(30)
    theta = np.log([0.7, 0.9, 0.4, 1e9])  # all is noise
    mean, _ = GaussianProcess([x], y, theta, scores=scores, linear_prior=prior).predict([x], scores)
    np.testing.assert_allclose(mean, scores @ prior.mean, atol=1e-5)


def test_weights_that_are_certain_are_known_means() -> None:
    """Taken off labels, and put back."""
    x, scores, y, prior = problem(60)
    certain = LinearPrior(prior.mean, np.zeros((3, 3)))
    seen, means = slice(None, 40), scores @ prior.mean
    found = GaussianProcess([x[seen]], (y + means)[seen], scores=scores[seen], linear_prior=certain)
    alone = GaussianProcess([x[seen]], y[seen])
    expected, spread = alone.predict([x[40:]])
    mean, std = found.predict([x[40:]], scores[40:])
    # the labels' order, and with it rounding, is another
    np.testing.assert_allclose(mean, expected + means[40:], atol=1e-5)
    np.testing.assert_allclose(std, spread, atol=1e-5)
    assert found.log_evidence == pytest.approx(alone.log_evidence, abs=1e-6)


def test_order_of_labels_and_of_scores_does_not_matter() -> None:
    x, scores, y, prior = problem(60)
    rows, columns = np.random.default_rng(1).permutation(50), [2, 0, 1]
    expected = GaussianProcess([x[:50]], y[:50], scores=scores[:50], linear_prior=prior)
    found = GaussianProcess([x[rows]], y[rows], scores=scores[rows], linear_prior=prior)
    turned = GaussianProcess(
        [x[:50]],
        y[:50],
        scores=scores[:50, columns],
        linear_prior=LinearPrior(prior.mean[columns], prior.covariance[np.ix_(columns, columns)]),
    )
    known = expected.predict([x[50:]], scores[50:])
    for one, other in zip(found.predict([x[50:]], scores[50:]), known, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(turned.predict([x[50:]], scores[50:, columns]), known, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_is_predicted_together_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, scores, y, prior = problem(60)
    process = GaussianProcess([x[:40]], y[:40], scores=scores[:40], linear_prior=prior)
    expected = process.predict([x], scores)
    monkeypatch.setattr(regression, "CHUNK_GRAPHS", 7)
    for found, other in zip(process.predict([x], scores), expected, strict=True):
        np.testing.assert_allclose(found, other, atol=1e-12)
    assert [part.shape for part in process.predict([x[:0]], scores[:0])] == [(0,), (0,)]
