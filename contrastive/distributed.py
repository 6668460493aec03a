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
import torch.distributed as dist
from torch import Tensor, nn

from cgir.errors import CgirError


def init_process_group() -> None:
    """The processes that `torchrun` started form a group (gloo) until they end, unless they already are one."""
    if dist.is_available() and dist.is_torchelastic_launched() and not dist.is_initialized():
        dist.init_process_group("gloo")  # once: a second group would find the addresses of the first one
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    together = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if together else (0, 1)


def local_rows(total: int) -> slice:
    """This process's of `total` rows: as many as the others have, or one more."""
    rank, size = rank_and_world_size()
    return slice(rank * total // size, (rank + 1) * total // size)


def all_gather(x: Tensor, rows: slice, total: int) -> Tensor:
    """Rows (R, p) of every process -> all of them (total, p), with gradients from the shares of all processes."""
    gathered: Tensor = x if rank_and_world_size()[1] == 1 else _AllGather.apply(x, rows, total)
    return gathered


class _AllGather(torch.autograd.Function):
    """Rows of other processes are zeros here, so that a sum puts all together, and a sum of their gradients is the
    gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, total: int) -> Tensor:
        ctx.rows = rows
        result = x.new_zeros(total, x.shape[1])
        result[rows] = x
        dist.all_reduce(result)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad[ctx.rows], None, None


def all_reduce_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the sum of all processes' gradients; a parameter that a process did not use counts as 0 there."""
    if rank_and_world_size()[1] == 1:
        return
    several = list(parameters)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in several])
    dist.all_reduce(flat)
    for parameter, grad in zip(several, flat.split([p.numel() for p in several]), strict=True):
        parameter.grad = grad.view_as(parameter)


def all_reduce_sum(value: Tensor) -> float:
    """The sum over all processes of a number (), which keeps its own."""
    value = value.detach().clone()
    if rank_and_world_size()[1] > 1:
        dist.all_reduce(value)
    return float(value)


def check_same(what: str) -> None:
    """Go on when all processes have come here with the same text; CgirError in each of them if they have not."""
    if rank_and_world_size()[1] == 1:
        return
    digest = int.from_bytes(hashlib.sha256(what.encode()).digest()[:7], "little")
    bounds = torch.tensor([digest, -digest])
    dist.all_reduce(bounds, dist.ReduceOp.MAX)
    if bounds[0] != -bounds[1]:
        raise CgirError(
            f"pretrain: the {rank_and_world_size()[1]} processes have different graphs, recipes or states of the run; give all of them the same files"
        )
