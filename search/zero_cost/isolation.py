"""What keeps a score from touching the caller's module and random state, and the caller's settings from the score."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from cgir.errors import CgirError, one_line
from frontends.torch.private_draws import private_draws

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """What is drawn by PyTorch, NumPy and Python depends on the seed alone; gradients on, autocast off, float32.

    Generators of this thread's own draw, and other threads' are left alone; on a GPU its global one is restored.
    """
    with private_draws(seed), _seeded_gpu(seed, device), plain_modes(device):
        yield


@contextmanager
def _seeded_gpu(seed: int, device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    state = torch.cuda.get_rng_state(device)
    try:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
        yield
    finally:
        torch.cuda.set_rng_state(state, device)


@contextmanager
def plain_modes(device: torch.device) -> Iterator[None]:
    """Gradients on, autocast off, float32 by default, whatever the caller has set; all is as before afterwards.

    The default type is the process's: it is changed, for all threads, only where it is another one.
    """
    dtype = torch.get_default_dtype()
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        if dtype == torch.float32:
            yield
            return
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(dtype)


def isolated_copy(module: nn.Module, device: torch.device) -> nn.Module:
    """A copy in float32 and training mode whose parameters all ask for a gradient, without the module's hooks.

    Raises:
        CgirError: the module cannot be copied, has no weights yet, or is none.
    """
    if not isinstance(module, nn.Module):
        raise CgirError(f"score: the network is a {type(module).__name__}; give a torch.nn.Module")
    module = unwrapped(module)
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        raise CgirError(f"score: {type(module).__name__} has lazy parameters without a shape; call it once first")
    memo: dict[int, Any] = {}  # what `deepcopy` shall take for an object of this id
    for inner in module.modules():
        for name, value in vars(inner).items():
            if name in HOOKS:
                memo[id(value)] = OrderedDict(_own_hooks(value))
            else:  # what is kept from a pass cannot be copied
                kept = (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and not leaf.is_leaf)
                memo |= {id(leaf): leaf.detach().clone() for leaf in kept}
    try:
        result = copy.deepcopy(module, memo)
        result.to(device).float()
        result.train()  # apart, as a network's own may return nothing
    except Exception as error:
        reason = one_line(error, 200, named=True)
        raise CgirError(f"score: {type(module).__name__} cannot be copied ({reason}); give one that can") from error
    for parameter in result.parameters():
        parameter.grad = None
        if parameter.is_floating_point():
            parameter.requires_grad_()
    return result


def unwrapped(module: nn.Module) -> nn.Module:
    """What `torch.compile` or a wrapper of PyTorch for several devices got."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif (inner := getattr(module, "_orig_mod", None)) is not None:
            module = inner
        else:
            return module


@contextmanager
def guarded(original: nn.Module) -> Iterator[None]:
    """While it is on, this thread can call no module of the original, which would change its buffers.

    A copy calls its original where it holds a function that does, as `self.layer = lambda x: self.inner(x)`: functions
    are not copied.

    Raises:
        CgirError: it is called.
    """
    tensors = (*original.parameters(), *original.buffers())  # which a shadow of the original has, too
    ids, thread = {id(part) for part in (*original.modules(), *tensors)}, threading.get_ident()

    def check(module: nn.Module, _inputs: Any) -> None:
        own = (module, *module._parameters.values(), *module._buffers.values())
        if threading.get_ident() == thread and not ids.isdisjoint(map(id, own)):
            raise CgirError(closure_message(original))

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def closure_message(original: nn.Module) -> str:
    """Of a network whose copies reach into the original."""
    return (
        f"score: {type(original).__name__} holds a function that refers to itself, as a lambda with `self` in it does, "
        "so that a copy would call the original; make it a method"
    )


def _own_hooks(hooks: OrderedDict[int, Any]) -> dict[int, Any]:
    """Those by which PyTorch computes weights, as of `torch.nn.utils.weight_norm`; all others are a caller's."""
    return {key: hook for key, hook in hooks.items() if type(hook).__module__.startswith("torch.nn.utils.")}
