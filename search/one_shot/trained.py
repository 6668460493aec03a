"""`Trained`: a supernet with its architecture parameters, which selection rules read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cgir.errors import CgirError

from .images import Images
from .network import Supernet


@dataclass
class Trained:
    """A supernet with its architecture parameters.

    Attributes:
        supernet: with trained weights.
        logits: (A,) architecture parameters.
        history: records of the training: step, losses and accuracy of that step's batches, mixture (A,).
        settings: of the training; empty for an untrained supernet.
    """

    supernet: Supernet
    logits: Tensor
    history: list[dict[str, Any]]
    settings: dict[str, Any]

    @property
    def mixture(self) -> Tensor:
        """(A,) weights of the operations, after the softmax."""
        return self.supernet.mix(self.logits)


def untrained(supernet: Supernet) -> Trained:
    """A supernet as it is, with equal weights of all operations."""
    return Trained(supernet, next(supernet.parameters()).detach().new_zeros(supernet.num_weights), [], {})


def check_images(supernet: Supernet, images: Images) -> None:
    """CgirError unless the supernet reads such images and has their classes."""
    if not isinstance(supernet, Supernet):
        raise CgirError(f"one_shot: the supernet is a {type(supernet).__name__}; one_shot.supernet makes one")
    if not isinstance(images, Images):
        raise CgirError(f"one_shot: the images are a {type(images).__name__}; give one_shot.Images or load_images(...)")
    if images.shape != supernet.space.image:
        raise CgirError(
            f"{images.name}: images {images.shape}, the supernet reads {supernet.space.image}; "
            f"build it with image={images.shape}"
        )
    classes = getattr(supernet.space, "classes")  # noqa: B009  (of all spaces that have a supernet)
    if images.classes != classes:
        raise CgirError(
            f"{images.name}: {images.classes} classes, the supernet has {classes}; "
            f"build it with classes={images.classes}"
        )


def check_trained(trained: Trained, images: Images) -> None:
    """CgirError unless it is a supernet with its logits, which reads such images and has their classes."""
    if not isinstance(trained, Trained):
        raise CgirError(
            f"one_shot: what is selected from is a {type(trained).__name__}; "
            "give what train(...), load_trained(...) or untrained(...) returns"
        )
    check_images(trained.supernet, images)
    if trained.logits.shape != (trained.supernet.num_weights,):
        raise CgirError(
            f"one_shot: logits of shape {tuple(trained.logits.shape)}; "
            f"the supernet has {trained.supernet.num_weights} weights of operations"
        )
