"""Gaussian process regression on several views of the same graphs: the read-out that needs the fewest labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import TypeAlias

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize
from scipy.sparse import csr_array

from cgir.typing import FloatArray

FeatureMatrix: TypeAlias = FloatArray | csr_array

# of each view: share of its RBF part, its inverse squared length, share of its linear part
START = (log(0.5), log(0.5), log(0.3))
NOISE = log(0.2)
BOUNDS = (-9.0, 4.0)
# deviation of the normal prior about where the search starts: few labels say little about nine or twelve parameters
PRIOR = 1.0
# labels that hyper-parameters are fitted to, as each step of that costs their cube; the posterior uses all
FITTED = 1000
CHUNK = 4096  # graphs predicted together
ROUNDING = 1e-10  # of squared lengths, below which a squared distance is 0


@dataclass(frozen=True)
class Products:
    """Of one view, between graphs: `near` squared distances and `gram` inner products, both (n, m), in units of their
    means over the training graphs.
    """

    near: FloatArray
    gram: FloatArray


class GaussianProcess:
    """y = m + f + noise, m known, f of mean 0 and covariance sum over views of a exp(-b d^2 / mean d^2) + c <x, x'> /
    mean |x|^2.

    Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1, a sum of kernels as in
    section 5.4.3. Hyper-parameters maximise the marginal likelihood (eq. 5.8) under a log-normal prior. The linear part
    carries the trend where labels are few.

    Attributes: `views`, matrices (n, D) dense or sparse, `y` (n,) targets and `means` (n,), all in ascending order of
    targets; `theta`, the logarithms of a, b, c of every view that is not all zero, which says nothing and is left out,
    and of the noise variance; `evidence`, the logarithm of marginal likelihood times prior at `theta`, up to a constant
    that depends on n and the prior alone; NaN where `theta` was given.
    """

    def __init__(
        self,
        views: Sequence[FeatureMatrix],
        y: FloatArray,
        theta: FloatArray | None = None,
        seed: int = 0,
        means: FloatArray | None = None,
        explained: float = 0.0,
    ) -> None:
        """Condition on n labels.

        Args:
            views: one or more matrices (n, D) of double precision, columns about alike in size.
            y: (n,), of mean 0 and deviation 1 or so.
            theta: hyper-parameters, by default those that fit best.
            seed: of which labels they are fitted to, where there are more than `FITTED`.
            means: (n,) what is expected of y before it is seen; default 0.
            explained: share of the variance of y that this is thought to explain; the search starts with so much less
                for the kernels.
        """
        # in another order rounding would be another, and the search would end elsewhere
        order = np.lexsort((*map(norms, views), y))
        self.views, self.y = [view[order] for view in views], y[order]
        self.means = np.zeros(len(y)) if means is None else means[order]
        self.evidence = np.nan
        self.live = [index for index, view in enumerate(self.views) if norms(view).any()]
        raw = [products(self.views[index], self.views[index]) for index in self.live]
        self.units = [units(near, gram) for near, gram in raw]
        parts = self._scaled(raw)
        if theta is None:
            rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:FITTED])
            cut = [Products(part.near[np.ix_(rows, rows)], part.gram[np.ix_(rows, rows)]) for part in parts]
            theta, self.evidence = _fit(cut, (self.y - self.means)[rows], explained)
        self.theta = theta
        self.factor: FloatArray = cholesky(
            _covariance(theta, parts, (len(y), len(y))) + np.exp(theta[-1]) * np.eye(len(y)), lower=True
        )
        self.weights: FloatArray = cho_solve((self.factor, True), self.y - self.means)

    def predict(self, views: Sequence[FeatureMatrix], means: FloatArray | float = 0.0) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation of a label, noise included, at m graphs, of which `means` (m,) are
        expected: (m,), (m,).
        """
        spans = [slice(start, start + CHUNK) for start in range(0, max(views[0].shape[0], 1), CHUNK)]
        parts = [self._predict([view[span] for view in views]) for span in spans]
        return np.concatenate([mean for mean, _ in parts]) + means, np.concatenate(
            [deviation for _, deviation in parts]
        )

    def _predict(self, views: Sequence[FeatureMatrix]) -> tuple[FloatArray, FloatArray]:
        raw = [products(views[index], self.views[index]) for index in self.live]
        across = _covariance(self.theta, self._scaled(raw), (views[0].shape[0], len(self.y)))
        own = np.full(len(across), np.exp(self.theta[-1]))
        for index, (_, size), (a, _, c) in zip(self.live, self.units, self.theta[:-1].reshape(-1, 3), strict=True):
            own += np.exp(a) + np.exp(c) * norms(views[index]) / size
        explained = solve_triangular(self.factor, across.T, lower=True)
        return across @ self.weights, np.sqrt(np.maximum(own - (explained**2).sum(axis=0), 1e-12))

    def _scaled(self, raw: Sequence[tuple[FloatArray, FloatArray]]) -> list[Products]:
        return [
            Products(near / distance, gram / size)
            for (near, gram), (distance, size) in zip(raw, self.units, strict=True)
        ]


