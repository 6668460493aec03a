"""Executors: what runs calls elsewhere, and those that command lines name: processes, or workers of dask.distributed.

Whoever runs calls elsewhere takes an `Executor`, as `concurrent.futures`, loky, mpi4py, submitit and dask provide.
dask is imported by `open_executor` alone, and only when its name is given.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tqdm import tqdm

from .cores import usable_cores
from .errors import CgirError, one_line

if TYPE_CHECKING:
    from distributed import Client

FORMS = "processes:4 (this machine), dask (this machine) or dask:tcp://HOST:PORT (a cluster)"
ADDRESS = re.compile(r"((tcp|tls|ucx|wss?)://)?(\[[^\]]+\]|[^/:\[\]]+):\d+")
CONNECT_SECONDS = 5
PAUSES = (0.01, 1.0)  # seconds between two looks at calls that cannot be waited for: the first, the longest


class Call(Protocol):
    """A call that was submitted: a future of `concurrent.futures`, loky, mpi4py or dask, or a job of submitit."""

    def done(self) -> bool:
        """Whether it has ended, so that `result` returns at once."""

    def result(self) -> Any:
        """What it returned; raises what it raised."""


class Executor(Protocol):
    """What runs calls elsewhere."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Call:
        """Start a call; returns at once."""


C = TypeVar("C", bound=Call)


def check_executor(executor: object) -> None:
    """Raise CgirError unless it has `submit`; None, which is this process, passes."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise CgirError(
            f"executor={executor!r} has no submit; expected an executor such as those of concurrent.futures, loky and "
            "mpi4py, or dask's client.get_executor()"
        )


def wait_any(calls: Sequence[C]) -> list[C]:
    """Those of the calls that have ended, in their order, as soon as at least one has.

    Args:
        calls: of any executor; what is no `concurrent.futures.Future` is asked `.done()` with growing pauses.
    """
    waited = [call for call in calls if isinstance(call, futures.Future)]
    if len(waited) == len(calls):
        futures.wait(waited, return_when=futures.FIRST_COMPLETED)
        return [call for call in calls if call.done()]
    pause, longest = PAUSES
    while not (ended := [call for call in calls if call.done()]):
        time.sleep(pause)
        pause = min(2 * pause, longest)
    return ended


@contextmanager
def open_executor(text: str, workers: int | None = None) -> Iterator[Executor]:
    """The executor that a text names; its workers end with the `with` block, those of a cluster stay.

    After an error, or when this process is killed, calls that still run on this machine are stopped at once.

    Args:
        text: processes:N, N processes that start anew (spawn); dask, processes of a `LocalCluster`; dask:ADDRESS, the
            scheduler of a running cluster.
        workers: their number where the text has none; by default the cores that this process may use.

    Raises:
        CgirError: the text names nothing, dask is not installed, or nothing answers at the address.
    """
    kind, _, rest = text.partition(":")
    count = workers or usable_cores()
    if kind == "processes" and (not rest or (rest.isdecimal() and int(rest))):
        opened = _processes(int(rest) if rest else count)
    elif text == "dask" or (kind == "dask" and ADDRESS.fullmatch(rest)):
        opened = _dask(rest, count)
    else:
        raise CgirError(f"{text!r} is no executor; expected {FORMS}")
    with opened as executor:
        yield executor


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    context = get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    threads = max(1, usable_cores() // count)
    pool = ProcessPoolExecutor(count, context, _start_worker, (watched, threads))
    try:
        yield pool
        pool.shutdown()
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        watched.close()


def _start_worker(watched: Connection, threads: int) -> None:
    """Set up a worker: it ends when the other end of `watched` is closed, be it by the system.

    An interruption from the keyboard reaches the main process, which decides; libraries that are loaded later share the
    processors.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    tqdm.set_lock(RLock())  # its own is a semaphore of the system, which a process that is stopped would leave behind
    Thread(target=_exit_after, args=(watched,), daemon=True).start()


def _exit_after(watched: Connection) -> None:
    watched.poll(None)
    os._exit(1)


@contextmanager
def _dask(address: str, count: int) -> Iterator[Executor]:
    """The executor of a cluster, at an address or (if that is empty) started here."""
    if find_spec("distributed") is None:
        raise CgirError("dask is not installed: pip install 'cgir[distributed]'")
    with _cluster(count) if not address else _client(address) as client:
        executor = client.get_executor(pure=False)
        try:
            yield executor
            executor.shutdown()
        finally:
            executor.shutdown(wait=False)  # cancels what has not ended


@contextmanager
def _cluster(count: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    # calls may have limits, which need processes of their own
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise CgirError(
            f"dask:{address}: no scheduler answers there within {CONNECT_SECONDS} s ({one_line(error, 120)}); "
            "`dask scheduler` prints its address when it starts"
        ) from error
    with client:
        yield client
