"""`TrainingRun`: the state of a supernet's training, and its steps."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from cgir.errors import CgirError
from encoders.training.loop import cosine_factor

from .bilevel import Batch, LossGradient, Unrolled, architecture_gradient, weight_gradient
from .images import Images
from .network import Supernet
from .train_settings import TrainSettings
from .trained import Trained

RECORDS = 100  # entries of the history


class TrainingRun:
    """Supernet, both optimisers, generator of batches, step counter and history.

    Args:
        supernet: the start; a copy is trained.
        settings: hyperparameters.
        device: to train on.
    """

    def __init__(self, supernet: Supernet, settings: TrainSettings, device: torch.device) -> None:
        self.settings, self.device, self.step = settings, device, 0
        self.supernet = deepcopy(supernet).to(device).requires_grad_()
        self.data: dict[str, str] = {}
        self.history: list[dict[str, Any]] = []
        self.generator = torch.Generator().manual_seed(settings.seed)
        logits = 1e-3 * torch.randn(supernet.num_weights, generator=self.generator, dtype=torch.float32)
        self.weights = list(self.supernet.parameters())
        self.logits = logits.to(self.weights[0].detach()).requires_grad_()
        self.sgd = torch.optim.SGD(
            self.weights, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        self.adam = torch.optim.Adam([self.logits], settings.alpha_lr, (0.5, 0.999), weight_decay=settings.alpha_decay)

    def advance(self, train: Images, valid: Images) -> tuple[float, float]:
        """One step of the architecture, then one of the weights; the losses of their batches before the steps."""
        settings = self.settings
        lr = settings.min_lr + (settings.lr - settings.min_lr) * cosine_factor(self.step, settings.steps)
        self.sgd.param_groups[0]["lr"] = lr
        train_batch, valid_batch = self._draw(train), self._draw(valid)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.autocast):
            upper = architecture_gradient(self.supernet, self.logits, valid_batch, self._unrolled(train_batch, lr))
        self._check("validation", upper)
        self._update(self.adam, [self.logits], upper)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.autocast):
            lower = weight_gradient(self.supernet, self.logits, train_batch)
        self._check("training", lower)
        self._update(self.sgd, self.weights, lower, settings.clip)
        self.step += 1
        if self.step % max(1, settings.steps // RECORDS) == 0 or self.step == settings.steps:
            self._record(upper, lower, valid_batch)
        return lower.loss, upper.loss

    def _unrolled(self, batch: Batch, lr: float) -> Unrolled | None:
        if self.settings.order == 1:
            return None
        states = [self.sgd.state.get(weight, {}).get("momentum_buffer") for weight in self.weights]
        buffers = [buffer for buffer in states if buffer is not None]
        return Unrolled(batch, lr, self.settings.momentum, self.settings.weight_decay, buffers)

    def _draw(self, images: Images) -> Batch:
        pixels, labels = images.draw(self.settings.batch, self.generator)
        return pixels.to(self.logits.detach()), labels.to(self.device)

    def _check(self, which: str, result: LossGradient) -> None:
        if not isfinite(result.loss) or not all(bool(torch.isfinite(part).all()) for part in result.gradient):
            raise CgirError(
                f"one_shot.train: the {which} loss of step {self.step} or its gradient is not finite "
                f"(loss {result.loss}); lower lr={self.settings.lr} or alpha_lr={self.settings.alpha_lr}"
            )

    def check_finite(self) -> None:
        """CgirError if a step has made a weight or a logit that is no number, of which the next loss would tell."""
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (*self.weights, self.logits)):
            raise CgirError(
                f"one_shot.train: after step {self.step} a weight is not finite; "
                f"lower lr={self.settings.lr} or alpha_lr={self.settings.alpha_lr}"
            )

    @staticmethod
    def _update(
        optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], result: LossGradient, clip: float | None = None
    ) -> None:
        for parameter, gradient in zip(parameters, result.gradient, strict=True):
            parameter.grad = gradient
        if clip is not None:
            clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()

    def _record(self, upper: LossGradient, lower: LossGradient, valid_batch: Batch) -> None:
        accuracy = float((upper.answers.argmax(1) == valid_batch[1]).float().mean())
        mixture = self.supernet.mix(self.logits.detach()).tolist()
        record = {"train_loss": lower.loss, "valid_loss": upper.loss, "valid_accuracy": accuracy, "mixture": mixture}
        self.history.append({"step": self.step} | record)

    def result(self) -> Trained:
        """The supernet as it is now."""
        for weight in self.weights:
            weight.grad = None
        return Trained(self.supernet, self.logits.detach().clone(), self.history, asdict(self.settings))
