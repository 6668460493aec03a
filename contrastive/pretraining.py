"""`pretrain`: the training loop of an encoder on unlabelled graphs, with checkpoints and several processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from cgir.atomic_files import locked
from cgir.errors import CgirError, FileFormatError, changed_settings, one_line
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.interrupts import Deferred, deferred
from cgir.store.graph_store import GraphStore
from encoders.engine.batching import TensorBatch
from encoders.engine.devices import CPU, Device
from encoders.models.checkpoints import encoder_meta, load_weights, read_tensors, save_encoder, write_tensors
from encoders.models.encoder import Encoder
from encoders.training.loop import decay_learning_rate
from encoders.training.seeding import seeded
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for

from . import distributed
from .config import WEIGHTS, PretrainConfig
from .held_out import EVERY, HeldOut, split
from .learnability import ContrastWatch, warn_if_little_to_learn
from .objectives.weighted_sum import Objective, head_inputs
from .pair_sampler import NearestNeighbourPairs, Pairs
from .pretraining_set import Pool, as_pool

log = logging.getLogger(__name__)

STATE, ENCODER, LOCK = "state.safetensors", "encoder.safetensors", ".lock"
LONGEST = 60.0  # seconds without a checkpoint, where steps take long
SHARE = 100  # of the time, at most this part is spent on such checkpoints

Callback = Callable[[int, Mapping[str, float]], object]


@in_plain_surroundings(grad=True)
def pretrain(
    graphs: Pool | GraphBatch | Iterable[Graph] | GraphStore,
    config: PretrainConfig | None = None,
    families: ArrayLike | None = None,
    spectra: ArrayLike | None = None,
    run_dir: str | PathLike[str] | None = None,
    checkpoint_every: int = 200,
    progress: bool = True,
    device: Device = "auto",
    callback: Callback | None = None,
) -> Encoder:
    """Pretrain an encoder on unlabelled graphs ("A General-Purpose Transferable Predictor for NAS", section 4).

    A pool that the contrast can learn little from is logged as a warning that says what to do.

    Processes started by `torchrun` share every batch and end with the same weights; all need the whole pool and access
    to the same `run_dir`. A run may resume with another number of processes; only dropout differs with their number.

    Args:
        graphs: a batch, a list of graphs, a store with families and spectra, or a pool (`as_pool`) that several runs
            share.
        config: hyperparameters; default those of the encoder that comes with the package. `PretrainConfig.paper()` has
            the paper's.
        families: (G,) name or number of each graph's family; default one family.
        spectra: (G, k) that decide which graphs are near, from `cgir.spectrum` (the default) or `operator_spectrum`.
        run_dir: folder for checkpoints: a second call resumes an interrupted run and ends with bit-identical weights;
            Ctrl-C and SIGTERM save the state first. With other `steps` in `config` the run goes on as well, from then
            on with the learning rates of the new number.
        checkpoint_every: steps between two checkpoints in `run_dir`, fewer where they take over a minute.
        progress: show a progress bar.
        device: "auto", the GPU where there is one, "cpu", "cuda" or "cuda:1". Processes have a GPU each, as far as
            there are some. A run may resume on another device; on a GPU weights differ in their last bits, and dropout
            is another one.
        callback: called after each step, in the first process, with the number of steps that are done and the losses of
            the batch: "loss", the weighted sum, and each term by its name, "contrast", "property", "path", "mask",
            "behaviour". Every 50 steps and after the last one also of graphs that are held out: "held_out",
            "held_out_contrast", ... An error of it ends the run after the state is saved.

    Returns:
        The encoder, in evaluation mode and on the CPU; it is also in `run_dir`.

    Raises:
        CgirError: graphs, families and spectra do not match, `run_dir` belongs to a run with another config or other
            graphs or has done more steps, another process is writing to it, or processes differ.
        KeyboardInterrupt: after Ctrl-C; says where the state is.
    """
    where = distributed.init_process_group(device)
    run = PretrainingRun(as_pool(graphs, families, spectra), config or PretrainConfig(), where)
    is_first = distributed.rank_and_world_size()[0] == 0
    if run_dir is None:
        distributed.check_same(f"{run.config} {run.data} {run.step}", where)
        _train(run, None, checkpoint_every, progress and is_first, callback)
        return run.objective.encoder.cpu().eval()
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, folder) if is_first else nullcontext():
        if (folder / STATE).exists():
            run.load(folder / STATE)
            log.info("pretrain: resuming at step %d of %d from %s", run.step, run.config.steps, folder / STATE)
        distributed.check_same(f"{run.config} {run.data} {run.step}", where)
        _train(run, folder / STATE, checkpoint_every, progress and is_first, callback)
        encoder = run.objective.encoder.cpu().eval()
        if is_first:
            save_encoder(encoder, folder / ENCODER)
        distributed.check_same("written", where)
    return encoder


def _train(
    run: PretrainingRun, path: Path | None, checkpoint_every: int, progress: bool, callback: Callback | None
) -> None:
    """Do all remaining steps; the state is also written where the run is interrupted or the callback fails."""
    is_first = distributed.rank_and_world_size()[0] == 0
    checkpoint = _Checkpoint(run, path if is_first else None, checkpoint_every)
    watch = run.watch() if is_first and run.step < run.config.steps else None
    shown: dict[str, str] = {}
    with (
        tqdm(total=run.config.steps, initial=run.step, desc="pretrain", unit="step", disable=not progress) as bar,
        deferred() if path is not None else nullcontext(Deferred()) as stop,
    ):
        while run.step < run.config.steps:
            run.advance()
            shown |= {name: f"{run.losses[name]:.3f}" for name in ("loss", "held_out") if name in run.losses}
            bar.set_postfix(shown, refresh=False)
            bar.update()
            if watch is not None:
                watch.see(run.step, run.losses["contrast"])
            failure = _call(callback, run) if is_first else None
            is_last = run.step == run.config.steps
            if is_last:  # a signal from here on ends the call before the encoder is written
                stop.message = f"pretraining is done; the same call or command writes the encoder from {path}"
            failed = callback is not None and distributed.any_process(failure is not None, run.device)
            interrupted = path is not None and distributed.any_process(bool(stop.requested), run.device) and not is_last
            checkpoint.write(at_once=failed or interrupted or is_last)
            where = f"stopped at step {run.step} of {run.config.steps}" + (f"; its state is in {path}" if path else "")
            if failed:
                raise failure or CgirError(f"pretraining {where}: the callback failed in the first process")
            if interrupted:
                stop.end(f"pretraining {where}, and the same call or command goes on from there")
                break


def _call(callback: Callback | None, run: PretrainingRun) -> Exception | None:
    """Tell the losses of a step; the error of the callback, if there was one."""
    try:
        if callback is not None:
            callback(run.step, dict(run.losses))
    except Exception as error:
        return error
    return None


class _Checkpoint:
    """The file that holds the state, if there is one: written every so many steps, and once a minute.

    Args:
        run: whose state is written.
        path: the file; None: nothing is written.
        every: so many steps.
    """

    def __init__(self, run: PretrainingRun, path: Path | None, every: int) -> None:
        self.run, self.path, self.every = run, path, every
        self.written, self.pause = monotonic(), LONGEST

    def write(self, at_once: bool) -> None:
        """Write the state if it is time to."""
        if self.path is None:
            return
        if at_once or self.run.step % self.every == 0 or monotonic() - self.written > self.pause:
            start = monotonic()
            self.run.save(self.path)
            self.written = monotonic()
            self.pause = max(LONGEST, SHARE * (self.written - start))


def _check_world_size(config: PretrainConfig, batch: int, world_size: int) -> None:
    if config.encoder.norm == "batch" and world_size > 1:
        raise CgirError(
            "pretrain: norm='batch' normalises by one process's nodes only; use norm='layer' with several processes"
        )
    if batch < world_size:
        raise CgirError(f"pretrain: batch={batch} for {world_size} processes; expected a graph for each")


class PretrainingRun:
    """Objective, optimiser and step counter; what a step does depends on (config, pool, step) alone.

    Where it computes on a GPU, a thread prepares the next batch meanwhile.

    `losses`: of the last step, by name.

    Args:
        pool: the graphs that batches are sampled from.
        config: hyperparameters.
        device: where to compute.
    """

    def __init__(self, pool: Pool, config: PretrainConfig, device: torch.device = CPU) -> None:
        self.config, self.pool, self.step, self.device = config, pool, 0, device
        self.losses: dict[str, float] = {}
        train, held = split(pool.families, config.held_out, config.seed)
        self.pairs = NearestNeighbourPairs(
            pool.families, pool.spectra, config.batch, config.neighbours, config.seed, train
        )
        if self.pairs.batch < config.batch:
            few = "pretrain: %d graphs are few, so that a batch has %d and not %d"
            log.warning(few, self.pairs.num_anchors, self.pairs.batch, config.batch)
        self.data = {"graphs": len(pool.batch), "fingerprint": pool.fingerprint(), "batch": self.pairs.batch}
        _check_world_size(config, self.pairs.batch, distributed.rank_and_world_size()[1])
        self.graphs = pool.tensors.with_depth(config.encoder.layers)
        self.held_out = HeldOut(pool, config, held, self.graphs) if len(held) else None
        self.objective = Objective(config, pool, device)
        self.optimizer = torch.optim.AdamW(
            self.objective.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self._thread = None if device.type == "cpu" else ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._next: dict[int, Future[tuple[Pairs, slice, TensorBatch]]] = {}

    def advance(self) -> float:
        """Do one optimiser step and return the loss of the whole batch, over all processes."""
        decay_learning_rate(self.optimizer, self.config.lr, self.step, self.config.steps)
        pairs, rows, batch = self._batch()
        rank = distributed.rank_and_world_size()[0]
        with threads_for(batch.mean_rows * self.config.encoder.width):
            with seeded(self.config.seed, 2, self.step, *[rank] * (rank > 0)):  # dropout
                shares = self.objective.losses(batch, pairs, self.step, rows)
            loss = shares["loss"]
            self.optimizer.zero_grad()
            if loss.requires_grad:  # not where none of the masked nodes are this process's
                torch.autograd.backward(loss)
        distributed.all_reduce_gradients(self.objective.parameters())
        self.optimizer.step()
        self.step += 1
        self.losses = distributed.all_reduce_sums(shares)
        if self.held_out is not None and (self.step % EVERY == 0 or self.step == self.config.steps):
            self.losses |= self.held_out.losses(self.objective)
        return self.losses["loss"]

    def watch(self) -> ContrastWatch | None:
        """Warn of what the contrast can learn little from; what watches it, where it can learn something."""
        can_learn = warn_if_little_to_learn(self.pool, self.config, self.objective, self.pairs.draw(self.step))
        return ContrastWatch(self.pairs.batch, self.step) if can_learn and self.config.contrast_weight else None

    def _batch(self) -> tuple[Pairs, slice, TensorBatch]:
        """The whole batch of this step, this process's rows of it, and their graphs on the device."""
        found = self._next.pop(self.step, None)
        prepared = self._prepare(self.step) if found is None else found.result()
        if self._thread is not None and self.step + 1 < self.config.steps:
            self._next = {self.step + 1: self._thread.submit(self._prepare, self.step + 1)}
        return prepared

    def _prepare(self, step: int) -> tuple[Pairs, slice, TensorBatch]:
        pairs = self.pairs.draw(step)
        rows = distributed.local_rows(len(pairs.indices))
        return pairs, rows, self.graphs.minibatch(pairs.indices[rows], self.device)

    def save(self, path: Path) -> None:
        """Write weights, optimiser state and step."""
        tensors = {f"model.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        write_tensors(path, "pretraining", tensors, self._meta() | {"step": self.step})

    def load(self, path: Path) -> None:
        """Restore a saved state of the same run."""
        tensors, meta = read_tensors(path, "pretraining")
        self._check_same(path, meta)
        states: dict[int, dict[str, Tensor]] = {}
        try:
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".")
                    states.setdefault(int(index), {})[key] = tensor
            self._check_states(states)
            load_weights(
                self.objective,
                {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")},
            )
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
            self.step, before = meta["step"], meta["config"]["steps"]
            if any(type(number) is not int or number < 0 for number in (self.step, before)):
                raise ValueError(f"step {self.step!r:.60} of {before!r:.60}")
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise FileFormatError(
                f"{path}: incomplete state of a run ({one_line(error, 200)}); remove it to start again"
            ) from error
        steps = self.config.steps
        if self.step > steps:
            raise CgirError(f"{path}: has done {self.step} steps already, more than {steps}; give as many, or more")
        if before != steps:
            log.info("pretrain: %d steps, not %d, and the learning rates of so many from here on", steps, before)

    def _check_states(self, states: Mapping[int, Mapping[str, Tensor]]) -> None:
        """ValueError where the optimiser's state of a parameter is of another shape, which PyTorch does not check."""
        parameters = self.optimizer.param_groups[0]["params"]
        for index, state in states.items():
            if not 0 <= index < len(parameters):
                raise ValueError(f"optimizer.{index} of {len(parameters)} parameters")
            like = {"step": (), "exp_avg": parameters[index].shape, "exp_avg_sq": parameters[index].shape}
            for key in sorted(state.keys() | like.keys()):
                if key not in like or key not in state or state[key].shape != like[key]:
                    raise ValueError(f"optimizer.{index}.{key} is there of another shape, missing, or not expected")

    def _meta(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "data": self.data,
            "encoder": encoder_meta(self.objective.encoder),
            "heads": {"inputs": head_inputs(self.config)},
        }

    def _check_same(self, path: Path, meta: dict[str, Any]) -> None:
        before: dict[str, dict[str, Any]] = {  # of states that do not say
            "config": dict.fromkeys(WEIGHTS, 0.0) | {"held_out": 0.0, "autocast": False},
            "data": {"batch": self.config.batch},
            "heads": {"inputs": "as they are"},
        }
        for part, current in self._meta().items():
            if not isinstance(found := meta.get(part, before.get(part)), dict):
                raise FileFormatError(f"{path}: its {part} is {found!r:.60}; remove it to start again")
            current.pop("steps", None)  # which may grow
            found = {name: value for name, value in before.get(part, {}).items() if name in current} | found
            if changes := changed_settings(found, current):
                raise CgirError(
                    f"{path}: belongs to another run ({part}: {changes[:300]}); use the same, or another run_dir"
                )
