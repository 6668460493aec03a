"""Modules in evaluation mode, while another thread may go on training the same ones."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)
SAME_IN_BOTH = (nn.Linear, nn.Embedding, nn.ReLU)  # the most frequent ones; making objects takes time


def in_evaluation_mode(module: M) -> M:
    """The module itself where all of it is in evaluation mode, else one of the same parts and tensors that is.

    `module.eval()` would change what another thread trains. Objects are made for the module and those below it, as
    `module.eval()` would reach them; they share all attributes but the mode. Parts that compute the same in both modes
    are shared.
    """
    return _copy(module) if _trains(module) else module


def _trains(module: nn.Module) -> bool:
    return module.training or any(_trains(part) for part in module._modules.values() if part is not None)


def _copy(module: M) -> M:
    if type(module) in SAME_IN_BOTH:
        return module
    copy: M = object.__new__(type(module))
    attributes = vars(copy)
    attributes.update(vars(module), training=False)
    if module._modules:
        attributes["_modules"] = {name: None if part is None else _copy(part) for name, part in module._modules.items()}
    return copy
