"""The measurements of `benchmarks.growth`: processor seconds of some work by its size, beside a peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from time import process_time
from typing import Any

import networkx as nx
import numpy as np
import optuna
import torch
from torch import Tensor, nn
from tqdm import tqdm

import cgir
import frontends
import search
from cgir import GraphBatch
from cgir.cost import kind_flops
from cgir.typing import FloatArray
from encoders import Encoder, EncoderConfig, GraphFeatures, HandPredictor, Predictor, compute_features, load_pretrained
from frontends import spaces

from .encoding_graphs import random_networks
from .large_graphs import random_dag
from .pyg_encoder import as_data, best_way, embedded
from .spectrum import simple, wirings, with_eigsh, with_networkx

Costs = dict[str, dict[int, float]]  # name of a way -> size of the work -> its cost
CONFIG = EncoderConfig(width=128, layers=6)
STREAMED = "nasbench101"
PIECE = 10_000  # networks that are compiled and embedded at a time
POOL = 1_000  # networks of the family that a fit is given, labelled or not
WIDTH = 16  # of the layers that are traced
EMBEDDED, COMPILED, MEMORY = "cgir: Encoder.embed", "cgir: compiling", "cgir: peak memory (MiB)"
# largest size that each peer bears
EXPORTED, SOLVED_DENSE, SOLVED_SPARSE, EMBEDDED_BY_PEER, FITTED, ASKED = 1_000, 1_000, 1_000, 1_000, 100, 1_000


def timed(
    sizes: Sequence[int], prepare: Callable[[int], Any], ways: Mapping[str, tuple[Callable[[Any], object], int]]
) -> Costs:
    """Processor seconds of each way on what is prepared for a size, once each, after one run that does not count.

    Args:
        sizes: of the work.
        prepare: size -> what the ways are given; not timed.
        ways: name -> the work, and the largest size that it bears.
    """
    found: Costs = {name: {} for name in ways}
    first = prepare(sizes[0])
    for work, _ in ways.values():  # what only the first time takes
        work(first)
    for size in tqdm(sizes, desc=next(iter(ways)), delay=5):
        given = prepare(size)
        for name, (work, most) in ways.items():
            if size <= most:
                start = process_time()
                work(given)
                found[name][size] = process_time() - start
    return found


class Blocks(nn.Module):
    """Residual blocks: three operators each."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """(N, WIDTH) -> (N, WIDTH)."""
        for layer in self.layers:
            x = x + layer(x).relu()
        return x


def tracing(sizes: Sequence[int]) -> Costs:
    """A module of so many operators to its graph."""

    def blocks(operators: int) -> tuple[nn.Module, tuple[Tensor]]:
        with torch.device("meta"):
            return Blocks(round(operators / 3)).eval(), (torch.empty(1, WIDTH),)

    ways: dict[str, tuple[Callable[[Any], object], int]] = {
        "cgir: frontends.trace": (lambda given: frontends.trace(*given), max(sizes)),
        "torch.export, strict=False": (lambda given: torch.export.export(*given, strict=False), EXPORTED),
    }
    return timed(sizes, blocks, ways)


def solving(sizes: Sequence[int]) -> Costs:
    """The smallest eigenvalues of one graph's Laplacian."""

    def graph(nodes: int) -> GraphBatch:
        return GraphBatch.from_graphs([random_dag(nodes)])

    def dense(batch: GraphBatch) -> FloatArray:
        given: list[nx.Graph] = [simple(wiring) for wiring in wirings(batch)]
        return with_networkx(given)

    ways: dict[str, tuple[Callable[[Any], object], int]] = {
        "cgir: cgir.spectrum": (lambda batch: cgir.spectrum(batch, progress=False), max(sizes)),
        "scipy eigsh, shift-invert": (lambda batch: with_eigsh(wirings(batch)), SOLVED_SPARSE),
        "networkx": (dense, SOLVED_DENSE),
    }
    return timed(sizes, graph, ways)


def pieces(count: int) -> Iterator[GraphBatch]:
    """Networks of a space in random order, `PIECE` at a time; after the last one the first comes again."""
    space = spaces.get(STREAMED)
    specs = list(space.enumerate())
    endless = (specs[row] for row in cycle(np.random.default_rng(0).permutation(len(specs)).tolist()))
    sizes = (min(PIECE, count - start) for start in range(0, count, PIECE))
    return (space.graphs(list(islice(endless, size))) for size in sizes)


