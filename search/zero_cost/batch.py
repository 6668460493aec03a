"""The images and labels that a network is probed with, checked before anything is computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cgir.errors import CgirError


def as_inputs(inputs: Tensor | tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Inputs as a tuple on the device, those of floating point in float32.

    Raises:
        CgirError: there is none, or one is not a tensor, without a batch axis or empty.
    """
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    for x in several:
        if not isinstance(x, Tensor):
            raise CgirError(f"score: inputs hold a {type(x).__name__}; give a tensor, or a tuple of tensors")
    if not several or several[0].dim() == 0 or several[0].numel() == 0:
        raise CgirError("score: inputs have no example; the first axis of the first input is the batch")
    moved = [x.detach().clone().to(device) for x in several]
    return tuple(x.float() if x.is_floating_point() else x for x in moved)


def check_count(inputs: tuple[Tensor, ...], targets: Any) -> None:
    """Targets that are a tensor are as many as the inputs.

    Raises:
        CgirError: they are not.
    """
    if isinstance(targets, Tensor) and (targets.dim() == 0 or len(targets) != len(inputs[0])):
        count = len(targets) if targets.dim() else "no axis of"
        raise CgirError(f"score: {count} targets for {len(inputs[0])} inputs; give one for each")


def check_classes(output: Any, targets: Any) -> None:
    """What cross-entropy expects: logits, and a class of each example, or a probability of each class.

    Raises:
        CgirError: the output is something else, or a class lies outside.
    """
    if not isinstance(output, Tensor) or output.dim() < 2:
        found = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise CgirError(f"score: the output is {found}; cross-entropy expects (B, classes), give a loss that takes it")
    if not isinstance(targets, Tensor):
        raise CgirError(f"score: targets are a {type(targets).__name__}; cross-entropy expects a tensor of classes")
    expected = output.shape if targets.is_floating_point() else output.shape[:1] + output.shape[2:]
    if targets.shape != expected:
        shapes = f"{tuple(targets.shape)} for outputs of {tuple(output.shape)}"
        raise CgirError(f"score: targets of shape {shapes}; expected {tuple(expected)}")
    if not targets.is_floating_point():
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= output.shape[1]:
            raise CgirError(f"score: targets from {low} to {high}, and the network has {output.shape[1]} classes")
