"""The Gaussian process against scikit-learn's with the same kernel, against finite differences, and against data drawn
from its own prior.
"""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import OptimizeResult, approx_fprime, minimize_scalar
from scipy.sparse import csr_array
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from encoders.gaussian_process import regression
from encoders.gaussian_process.regression import DEFAULT_PRIOR, GaussianProcess, KernelPrior

THETA = np.log([0.7, 0.9, 0.4, 0.05])


def sample(count, widths=(6,), seed=0):
    """Views, and labels that follow the first of them."""
    rng = np.random.default_rng(seed)
    views = [rng.normal(size=(count, width)) for width in widths]
    y = np.sin(2 * views[0][:, 0]) + 0.5 * views[0][:, 1] + 0.2 * rng.normal(size=count)
    return views, (y - y.mean()) / y.std()


def nothing_known(count):
    """Covariance by scores, where there are none."""
    return np.zeros((count, count))


def peer(x, y, theta):
    """scikit-learn's process with the covariance of the docstring, written out for one dense view."""
    a, b, c, noise = np.exp(theta)
    size = np.mean([(one**2).sum() for one in x])
    # as of two unrelated ones
    near = np.mean([((one - other) ** 2).sum() for one in x for other in x]) if len(x) > 1 else 2 * size
    kernel = (
        ConstantKernel(a) * RBF(np.sqrt(near / (2 * b)))
        + ConstantKernel(c / size) * DotProduct(1e-12)
        + WhiteKernel(noise)
    )
    return GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(x, y)


