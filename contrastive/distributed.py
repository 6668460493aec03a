"""Several processes that share the batches of one run (`torchrun`), each of which computes some of the graphs.

Every process holds the whole pool and draws the same batches; embeddings are computed where their rows are, projections
are gathered, so that each anchor sees the whole batch, and gradients are added up. A process alone passes through
everything here unchanged.
"""

from __future__ import annotations

import atexit
import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn

from cgir.errors import CgirError


def join() -> None:
    """The processes that `torchrun` started form a group (gloo) until they end, unless they already are one."""
    if distributed.is_available() and distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group("gloo")  # once: a second group would find the addresses of the first one
        atexit.register(_leave)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    together = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)


def share(total: int) -> slice:
    """This process's of `total` rows: as many as the others have, or one more."""
    rank, size = place()
    return slice(rank * total // size, (rank + 1) * total // size)


def gather(x: Tensor, rows: slice, total: int) -> Tensor:
    """Rows (R, p) of every process -> all of them (total, p), with gradients from the shares of all processes."""
    gathered: Tensor = x if place()[1] == 1 else _Gather.apply(x, rows, total)
    return gathered


class _Gather(torch.autograd.Function):
    """Rows of other processes are zeros here, so that a sum puts all together, and a sum of their gradients is the
    gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, total: int) -> Tensor:
        ctx.rows = rows
        result = x.new_zeros(total, x.shape[1])
        result[rows] = x
        distributed.all_reduce(result)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0].contiguous().clone()
        distributed.all_reduce(grad)
        return grad[ctx.rows], None, None


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the sum of all processes' gradients; a parameter that a process did not use counts as 0 there."""
    if place()[1] == 1:
        return
    several = list(parameters)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in several])
    distributed.all_reduce(flat)
    for parameter, grad in zip(several, flat.split([p.numel() for p in several]), strict=True):
        parameter.grad = grad.view_as(parameter)


def total(value: Tensor) -> float:
    """The sum over all processes of a number (), which keeps its own."""
    value = value.detach().clone()
    if place()[1] > 1:
        distributed.all_reduce(value)
    return float(value)


def agree(what: str) -> None:
    """Go on when all processes have come here with the same text; CgirError in each of them if they have not."""
    if place()[1] == 1:
        return
    digest = int.from_bytes(hashlib.sha256(what.encode()).digest()[:7], "little")
    bounds = torch.tensor([digest, -digest])
    distributed.all_reduce(bounds, distributed.ReduceOp.MAX)
    if bounds[0] != -bounds[1]:
        raise CgirError(
            f"pretrain: the {place()[1]} processes have different graphs, recipes or states of the run; give all of them the same files"
        )
