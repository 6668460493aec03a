"""Encoding graphs against PyTorch Geometric: `python -m benchmarks.encoding [--only ROW ...] [--write]`.

The peer (`pyg_encoder.py`, `pyg_pretraining.py`) has the same weights, float32 and as many threads; the operators and
features of its nodes are tensors before the clock starts, and of its two ways to hold edges and of several batch sizes
the fastest counts. Both run in turns in one process; medians, on the clock. `python -m benchmarks.encoding --whole` is
the one measurement that has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import contrastive
import frontends
from cgir import GraphBatch, spectrum
from cgir.analysis.computation_trees import Direction as TreeDirection
from cgir.analysis.computation_trees import node_classes
from contrastive import PretrainConfig
from encoders import Encoder, EncoderConfig, GraphTensors
from encoders.engine.batching import Engine
from frontends import spaces
from frontends.reference import resnet50

from . import pyg_pretraining
from .encoding_graphs import TIMM, random_networks, timm_graphs
from .growth_plot import draw
from .paired_timing import Effort, difference, in_turns, on_threads
from .pyg_encoder import PATHS, as_data, best_way, collated, embedded, gradients, peer_of
from .report import RESULTS, Table, publish

CONFIG = EncoderConfig(width=128, layers=6)
MIXED = ("nasbench201", "nasbench101", "nasbench_macro")
POOL, STEP = 1_000, 256  # random networks of a space that steps are sampled from, graphs of a step
PIECE = 20_000  # networks compiled and embedded at a time, which bounds memory
SIZES, BEARABLE = (1_000, 4_000, 16_000, 64_000), {"compressed": 64_000, "plain": 16_000, "PyG": 4_000}
ENGINES: tuple[Engine, ...] = ("auto", "compressed", "plain")
DIRECTIONS: dict[str, TreeDirection] = {"along": "forward", "against": "backward", "both in every layer": "both"}
PRETRAIN = PretrainConfig.paper(steps=40)


def mixed() -> GraphBatch:
    """Random networks of three spaces, as many of each."""
    return GraphBatch.concatenate([random_networks(name, POOL) for name in MIXED])


def random_graphs(count: int, nodes: int = 150) -> GraphBatch:
    """Nodes of random kinds that hear one to three random nodes before them: almost no two pasts are equal."""
    kinds, rng = random_networks(MIXED[0], POOL).kinds, np.random.default_rng(0)
    degree = np.where(np.arange(count * nodes) % nodes, rng.integers(1, 4, count * nodes), 0)
    dst = np.repeat(np.arange(count * nodes), degree)
    first = dst // nodes * nodes
    src = first + rng.integers(0, dst - first)
    return GraphBatch(kinds, rng.integers(0, len(kinds), count * nodes), src, dst, np.arange(count + 1) * nodes)


def space_row(batch: GraphBatch, threads: int, repetitions: int) -> tuple[str, ...]:
    """All networks of a batch embedded by both, and how far they differ.

    Args:
        batch: all networks.
        threads: number of threads.
        repetitions: of each measurement.
    """
    on_threads(threads)
    encoder, data = Encoder(CONFIG), as_data(batch)
    peer, size = best_way(encoder, data)
    vectors: dict[str, Tensor] = {}
    collating: list[float] = []

    def ours() -> None:
        vectors["ours"] = torch.from_numpy(encoder.embed(batch, progress=False, device="cpu"))

    def theirs() -> None:
        vectors["theirs"], seconds = embedded(peer, data, size)
        collating.append(seconds)

    spent = in_turns({"ours": ours, "theirs": theirs}, repetitions, warm=False)
    forward = spent["theirs"] - median(collating)
    worst = float((vectors["ours"] - vectors["theirs"]).abs().max() / vectors["theirs"].abs().max())
    cells = (f"{spent['ours']:.2f}", f"{spent['theirs']:.1f}", f"{forward:.1f}", f"{peer.path}, {size}")
    return (
        str(threads),
        *cells,
        f"{spent['theirs'] / spent['ours']:.1f}",
        f"{forward / spent['ours']:.1f}",
        f"{worst:.0e}",
    )


def space_table(effort: Effort) -> Table:
    """Row `space`: NAS-Bench-201."""
    space = spaces.get("nasbench201")
    batch = space.graphs(space.enumerate())
    caption = (
        f"all {len(batch):,} networks of NAS-Bench-201 ({batch.num_nodes:,} nodes) to embeddings, 6 layers x 128 in "
        "each direction"
    )
    columns = (
        "threads",
        "cgir (s)",
        "PyG (s)",
        "PyG, collated before (s)",
        "its edges, graphs a batch",
        "times faster",
        "than collated before",
        "largest difference",
    )
    return Table(caption, columns, tuple(space_row(batch, threads, effort.repetitions) for threads in effort.threads))


def whole(threads: int, limit: int | None = None) -> dict[str, float]:
    """Compile and embed all of NAS-Bench-101 in pieces, in a fresh process.

    Returns: number of networks, seconds to compile, seconds to embed, MiB of peak memory.
    """
    on_threads(threads)
    space, encoder = spaces.get("nasbench101"), Encoder(CONFIG)
    specs = list(space.enumerate())[:limit]
    compiling, spent, parts = 0.0, 0.0, []
    for start in tqdm(range(0, len(specs), PIECE), delay=5):
        begun = perf_counter()
        batch = space.graphs(specs[start : start + PIECE])
        compiled = perf_counter()
        parts.append(encoder.embed(batch, progress=False, device="cpu"))
        compiling, spent = compiling + compiled - begun, spent + perf_counter() - compiled
    vectors = np.concatenate(parts)
    if vectors.shape != (len(specs), encoder.dim) or not np.isfinite(vectors).all():
        raise SystemExit(f"embeddings of shape {vectors.shape} for {len(specs)} networks, or not finite")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return {
        "graphs": len(specs),
        "compile": compiling,
        "embed": spent,
        "peak": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
    }


@cache
def measured_whole(threads: int) -> dict[str, float]:
    """`whole` in a process of its own."""
    on_threads(threads)  # a child inherits its parent's processors
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.encoding", "--whole", "--threads", str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def whole_table(effort: Effort) -> Table:
    """Row `whole`: NAS-Bench-101, once."""
    found = measured_whole(max(effort.threads))
    minutes = (f"{found['compile'] / 60:.2f}", f"{found['embed'] / 60:.2f}")
    cells = (
        f"{found['graphs']:,.0f}",
        *minutes,
        f"{1e6 * found['embed'] / found['graphs']:.0f}",
        f"{found['peak']:,.0f}",
    )
    columns = ("networks", "compiled (min)", "embedded (min)", "µs a network", "MiB at most")
    return Table(
        f"all of NAS-Bench-101, {PIECE:,} networks at a time, 6 layers x 128, threads: {max(effort.threads)}, a "
        "process of its own",
        columns,
        (cells,),
    )


class Step:
    """A training step on random graphs of a pool, the same ones for all engines that are compared.

    The loss is a fixed random weighting of the embeddings.
    """

    def __init__(self, encoder: nn.Module, prepare: Callable[[Any], Any], pool: int, size: int) -> None:
        self.encoder, self.prepare, self.pool, self.rng = encoder, prepare, pool, np.random.default_rng(0)
        self.weights = torch.randn(size, 2 * CONFIG.width, generator=torch.Generator().manual_seed(0)) / size
        # nothing is learned, so that gradients of the last step can be compared; the work is the same
        self.optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, fused=True)
        self.preparing: list[float] = []

    def __call__(self) -> None:
        """Batch preparation, forward, backward, optimiser."""
        chosen, start = self.rng.choice(self.pool, len(self.weights), replace=False), perf_counter()
        batch = self.prepare(chosen)
        self.preparing.append(perf_counter() - start)
        self.optimizer.zero_grad()
        (self.encoder(batch) * self.weights).sum().backward()
        self.optimizer.step()


def step_row(what: str, pool: GraphBatch, size: int, threads: int, repetitions: int) -> tuple[str, ...]:
    """Every engine and both ways of the peer.

    Args:
        what: name of the row.
        pool: graphs that steps are sampled from.
        size: graphs in a step.
        threads: number of threads.
        repetitions: of each measurement.
    """
    on_threads(threads)
    data, runs = as_data(pool), {}
    encoder, peers = Encoder(CONFIG), {path: peer_of(Encoder(CONFIG), path) for path in PATHS}
    for engine in ENGINES:
        tensors = GraphTensors(pool, CONFIG.layers, engine=engine)
        runs[str(engine)] = Step(encoder if engine == "auto" else Encoder(CONFIG), tensors.minibatch, len(pool), size)
    for path, peer in peers.items():
        runs[path] = Step(peer, lambda chosen: collated([data[g] for g in chosen]), len(pool), size)
    spent = in_turns(runs, repetitions)
    off = difference(gradients(encoder, peers[PATHS[0]]))
    preparing = [f"{1000 * median(runs[name].preparing[1:]):.0f}" for name in ("auto", PATHS[0])]
    faster = min(spent[path] for path in PATHS) / spent["auto"]
    auto, *others = (f"{1000 * seconds:.0f}" for seconds in spent.values())
    return what, str(threads), auto, preparing[0], *others, preparing[1], f"{faster:.1f}", f"{off:.0e}"


def step_table(effort: Effort) -> Table:
    """Row `step`."""
    cases: list[tuple[str, GraphBatch, int, int]] = [
        (f"{STEP} of {', '.join(MIXED)}", mixed(), STEP, threads) for threads in effort.threads
    ]
    cases += [(f"{TIMM} models of timm", timm_graphs(), TIMM, threads) for threads in effort.threads]
    cases += [
        (f"{TIMM} of ofa_mbv3", random_networks("ofa_mbv3", POOL), TIMM, 1),
        (f"{STEP} random graphs, 150 nodes each", random_graphs(STEP), STEP, 1),
    ]
    rows = [
        step_row(what, pool, size, threads, effort.repetitions)
        for what, pool, size, threads in tqdm(cases, desc="steps")
    ]
    columns = (
        "graphs",
        "threads",
        "cgir (ms)",
        "of it preparing",
        "forced: compressed",
        "forced: plain",
        *(f"PyG, {path} (ms)" for path in PATHS),
        "of it collating",
        "times faster",
        "gradients differ by",
    )
    return Table(
        "one training step: batch preparation, forward, backward, AdamW; 6 layers x 128 in each direction",
        columns,
        tuple(rows),
    )


def pretraining_row(threads: int, repetitions: int) -> tuple[str, ...]:
    """`contrastive.pretrain` and the peer's script on the same graphs, families and spectra; spectra timed apart."""
    on_threads(threads)
    batch, families = mixed(), np.repeat(np.arange(len(MIXED)), POOL)
    spectra, data = spectrum(batch), as_data(batch)

    def theirs(path: str, config: PretrainConfig = PRETRAIN) -> None:
        pyg_pretraining.pretrain(batch, families, spectra, config, path)

    few = PretrainConfig.paper(steps=2)
    quick = in_turns({path: partial(theirs, path, few) for path in PATHS}, 1)
    path = min(PATHS, key=quick.__getitem__)
    runs = {
        "ours": lambda: contrastive.pretrain(batch, PRETRAIN, families, spectra, progress=False, device="cpu"),
        "theirs": lambda: theirs(path),
    }
    spent = in_turns(runs, repetitions, warm=False)
    solving = in_turns(
        {"ours": lambda: spectrum(batch), "theirs": lambda: [pyg_pretraining.spectrum(graph) for graph in data]}, 1
    )
    graphs, both = PRETRAIN.steps * PRETRAIN.batch, {name: spent[name] + solving[name] for name in spent}
    rates = (f"{graphs / spent[name]:,.0f}" for name in ("ours", "theirs"))
    return (
        str(threads),
        *rates,
        path,
        f"{spent['theirs'] / spent['ours']:.1f}",
        *(f"{solving[name]:.1f}" for name in solving),
        f"{both['theirs'] / both['ours']:.1f}",
    )