@pytest.mark.parametrize("count", [1, 2, 9, 80])
def test_posterior_and_likelihood_are_those_of_scikit_learn(count):
    (x,), y = sample(60 + count)
    x, y, new = x[:count], y[:count], x[count:]
    theirs = peer(x, y, THETA)
    ours = GaussianProcess([x], y, THETA)
    for found, expected in zip(ours.predict([new]), theirs.predict(new, return_std=True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    parts = ours._scaled([regression.sq_dists_and_gram(view, view) for view in ours.views])
    value, _ = regression._negative_log_posterior(parts, ours.y, nothing_known(count), THETA)(
        THETA
    )  # at its start the prior adds nothing
    assert -value - count / 2 * np.log(2 * np.pi) == pytest.approx(theirs.log_marginal_likelihood_value_, rel=1e-10)


def covariance(views, theta):
    """That of the docstring, graph by graph."""
    total = np.exp(theta[-1]) * np.eye(len(views[0]))
    for x, (a, b, c) in zip(views, np.exp(theta[:-1]).reshape(-1, 3), strict=True):
        near = np.asarray([[((one - other) ** 2).sum() for other in x] for one in x])
        total += a * np.exp(-b * near / near.mean()) + c * x @ x.T / np.mean([(one**2).sum() for one in x])
    return total


@pytest.mark.parametrize("widths", [(6,), (6, 3)])
def test_evidence_is_the_density_of_labels_and_hyper_parameters(widths):
    """The constant that is left out: of a normal distribution of n labels and of one of all hyper-parameters."""
    views, y = sample(25, widths)
    rng = np.random.default_rng(0)
    start = DEFAULT_PRIOR.log_hyperparameters(len(widths))
    constant = 25 / 2 * np.log(2 * np.pi) - norm.logpdf(np.zeros(len(start)), scale=regression.PRIOR_STD).sum()
    for labels in (y, rng.normal(size=25), 0.1 * y):
        process = GaussianProcess(views, labels)
        density = (
            multivariate_normal(np.zeros(25), covariance(views, process.log_hyperparameters)).logpdf(labels)
            + norm(start, regression.PRIOR_STD).logpdf(process.log_hyperparameters).sum()
        )
        assert process.log_evidence == pytest.approx(density + constant, rel=1e-8)
    assert np.isnan(GaussianProcess(views, y, start).log_evidence)


@settings(max_examples=25, deadline=None)
@given(views=st.integers(1, 3), count=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_gradient_is_that_of_finite_differences(views, count, seed):
    rng = np.random.default_rng(seed)
    given_views, y = (
        sample(count, (4,) * views, seed) if count > 1 else ([rng.normal(size=(1, 4))] * views, rng.normal(size=1))
    )
    process = GaussianProcess(given_views, y, np.zeros(3 * views + 1))
    parts = process._scaled([regression.sq_dists_and_gram(view, view) for view in process.views])
    start, theta = rng.normal(size=(2, 3 * views + 1))
    scores = rng.normal(size=(count, seed % 4))
    objective = regression._negative_log_posterior(parts, process.y, scores @ scores.T, start)
    _, gradient = objective(theta)
    steps = 1e-5 * np.eye(len(theta))
    expected = [(objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


def test_few_labels_leave_hyper_parameters_where_the_prior_is():
    prior = KernelPrior(0.03, 2.0, 0.04, 0.02)
    np.testing.assert_allclose(np.exp(prior.log_hyperparameters(2)), [0.03, 2.0, 0.04, 0.03, 2.0, 0.04, 0.02])
    views, y = sample(60, (6, 3))
    one = GaussianProcess([view[:1] for view in views], np.asarray([0.1]), kernel_prior=prior)
    np.testing.assert_allclose(one.log_hyperparameters, prior.log_hyperparameters(2), atol=0.2)
    strong, weak = (
        GaussianProcess(views, y, kernel_prior=KernelPrior(0.5, 0.5, 0.3, noise)).log_hyperparameters[-1]
        for noise in (1.0, 0.001)
    )
    assert weak + 0.1 < strong < weak + 6  # sixty labels bring priors that are 6.9 apart nearer to each other


def test_the_search_ends_where_the_density_is_largest():
    (x, z), y = sample(60, (6, 3))
    process = GaussianProcess([x, z], y)
    parts = process._scaled([regression.sq_dists_and_gram(view, view) for view in process.views])
    start = DEFAULT_PRIOR.log_hyperparameters(2)
    objective = regression._negative_log_posterior(parts, process.y, nothing_known(60), start)
    best, _ = objective(process.log_hyperparameters)
    assert best < objective(start)[0]
    inside = np.abs(process.log_hyperparameters - np.clip(process.log_hyperparameters, -8.9, 3.9)) == 0
    assert (
        np.abs(approx_fprime(process.log_hyperparameters, lambda theta: objective(theta)[0], 1e-6))[inside].max() < 1e-2
    )
    rng = np.random.default_rng(0)
    assert all(objective(process.log_hyperparameters + 0.3 * rng.normal(size=7))[0] > best for _ in range(50))


def test_a_sparse_view_is_its_dense_copy():
    rng = np.random.default_rng(2)
    counts = rng.poisson(0.3, size=(90, 40)).astype(np.float64)
    other, y = sample(90, (5,))[0][0], sample(90)[1]
    dense = GaussianProcess([other[:60], counts[:60]], y[:60])
    sparse = GaussianProcess([other[:60], csr_array(counts[:60])], y[:60])
    np.testing.assert_allclose(sparse.log_hyperparameters, dense.log_hyperparameters, atol=1e-6)
    for found, expected in zip(
        sparse.predict([other[60:], csr_array(counts[60:])]), dense.predict([other[60:], counts[60:]]), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-7)
    assert sparse.predict([other[:0], csr_array(counts[:0])])[1].shape == (0,)


@pytest.mark.parametrize("fitted", [False, True])
def test_deviations_are_those_of_data_from_the_prior(fitted):
    inside, wide, squares = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(300, 3))
        near = ((x[:, None] - x[None]) ** 2).sum(axis=2)
        covariance = 0.7 * np.exp(-0.9 * near / 6) + 0.4 * x @ x.T / 3 + 0.05 * np.eye(300)
        y = np.linalg.cholesky(covariance) @ rng.normal(size=300)
        process = GaussianProcess([x[:100]], y[:100], None if fitted else THETA)
        mean, std = process.predict([x[100:]])
        errors = (y[100:] - mean) / std
        inside.append((np.abs(errors) < 1).mean())
        wide.append((np.abs(errors) < 2).mean())
        squares.append((errors**2).mean())
        assert np.corrcoef(y[100:], mean)[0, 1] > 0.8
    # 68.3 % and 95.4 % under a normal distribution; a deviation without the noise, or without what is not known of f,
    # is far outside
    assert np.mean(inside) == pytest.approx(0.683, abs=0.025)
    assert np.mean(wide) == pytest.approx(0.954, abs=0.015)
    assert np.mean(squares) == pytest.approx(1, abs=0.08)


def test_order_of_labels_does_not_matter():
    rng = np.random.default_rng(1)
    views, new = ([rng.normal(size=(count, width)) for width in (100, 128, 60)] for count in (300, 40))
    # the search stops early, and small differences grow
    y = np.sin(views[0][:, 0]) + 0.3 * views[1][:, :5].sum(axis=1) + 0.3 * rng.normal(size=300)
    order = rng.permutation(300)
    expected = GaussianProcess(views, y)
    found = GaussianProcess([view[order] for view in views], y[order])
    assert not np.array_equal(y, y[order])
    for one, other in zip(found.predict(new), expected.predict(new), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    again = GaussianProcess(
        expected.views, expected.y, expected.log_hyperparameters
    )  # as it is written to a file and read
    assert np.array_equal(again.predict(new)[0], expected.predict(new)[0])


def test_what_is_predicted_together_does_not_matter(monkeypatch):
    views, y = sample(80, (6, 4))
    process = GaussianProcess([view[:30] for view in views], y[:30])
    expected = process.predict(views)
    monkeypatch.setattr(regression, "CHUNK_GRAPHS", 7)
    for found, other in zip(process.predict(views), expected, strict=True):
        np.testing.assert_allclose(found, other, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_labels(count):
    (x,), _ = sample(40)
    process = GaussianProcess([x[:count]], np.asarray([-1.0, 1.0, 0.5])[:count])
    mean, std = process.predict([x])
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    assert np.abs(mean).max() < 5
    assert std[:count].max() < std[count:].mean()  # more is known where labels are
    assert (np.sign(mean[:count]) == np.sign([-1, 1, 1][:count])).all()


def test_graphs_that_look_alike_share_a_mean():
    x = np.repeat(np.random.default_rng(0).normal(size=(10, 4)), 5, axis=0)
    y = np.repeat(np.linspace(-1.5, 1.5, 10), 5) + np.tile([-0.4, -0.2, 0, 0.2, 0.4], 10)
    process = GaussianProcess([x], y)
    mean, std = process.predict([x[::5]])
    assert mean == pytest.approx(np.linspace(-1.5, 1.5, 10), abs=0.15)
    assert std == pytest.approx(0.3, abs=0.1)  # of five labels: 0.28
    same = GaussianProcess([np.ones((20, 3))], y[:20])  # all graphs alike: nothing is known but their mean
    mean, std = same.predict([np.ones((2, 3))])
    assert mean == pytest.approx(y[:20].mean(), abs=0.1)
    assert std == pytest.approx(y[:20].std(), rel=0.3)


@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_a_view_without_information_changes_nothing(make):
    (x,), y = sample(120)
    expected = GaussianProcess([x[:80]], y[:80]).predict([x[80:]])
    process = GaussianProcess([make(np.zeros((80, 3))), x[:80]], y[:80])
    again = GaussianProcess(process.views, process.y, process.log_hyperparameters)
    for zero in (np.zeros((40, 3)), np.full((40, 3), 1e3)):  # nor does what no labelled graph has
        for found in (process.predict([make(zero), x[80:]]), again.predict([make(zero), x[80:]])):
            assert all(map(np.array_equal, found, expected))
    rng = np.random.default_rng(1)
    for width in range(1, 60):  # an offset: squared distances of equal rows are not rounding
        constant = make(np.tile(100 * rng.normal(size=width), (80, 1)))
        near, length = regression.kernel_scales(*regression.sq_dists_and_gram(constant, constant))
        assert near == 2 * length
    process = GaussianProcess([constant, x[:80]], y[:80])
    for one, other in zip(process.predict([constant[:40], x[80:]]), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.15)


def test_no_view_with_information():
    """What is left is white noise, and a prior about its variance."""
    y = np.linspace(-1.5, 1.5, 30)
    mean, std = GaussianProcess([np.zeros((30, 2))], y).predict([np.zeros((4, 2))])
    assert mean == pytest.approx([0] * 4)
    likely = minimize_scalar(
        lambda noise: (
            -norm.logpdf(y, scale=np.exp(noise / 2)).sum()
            - norm.logpdf(noise, np.log(DEFAULT_PRIOR.noise_variance), regression.PRIOR_STD)
        )
    )
    assert std == pytest.approx([np.exp(likely.x / 2)] * 4, rel=1e-4)
    assert std == pytest.approx([y.std()] * 4, rel=0.1)


def test_hyper_parameters_of_many_labels_are_fitted_to_some(monkeypatch):
    monkeypatch.setattr(regression, "MAX_FITTED_LABELS", 50)
    (x,), y = sample(160)
    first, second, again = (GaussianProcess([x[:80]], y[:80], seed=seed) for seed in (0, 2, 0))
    assert len(first.weights) == 80
    assert np.array_equal(first.log_hyperparameters, again.log_hyperparameters)
    assert not np.array_equal(first.log_hyperparameters, second.log_hyperparameters)
    assert np.corrcoef(first.predict([x])[0], second.predict([x])[0])[0, 1] > 0.95


def test_fifteen_hundred_labels_take_seconds():
    views, y = sample(2500, (40, 20))
    start = time.process_time()
    process = GaussianProcess([view[:1500] for view in views], y[:1500])
    mean, _ = process.predict([view[1500:] for view in views])
    assert time.process_time() - start < 60  # 4 on an idle core
    assert len(process.weights) == 1500
    assert np.corrcoef(mean, y[1500:])[0, 1] > 0.5


def test_a_search_that_does_not_converge_is_logged_and_still_used(monkeypatch, caplog):
    (x, z), y = sample(60, (6, 3))
    converged = GaussianProcess([x, z], y)
    with caplog.at_level("INFO", logger=regression.logger.name):
        assert not caplog.records
        monkeypatch.setattr(regression, "MAX_ITERATIONS", 2)
        early = GaussianProcess([x, z], y)
    assert ["did not converge" in record.getMessage() for record in caplog.records] == [True]
    start = DEFAULT_PRIOR.log_hyperparameters(2)
    parts = early._scaled([regression.sq_dists_and_gram(view, view) for view in early.views])
    at_start, _ = regression._negative_log_posterior(parts, early.y, nothing_known(60), start)(start)
    assert -at_start < early.log_evidence < converged.log_evidence


def test_a_search_that_finds_nothing_leaves_the_default_hyper_parameters(monkeypatch, caplog):
    (x,), y = sample(30)
    failed = OptimizeResult(
        x=np.full(4, np.nan), fun=regression.NOT_POSITIVE_DEFINITE, success=False, message="ABNORMAL"
    )
    monkeypatch.setattr("scipy.optimize.minimize", lambda *_, **__: failed)
    process = GaussianProcess([x], y)
    assert "default ones are used" in caplog.text
    start = DEFAULT_PRIOR.log_hyperparameters(1)
    np.testing.assert_array_equal(process.log_hyperparameters, start)
    for found, expected in zip(process.predict([x]), GaussianProcess([x], y, start).predict([x]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.isfinite(process.log_evidence)
