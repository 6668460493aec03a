"""`pretrain`: an encoder from unlabelled graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from cgir.errors import CgirError, FileFormatError, one_line
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from encoders.models.checkpoints import encoder_meta, read_tensors, save_encoder, write_tensors
from encoders.models.encoder import Encoder
from encoders.training.loop import cosine
from encoders.training.seeding import seeded

from . import distributed
from .config import PretrainConfig
from .objectives.weighted_sum import Objective
from .pair_sampler import NearestNeighbourPairs
from .pretraining_set import Pool, as_pool

log = logging.getLogger(__name__)

STATE, ENCODER = "state.safetensors", "encoder.safetensors"


def pretrain(
    graphs: Pool | GraphBatch | Iterable[Graph] | GraphStore,
    config: PretrainConfig | None = None,
    families: ArrayLike | None = None,
    spectra: ArrayLike | None = None,
    run_dir: str | PathLike[str] | None = None,
    checkpoint_every: int = 200,
    progress: bool = True,
) -> Encoder:
    """Pretrain an encoder on unlabelled graphs ("A General-Purpose Transferable Predictor for NAS", section 4).

    Started by `torchrun`, processes share every batch and come to the same weights; all need the whole pool, and see
    the same `run_dir`. A run may be taken up by another number of processes. Dropout alone is drawn anew in each of
    them.

    Args:
        graphs: a batch, a list of graphs, or a store that brings families and spectra with it; or a pool (`as_pool`),
            which several runs share.
        config: the recipe; default the paper's.
        families: (G,) name or number of each graph's family; default one family.
        spectra: (G, k) from `cgir.spectrum`, which computes them if not given, or from `operator_spectrum`, by which
            pairs then are near.
        run_dir: where to keep the state of the run: calling again goes on where it was interrupted, to the same weights
            to the bit.
        checkpoint_every: steps between two states kept in `run_dir`.
        progress: show a progress bar.

    Returns:
        The encoder, in evaluation mode; it is also in `run_dir`.

    Raises:
        CgirError: graphs, families and spectra do not match, `run_dir` belongs to a run with another recipe or other
            graphs, or processes differ.
    """
    distributed.init_process_group()
    run = _Run(as_pool(graphs, families, spectra), config or PretrainConfig())
    folder = None if run_dir is None else Path(run_dir)
    if folder is not None and (folder / STATE).exists():
        run.load(folder / STATE)
        log.info("pretrain: going on at step %d of %d from %s", run.step, run.config.steps, folder / STATE)
    distributed.check_same(f"{run.config} {run.data} {run.step}")
    first = distributed.rank_and_world_size()[0] == 0
    _train(run, folder / STATE if folder is not None and first else None, checkpoint_every, progress and first)
    encoder = run.objective.encoder.eval()
    if folder is not None and first:
        save_encoder(encoder, folder / ENCODER)
    distributed.check_same("written")
    return encoder


def _train(run: _Run, state: Path | None, checkpoint_every: int, progress: bool) -> None:
    """All steps that are left; `state`: where to keep states."""
    with tqdm(total=run.config.steps, initial=run.step, desc="pretrain", unit="step", disable=not progress) as bar:
        while run.step < run.config.steps:
            bar.set_postfix(loss=f"{run.advance():.3f}", refresh=False)
            bar.update()
            if state is not None and (run.step % checkpoint_every == 0 or run.step == run.config.steps):
                run.save(state)


def _check_processes(config: PretrainConfig, processes: int) -> None:
    if config.encoder.norm == "batch" and processes > 1:
        raise CgirError(
            "pretrain: norm='batch' normalises by one process's nodes only; use norm='layer' with several processes"
        )
    if config.batch < processes:
        raise CgirError(f"pretrain: batch={config.batch} for {processes} processes; expected a graph for each")


class _Run:
    """Everything that changes from step to step; what a step does depends on (config, pool, step) alone."""

    def __init__(self, pool: Pool, config: PretrainConfig) -> None:
        _check_processes(config, distributed.rank_and_world_size()[1])
        self.config, self.step = config, 0
        self.data = {"graphs": len(pool.batch), "fingerprint": pool.fingerprint()}
        self.pairs = NearestNeighbourPairs(pool.families, pool.spectra, config.batch, config.neighbours, config.seed)
        self.graphs = pool.tensors.with_depth(config.encoder.layers)
        self.objective = Objective(config, pool)
        self.optimizer = torch.optim.AdamW(
            self.objective.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )

    def advance(self) -> float:
        """One step; returns its loss, that of the whole batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * cosine(self.step, self.config.steps)
        pairs = self.pairs.draw(self.step)
        rows, rank = distributed.local_rows(len(pairs.indices)), distributed.rank_and_world_size()[0]
        with seeded(self.config.seed, 2, self.step, *[rank] * (rank > 0)):  # dropout
            loss = self.objective.loss(self.graphs.minibatch(pairs.indices[rows]), pairs, self.step, rows)
        self.optimizer.zero_grad()
        if loss.requires_grad:  # where this process has something to learn from in this batch
            loss.backward()
        distributed.all_reduce_gradients(self.objective.parameters())
        self.optimizer.step()
        self.step += 1
        return distributed.all_reduce_sum(loss)

    def save(self, path: Path) -> None:
        """Write weights, optimiser and step."""
        tensors = {f"model.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        write_tensors(path, "pretraining", tensors, self._meta() | {"step": self.step})

    def load(self, path: Path) -> None:
        """Go back to a written state of the same run."""
        tensors, meta = read_tensors(path, "pretraining")
        self._check_same(path, meta)
        states: dict[int, dict[str, Tensor]] = {}
        try:
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".")
                    states.setdefault(int(index), {})[key] = tensor
            self.objective.load_state_dict(
                {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
            )
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
            self.step = int(meta["step"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise FileFormatError(
                f"{path}: incomplete state of a run ({one_line(error, 200)}); remove it to start again"
            ) from error

    def _meta(self) -> dict[str, Any]:
        return {"config": asdict(self.config), "data": self.data, "encoder": encoder_meta(self.objective.encoder)}

    def _check_same(self, path: Path, meta: dict[str, Any]) -> None:
        for part, ours in self._meta().items():
            theirs = meta.get(part, {})
            different = [
                f"{key} {theirs.get(key)!r} there, {value!r} now"
                for key, value in ours.items()
                if theirs.get(key) != value
            ]
            if different:
                raise CgirError(
                    f"{path}: belongs to another run ({part}: {'; '.join(different)[:300]}); use the same, or another run_dir"
                )
