"""Selection by what the supernet loses without an operation, in validation accuracy or in a zero-cost proxy."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from cgir.errors import CgirError
from search.zero_cost.scoring import score

from .arguments import check_positive
from .deciding import decide_in_turn
from .images import Images
from .network import MixedNetwork, Supernet
from .ranking import Ranking, draw_batches, evaluate
from .train_settings import TrainSettings
from .trained import Trained, check_images

CRITERIA = ("accuracy", "loss")


def perturbation(
    trained: Trained,
    images: Images,
    *,
    seed: int,
    exclude: Collection[str],
    progress: bool,
    criterion: str = "accuracy",
    count: int = 1024,
    batch: int = 256,
    train: Images | None = None,
    tune_steps: int = 0,
    tune_lr: float = 0.0025,
) -> Ranking:
    """DARTS-PT (Wang et al. 2021, https://arxiv.org/abs/2108.04392, algorithm 1).

    Choices are decided in random order, operations before inputs of nodes. An option's score is how much the validation
    accuracy drops, as a share, or how much the loss rises, in nats, when it alone is taken away. Other weights of the
    mixture stay as they are. Of options with equal scores the earlier is chosen, as by the authors. They go on training
    for five epochs after every decision, of weights and architecture; here that is `tune_steps` of the weights alone.

    Args:
        trained: the supernet and its mixture.
        images: validation images.
        seed: of the order and of the images.
        exclude: names of options that are not chosen.
        progress: show a progress bar.
        criterion: "accuracy" or "loss".
        count: of images that are evaluated, or all where there are fewer; the same in all evaluations.
        batch: of them at a time; BatchNorm sees one batch, so scores depend on it.
        train: images of the tuning; needed for it, and for nothing else.
        tune_steps: steps of SGD after every decision, with the batch, momentum, weight decay and clipping of
            `TrainSettings`.
        tune_lr: their learning rate; a tenth of the training's first.

    Raises:
        CgirError: an option out of range, or the loss is no longer finite.
    """
    if criterion not in CRITERIA:
        raise CgirError(f"perturbation: criterion={criterion!r}; expected {' or '.join(CRITERIA)}")
    if train is not None:
        check_images(trained.supernet, train)
    if type(tune_steps) is not int or tune_steps < 0 or (tune_steps > 0) != (train is not None):
        found = "None" if train is None else train.name
        raise CgirError(
            f"perturbation: tune_steps={tune_steps!r} with train={found}; tuning needs both, or give neither"
        )
    check_positive("perturbation", {"tune_lr": tune_lr})
    supernet = trained.supernet
    batches = draw_batches(supernet, images, count=count, batch=batch, seed=seed)
    tuner = None
    if train is not None:
        supernet = deepcopy(supernet)
        tuner = _Tuner(supernet, train, tune_steps, tune_lr, seed)

    def quality(mixture: Tensor) -> float:
        found = evaluate(supernet, mixture, batches)
        return found.accuracy if criterion == "accuracy" else -found.loss

    return decide_in_turn(
        supernet.choices,
        trained.mixture.detach(),
        quality,
        seed=seed,
        exclude=exclude,
        progress=progress,
        after=tuner or (lambda mixture: None),
    )


def zero_cost(
    trained: Trained,
    images: Images,
    *,
    seed: int,
    exclude: Collection[str],
    progress: bool,
    proxy: str = "naswot",
    batch: int = 64,
) -> Ranking:
    """Zero-Cost-PT (Xiang et al. 2023, https://arxiv.org/abs/2106.06799, algorithm 1), with one candidate.

    As `perturbation`, by a zero-cost proxy of the supernet in place of its accuracy. The authors make ten candidates
    with different orders of decisions and take the one with the best proxy; call this with several seeds for that.
    Theirs is an untrained supernet, see `untrained`.

    Args:
        trained: the supernet and its mixture.
        images: of which one batch is drawn.
        seed: of the order and of the images.
        exclude: names of options that are not chosen.
        progress: show a progress bar.
        proxy: one of `search.zero_cost.NAMES`.
        batch: number of images.

    Raises:
        CgirError: no such proxy, or it is undefined at a decision.
    """
    supernet = trained.supernet
    ((pixels, labels),) = draw_batches(supernet, images, count=batch, batch=batch, seed=seed)

    def quality(mixture: Tensor) -> float:
        network = MixedNetwork(supernet, mixture)
        value = score(network, pixels, labels, names=(proxy,), seed=seed, device=str(pixels.device))[proxy]
        if value is None:
            raise CgirError(
                f"zero_cost: {proxy} of the supernet is undefined at a decision, as where no path is left; "
                "use another proxy, or exclude=('none',) where there is such an operation"
            )
        return value

    return decide_in_turn(
        supernet.choices, trained.mixture.detach(), quality, seed=seed, exclude=exclude, progress=progress
    )


class _Tuner:
    """Trains the weights of a supernet at a fixed mixture, by the optimiser of `train` with its defaults."""

    def __init__(self, supernet: Supernet, images: Images, steps: int, lr: float, seed: int) -> None:
        self.supernet, self.images, self.steps, self.lr = supernet, images, steps, lr
        self.generator = torch.Generator().manual_seed(seed)
        self.weights = list(supernet.parameters())
        self.sgd = torch.optim.SGD(
            self.weights, lr, momentum=TrainSettings.momentum, weight_decay=TrainSettings.weight_decay
        )

    def __call__(self, mixture: Tensor) -> None:
        """Take the steps."""
        for _ in range(self.steps):
            pixels, labels = self.images.draw(TrainSettings.batch, self.generator)
            loss = cross_entropy(self.supernet(pixels.to(mixture), mixture), labels.to(mixture.device))
            if not bool(torch.isfinite(loss)):
                raise CgirError(f"perturbation: the loss of the tuning is {loss.item()}; lower tune_lr={self.lr}")
            gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight.grad = gradient
            clip_grad_norm_(self.weights, TrainSettings.clip)
            self.sgd.step()
