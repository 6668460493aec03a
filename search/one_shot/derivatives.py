"""First and second derivatives of a supernet's loss in its weights and its mixture.

    theta     (P,)    weights of the supernet, flat
    mixture   (A,)    weights of the operations, after the softmax
    loss              scalar function of both, on one batch

Products with second derivatives are exact: the gradient of (gradient times vector). `published=True` instead computes
them as DARTS does (Liu et al. 2019, eq. 8), by a central difference with step .01 / norm of the vector. Where the loss
has kinks, as with ReLU, that is another number, and a smaller step does not bring it nearer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from .bilevel import Batch
from .network import Supernet

Loss = Callable[[Tensor, Tensor], Tensor]  # (theta, mixture) -> scalar
STEP = 0.01  # of a published difference, over the norm of its direction


class Point(NamedTuple):
    """Where derivatives are taken: weights (P,) and mixture (A,)."""

    theta: Tensor
    mixture: Tensor


def supernet_point(supernet: Supernet, mixture: Tensor) -> Point:
    """The weights of a supernet, copied, and a mixture."""
    weights = [parameter.detach().flatten() for parameter in supernet.parameters()]
    return Point(torch.cat(weights), mixture.detach().clone())


def batch_loss(supernet: Supernet, batch: Batch) -> Loss:
    """Mean cross entropy of a batch as a function of weights and mixture; the supernet's own weights are not read."""
    names = [name for name, _ in supernet.named_parameters()]
    shapes = [parameter.shape for parameter in supernet.parameters()]
    sizes = [shape.numel() for shape in shapes]

    def loss(theta: Tensor, mixture: Tensor) -> Tensor:
        parts = torch.split(theta, sizes)
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return cross_entropy(functional_call(supernet, weights, (batch[0], mixture)), batch[1])

    return loss


@torch.enable_grad()
def loss_and_gradient(loss: Loss, point: Point) -> tuple[Tensor, Tensor]:
    """The loss, a scalar, and its gradient in theta (P,)."""
    theta = point.theta.detach().requires_grad_()
    value = loss(theta, point.mixture)
    return value.detach(), _grad(value, theta)


def hessian_product(loss: Loss, point: Point, vector: Tensor, published: bool = False) -> Tensor:
    """(d2L / dtheta dtheta) v, (P,).

    Args:
        loss: of one batch.
        point: where.
        vector: v, (P,).
        published: a central difference instead of the exact product.
    """
    if published:
        return _difference(lambda step: _theta_gradient(loss, point.theta + step, point.mixture), vector)
    return _product(loss, point, 0, 0, vector)


def mixed_product(loss: Loss, point: Point, vector: Tensor, published: bool = False) -> Tensor:
    """(d2L / dtheta dmixture) v, (P,): how the gradient in theta changes when the mixture moves along v.

    Args:
        loss: of one batch.
        point: where.
        vector: v, (A,).
        published: a central difference instead of the exact product.
    """
    if published:
        return _difference(lambda step: _theta_gradient(loss, point.theta, point.mixture + step), vector)
    return _product(loss, point, 1, 0, vector)


def mixed_transpose_product(loss: Loss, point: Point, vector: Tensor, published: bool = False) -> Tensor:
    """(d2L / dmixture dtheta) u, (A,): how the gradient in the mixture changes when the weights move along u.

    Args:
        loss: of one batch.
        point: where.
        vector: u, (P,).
        published: a central difference instead of the exact product.
    """
    if published:
        return _difference(lambda step: _mixture_gradient(loss, point.theta + step, point.mixture), vector)
    return _product(loss, point, 0, 1, vector)


def mean_over(losses: Sequence[Loss], product: Callable[[Loss], Tensor]) -> Tensor:
    """The mean of a product over the losses of several batches, one batch in memory at a time."""
    total = product(losses[0])
    for loss in losses[1:]:
        total = total + product(loss)
    return total / len(losses)


@torch.enable_grad()
def _product(loss: Loss, point: Point, first: int, second: int, vector: Tensor) -> Tensor:
    """The gradient in `point[second]` of (gradient in `point[first]`) times vector."""
    leaves = [part.detach().requires_grad_() for part in point]
    inner = torch.autograd.grad(
        loss(*leaves), leaves[first], create_graph=True, allow_unused=True, materialize_grads=True
    )[0]
    along = inner @ vector
    return _grad(along, leaves[second]) if along.requires_grad else torch.zeros_like(point[second])


def _difference(gradient: Callable[[Tensor], Tensor], vector: Tensor) -> Tensor:
    norm = float(vector.norm())
    if norm == 0:
        return torch.zeros_like(gradient(vector))
    step = STEP / norm
    return (gradient(step * vector) - gradient(-step * vector)) / (2 * step)


def _theta_gradient(loss: Loss, theta: Tensor, mixture: Tensor) -> Tensor:
    return loss_and_gradient(loss, Point(theta, mixture))[1]


@torch.enable_grad()
def _mixture_gradient(loss: Loss, theta: Tensor, mixture: Tensor) -> Tensor:
    leaf = mixture.detach().requires_grad_()
    return _grad(loss(theta, leaf), leaf)


def _grad(value: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(value, leaf, allow_unused=True, materialize_grads=True)[0]
