"""Pass manager: runs passes in order, counts what each removes, and names the pass in which something goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from cgir.errors import InvalidGraphError, one_line
from cgir.graph import Graph
from cgir.verifier import verify

Pass = Callable[[Graph], Graph]  # a function at module level: its name is the pass's name

DEBUG = "CGIR_DEBUG"  # environment variable that switches `debug` on; "" and "0" leave it off


def run_passes(graph: Graph, passes: Sequence[Pass], debug: bool = False) -> Graph:
    """Apply passes one after the other.

    Args:
        graph: input of the first pass.
        passes: functions `Graph -> Graph`, named by their `__name__`.
        debug: check every invariant of `cgir.verify` before the first and after each pass; the environment
            variable CGIR_DEBUG=1 also enables it.

    Returns:
        The last pass's graph. Its `notes` also have, under each pass's name, the number of nodes that it removed.

    Raises:
        InvalidGraphError: a pass failed, or with `debug` broke an invariant; the message names it and those before it.
    """
    debug = debug or os.environ.get(DEBUG, "0") not in ("", "0")
    if debug:
        _check(graph, "the graph is invalid before any pass")
    done: list[str] = []
    for step in passes:
        name, before = step.__name__, len(graph)
        where = f"pass {name} (after {', '.join(done) or 'none'})"
        try:
            graph = step(graph)
        except Exception as error:
            raise InvalidGraphError(f"graph {graph.name!r}: {where} failed: {one_line(error, named=True)}") from error
        if debug:
            _check(graph, f"{where} broke an invariant")
        if len(graph) < before:
            graph = graph.with_nodes(graph.nodes, {name: before - len(graph)})
        done.append(name)
    return graph


def _check(graph: Graph, problem: str) -> None:
    """Verify a graph between passes, as a raw one: it may still contain what canonical graphs may not."""
    try:
        verify(graph.with_nodes(graph.nodes, level="raw"))
    except InvalidGraphError as error:
        raise InvalidGraphError(f"{problem}: {error}") from error
