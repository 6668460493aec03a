"""Data-parallel pretraining over `torch.distributed`: every process computes its rows of a shared batch.

Every process holds the whole pool and samples the same batches. Each embeds its own rows; projections are gathered, so
that every anchor is compared with the whole batch, and gradients are summed. With a single process all functions are
no-ops. Processes talk by NCCL where each has a GPU of its own, else by gloo.
"""

from __future__ import annotations

import atexit
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cgir.errors import CgirError
from encoders.engine.devices import Device, as_device


def init_process_group(device: Device = "auto") -> torch.device:
    """Join the group of the processes that `torchrun` started, until this process ends; no-op without `torchrun`.

    A group that is initialised already is used as it is.

    Returns:
        Where this process computes: `device`, of "auto" and "cuda" the GPU of its number on this machine.
    """
    where, launched = as_device(device), dist.is_available() and dist.is_torchelastic_launched()
    if launched and where.type == "cuda" and torch.device("cuda" if device == "auto" else device).index is None:
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    if launched and not dist.is_initialized():
        dist.init_process_group(_backend(where, device))  # once: a second one would find the addresses of the first
        atexit.register(_destroy_process_group)
    return where


def _backend(where: torch.device, device: Device) -> str:
    """NCCL where each process of this machine has a GPU of its own, as NCCL asks for; gloo knows GPUs too."""
    if where.type == "cpu" or not dist.is_nccl_available():
        return "gloo"
    gpus = torch.cuda.device_count() if str(device) in ("auto", "cuda") else 1
    return "nccl" if int(os.environ["LOCAL_WORLD_SIZE"]) <= gpus else "gloo"


def _destroy_process_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) without a group."""
    initialized = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if initialized else (0, 1)


def local_rows(total: int) -> slice:
    """The contiguous rows of this process out of `total`; processes differ by at most one row."""
    rank, world_size = rank_and_world_size()
    return slice(rank * total // world_size, (rank + 1) * total // world_size)


def all_gather(x: Tensor, rows: slice, total: int) -> Tensor:
    """Gather the rows of all processes, differentiably: gradients of all processes are summed.

    Args:
        x: (R, p), this process's rows.
        rows: where they stand among all rows.
        total: number of rows of all processes.

    Returns:
        (total, p), equal in every process.
    """
    if rank_and_world_size()[1] == 1:
        return x
    apply: Callable[[Tensor, slice, int], Tensor] = _AllGather.apply
    return apply(x, rows, total)


class _AllGather(torch.autograd.Function):
    """All-gather of unequal numbers of rows as an all-reduce over zero-padded rows; the backward sums gradients."""

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
    """Sum gradients over all processes, in place; a parameter without a gradient in a process counts as 0 there."""
    if rank_and_world_size()[1] == 1:
        return
    reduced = list(parameters)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in reduced])
    dist.all_reduce(flat)
    for parameter, grad in zip(reduced, torch.split(flat, [p.numel() for p in reduced]), strict=True):
        parameter.grad = grad.view_as(parameter)


def all_reduce_sums(values: Mapping[str, Tensor]) -> dict[str, float]:
    """The sums of scalars over all processes, at once."""
    total = torch.stack([value.detach() for value in values.values()])
    if rank_and_world_size()[1] > 1:
        dist.all_reduce(total)
    return dict(zip(values, total.cpu().tolist(), strict=True))


def any_process(value: bool, device: torch.device) -> bool:
    """Whether `value` holds in any of the processes, which compute on `device`; the same in all of them."""
    if rank_and_world_size()[1] == 1:
        return value
    return all_reduce_sums({"any": torch.tensor(float(value), device=device)})["any"] > 0


def check_same(text: str, device: torch.device) -> None:
    """Barrier of processes, on `device`, that raises CgirError in all of them unless all pass the same text."""
    world_size = rank_and_world_size()[1]
    if world_size == 1:
        return
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
    bounds = torch.tensor([digest, -digest], device=device)
    dist.all_reduce(bounds, dist.ReduceOp.MAX)
    if bounds[0] != -bounds[1]:
        raise CgirError(
            f"pretrain: the {world_size} processes have different graphs, configs or states of the run; "
            "give all of them the same files"
        )