def pretraining_table(effort: Effort) -> Table:
    """Row `pretrain`."""
    shape = f"{PRETRAIN.encoder.layers} layers x {PRETRAIN.encoder.width}"
    caption = (
        f"contrastive pretraining from graphs to encoder, {PRETRAIN.steps} steps of {PRETRAIN.batch} from "
        f"{len(MIXED) * POOL:,} graphs, {shape}, eq. 4.5"
    )
    columns = (
        "threads",
        "contrastive.pretrain (graphs/s)",
        "PyG (graphs/s)",
        "its edges",
        "times faster",
        "spectra: cgir (s)",
        "spectra: one by one (s)",
        "times faster, with spectra",
    )
    return Table(
        caption, columns, tuple(pretraining_row(threads, min(effort.repetitions, 2)) for threads in effort.threads)
    )


def class_table(effort: Effort) -> Table:
    """Row `classes`: distinct states at each depth, where the factor comes from; exact, hence once."""
    space, rng = spaces.get("nasbench201"), np.random.default_rng(0)
    sets = {
        "all of NAS-Bench-201": space.graphs(space.enumerate()),
        "20,000 of NAS-Bench-101": random_networks("nasbench101", 20_000),
    }
    pool = mixed()
    sets |= {f"{STEP} of {', '.join(MIXED)}": pool.select(rng.choice(len(pool), STEP, replace=False))}
    sets |= {f"{TIMM} models of timm": timm_graphs(), f"{STEP} random graphs": random_graphs(STEP)}
    rows = []
    for what, batch in sets.items():
        for name, direction in DIRECTIONS.items():
            counts = [int(classes.max()) + 1 for classes in node_classes(batch, CONFIG.layers, direction)]
            rows.append(
                (
                    what,
                    f"{batch.num_nodes:,}",
                    name,
                    *(f"{count:,}" for count in counts),
                    f"{CONFIG.layers * batch.num_nodes / sum(counts[1:]):.1f}",
                )
            )
    depths = (f"depth {depth}" for depth in range(CONFIG.layers + 1))
    caption = (
        "distinct states: nodes that no layer can tell apart at each depth; the encoder has a stream along the "
        "arrows and one against them"
    )
    return Table(caption, ("graphs", "nodes", "direction", *depths, "nodes / states, layers 1 to 6"), tuple(rows))


