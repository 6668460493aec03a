"""Gaussian process regression on several views of the same graphs: the read-out that needs the fewest labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_array
from torch import Tensor

Array = NDArray[np.float64]
View = Any  # (n, D) float64, an array or a scipy.sparse.csr_array, which has no type hints

START = (log(0.5), log(0.5), log(0.3))  # of each view: share of its RBF part, its inverse squared length, share of its linear part
NOISE = log(0.2)
BOUNDS = (-9.0, 4.0)
PRIOR = 5.0  # deviation of the normal prior about where the search starts: weak, but few labels do not take a parameter to its bound
FITTED = 1000  # labels that hyper-parameters are fitted to, as each step of that costs their cube; the posterior uses all
CHUNK = 4096  # graphs predicted together


@dataclass(frozen=True)
class Products:
    """Of one view, between graphs: `near` squared distances and `gram` inner products, both (n, m), divided by their means over the training graphs."""

    near: Array
    gram: Array


class GaussianProcess:
    """y = f + noise, f of covariance sum over views of a exp(-b d^2 / mean d^2) + c <x, x'> / mean |x|^2.

    Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1, a sum of kernels as in section 5.4.3. Hyper-parameters
    maximise the marginal likelihood (eq. 5.8) under a weak log-normal prior. The linear part carries the trend where labels are few.

    Attributes: `views`, matrices (n, D) dense or sparse; `y` (n,) targets; `theta`, the logarithms of a, b, c of every view and of the noise variance.
    """

    def __init__(self, views: Sequence[View], y: Array, theta: Array | None = None, seed: int = 0) -> None:
        self.views, self.y = list(views), y
        raw = [_products(view, view) for view in self.views]
        self.scales = [(max(float(near.mean()), 1e-12), max(float(gram.diagonal().mean()), 1e-12)) for near, gram in raw]
        parts = self._scaled(raw)
        if theta is None:
            rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:FITTED])
            theta = _fit([Products(part.near[np.ix_(rows, rows)], part.gram[np.ix_(rows, rows)]) for part in parts], y[rows])
        self.theta = theta
        covariance = _covariance(theta, parts) + np.exp(theta[-1]) * np.eye(len(y))
        self.factor: Array = cholesky(covariance, lower=True)
        self.weights: Array = cho_solve((self.factor, True), y)

    def predict(self, views: Sequence[View]) -> tuple[Array, Array]:
        """Posterior mean and standard deviation of a label, noise included, at m graphs: (m,), (m,)."""
        size = views[0].shape[0]
        spans = [slice(start, start + CHUNK) for start in range(0, size, CHUNK)]
        parts = [self._predict([view[span] for view in views]) for span in spans]
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([deviation for _, deviation in parts])

    def _predict(self, views: Sequence[View]) -> tuple[Array, Array]:
        across = _covariance(self.theta, self._scaled([_products(view, known) for view, known in zip(views, self.views, strict=True)]))
        own = np.exp(self.theta[-1])
        for view, (_, size), (a, _, c) in zip(views, self.scales, self.theta[:-1].reshape(-1, 3), strict=True):
            own = own + np.exp(a) + np.exp(c) * _norms(view) / size
        explained = solve_triangular(self.factor, across.T, lower=True)
        return across @ self.weights, np.sqrt(np.maximum(own - (explained**2).sum(axis=0), 1e-12))

    def _scaled(self, raw: Sequence[tuple[Array, Array]]) -> list[Products]:
        return [Products(near / distance, gram / size) for (near, gram), (distance, size) in zip(raw, self.scales, strict=True)]


def _products(a: View, b: View) -> tuple[Array, Array]:
    """Squared distances and inner products of the rows of two matrices: (n, m), (n, m)."""
    product = a @ b.T
    gram: Array = np.asarray(product.toarray() if isinstance(product, csr_array) else product)
    return np.maximum(_norms(a)[:, None] + _norms(b)[None] - 2 * gram, 0), gram


def _norms(view: View) -> Array:
    """(n,): squared lengths of the rows."""
    squares: Array = np.asarray((view * view).sum(axis=1)).ravel()
    return squares


def _covariance(theta: Array, parts: Sequence[Products]) -> Array:
    terms = [np.exp(a) * np.exp(-np.exp(b) * part.near) + np.exp(c) * part.gram for part, (a, b, c) in zip(parts, theta[:-1].reshape(-1, 3), strict=True)]
    total: Array = np.sum(terms, axis=0)
    return total


def _fit(parts: Sequence[Products], y: Array) -> Array:
    """The hyper-parameters (3 for every view, 1) of largest posterior density."""
    start = np.asarray([*START * len(parts), NOISE])
    objective = _objective(parts, y, torch.from_numpy(start))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[BOUNDS] * len(start), options={"maxiter": 100})
    theta: Array = found.x
    return theta


def _objective(parts: Sequence[Products], y: Array, start: Tensor) -> Callable[[Array], tuple[float, Array]]:
    """The negative logarithm of the posterior density at theta, up to a constant, and its gradient."""
    tensors = [(torch.from_numpy(part.near), torch.from_numpy(part.gram)) for part in parts]
    targets, identity = torch.from_numpy(y), torch.eye(len(y), dtype=torch.float64)

    def objective(values: Array) -> tuple[float, Array]:
        theta = torch.tensor(values, requires_grad=True)
        covariance = theta[-1].exp() * identity
        for (near, gram), (a, b, c) in zip(tensors, theta[:-1].view(-1, 3), strict=True):
            covariance = covariance + a.exp() * (-b.exp() * near).exp() + c.exp() * gram
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if failed:  # rounding, where noise is next to nothing
            return 1e10, np.zeros_like(values)
        fit = 0.5 * targets @ torch.cholesky_solve(targets[:, None], factor)[:, 0] + factor.diagonal().log().sum()
        density = fit + 0.5 * ((theta - start) / PRIOR).square().sum()
        (gradient,) = torch.autograd.grad(density, theta)
        return density.item(), gradient.numpy()

    return objective
