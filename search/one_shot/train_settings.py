"""Hyperparameters of a supernet's training."""

from __future__ import annotations

from dataclasses import dataclass, fields

from cgir.errors import CgirError
from search.seeds import check_seed

from .arguments import check_positive, check_types


@dataclass(frozen=True)
class TrainSettings:
    """Hyperparameters of `train`; the defaults are the published ones (section 3.1 there), but for `alpha_lr`.

    Args:
        steps: pairs of one step of the architecture and one of the weights.
        batch: images of either.
        order: 1 or 2; of the gradient of the architecture.
        seed: of batches, and of the logits' initial values.
        lr: of SGD at the first step.
        min_lr: at the last, by a cosine.
        momentum: of SGD.
        weight_decay: of SGD.
        clip: largest norm of the weights' gradient.
        alpha_lr: of Adam on the logits; published 3e-4, for twenty times as many steps.
        alpha_decay: weight decay of Adam.
        autocast: compute in bfloat16 where PyTorch's autocast does.

    Raises:
        CgirError: a value out of range.
    """

    steps: int
    batch: int = 64
    order: int = 1
    seed: int = 0
    lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    alpha_lr: float = 3e-3
    alpha_decay: float = 1e-3
    autocast: bool = False

    def __post_init__(self) -> None:
        what = "one_shot.train"
        check_types(what, vars(self), {field.name: field.default for field in fields(self)} | {"steps": 100})
        if self.steps < 1:
            raise CgirError(f"{what}: steps={self.steps!r}; expected a positive whole number")
        if self.batch < 2:
            raise CgirError(f"{what}: batch={self.batch!r}; BatchNorm needs at least 2 images")
        if self.order not in (1, 2):
            raise CgirError(f"{what}: order={self.order!r}; expected 1 or 2")
        check_seed(what, self.seed)
        check_positive(what, {"lr": self.lr, "alpha_lr": self.alpha_lr, "clip": self.clip})
        for name in ("min_lr", "momentum", "weight_decay", "alpha_decay"):
            if getattr(self, name) < 0 or self.momentum >= 1:
                found = f"{name}={getattr(self, name)!r}, momentum={self.momentum!r}"
                raise CgirError(f"{what}: {found}; expected none below 0, and a momentum below 1")
