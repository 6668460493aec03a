"""Saved graphs: changed bytes, and changed values with a right checksum; read, printed, drawn, compared and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.random import Generator

import cgir
from cgir.drawing import summary, to_svg
from cgir.graph import Graph, Node, Param
from frontends import spaces

from .resealing import mutated_json
from .target import Target


def prepare(folder: Path) -> list[bytes]:
    """Small graphs of every level, with shared parameters, infinite attributes, detached nodes and gaps."""
    space = spaces.get("nasbench201", cells=1)
    network = space.graph(next(iter(space.enumerate())))
    nodes = (
        Node("Input", shape=(4, 8, 8), name="x"),
        Node("Clip", (0,), ((4, 8, 8),), (4, 8, 8), attrs=(("max", float("inf")), ("min", -0.5)), name="clip"),
        Node("Mul", (1, 1), ((4, 8, 8),) * 2, (4, 8, 8), (Param("w", (4, 1, 1)),), (("table", ((1, 2.5), "é")),)),
        Node("Output", (2,), ((4, 8, 8),), (4, 8, 8)),
    )
    detached = (Node("MatMul", (), ((4, 4), (4, 4)), (4, 4), attrs=(("inner", 4),)),)
    graph = Graph(nodes, "net", "raw", (("folded", 2),), detached, (cgir.graph.Gap("FLOPs", "a gap"),))
    for index, item in enumerate((network, graph, Graph((Node("Input"), Node("Output", (0,), ((),)))))):
        item.save(folder / f"{index}.json")
    return [(folder / f"{index}.json").read_bytes() for index in range(3)]


def write(rng: Generator, seeds: list[bytes], folder: Path) -> Path:
    """One wrong file."""
    path, data = folder / "g.json", seeds[int(rng.integers(len(seeds)))]
    path.write_bytes(mutated_json(rng, data))
    return path


def read(path: Path) -> Any:
    """Load it, and do what is done with graphs; a graph that was saved again is equal."""
    graph = cgir.load(path)
    texts = graph.report(), str(graph), summary(graph), graph.to_dot(), graph.hash
    for text in texts:
        text.encode()
    to_svg(graph, path.with_suffix(".svg"))
    graph.to_html(path.with_suffix(".html"))
    cgir.spectrum(graph)
    graph.save(path)
    if cgir.load(path) != graph:
        raise AssertionError("another graph than was saved")


TARGET = Target("graph JSON: bytes and values", prepare, write, read)
