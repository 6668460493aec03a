"""`device=` of everything that computes with tensors: "auto" is the GPU where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from cgir.errors import CgirError, one_line

Device = str | torch.device
M = TypeVar("M", bound=nn.Module)
ALIGNMENT = 16  # bytes; a tensor of any type may begin there
CPU = torch.device("cpu")


def as_device(device: Device) -> torch.device:
    """The device to compute on: "auto", "cpu", "cuda", or a certain GPU as "cuda:1"; the result has its index.

    Raises:
        CgirError: no such device, or this machine has none.
    """
    if device == "auto":
        return _current_gpu() if torch.cuda.is_available() else CPU
    try:
        found = torch.device(device)
        if found.type not in ("cpu", "cuda"):
            raise RuntimeError("supported are CPUs and NVIDIA or AMD GPUs")
    except (RuntimeError, TypeError) as error:
        found_text = f"{str(device)[:60]!r} ({one_line(error, 80)})"
        raise CgirError(f"device={found_text}; expected auto, cpu, cuda or cuda:1") from error
    if found.type == "cpu":
        return CPU
    if (found.index or 0) >= (count := torch.cuda.device_count()):
        raise CgirError(f"device={str(device)!r}: PyTorch finds {count} GPUs; use device='cpu'")
    return found if found.index is not None else _current_gpu()


def _current_gpu() -> torch.device:
    """The one that PyTorch computes on; nothing is started, as a process that forks later could not use it then."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.device("cuda", torch.cuda.current_device() if started else 0)


def device_for(module: nn.Module, device: Device = "auto") -> torch.device:
    """Where a module computes: as `as_device`, but with "auto" one that is on a GPU stays there."""
    own = next(module.parameters()).device
    return own if device == "auto" and own.type != "cpu" else as_device(device)


def on_device(module: M, device: torch.device) -> M:
    """The module itself if it is on the device, else a copy there: others may be using it where it is."""
    return module if next(module.parameters()).device == device else deepcopy(module).to(device)


def in_bfloat16(device: torch.device, autocast: bool) -> AbstractContextManager[object]:
    """Inside, products are computed in bfloat16 where `autocast` is set, as PyTorch's autocast does."""
    return torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext()


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copies of tensors on a device, sent together: of the many small ones of a batch each alone costs as much as all.

    To a GPU they go through pinned memory, and the call does not wait for them.
    """
    if device.type == "cpu":
        return [tensor.to(device) for tensor in tensors]
    starts, stop = [], 0
    for tensor in tensors:
        starts.append(stop)
        stop += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    packed = torch.empty(stop, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for tensor, start in zip(tensors, starts, strict=True):
        _part(packed, start, tensor).copy_(tensor)
    sent = packed.to(device, non_blocking=True)
    return [_part(sent, start, tensor) for tensor, start in zip(tensors, starts, strict=True)]


def _part(packed: Tensor, start: int, like: Tensor) -> Tensor:
    return packed[start : start + like.nbytes].view(like.dtype).view(like.shape)
