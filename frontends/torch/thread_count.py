"""How many threads PyTorch computes on, chosen from the work, for the current thread and for a while.

Threads that wait for each other after every operation are worse than useless where operations are small or cores are
busy. On two idle cores, a training step of an encoder takes .85 of the time on both where its layers write 240,000
numbers each, .73 where they write 560,000, and .60 where they write two million; of processor time it takes half as
much again. Where another process keeps one of the cores busy, the smallest take many times as long.

`torch.set_num_threads` would also decide for threads that start meanwhile. OpenMP's own number, which all kernels
follow, belongs to a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

from cgir.cores import usable_cores

NUMBERS = 250_000  # that an operation has to write for each thread


class _Thread(threading.local):
    allowed: int | None = None  # threads that the caller of the outermost `threads_for` had


_thread = _Thread()


@contextmanager
def threads_for(numbers: int = 0) -> Iterator[None]:
    """Inside, PyTorch computes on one thread for each 250,000 `numbers` that a typical operation writes, one at least.

    There are never more than the caller had, or than cores that the process may use; afterwards there are as many as
    before. An inner block decides anew, up to the same limits.
    """
    before = torch.get_num_threads()  # also lets PyTorch set up this thread, which would undo what is set below
    outer = _thread.allowed
    allowed = before if outer is None else outer
    threads = max(1, min(numbers // NUMBERS, allowed, usable_cores()))
    _thread.allowed = allowed
    try:
        with _limited(threads) if threads != before else nullcontext():
            yield
    finally:
        _thread.allowed = outer


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, PyTorch computes on one thread, whatever the work."""
    torch.get_num_threads()
    outer, _thread.allowed = _thread.allowed, 1
    try:
        with _limited(1):
            yield
    finally:
        _thread.allowed = outer


@contextmanager
def _limited(threads: int) -> Iterator[None]:
    with _openmp().limit(limits=threads):
        yield


@cache
def _openmp() -> ThreadpoolController:
    """The OpenMP libraries of this process, PyTorch's among them."""
    return ThreadpoolController().select(user_api="openmp")
