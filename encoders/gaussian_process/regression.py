"""Gaussian process regression on several views of the same graphs, beside a linear function of known scores.

Notation, of n labelled and m other graphs, V views:

    X_v     (n, D_v)    view v of the labelled graphs, dense or sparse (`FeatureMatrix`)
    y       (n,)        targets
    s(x)    (q,)        known scores of a graph, S (n, q) of the labelled ones
    w       (q,)        their weights, w ~ N(w0, W) (`LinearPrior`)
    d2      (n, n)      squared distances of rows of X_v over their mean (`Products.sq_dists`)
    <x, x'> (n, n)      inner products of rows of X_v over the mean squared length (`Products.gram`)
    a, b, c (V,)        per view: RBF variance, inverse squared length scale, linear variance
    s2                  noise variance
    theta   (3 V + 1,)  logarithms of a, b, c of every view and of s2 (`log_hyperparameters`)
    K       (n, n)      S W S' + sum_v a_v exp(-b_v d2_v) + c_v <x, x'>_v
    L       (n, n)      Cholesky factor of K + s2 I (`factor`)
    alpha   (n,)        (K + s2 I)^-1 (y - S w0) (`weights`)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.sparse import csr_array

from cgir.typing import FloatArray

FeatureMatrix: TypeAlias = FloatArray | csr_array
Objective = Callable[[FloatArray], tuple[float, FloatArray]]

BOUNDS = (-9.0, 4.0)
# standard deviation of the normal prior about where the search starts: few labels do not determine nine or twelve
# parameters
PRIOR_STD = 1.0
MAX_ITERATIONS = 100
# labels that hyper-parameters are fitted to, as each step costs their cube; the posterior uses all
MAX_FITTED_LABELS = 1000
CHUNK_GRAPHS = 4096  # graphs predicted together
ROUNDING = 1e-10  # a squared distance below this share of both squared lengths is set to 0
NOT_POSITIVE_DEFINITE = 1e10  # the objective where Cholesky's factorisation fails

logger = logging.getLogger(__name__)


class KernelPrior(NamedTuple):
    """Centre of the log-normal prior of the hyper-parameters, where the search for them starts too.

    Attributes:
        rbf_variance: a of each view.
        rate: b, the inverse squared length scale, of each view.
        linear_variance: c of each view.
        noise_variance: s2.
    """

    rbf_variance: float = 0.5
    rate: float = 0.5
    linear_variance: float = 0.3
    noise_variance: float = 0.2

    def log_hyperparameters(self, num_views: int) -> FloatArray:
        """(3 V + 1,) for V views."""
        return np.log([*self[:3] * num_views, self.noise_variance])


class LinearPrior(NamedTuple):
    """Weights of known scores are normal, with this `mean` (q,) and this `covariance` (q, q).

    Rasmussen & Williams, section 2.7, eq. 2.40: explicit basis functions with a prior on their weights.
    """

    mean: FloatArray
    covariance: FloatArray


NO_SCORES = LinearPrior(np.zeros(0), np.zeros((0, 0)))
DEFAULT_PRIOR = KernelPrior()


@dataclass(frozen=True)
class Products:
    """Squared distances and inner products (n, m) of one view, over their means over the training graphs."""

    sq_dists: FloatArray
    gram: FloatArray


class GaussianProcess:
    """y = s w + f + noise, w ~ N(w0, W), f of mean 0 and covariance sum_v a_v exp(-b_v d2_v) + c_v <x, x'>_v.

    Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1 and section 2.7, a sum of
    kernels as in section 5.4.3. Hyper-parameters maximise the marginal likelihood (eq. 5.8) under a log-normal prior.
    The linear part of the kernels carries the trend where labels are few.

    Attributes:
        order: (n,) rows of the arguments in ascending order of y.
        views: matrices (n, D), dense or sparse, `y`: (n,) targets, `scores`: (n, q); all in this order.
        linear_prior: of the weights of the scores.
        nonzero_views: indices of the views that are not all zero; the others carry no information and are left out.
        kernel_scales: mean squared distance and mean squared length, for each of these.
        log_hyperparameters: of these, and of the noise variance.
        log_evidence: logarithm of marginal likelihood times prior at the hyper-parameters, up to a constant that
            depends on n and the prior alone; NaN where hyper-parameters were given.
    """

    def __init__(
        self,
        views: Sequence[FeatureMatrix],
        y: FloatArray,
        log_hyperparameters: FloatArray | None = None,
        seed: int = 0,
        scores: FloatArray | None = None,
        linear_prior: LinearPrior = NO_SCORES,
        kernel_prior: KernelPrior = DEFAULT_PRIOR,
    ) -> None:
        """Condition on n labels.

        Args:
            views: one or more matrices (n, D) of double precision, columns of similar scale.
            y: (n,), of mean 0 and standard deviation 1 or so.
            log_hyperparameters: (3 V + 1,) of views that are not all zero; by default those that fit best.
            seed: selects the labels that they are fitted to, where there are more than `MAX_FITTED_LABELS`.
            scores: (n, q) known scores of the graphs; None: there are none.
            linear_prior: of their weights.
            kernel_prior: of the hyper-parameters.
        """
        # independent of the order of the arguments: rounding depends on it, and so does where the search ends
        self.order = order = np.lexsort((*map(sq_norms, views), y))
        self.views, self.y = [view[order] for view in views], y[order]
        self.scores = np.zeros((len(y), 0)) if scores is None else scores[order]
        self.linear_prior = linear_prior
        self.log_evidence = np.nan
        self.nonzero_views = [index for index, view in enumerate(self.views) if sq_norms(view).any()]
        unscaled = [sq_dists_and_gram(self.views[index], self.views[index]) for index in self.nonzero_views]
        self.kernel_scales = [kernel_scales(sq_dists, gram) for sq_dists, gram in unscaled]
        products = self._scaled(unscaled)
        known = self.scores @ linear_prior.covariance @ self.scores.T
        residuals = self.y - self.scores @ linear_prior.mean
        if log_hyperparameters is None:
            rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:MAX_FITTED_LABELS])
            block = np.ix_(rows, rows)
            fitted = [Products(part.sq_dists[block], part.gram[block]) for part in products]
            start = kernel_prior.log_hyperparameters(len(fitted))
            log_hyperparameters, self.log_evidence = _maximise_evidence(fitted, residuals[rows], known[block], start)
        self.log_hyperparameters = log_hyperparameters
        covariance = known + _covariance(log_hyperparameters, products, known.shape)
        self.factor: FloatArray = cholesky(covariance + np.exp(log_hyperparameters[-1]) * np.eye(len(y)), lower=True)
        self.weights: FloatArray = cho_solve((self.factor, True), residuals)

    def predict(
        self, views: Sequence[FeatureMatrix], scores: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation of a label, noise included, at m graphs: (m,), (m,).

        Args:
            views: matrices (m, D), as in the constructor.
            scores: (m, q) known scores, as there.
        """
        known = np.zeros((views[0].shape[0], 0)) if scores is None else scores
        parts = [
            self._posterior([view[start : start + CHUNK_GRAPHS] for view in views], known[start : start + CHUNK_GRAPHS])
            for start in range(0, max(len(known), 1), CHUNK_GRAPHS)
        ]
        means, stds = (np.concatenate(part) for part in zip(*parts, strict=True))
        return means, stds

    def cross_covariance(self, views: Sequence[FeatureMatrix]) -> FloatArray:
        """(m, n): covariance of f at m graphs and at the labelled ones."""
        products = [sq_dists_and_gram(views[index], self.views[index]) for index in self.nonzero_views]
        shape = (views[0].shape[0], len(self.y))
        return _covariance(self.log_hyperparameters, self._scaled(products), shape)

    def _posterior(self, views: Sequence[FeatureMatrix], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        by_weights = scores @ self.linear_prior.covariance
        cross_covariance = by_weights @ self.scores.T + self.cross_covariance(views)
        variance = np.exp(self.log_hyperparameters[-1]) + (by_weights * scores).sum(axis=1)
        per_view = self.log_hyperparameters[:-1].reshape(-1, 3)
        for index, (_, sq_length), (a, _, c) in zip(self.nonzero_views, self.kernel_scales, per_view, strict=True):
            variance += np.exp(a) + np.exp(c) * sq_norms(views[index]) / sq_length
        explained = (solve_triangular(self.factor, cross_covariance.T, lower=True) ** 2).sum(axis=0)
        mean: FloatArray = scores @ self.linear_prior.mean + cross_covariance @ self.weights
        return mean, np.sqrt(np.maximum(variance - explained, 1e-12))

    def _scaled(self, unscaled: Sequence[tuple[FloatArray, FloatArray]]) -> list[Products]:
        return [
            Products(sq_dists / distance, gram / sq_length)
            for (sq_dists, gram), (distance, sq_length) in zip(unscaled, self.kernel_scales, strict=True)
        ]


def kernel_scales(sq_dists: FloatArray, gram: FloatArray) -> tuple[float, float]:
    """Mean squared distance and mean squared length of the training graphs.

    Where all distances are 0, as for a single graph, the distance is that of orthogonal rows, twice the squared length.
    """
    sq_length = float(gram.diagonal().mean())
    return float(sq_dists.mean()) or 2 * sq_length, sq_length


def sq_dists_and_gram(a: FeatureMatrix, b: FeatureMatrix) -> tuple[FloatArray, FloatArray]:
    """Squared distances and inner products of the rows of two matrices: (n, m), (n, m)."""
    product = a @ b.T
    gram: FloatArray = np.asarray(product.toarray() if isinstance(product, csr_array) else product)
    lengths = sq_norms(a)[:, None] + sq_norms(b)[None]
    sq_dists = lengths - 2 * gram
    sq_dists[sq_dists < ROUNDING * lengths] = 0
    return sq_dists, gram


def sq_norms(view: FeatureMatrix) -> FloatArray:
    """(n,): squared lengths of the rows."""
    squares: FloatArray = np.asarray((view * view).sum(axis=1)).ravel()
    return squares


def _covariance(theta: FloatArray, products: Sequence[Products], shape: tuple[int, int]) -> FloatArray:
    total = np.zeros(shape)
    for part, (a, b, c) in zip(products, theta[:-1].reshape(-1, 3), strict=True):
        total += np.exp(a - np.exp(b) * part.sq_dists) + np.exp(c) * part.gram
    return total


def _maximise_evidence(
    products: Sequence[Products], y: FloatArray, known: FloatArray, start: FloatArray
) -> tuple[FloatArray, float]:
    """Logarithms of the hyper-parameters (3 V + 1,) of largest posterior density, and its logarithm.

    A search that stops before it converges still improves on its start. Where the objective at its end is not finite,
    or the covariance not positive definite, the start is returned. Both cases are logged.

    Args:
        products: of each view.
        y: (n,) labels less what the scores explain.
        known: (n, n) covariance by the scores.
        start: (3 V + 1,) centre of the prior.
    """
    objective = _negative_log_posterior(products, y, known, start)
    options = {"maxiter": MAX_ITERATIONS}
    from scipy.optimize import minimize  # not needed where a fitted process predicts

    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[BOUNDS] * len(start), options=options)
    if not np.isfinite(result.fun) or result.fun >= NOT_POSITIVE_DEFINITE:
        logger.warning(
            "gaussian process: no hyper-parameters were found for %d labels (%s); default ones are used",
            len(y),
            result.message,
        )
        return start, -float(objective(start)[0])
    if not result.success:
        logger.info(
            "gaussian process: the search for hyper-parameters for %d labels did not converge (%s)",
            len(y),
            result.message,
        )
    return result.x, -float(result.fun)


