"""Products with the inverse of the loss's Hessian in the weights ("Influential Magnitude", section 5).

Zhang et al. 2022, "Interpreting Operation Selection in Differentiable Architecture Search: A Perspective from
Influence-Directed Explanations". The loss there is cross entropy plus eta times a regulariser, which makes the Hessian
invertible; so all methods but "identity" invert (Hessian of the cross entropy, or what stands for it) + eta I. N is the
number of batches, g_j (P,) the gradient of batch j.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import cycle

import torch
from torch import Tensor

from cgir.errors import CgirError

from .derivatives import Loss, Point, hessian_product, loss_and_gradient, mean_over

log = logging.getLogger(__name__)
METHODS = ("sherman_morrison", "neumann", "conjugate_gradients", "identity")
Product = Callable[[Tensor], Tensor]  # v (P,) -> matrix times v (P,)
POWER_ITERATIONS = 10
COLUMNS = 1 << 18  # of the gradients that are in float64 at a time


def inverse_hessian_product(
    vector: Tensor,
    method: str,
    losses: Sequence[Loss],
    point: Point,
    *,
    eta: float = 0.1,
    iterations: int = 20,
    published: bool = False,
    seed: int = 0,
    gradients: Tensor | None = None,
) -> Tensor:
    """H^-1 v, (P,), by one of `METHODS`.

    "sherman_morrison" replaces the Hessian by the empirical Fisher matrix of all N batches (lemma 2). "neumann" sums
    N + 1 terms (lemma 1), each product with the Hessian of another batch; it sees 10 more to find the step gamma.
    "conjugate_gradients" takes the Hessian of the mean loss of all batches. "identity" returns v.

    Args:
        vector: v, (P,).
        method: one of `METHODS`.
        losses: of the N batches.
        point: where the Hessian is.
        eta: what is added to the Hessian's diagonal.
        iterations: largest number, of conjugate gradients.
        published: products with the Hessian by central differences.
        seed: of the first vector of power iteration.
        gradients: (N, P) of the losses at the point, where they are known.

    Raises:
        CgirError: an unknown method, eta that is not positive, a Hessian that conjugate gradients cannot invert, or a
            result that is not finite.
    """
    check_method(method, eta)
    if method == "identity":
        return vector.clone()
    if method == "sherman_morrison":
        known = torch.stack([loss_and_gradient(loss, point)[1] for loss in losses]) if gradients is None else gradients
        result = sherman_morrison(vector, known, eta)
    elif method == "neumann":
        in_turn = cycle(losses)

        def damped_of_one(v: Tensor) -> Tensor:
            return hessian_product(next(in_turn), point, v, published) + eta * v

        gamma = 1 / largest_eigenvalue(damped_of_one, vector, POWER_ITERATIONS, seed)
        result = neumann(vector, damped_of_one, len(losses), gamma)
    else:

        def damped_of_all(v: Tensor) -> Tensor:
            return mean_over(losses, lambda loss: hessian_product(loss, point, v, published)) + eta * v

        result = conjugate_gradients(vector, damped_of_all, iterations, remedy=f"raise eta={eta}")
    if not bool(torch.isfinite(result).all()):
        raise CgirError(f"one_shot: the inverse Hessian by {method} is not finite; raise eta={eta} or take another")
    return result


def check_method(method: str, eta: float) -> None:
    """CgirError unless there is such a method and eta is positive."""
    if method not in METHODS:
        raise CgirError(f"one_shot: no inverse of the Hessian is called {method!r}; there are {', '.join(METHODS)}")
    if not 0 < eta < float("inf"):
        raise CgirError(f"one_shot: eta={eta!r}; expected a positive number")


def sherman_morrison(vector: Tensor, gradients: Tensor, eta: float) -> Tensor:
    """(eta I + 1/N sum of g_j g_j^T)^-1 v, (P,): lemma 2.

    Its recursion over j is the Sherman-Morrison formula N times; Woodbury's identity, (v - G^T (N eta I + G G^T)^-1 G
    v) / eta with G the gradients, is the same in one N x N system, which is solved in float64.

    Args:
        vector: v, (P,).
        gradients: (N, P) g_j.
        eta: what is added to the Hessian's diagonal.
    """
    count = len(gradients)
    system = count * eta * torch.eye(count, dtype=torch.float64, device=vector.device)
    right = torch.zeros(count, dtype=torch.float64, device=vector.device)
    for part, segment in zip(torch.split(gradients, COLUMNS, 1), torch.split(vector, COLUMNS), strict=True):
        wide = part.double()
        system += wide @ wide.T
        right += wide @ segment.double()
    solution: Tensor = torch.linalg.solve(system, right).to(vector.dtype)
    return (vector - solution @ gradients) / eta


def neumann(vector: Tensor, product: Product, terms: int, gamma: float) -> Tensor:
    """V_0 + V_1 + ... + V_K, (P,), with V_0 = gamma v and V_k = (I - gamma H) V_{k-1}: lemma 1.

    As printed there V_k has one factor gamma more, with which the sum is not gamma times the series of (I - gamma H)^k.

    Args:
        vector: v, (P,).
        product: with H.
        terms: K.
        gamma: at most one over the largest eigenvalue of H.
    """
    term = gamma * vector
    total = term.clone()
    for _ in range(terms):
        term = term - gamma * product(term)
        total += term
    return total


def largest_eigenvalue(product: Product, like: Tensor, iterations: int, seed: int) -> float:
    """The largest absolute eigenvalue of a symmetric matrix, from below, by power iteration.

    Where every product is with another matrix, the largest growth of any of them counts.

    Args:
        product: with the matrix.
        like: (P,), of the shape, type and device of its vectors.
        iterations: number of products.
        seed: of the first vector.

    Raises:
        CgirError: the matrix is zero or not finite.
    """
    start = torch.randn(like.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(like)
    vector, norms = start / start.norm(), []
    for _ in range(iterations):
        image = product(vector)
        norms.append(float(image.norm()))
        if not 0 < norms[-1] < float("inf"):
            raise CgirError(f"one_shot: the Hessian times a unit vector has norm {norms[-1]}; no eigenvalue is known")
        vector = image / norms[-1]
    return max(norms)


def conjugate_gradients(
    vector: Tensor, product: Product, iterations: int, tolerance: float = 1e-6, remedy: str = "raise the damping"
) -> Tensor:
    """H^-1 v, (P,), for a positive definite H; after `iterations`, the nearest found so far.

    Args:
        vector: v, (P,).
        product: with H.
        iterations: largest number of products.
        tolerance: norm of the residual over that of v at which it is done.
        remedy: in the message.

    Raises:
        CgirError: H is not positive definite along a direction that was met.
    """
    result, residual = torch.zeros_like(vector), vector.clone()
    direction, square, goal = residual, float(residual @ residual), tolerance**2 * float(vector @ vector)
    for iteration in range(iterations):
        if square <= goal:
            break
        image = product(direction)
        curvature = float(direction @ image)
        if not curvature > 0:
            raise CgirError(
                f"one_shot: conjugate gradients need a positive definite Hessian; its curvature is "
                f"{curvature / float(direction @ direction):.3g} in iteration {iteration}; {remedy} by more than that"
            )
        result = result + square / curvature * direction
        residual = residual - square / curvature * image
        previous, square = square, float(residual @ residual)
        direction = residual + square / previous * direction
    log.info("conjugate gradients: residual %.2g of the vector", (square / max(float(vector @ vector), 1e-300)) ** 0.5)
    return result
