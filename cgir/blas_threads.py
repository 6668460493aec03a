"""BLAS on one thread for each caller, where callers compute in threads of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_lock, _limit = Lock(), ExitStack()
_users = 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, BLAS and LAPACK start no threads, which makes stacks of small matrices faster.

    That is a setting of the whole process: the first thread to enter makes it, the last to leave restores it. If each
    restored what it had found, the last one might put back what another had set.
    """
    global _users
    with _lock:
        if not _users:
            _limit.enter_context(_controller().limit(limits=1, user_api="blas"))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limit.close()


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