def _negative_log_posterior(
    products: Sequence[Products], y: FloatArray, known: FloatArray, start: FloatArray
) -> Objective:
    """The negative logarithm of the posterior density at theta, up to a constant, and its gradient.

    Rasmussen & Williams, eq. 5.8 and 5.9.

    Args:
        products: of each view.
        y: (n,) labels less what the scores explain.
        known: (n, n) covariance by the scores.
        start: (3 V + 1,) centre of the prior.
    """

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        per_view = theta[:-1].reshape(-1, 3)
        radial = [np.exp(a - np.exp(b) * part.sq_dists) for part, (a, b, _) in zip(products, per_view, strict=True)]
        covariance = known + np.exp(theta[-1]) * np.eye(len(y))
        for part, term, (_, _, c) in zip(products, radial, per_view, strict=True):
            covariance += term + np.exp(c) * part.gram
        factor, failed = dpotrf(covariance, lower=True)
        if failed:  # by rounding, where the noise is almost 0: the line search steps back
            return NOT_POSITIVE_DEFINITE, np.zeros_like(theta)
        weights = cho_solve((factor, True), y)
        inverse = dpotri(factor, lower=True)[0].T  # its upper half, in memory row by row
        # derivative of the negative logarithm with respect to the covariance
        slope = 0.5 * (inverse + np.triu(inverse, 1).T - np.outer(weights, weights))
        gradient = (theta - start) / PRIOR_STD**2
        for index, (part, term, (_, b, c)) in enumerate(zip(products, radial, per_view, strict=True)):
            scaled = slope * term
            gradient[3 * index : 3 * index + 3] += (
                scaled.sum(),
                -np.exp(b) * np.vdot(scaled, part.sq_dists),
                np.exp(c) * np.vdot(slope, part.gram),
            )
        gradient[-1] += np.exp(theta[-1]) * slope.trace()
        density = 0.5 * y @ weights + np.log(factor.diagonal()).sum() + 0.5 * (((theta - start) / PRIOR_STD) ** 2).sum()
        return float(density), gradient

    return objective
