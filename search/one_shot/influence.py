"""Selection by influence functions: how much the loss would change if weights were retrained without an operation.

Zhang et al. 2022 (NeurIPS), "Interpreting Operation Selection in Differentiable Architecture Search: A Perspective from
Influence-Directed Explanations", sections 3 to 5. As there all derivatives, the Hessian too, are of the cross entropy
on validation images. They are in the mixture, after the softmax: in the logits before it the influential magnitude is
zero, as the same number added to all logits of a softmax changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from tqdm import tqdm

from .arguments import check_positive
from .choices import option_scores
from .deciding import decide_in_turn
from .derivatives import (
    Point,
    batch_loss,
    loss_and_gradient,
    mean_over,
    mixed_product,
    mixed_transpose_product,
    supernet_point,
)
from .images import Images
from .inverse_hessian import check_method, inverse_hessian_product
from .ranking import Ranking, draw_batches, ranked
from .trained import Trained


def influential_magnitude(
    trained: Trained,
    images: Images,
    *,
    seed: int,
    exclude: Collection[str],
    progress: bool,
    inverse: str = "sherman_morrison",
    batches: int = 20,
    batch: int = 64,
    eta: float = 0.1,
    iterations: int = 20,
    published: bool = False,
) -> Ranking:
    """I_M = -1^T (d2L / dmixture dtheta) H^-1 (d2L / dtheta dmixture), signed; the highest is chosen (definition 1).

    Both mixed products are means over the same N batches, and "sherman_morrison" and "conjugate_gradients" see all of
    them too; "neumann" sees one of them in each product. `none` has no weights and an I_M of exactly 0, so that it is
    chosen where all others are negative: exclude it to forbid that.

    Args:
        trained: the supernet and its mixture.
        images: validation images.
        seed: of the batches.
        exclude: names of options that are not chosen.
        progress: show a progress bar.
        inverse: of the Hessian; one of `inverse_hessian.METHODS`.
        batches: N; fewer where there are fewer images.
        batch: largest number of images in a batch.
        eta: what is added to the Hessian's diagonal.
        iterations: of conjugate gradients.
        published: central differences, as published, instead of exact products with second derivatives.
    """
    check_method(inverse, eta)
    check_positive("one_shot", {"batches": batches, "iterations": iterations})
    drawn = draw_batches(trained.supernet, images, count=batches * batch, batch=batch, seed=seed)
    losses = [batch_loss(trained.supernet, part) for part in drawn]
    point = supernet_point(trained.supernet, trained.mixture)
    with tqdm(total=3, desc="influential magnitude", disable=not progress) as bar:
        along = torch.ones_like(point.mixture)
        moved = mean_over(losses, lambda loss: mixed_product(loss, point, along, published))
        bar.update()
        change = inverse_hessian_product(
            moved, inverse, losses, point, eta=eta, iterations=iterations, published=published, seed=seed
        )
        bar.update()
        result = 0 - mean_over(losses, lambda loss: mixed_transpose_product(loss, point, change, published))
        bar.update()
    choices = trained.supernet.choices
    return ranked(choices, option_scores(choices, result.double().cpu().numpy()), exclude)


def influence(
    trained: Trained,
    images: Images,
    *,
    seed: int,
    exclude: Collection[str],
    progress: bool,
    inverse: str = "sherman_morrison",
    batches: int = 20,
    batch: int = 64,
    eta: float = 0.1,
    iterations: int = 20,
    published: bool = False,
) -> Ranking:
    """How much the loss after retraining, L - 1/2 g^T H^-1 g, rises without an option (eq. 5); the highest is chosen.

    Choices are decided in turn as by `perturbation`; an option is removed without renormalising the others. With the
    option too the loss is that after retraining: eq. 5 takes weights to be optimal there, so that g vanishes. Loss,
    gradient g and "sherman_morrison" see the same N batches, so that the last term is below 1/2; with other methods it
    is larger, the smaller eta is.

    Args:
        trained: the supernet and its mixture.
        images: validation images.
        seed: of the batches, and of the order of choices.
        exclude: names of options that are not chosen.
        progress: show a progress bar.
        inverse: of the Hessian, without the option; one of `inverse_hessian.METHODS`.
        batches: N; fewer where there are fewer images.
        batch: largest number of images in a batch.
        eta: what is added to the Hessian's diagonal.
        iterations: of conjugate gradients.
        published: central differences instead of exact products with the Hessian.
    """
    check_method(inverse, eta)
    check_positive("one_shot", {"batches": batches, "iterations": iterations})
    drawn = draw_batches(trained.supernet, images, count=batches * batch, batch=batch, seed=seed)
    losses = [batch_loss(trained.supernet, part) for part in drawn]
    point = supernet_point(trained.supernet, trained.mixture)

    def retrained_loss(mixture: Tensor) -> float:
        at = Point(point.theta, mixture)
        found = [loss_and_gradient(loss, at) for loss in losses]
        gradients = torch.stack([gradient for _, gradient in found])
        mean = gradients.mean(0)
        solved = inverse_hessian_product(
            mean,
            inverse,
            losses,
            at,
            eta=eta,
            iterations=iterations,
            published=published,
            seed=seed,
            gradients=gradients,
        )
        return float(torch.stack([loss for loss, _ in found]).double().mean()) - float(mean @ solved) / 2

    return decide_in_turn(
        trained.supernet.choices,
        point.mixture,
        lambda mixture: -retrained_loss(mixture),
        seed=seed,
        exclude=exclude,
        progress=progress,
    )