def growth(threads: int) -> dict[str, dict[int, float]]:
    """Seconds to embed so many random networks of NAS-Bench-101; the whole space as `whole` measured it."""
    on_threads(threads)
    encoder, space = Encoder(CONFIG), spaces.get("nasbench101")
    specs = list(space.enumerate())
    specs = [specs[i] for i in np.random.default_rng(0).permutation(len(specs))[: max(SIZES)]]
    few = space.graphs(specs[:256])
    peer, size = best_way(encoder, as_data(few))
    encoder.embed(few, device="cpu")  # what only the first time takes
    ways: dict[str, Callable[[GraphBatch], Callable[[], object]]] = {
        "compressed": lambda batch: lambda: encoder.embed(batch, engine="compressed", progress=False, device="cpu"),
        "plain": lambda batch: lambda: encoder.embed(batch, engine="plain", progress=False, device="cpu"),
        "PyG": lambda batch: partial(embedded, peer, as_data(batch), size),
    }
    spent = {name: dict.fromkeys((n for n in SIZES if n <= most), 0.0) for name, most in BEARABLE.items()}
    for n in tqdm(SIZES, desc="growth"):
        for start in range(0, n, PIECE):
            batch = space.graphs(specs[start : min(start + PIECE, n)])
            for name in spent:
                if n in spent[name]:
                    spent[name][n] += in_turns({name: ways[name](batch)}, 1, warm=False)[name]
    found = measured_whole(threads)
    spent["compressed"][int(found["graphs"])] = found["embed"]
    return spent


