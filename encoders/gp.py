"""Gaussian process regression on vectors: the head that needs the fewest labels."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, WhiteKernel

Array = NDArray[np.float64]


class GaussianProcess:
    """RBF + linear + white noise; the linear part carries the trend with few labels.

    Attributes: `x` (n, D) inputs, `y` (n,) targets, `theta` log hyper-parameters fitted by marginal likelihood.
    """

    def __init__(self, x: Array, y: Array, theta: Array | None = None, seed: int = 0) -> None:
        self.x, self.y = x, y
        kernel = _kernel(x.shape[1])
        if theta is None:
            model = GaussianProcessRegressor(kernel, n_restarts_optimizer=1, random_state=seed)
        else:
            model = GaussianProcessRegressor(kernel.clone_with_theta(theta), optimizer=None)
        with warnings.catch_warnings():  # a hyper-parameter at its bound is an answer, not a failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model = model.fit(x, y)
        self.theta: Array = self.model.kernel_.theta

    def predict(self, x: Array) -> Array:
        """Posterior mean (m,) at (m, D)."""
        mean: Array = self.model.predict(x)
        return mean


def _kernel(dimensions: int) -> Kernel:
    # squared distances of standardised vectors grow with their length
    size = float(np.sqrt(dimensions))
    rbf = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(size, (0.05 * size, 50 * size))
    linear = ConstantKernel(1.0 / dimensions, (1e-5 / dimensions, 1e2 / dimensions)) * DotProduct(0.0, "fixed")
    return rbf + linear + WhiteKernel(0.1, (1e-4, 2.0))
