"""`cgir space`: list search spaces, describe one, and turn networks of one into a graph or a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice, tee
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cgir.errors import SpecError
from cgir.graph_batch import GraphBatch
from cgir.package_check import check_packages
from cgir.store import GraphStore

from .graph_output import write_graph
from .options import add_drawing_options, parse_seed, positive_int

if TYPE_CHECKING:
    from frontends.spaces.space import Space

HELP = "a search space: one of its networks as a graph, or many as a data set"
EPILOG = """examples:
  cgir space                                                  all search spaces
  cgir space transnas_macro                                   what its strings look like
  cgir space transnas_macro 64-433241-basic --svg net.svg     a network of it
  cgir space ofa_mbv3 --sample 5000 -o pool                   a data set of random networks, for `cgir pretrain pool`
  cgir space nasbench201 --all -o nb201                       a data set of all of them
"""
CHUNK = 4096  # networks whose graphs are built at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir space`."""
    parser.description = (
        "List the search spaces, describe one, turn one of its networks into a graph, or write a data set of many."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", nargs="?", help="the space (default: list all)")
    parser.add_argument("architecture", nargs="?", help="a network, in the benchmark's own form")
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--sample", type=positive_int, metavar="N", help="a data set of N networks drawn at random")
    many.add_argument("--all", action="store_true", help="a data set of all networks")
    parser.add_argument("--seed", type=parse_seed, default=0)
    parser.add_argument(
        "-o", "--output", type=Path, help="write the graph (JSON) or the data set (a folder, or a .parquet file) here"
    )
    add_drawing_options(parser)


def run(args: argparse.Namespace) -> int:
    """List or describe spaces, or write a graph or a data set, as the arguments select; print the result."""
    check_packages("frontends")
    from frontends.spaces import get

    if args.sample or args.all:
        if args.name is None or args.architecture or not args.output:
            raise SpecError(
                "a data set needs a search space and a place: cgir space NAME --sample N -o PATH, "
                "without a single network"
            )
        print(write_store(args.name, args.sample, args.seed, args.output))
    elif args.architecture is None:
        print(describe(args.name, args.seed) if args.name else list_spaces())
    else:
        space = get(args.name)
        write_graph(space.graph(space.parse(args.architecture)), args)
    return 0


def list_spaces() -> str:
    """A line for each search space: the first line of its module's docstring."""
    from frontends.spaces import SPACES, get

    return "\n".join(f"{name:16}{_docstring(get(name)).partition(chr(10))[0]}" for name in SPACES)


def describe(name: str, seed: int) -> str:
    """What the space is, the form of its specifications, and one of them, drawn at random."""
    from frontends.spaces import get

    space = get(name)
    example = space.format(space.sample(np.random.default_rng(seed)))
    return f"{_docstring(space)}\n\none of its networks:\n{example}"


def write_store(name: str, count: int | None, seed: int, output: Path) -> str:
    """Write a data set of a space's networks, without labels.

    Args:
        name: the space.
        count: that many networks drawn at random; None for all of them.
        seed: of the drawing.
        output: a .parquet file, or a folder.

    Returns:
        What was written, in a line.
    """
    from frontends.spaces import get

    start, space, rng = perf_counter(), get(name), np.random.default_rng(seed)
    specs, again = tee(space.enumerate() if count is None else (space.sample(rng) for _ in range(count)))
    GraphStore.write(output, _build_graphs(space, specs), family=name, specs=map(space.format, again))
    return f"{output}: {len(GraphStore.open(output)):,} networks of {name} in {perf_counter() - start:.0f} s"


def _docstring(space: Space[Any]) -> str:
    return (sys.modules[type(space).__module__].__doc__ or "").strip()


def _build_graphs(space: Space[Any], specs: Iterator[Any]) -> Iterator[GraphBatch]:
    while chunk := list(islice(specs, CHUNK)):
        yield space.graphs(chunk)
