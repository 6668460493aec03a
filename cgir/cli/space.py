"""`cgir space`: list search spaces, describe one, and turn networks of one into a graph or a data set."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from itertools import chain, tee
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cgir.errors import CgirError, SpecError, printable
from cgir.executors import open_executor
from cgir.package_check import check_packages
from cgir.store import GraphStore, Job
from cgir.store.manifest import read_parts

from .graph_output import check_drawings, write_graph
from .options import add_drawing_options, add_writing_options, parse_seed, positive_int
from .output import say
from .output_files import check_file, check_place

if TYPE_CHECKING:
    from frontends.spaces.space import Space

EPILOG = """examples:
  cgir space                                                  all search spaces
  cgir space transnas_macro                                   what its strings look like
  cgir space transnas_macro 64-433241-basic --svg net.svg     a network of it
  cgir space ofa_mbv3 --sample 5000 -o pool                   a data set of random networks, for `cgir pretrain pool`
  cgir space darts --sample 1000000 -o pool --executor dask   many, by all processes; the same call resumes
  cgir space nasbench201 --all -o nb201                       a data set of all of them
"""


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
    parser.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument(
        "-o", "--output", type=Path, help="write the graph (JSON) or the data set (a folder, or a .parquet file) here"
    )
    add_writing_options(parser)
    add_drawing_options(parser)


def run(args: argparse.Namespace) -> int:
    """List or describe spaces, or write a graph or a data set, as the arguments select; print the result."""
    check_place(args.output)  # before anything takes time
    check_drawings(args)
    check_packages("frontends")
    from frontends.spaces import get

    if args.sample or args.all:
        if args.name is None or args.architecture or not args.output:
            raise SpecError(
                "a data set needs a search space and a place: cgir space NAME --sample N -o PATH, "
                "without a single network"
            )
        say(write_store(args))
    elif args.architecture is None:
        say(describe(args.name, args.seed) if args.name else list_spaces())
    else:
        check_file(args.output, ".json")
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


def write_store(args: argparse.Namespace) -> str:
    """Write a data set of a space's networks, without labels: a sample, or all; the same call resumes.

    Returns:
        What was written, in a line.

    Raises:
        CgirError: there are too many networks, or a data set is there already.
    """
    from frontends.spaces import get
    from frontends.spaces.data_sets import enumeration_jobs, sample_jobs

    start, space = perf_counter(), get(args.name)
    jobs = enumeration_jobs(space) if args.all else sample_jobs(space, args.sample, args.seed)
    if args.output.suffix == ".parquet" and not args.output.is_dir():
        _write_file(args, jobs)
        written = len(GraphStore.open(args.output))
    else:
        with open_executor(args.executor) if args.executor else nullcontext() as executor:
            GraphStore.write_parts(args.output, jobs, executor, args.overwrite)
        written = sum(part.rows for part in read_parts(args.output))  # opened, 10^8 rows are an array of 0.8 GB
    return f"{printable(args.output)}: {written:,} networks of {args.name} in {perf_counter() - start:.0f} s"


def _write_file(args: argparse.Namespace, jobs: list[Job]) -> None:
    """The networks of all jobs in one file, in the same order."""
    if args.executor:
        raise CgirError(f"{args.output}: workers write a folder of files; expected a path without .parquet")
    if args.output.exists() and not args.overwrite:
        raise CgirError(f"{args.output}: exists already; give --overwrite or another path")
    graphs, specs = tee(job.run() for job in jobs)
    GraphStore.write(
        args.output,
        chain.from_iterable(content.graphs for content in graphs),
        args.name,
        chain.from_iterable(content.specs for content in specs),
    )


def _docstring(space: Space[Any]) -> str:
    return (sys.modules[type(space).__module__].__doc__ or "").strip()
