"""A callback of `pretrain` that writes losses for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from cgir.errors import CgirError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

HELD_OUT = "held_out"


@contextmanager
def tensorboard_log(folder: str | PathLike[str]) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """A `callback` of `pretrain`; the loss of a batch and of held-out graphs are two curves of one chart.

    A run that resumes goes on in the same folder, in the place of the steps behind its state.

    Args:
        folder: for the event files, made where it is missing.

    Raises:
        CgirError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CgirError(
            "tensorboard: it is not installed; try pip install 'cgir[tensorboard]', or give a callback of yours"
        ) from error
    writers: dict[str, SummaryWriter] = {}

    def write(step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            curve = HELD_OUT if name.startswith(HELD_OUT) else "train"
            if curve not in writers:
                writers[curve] = SummaryWriter(fspath(Path(folder) / curve), purge_step=step)
            writers[curve].add_scalar(name.removeprefix(HELD_OUT).removeprefix("_") or "loss", value, step)

    try:
        yield write
    finally:
        for writer in writers.values():
            writer.close()