def growth_table(effort: Effort) -> Table:
    """Row `growth`, with its drawing; each size once."""
    threads = max(effort.threads)
    found = growth(threads)
    seconds, title = f"seconds to embed them, threads: {threads}", "6 layers x 128 in each direction"
    draw(found, RESULTS / "encoding.svg", "networks of NAS-Bench-101", seconds, title)
    sizes = sorted({n for times in found.values() for n in times})
    rows = ((name, *(f"{times[n]:.2f}" if n in times else "" for n in sizes)) for name, times in found.items())
    caption = (
        f"seconds by number of NAS-Bench-101 networks, drawn at random, threads: {threads} "
        "([drawing](benchmarks/results/encoding.svg))"
    )
    return Table(caption, ("", *(f"{n:,}" for n in sizes)), tuple(rows))


def single_table(effort: Effort) -> Table:
    """Row `single`: one graph alone, where nothing can be shared with others."""
    on_threads(1)
    with torch.device("meta"):
        model = resnet50().eval()
    graphs = {
        "ResNet-50": GraphBatch.from_graphs([frontends.trace(model, input_shape=(1, 3, 224, 224))]),
        "a NAS-Bench-201 network": random_networks(MIXED[0], 1),
    }
    encoder, rows = Encoder(CONFIG), []
    for what, batch in graphs.items():
        runs: dict[str, Callable[[], object]] = {"cgir": partial(encoder.embed, batch, device="cpu")}
        for path in PATHS:
            runs[path] = partial(embedded, peer_of(encoder, path), as_data(batch), 1)
        spent = in_turns(runs, 10 * effort.repetitions)
        cells = (f"{1000 * seconds:.1f}" for seconds in spent.values())
        rows.append((what, f"{batch.num_nodes}", *cells, f"{min(spent[path] for path in PATHS) / spent['cgir']:.2f}"))
    columns = ("graph", "nodes", "Encoder.embed (ms)", *(f"PyG, {path} (ms)" for path in PATHS), "times faster")
    return Table("one graph alone, from arrays to its embedding, one thread", columns, tuple(rows))


