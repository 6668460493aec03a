"""A copy of this process that is killed in the middle of its work, as a machine that loses power."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow.parquet as pq

# at which a process that writes a data set touches the disk
DATA_SET_MOMENTS = (
    (os, "replace"),
    (os, "fsync"),
    (os, "unlink"),
    (pq.ParquetWriter, "write_table"),
    (pq.ParquetWriter, "close"),
)


def dies(act: Callable[[], object], moments: Iterable[tuple[Any, str]], moment: int) -> bool:
    """Act in a copy of this process; whether it was killed, at the `moment`-th call of all that `moments` name.

    Args:
        act: what is interrupted.
        moments: (module or class, name of a function in it).
        moment: from 0.
    """
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == signal.SIGKILL
    left = moment

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*args, **options)

        return wrapped

    for where, name in moments:
        setattr(where, name, deadly(getattr(where, name)))
    act()
    os._exit(0)
