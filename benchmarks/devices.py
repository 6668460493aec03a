"""Embedding and pretraining on a CPU and a GPU beside PyTorch Geometric: `python -m benchmarks.devices [--write]`.

All in one process, in under five minutes; the library and the peer (`pyg_encoder.py`, `pyg_pretraining.py`) have the
same weights, graphs and device. Seconds on the clock, medians; a measurement on a GPU ends when the GPU is done. Where
there is no GPU its columns say so.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import contrastive
from cgir import GraphBatch, spectrum
from contrastive import PretrainConfig
from encoders import Encoder
from encoders.engine.devices import as_device
from frontends import spaces

from . import pyg_pretraining
from .encoding import CONFIG, MIXED, POOL, mixed
from .paired_timing import in_turns
from .pyg_encoder import PATHS, as_data, collated, peer_of
from .report import Table, publish, show

NOT_MEASURED = "not measured"
GPU_BATCHES, CPU_BATCHES = (1024, 4096), (64,)  # graphs in a batch of PyTorch Geometric; the fastest counts
PRETRAIN = PretrainConfig(batch=256)
STEPS = {"cpu": 6, "cuda": 60}
CLOSE = 1e-4  # largest difference of embeddings over the largest of them that is taken for rounding


class Outcome(NamedTuple):
    """`seconds` of the library and of the peer, and the library's `vectors` (G, dim)."""

    ours: float
    theirs: float
    vectors: Tensor


def finished(device: torch.device, work: Callable[[], object]) -> Callable[[], None]:
    """The work, and waiting for what it started on the device."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def embedding(batch: GraphBatch, device: torch.device, share: int, repetitions: int) -> Outcome:
    """All networks of a batch embedded by the library, and every `share`-th of them by the peer, times `share`.

    Args:
        batch: all networks.
        device: of both.
        share: 1 where the peer embeds all.
        repetitions: of each measurement.
    """
    encoder, found = Encoder(CONFIG), []
    data = as_data(batch.select(np.arange(0, len(batch), share)))

    def theirs(path: str, size: int) -> None:
        peer = peer_of(encoder, path).to(device)
        with torch.inference_mode():
            for start in range(0, len(data), size):
                peer(collated(data[start : start + size]).to(device)).cpu()

    def ours() -> None:
        found.append(torch.from_numpy(encoder.embed(batch, progress=False, device=device)))

    runs: dict[str, Callable[[], object]] = {"ours": finished(device, ours)}
    for path in PATHS:
        for size in GPU_BATCHES if device.type == "cuda" else CPU_BATCHES:
            runs[f"{path} {size}"] = finished(device, partial(theirs, path, size))
    spent = in_turns(runs, repetitions, warm=device.type == "cuda")
    return Outcome(spent["ours"], share * min(seconds for name, seconds in spent.items() if name != "ours"), found[-1])


def embedding_table(devices: Sequence[torch.device], repetitions: int) -> Table:
    """All of NAS-Bench-201, a row for each device."""
    space = spaces.get("nasbench201")
    batch = space.graphs(space.enumerate())
    rows: list[tuple[str, ...]] = []
    first: Tensor | None = None
    for device in devices:
        share = 1 if device.type == "cuda" else 8
        found = embedding(batch, device, share, repetitions)
        first = found.vectors if first is None else first
        off = float((found.vectors - first).abs().max() / first.abs().max())
        if off > CLOSE:
            raise SystemExit(f"embeddings on {device} differ from those of the CPU by {off:.0e}")
        peers = f"{found.theirs:.1f}" + (f", from one in {share}" if share > 1 else "")
        rows.append((name_of(device), f"{found.ours:.2f}", peers, f"{found.theirs / found.ours:.1f}", f"{off:.0e}"))
    rows += missing(devices, 4)
    columns = ("device", "cgir (s)", "PyG (s)", "times faster", "largest difference from the CPU's")
    caption = (
        f"all {len(batch):,} networks of NAS-Bench-201 ({batch.num_nodes:,} nodes) to embeddings, {CONFIG.layers} "
        f"layers x {CONFIG.width} in each direction, float32"
    )
    return Table(caption, columns, tuple(rows))


def pretraining_table(devices: Sequence[torch.device]) -> Table:
    """Steps of pretraining by eq. 4.5, without what happens once: a run of more steps less one of a single step."""
    batch, families = mixed(), np.repeat(np.arange(len(MIXED)), POOL)
    spectra = spectrum(batch)
    pool = contrastive.as_pool(batch, families, spectra)
    rows: list[tuple[str, ...]] = []

    def ours(config: PretrainConfig, device: torch.device) -> None:
        contrastive.pretrain(pool, config, progress=False, device=device)

    def theirs(config: PretrainConfig, device: torch.device) -> None:
        pyg_pretraining.pretrain(batch, families, spectra, config, PATHS[0], device)

    for device in devices:
        config, cells = replace(PRETRAIN, steps=STEPS[device.type]), list[float]()
        for run, settings in ((ours, config), (ours, replace(config, autocast=True)), (theirs, config)):
            run(replace(settings, steps=1), device)  # what only the first time takes
            start = perf_counter()
            run(replace(settings, steps=1), device)
            once = perf_counter() - start
            run(settings, device)
            cells.append(1000 * (perf_counter() - start - 2 * once) / (settings.steps - 1))
        rows.append((name_of(device), *(f"{ms:.0f}" for ms in cells), f"{cells[2] / cells[0]:.1f}"))
    rows += missing(devices, 4)
    caption = (
        f"a step of pretraining on {PRETRAIN.batch} of {len(pool.batch):,} graphs of {', '.join(MIXED)}, "
        f"{PRETRAIN.encoder.layers} layers x {PRETRAIN.encoder.width}, eq. 4.5"
    )
    return Table(caption, ("device", "cgir (ms)", "cgir, bfloat16 (ms)", "PyG (ms)", "times faster"), tuple(rows))


def name_of(device: torch.device) -> str:
    """The device in words: a GPU by its name, a CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, threads: {torch.get_num_threads()}"


def missing(devices: Sequence[torch.device], columns: int) -> list[tuple[str, ...]]:
    """The row of a GPU where there is none."""
    return [] if any(device.type == "cuda" for device in devices) else [("GPU", *[NOT_MEASURED] * columns)]


ABOUT = """\
`device=` of `Encoder.embed` and `contrastive.pretrain`: batches are made on the CPU, from classes of equal nodes that
are found there, and sent as one copy from pinned memory; while a GPU computes, a thread prepares the next one. The same
networks in PyTorch Geometric, from the same tensors, in the faster of its two forms of edges and several sizes of
batches; on a CPU it embeds a share of the networks, and its time is multiplied. Time on the clock, medians; a
measurement on a GPU includes copies there and back. CPU and GPU agree up to rounding in single precision."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="of embeddings (default %(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # PyTorch Geometric's, on deprecated and unchecked parts of PyTorch
    devices = [torch.device("cpu"), *([as_device("cuda")] if torch.cuda.is_available() else [])]
    tables = [embedding_table(devices, options.repetitions), pretraining_table(devices)]
    show(tables)
    if options.write:
        publish("devices", "CPU and GPU", ABOUT, "python -m benchmarks.devices --write", tables)


if __name__ == "__main__":
    main()
