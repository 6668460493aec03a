"""`train`: the bilevel training of a supernet (DARTS, Liu et al. 2019), with checkpoints."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any

from tqdm import tqdm

from cgir.atomic_files import locked
from cgir.errors import CgirError, one_line
from cgir.interrupts import Deferred, deferred
from encoders.engine.devices import Device, as_device
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for
from search.zero_cost.isolation import plain_modes

from .checkpoints import fingerprint, restore, save
from .images import Images
from .network import Supernet
from .train_settings import TrainSettings
from .trained import Trained, check_images
from .training_run import TrainingRun

log = logging.getLogger(__name__)
Place = str | PathLike[str] | None
LONGEST = 60.0  # seconds without a checkpoint, where steps take long


@in_plain_surroundings(grad=True)
def train(
    supernet: Supernet,
    train: Images,
    valid: Images,
    *,
    path: str | PathLike[str] | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
    device: Device = "auto",
    **settings: Any,
) -> Trained:
    """Train weights and architecture of a supernet in turns (DARTS, Liu et al. 2019, algorithm 1).

    On a CPU the result depends on the arguments and the number of threads alone; an interrupted run that is called
    again with the same `path` ends with the same bits.

    Args:
        supernet: the start; it stays as it is, a copy is trained.
        train: images that weights are trained on.
        valid: images that the architecture is trained on, of which `train` has none (see `Images.split`).
        path: file for checkpoints, by which an interrupted run resumes.
        checkpoint_every: steps between two of them, fewer where they take over a minute; the last one is written after
            the last step.
        progress: show a progress bar.
        device: "auto", "cpu" or "cuda".
        settings: of `TrainSettings`; `steps` must be given.

    Raises:
        CgirError: images and supernet do not fit, a setting is out of range, the checkpoint is of another training, or
            the loss is no longer finite; the last checkpoint stays then. Or another process writes to `path`.
        KeyboardInterrupt: after Ctrl-C, for which a checkpoint is written.
        FileFormatError: the file at `path` is no checkpoint.
    """
    try:
        chosen = TrainSettings(**settings)
    except TypeError as error:
        names = ", ".join(TrainSettings.__annotations__)
        raise CgirError(f"one_shot.train: {one_line(error)}; settings are {names}") from error
    if type(checkpoint_every) is not int or checkpoint_every < 1:
        raise CgirError(f"one_shot.train: checkpoint_every={checkpoint_every!r}; expected a positive whole number")
    for images in (train, valid):
        check_images(supernet, images)
    where = as_device(device)
    if path is not None:
        _make_folder(path)
    with plain_modes(where):
        run = TrainingRun(supernet, chosen, where)
        if path is not None:
            run.data = {
                "train": fingerprint([train.pixels, train.labels]),
                "valid": fingerprint([valid.pixels, valid.labels]),
                "weights": fingerprint(supernet.parameters()),
            }
        with threads_for(supernet.numbers(chosen.batch)), _own(path):
            if path is not None and Path(path).exists():
                restore(run, path)
                log.info("one_shot.train: resuming at step %d of %d from %s", run.step, chosen.steps, path)
            _advance(run, train, valid, path, checkpoint_every, progress)
        return run.result()


def _advance(
    run: TrainingRun, train: Images, valid: Images, path: Place, checkpoint_every: int, progress: bool
) -> None:
    """Do all remaining steps, with checkpoints at `path`, also when the run is interrupted."""
    steps = run.settings.steps
    with (
        tqdm(total=steps, initial=run.step, desc="supernet", unit="step", disable=not progress) as bar,
        nullcontext(Deferred()) if path is None else deferred() as stop,
    ):
        written = monotonic()
        while run.step < steps:
            losses = run.advance(train, valid)
            bar.set_postfix(train=f"{losses[0]:.3f}", valid=f"{losses[1]:.3f}", refresh=False)
            bar.update()
            interrupted = bool(stop.requested) and run.step < steps
            late = monotonic() - written > LONGEST
            if run.step % checkpoint_every == 0 or run.step == steps or late or interrupted:
                run.check_finite()
                if path is not None:
                    save(run, path)
                written = monotonic()
            if interrupted:
                stop.end(
                    f"training stopped at step {run.step} of {steps}; its state is in {path}, and the same call or "
                    "command goes on from there"
                )
                break


def _own(path: Place) -> AbstractContextManager[None]:
    """Keep other processes from writing the same checkpoints."""
    if path is None:
        return nullcontext()
    return locked(Path(path).with_name(f".{Path(path).name}.lock"), Path(path))


def _make_folder(path: str | PathLike[str]) -> None:
    """That of a checkpoint; CgirError where there can be none, before anything is computed."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        raise CgirError(f"one_shot.train: path={path!r}: {one_line(error, 100)}; give a file in a folder") from error
    if Path(path).is_dir():
        raise CgirError(f"one_shot.train: path={str(path)!r} is a folder; give a file")