def embed_stream(count: int, encoder: Encoder) -> dict[str, float]:
    """Compile and embed so many networks piece by piece, and keep the sum of their vectors alone."""
    compiling, embedding, total, stream = 0.0, 0.0, np.zeros(encoder.dim), pieces(count)
    for _ in tqdm(range(0, count, PIECE), desc=f"{count:,} graphs", delay=5):
        start = process_time()
        batch = next(stream)
        compiled = process_time()
        total += encoder.embed(batch, progress=False, device="cpu").sum(axis=0)
        compiling, embedding = compiling + compiled - start, embedding + process_time() - compiled
    if not np.isfinite(total).all():
        raise SystemExit("embeddings that are not finite")
    peak = int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) / 1024
    return {EMBEDDED: embedding, COMPILED: compiling, MEMORY: peak}


def embedding(sizes: Sequence[int]) -> Costs:
    """So many graphs to vectors, and the most memory that the process has ever held."""
    encoder, found = Encoder(CONFIG), {name: dict[int, float]() for name in (EMBEDDED, COMPILED, MEMORY)}
    encoder.embed(random_networks(STREAMED, 10), progress=False, device="cpu")  # what only the first time takes
    for size in sizes:
        for name, value in embed_stream(size, encoder).items():
            found[name][size] = value
    peer, batch_size = best_way(encoder, as_data(random_networks(STREAMED, 64)))
    few = [size for size in sizes if size <= EMBEDDED_BY_PEER]
    return found | timed(
        few,
        lambda size: as_data(random_networks(STREAMED, size)),
        {"PyTorch Geometric": (lambda data: embedded(peer, data, batch_size), EMBEDDED_BY_PEER)},
    )


def fitting(sizes: Sequence[int]) -> Costs:
    """A predictor to so many labels, given a pool that holds them."""
    many = random_networks("nasbench201", max(POOL, *sizes))
    costs = np.bincount(many.graph_of_node, np.array([kind_flops(kind) for kind in many.kinds])[many.kind])
    labels = np.log1p(costs) + np.random.default_rng(0).normal(0, 0.1, len(many))
    encoder = load_pretrained()

    def given(count: int) -> tuple[int, GraphBatch, GraphFeatures, Predictor]:
        pool = many.select(np.arange(max(POOL, count)))
        known, predictor = compute_features(pool, encoder), Predictor(encoder)
        fit(predictor, count, known)
        return count, pool, known, predictor

    def fit(predictor: Predictor | HandPredictor, count: int, pool: Any) -> None:
        predictor.fit(pool.select(np.arange(count)), labels[:count], pool=pool)

    ways: dict[str, tuple[Callable[[Any], object], int]] = {
        "cgir: Predictor, a new pool": (lambda part: fit(Predictor(encoder), *part[:2]), max(sizes)),
        "cgir: Predictor, the same pool": (lambda part: fit(part[3], part[0], part[2]), max(sizes)),
        "Gaussian process on hand features": (lambda part: fit(HandPredictor(), *part[:2]), FITTED),
    }
    return timed(sizes, given, ways)


def searching(sizes: Sequence[int]) -> Costs:
    """A search of so many queries, whose oracle answers at once; the pretrained predictor learns from the answers."""
    space, rng = spaces.get("nasbench201"), np.random.default_rng(0)
    operators = sorted({operator for _ in range(100) for operator in space.sample(rng)})
    worth = dict(zip(operators, np.random.default_rng(1).normal(size=(len(operators), 6)), strict=True))

    def oracle(spec: Sequence[str]) -> float:
        return float(sum(worth[operator][edge] for edge, operator in enumerate(spec)))

    def tpe(queries: int) -> None:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(
            lambda trial: oracle([str(trial.suggest_categorical(f"{edge}", operators)) for edge in range(6)]), queries
        )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    encoder = load_pretrained()
    ways: dict[str, tuple[Callable[[Any], object], int]] = {
        "cgir: search.evolve": (
            lambda queries: search.evolve(space, Predictor(encoder), oracle, queries, progress=False),
            max(sizes),
        ),
        "cgir: search.aging_evolution": (
            lambda queries: search.aging_evolution(space, None, oracle, queries, progress=False),
            max(sizes),
        ),
        "Optuna, TPE": (tpe, ASKED),
    }
    return timed(sizes, lambda queries: queries, ways)