def units(near: FloatArray, gram: FloatArray) -> tuple[float, float]:
    """Mean squared distance and mean squared length of the training graphs; where they all look alike, as one does, the
    distance of unrelated ones.
    """
    size = float(gram.diagonal().mean())
    return float(near.mean()) or 2 * size, size


def products(a: FeatureMatrix, b: FeatureMatrix) -> tuple[FloatArray, FloatArray]:
    """Squared distances and inner products of the rows of two matrices: (n, m), (n, m)."""
    product = a @ b.T
    gram: FloatArray = np.asarray(product.toarray() if isinstance(product, csr_array) else product)
    lengths = norms(a)[:, None] + norms(b)[None]
    near = lengths - 2 * gram
    near[near < ROUNDING * lengths] = 0
    return near, gram


def norms(view: FeatureMatrix) -> FloatArray:
    """(n,): squared lengths of the rows."""
    squares: FloatArray = np.asarray((view * view).sum(axis=1)).ravel()
    return squares


def _covariance(theta: FloatArray, parts: Sequence[Products], shape: tuple[int, int]) -> FloatArray:
    total = np.zeros(shape)
    for part, (a, b, c) in zip(parts, theta[:-1].reshape(-1, 3), strict=True):
        total += np.exp(a - np.exp(b) * part.near) + np.exp(c) * part.gram
    return total


def _fit(parts: Sequence[Products], y: FloatArray, explained: float) -> tuple[FloatArray, float]:
    """The hyper-parameters (3 for every view, 1) of largest posterior density, and its logarithm."""
    left = log(1 - explained)
    start = np.asarray([*(START[0] + left, START[1], START[2] + left) * len(parts), NOISE])
    found = minimize(
        _objective(parts, y, start),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[BOUNDS] * len(start),
        options={"maxiter": 100},
    )
    return found.x, -float(found.fun)


def _objective(
    parts: Sequence[Products], y: FloatArray, start: FloatArray
) -> Callable[[FloatArray], tuple[float, FloatArray]]:
    """The negative logarithm of the posterior density at theta, up to a constant, and its gradient (Rasmussen &
    Williams, eq. 5.8 and 5.9).
    """

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        logs = theta[:-1].reshape(-1, 3)
        radial = [np.exp(a - np.exp(b) * part.near) for part, (a, b, _) in zip(parts, logs, strict=True)]
        covariance = np.exp(theta[-1]) * np.eye(len(y))
        for part, term, (_, _, c) in zip(parts, radial, logs, strict=True):
            covariance += term + np.exp(c) * part.gram
        factor, failed = dpotrf(covariance, lower=True)
        if failed:  # rounding, where noise is next to nothing
            return 1e10, np.zeros_like(theta)
        weights = cho_solve((factor, True), y)
        inverse = dpotri(factor, lower=True)[0].T  # its upper half, in memory row by row
        # of the negative logarithm along the covariance
        slope = 0.5 * (inverse + np.triu(inverse, 1).T - np.outer(weights, weights))
        gradient = (theta - start) / PRIOR**2
        for place, (part, term, (_, b, c)) in enumerate(zip(parts, radial, logs, strict=True)):
            scaled = slope * term
            gradient[3 * place : 3 * place + 3] += (
                scaled.sum(),
                -np.exp(b) * np.vdot(scaled, part.near),
                np.exp(c) * np.vdot(slope, part.gram),
            )
        gradient[-1] += np.exp(theta[-1]) * slope.trace()
        density = 0.5 * y @ weights + np.log(factor.diagonal()).sum() + 0.5 * (((theta - start) / PRIOR) ** 2).sum()
        return float(density), gradient

    return objective
