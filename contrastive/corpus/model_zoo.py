"""Corpus parts from timm, torchvision and transformers: models traced at two sizes, and mutations of the graphs.

Models that cannot be built or traced, or that have more than `MAX_NODES` nodes, are logged and left out (mutations may
have more nodes); a model that takes longer than `TIME_LIMIT` gets no further variants.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cgir.graph import Graph
from cgir.store.graph_store import GraphStore
from encoders.training.seeding import seeded
from frontends.torch.torchvision_ops import declare

from .model_builders import LIBRARIES
from .mutations import mutate

MAX_NODES = 3000
TIME_LIMIT = 20.0  # seconds for the variants of a model
NUM_MUTATIONS = 4  # of each model
MAX_CHANGES = 4  # blocks dropped or repeated in a mutation
PART_SIZE = 64  # models in a part, at most so many are lost by an interruption

log = logging.getLogger(__name__)


class ModelPart(NamedTuple):
    """Some models of a package.

    package: one of `LIBRARIES`.
    number: of the part within its package.
    models: names.
    """

    package: str
    number: int
    models: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the part's folder."""
        return f"{self.package}-{self.number:02}"


def parts(scale: float, seed: int) -> list[ModelPart]:
    """All models, or the fraction `scale` of them, in parts; warns of libraries that are not installed."""
    result = []
    for library in LIBRARIES:
        names = _names(library)
        count = min(len(names), ceil(len(names) * LIBRARIES[library].fraction * scale))
        chosen = np.sort(np.random.default_rng([seed, zlib.crc32(library.encode())]).permutation(len(names))[:count])
        models = [names[index] for index in chosen]
        result += [
            ModelPart(library, start // PART_SIZE, tuple(models[start : start + PART_SIZE]))
            for start in range(0, len(models), PART_SIZE)
        ]
    return result


def write_part(part: ModelPart, path: Path, seed: int) -> None:
    """Write one part as a store of its own and log what was left out; equal arguments give equal stores.

    Args:
        part: the models.
        path: of the store.
        seed: of sizes and mutations.
    """
    graphs: list[Graph] = []
    titles: list[str] = []
    problems: list[str] = []
    with _quiet(), seeded(seed):
        declare()
        for model in tqdm(part.models, desc=part.name, unit="model", disable=None):
            rng = np.random.default_rng([seed, zlib.crc32(f"{part.package}/{model}".encode())])
            for title, graph in _graphs(part.package, model, rng, problems):
                titles.append(title)
                graphs.append(graph)
    for problem in problems:
        log.info("corpus: %s leaves out %s", part.name, problem)
    log.info("corpus: %s: %d graphs of %d models, %d left out", part.name, len(graphs), len(part.models), len(problems))
    GraphStore.write(path, graphs, family=part.package, specs=titles)


def versions() -> dict[str, str]:
    """Versions of the installed libraries."""
    return {library: version(library) for library in LIBRARIES if _names(library, warn=False)}


def _names(library: str, warn: bool = True) -> list[str]:
    with _quiet():
        try:
            return LIBRARIES[library].names()
        except (ImportError, RuntimeError) as error:  # the latter: a torchvision that was built for another PyTorch
            reason = str(error).partition("\n")[0]
    if warn:
        log.warning(
            "corpus: the models of %s are left out, as it cannot be imported (%s); pip install %s",
            library,
            reason,
            library,
        )
    return []


def _graphs(library: str, model: str, rng: np.random.Generator, problems: list[str]) -> Iterator[tuple[str, Graph]]:
    """Titles and graphs of a model at two sizes, then of mutations of these."""
    bases: list[tuple[str, Graph]] = []
    start, title = perf_counter(), model
    try:
        for title, make in LIBRARIES[library].variants(model, rng):
            if perf_counter() - start > TIME_LIMIT:
                problems.append(f"{title}: {TIME_LIMIT:.0f} s are over")
                break
            graph = _attempt(title, make, problems)
            if graph is not None:
                bases.append((title, graph))
    except Exception as error:  # each of a thousand architectures has its own ways to fail
        problems.append(_problem(title, error))
    yield from bases
    for number in range(NUM_MUTATIONS if bases else 0):
        title, graph = bases[int(rng.integers(len(bases)))]
        changed = mutate(graph, rng, int(rng.integers(1, MAX_CHANGES + 1)))
        if changed is not graph:
            yield f"{title} mutation {number}", changed


def _attempt(title: str, make: Callable[[], Graph], problems: list[str]) -> Graph | None:
    try:
        graph = make()
    except Exception as error:
        problems.append(_problem(title, error))
        return None
    if len(graph) > MAX_NODES:
        problems.append(f"{title}: {len(graph)} nodes")
        return None
    return graph


def _problem(title: str, error: Exception) -> str:
    reason = str(error).partition("\n")[0]
    return f"{title}: {type(error).__name__}: {reason[:160]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log of the libraries, which warn of their own deprecations and log their defaults."""
    names = ("timm", "transformers", "torch")
    levels = [logging.getLogger(name).level for name in names]
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
