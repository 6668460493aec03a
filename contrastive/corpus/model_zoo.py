"""What of timm, torchvision and transformers is in the corpus: their models traced at two sizes, and mutations of the
graphs.

What cannot be built or traced is counted and logged, and left out, as is what has more than `LARGEST` nodes (mutations
may grow beyond); a model that takes longer than `PATIENCE` seconds gets no further variants.
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

LARGEST = 3000  # nodes
PATIENCE = 20.0  # seconds
MUTANTS, STEPS = 4, 4  # of each model, and the most blocks that are changed in one
SIZE = 64  # models in a part, which is what an interruption loses at most

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """Some models of a library, its `origin`."""

    origin: str
    number: int
    models: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the part's files."""
        return f"{self.origin}-{self.number:02}"


def parts(scale: float, seed: int) -> list[Part]:
    """The models there are, or the share `scale` of them, in parts; a library that is not installed is left out with a
    warning.
    """
    found = []
    for library in LIBRARIES:
        names = _names(library)
        count = min(len(names), ceil(len(names) * LIBRARIES[library].share * scale))
        chosen = np.sort(np.random.default_rng([seed, zlib.crc32(library.encode())]).permutation(len(names))[:count])
        models = [names[index] for index in chosen]
        found += [
            Part(library, start // SIZE, tuple(models[start : start + SIZE])) for start in range(0, len(models), SIZE)
        ]
    return found


def write(part: Part, path: Path, seed: int) -> None:
    """Write one part as a store of its own; equal arguments give equal stores. Logs what was left out."""
    graphs: list[Graph] = []
    titles: list[str] = []
    problems: list[str] = []
    with _quiet(), seeded(seed):
        declare()
        for model in tqdm(part.models, desc=part.name, unit="model", disable=None):
            rng = np.random.default_rng([seed, zlib.crc32(f"{part.origin}/{model}".encode())])
            for title, graph in _graphs(part.origin, model, rng, problems):
                titles.append(title)
                graphs.append(graph)
    for problem in problems:
        log.info("corpus: %s leaves out %s", part.name, problem)
    log.info("corpus: %s: %d graphs of %d models, %d left out", part.name, len(graphs), len(part.models), len(problems))
    GraphStore.write(path, graphs, family=part.origin, specs=titles)


def versions() -> dict[str, str]:
    """Of the libraries that are there."""
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
    """A model at two sizes, then mutations of these."""
    bases: list[tuple[str, Graph]] = []
    start, title = perf_counter(), model
    try:
        for title, make in LIBRARIES[library].variants(model, rng):
            if perf_counter() - start > PATIENCE:
                problems.append(f"{title}: {PATIENCE:.0f} s are over")
                break
            graph = _attempt(title, make, problems)
            if graph is not None:
                bases.append((title, graph))
    except Exception as error:  # each of a thousand architectures has its own ways to fail
        problems.append(_problem(title, error))
    yield from bases
    for number in range(MUTANTS if bases else 0):
        title, graph = bases[int(rng.integers(len(bases)))]
        changed = mutate(graph, rng, int(rng.integers(1, STEPS + 1)))
        if changed is not graph:
            yield f"{title} mutation {number}", changed


def _attempt(title: str, make: Callable[[], Graph], problems: list[str]) -> Graph | None:
    try:
        graph = make()
    except Exception as error:
        problems.append(_problem(title, error))
        return None
    if len(graph) > LARGEST:
        problems.append(f"{title}: {len(graph)} nodes")
        return None
    return graph


def _problem(title: str, error: Exception) -> str:
    reason = str(error).partition("\n")[0]
    return f"{title}: {type(error).__name__}: {reason[:160]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries warn of their own deprecations, and log what they choose by default."""
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
