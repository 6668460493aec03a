"""PyTorch's threads: as many as the work pays for, in this thread alone, and as before afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from threadpoolctl import ThreadpoolController

from frontends.torch import thread_count
from frontends.torch.thread_count import NUMBERS, one_thread, threads_for

OPENMP = ThreadpoolController().select(user_api="openmp")


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of four cores, whose user has not limited PyTorch."""
    monkeypatch.setattr(thread_count, "usable_cores", lambda: 4)
    torch.get_num_threads()  # sets this thread up, where nothing has
    with user_allows(4):
        yield


@contextmanager
def user_allows(count: int) -> Iterator[None]:
    with OPENMP.limit(limits=count):
        yield


@pytest.mark.parametrize(
    ("numbers", "expected"), [(0, 1), (NUMBERS, 1), (2 * NUMBERS, 2), (4 * NUMBERS, 4), (100 * NUMBERS, 4)]
)
def test_work_decides(numbers: int, expected: int) -> None:
    with threads_for(numbers):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 4


def test_no_more_than_the_user_allows_or_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    with user_allows(2), threads_for(100 * NUMBERS):
        assert torch.get_num_threads() == 2
    monkeypatch.setattr(thread_count, "usable_cores", lambda: 3)
    with threads_for(100 * NUMBERS):
        assert torch.get_num_threads() == 3


def test_an_inner_block_decides_anew() -> None:
    with threads_for():
        with threads_for(3 * NUMBERS):
            assert torch.get_num_threads() == 3
            with threads_for():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 4


def test_one_thread_holds_for_what_it_calls() -> None:
    with one_thread(), threads_for(100 * NUMBERS):
        assert torch.get_num_threads() == 1
    with threads_for(100 * NUMBERS):
        assert torch.get_num_threads() == 4


def test_an_error_restores_too() -> None:
    with pytest.raises(KeyError), threads_for():
        raise KeyError
    assert torch.get_num_threads() == 4


def test_other_threads_keep_theirs() -> None:
    entered, leave, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        torch.get_num_threads()
        with user_allows(3):
            entered.wait(10)
            seen.append(torch.get_num_threads())
            with threads_for():
                seen.append(torch.get_num_threads())
                leave.set()
            seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    thread.start()
    with threads_for(2 * NUMBERS):
        entered.set()
        leave.wait(10)
        assert torch.get_num_threads() == 2
    thread.join(10)
    assert seen == [3, 1, 3]


def test_a_new_thread_starts_with_the_users_number() -> None:
    seen = []
    with threads_for():
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join(10)
    assert seen == [1]  # of conftest, by `torch.set_num_threads`, and not what this block has set
    with user_allows(4):
        assert torch.get_num_threads() == 4


PROGRAM = """
import os, torch
from frontends.torch import thread_count
thread_count.usable_cores = lambda: 2
a = torch.randn(600, 600, requires_grad=True)
with thread_count.threads_for({numbers}):
    for _ in range(2):
        torch.autograd.backward(((a @ a).exp() * 0).sum() + torch.linalg.svdvals(a[:50, :50]).sum())
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this system does not list threads")
def test_kernels_follow() -> None:
    """No library that computes for PyTorch starts a second thread inside, counted by the system."""

    def tasks(numbers: int) -> int:
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PROGRAM.format(numbers=numbers)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        return int(run.stdout)

    assert tasks(0) < tasks(2 * NUMBERS)