ROWS = {
    "space": space_table,
    "whole": whole_table,
    "step": step_table,
    "pretrain": pretraining_table,
    "classes": class_table,
    "growth": growth_table,
    "single": single_table,
}

ABOUT = """\
From graphs as arrays to embeddings (`Encoder.embed`), one training step, and pretraining, with each distinct past and
future of a node computed once, against the same network in PyTorch Geometric, which computes every node. Time on the
clock, medians, in turns in one process that has as many processors as threads; float32. Classes of a pool that
training steps draw from are found before the clock starts, and so are the operators and features of PyTorch
Geometric's nodes. Its edges are held in the faster of two ways, and whole spaces go through it in batches of the size
that suits it best. Gradients: norm of the difference over the norm of all. Networks that are written alike are
embedded once.

Where it does not help: one graph alone shares nothing, and its classes are not even looked for; among random
graphs little is equal, and what is left is how sums over neighbours are computed; models of different timm families
have half as many states as nodes, not a fiftieth. Message passing in both directions in every layer would share far
less, as the class counts show, and layers that look at all pairs of nodes nothing at all."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=ROWS, default=list(ROWS), help="measurements to make (default: all)"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of each (default %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(default 1 and 2)")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="only all of NAS-Bench-101: networks, seconds to compile and to embed, MiB at most",
    )
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md; not with --only")
    options = parser.parse_args(arguments)
    if options.write and set(options.only) != set(ROWS):
        parser.error("--write keeps all tables or none: leave out --only")
    warnings.simplefilter("ignore")  # PyTorch Geometric's, on deprecated and unchecked parts of PyTorch
    if options.whole:
        print(json.dumps(whole(max(options.threads))))
        return
    tables = []
    for name in options.only:
        start = perf_counter()
        tables.append(ROWS[name](Effort(options.repetitions, tuple(options.threads))))
        print(f"\n{tables[-1].caption}  [{name}, {perf_counter() - start:.0f} s]")
        for line in (tables[-1].columns, *tables[-1].rows):
            print(" | ".join(line), flush=True)
    if options.write:
        publish("encoding", "Encoding graphs", ABOUT, "python -m benchmarks.encoding --write", tables)


if __name__ == "__main__":
    main()
