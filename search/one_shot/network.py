"""`Supernet`: a network whose layers are mixtures of all operations of a search space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from frontends.spaces import Space

from .choices import Choice, Picks


class Supernet(nn.Module, ABC):
    """Weights shared by all networks of a space (DARTS, Liu et al. 2019, section 2).

    BatchNorm always uses the statistics of the batch, so that a second pass equals the first.

    Attributes:
        space: whose specifications are selected; its fields are the skeleton.
        groups: number of mixture weights in each softmax, in the order of the mixture.
        choices: what a specification decides.
        config: the arguments that `supernets.supernet` rebuilds it from.
    """

    space: Space[Any]
    groups: tuple[int, ...]
    choices: tuple[Choice, ...]
    config: dict[str, Any]

    @property
    def num_weights(self) -> int:
        """Length A of the mixture."""
        return sum(self.groups)

    def mix(self, logits: Tensor) -> Tensor:
        """Logits (A,) -> mixture (A,): a softmax in every group (DARTS, eq. 2)."""
        return torch.cat([group.softmax(0) for group in torch.split(logits, list(self.groups))])

    def magnitudes(self, mixture: Tensor) -> Tensor:
        """Mixture (A,) -> what `argmax` compares (A,): the weights themselves."""
        return mixture

    def numbers(self, images: int) -> int:
        """Numbers that an operation of the first cells writes for so many images."""
        skeleton = vars(self.space)
        height, width = skeleton["image"][1:]
        return images * int(skeleton["channels"]) * int(height * width)

    @abstractmethod
    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""

    @abstractmethod
    def spec(self, picks: Picks) -> Any:
        """The specification that the chosen options of every choice make."""


class MixedNetwork(nn.Module):
    """A supernet at a fixed mixture, as a module of images alone.

    Args:
        supernet: whose weights it shares.
        mixture: (A,).
    """

    mixture: Tensor

    def __init__(self, supernet: Supernet, mixture: Tensor) -> None:
        super().__init__()
        self.supernet = supernet
        self.register_buffer("mixture", mixture.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.supernet(x, self.mixture)
        return logits


def batch_norm(channels: int, affine: bool = True) -> nn.BatchNorm2d:
    """BatchNorm by the statistics of the batch, in training and in evaluation."""
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=False)


def by_batch(layer: nn.Module, affine: bool = True) -> nn.Module:
    """A layer of a space's networks as a supernet has it: every BatchNorm in it is replaced by `batch_norm`."""
    if isinstance(layer, nn.BatchNorm2d):
        return batch_norm(layer.num_features, affine)
    for name, inner in layer.named_children():
        setattr(layer, name, by_batch(inner, affine))
    return layer
