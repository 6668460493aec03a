"""`cgir embed`: a data set of graphs as vectors, on any number of workers."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter

from cgir.errors import printable
from cgir.executors import open_executor
from cgir.package_check import check_packages

from .options import add_device_option, add_writing_options
from .output import say
from .output_files import check_place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir embed`."""
    parser.description = (
        "Embed the graphs of a data set, file by file. Interrupt it when you like: the same command goes on where it "
        "stopped."
    )
    parser.add_argument("store", type=Path, help="a data set (a folder, or .parquet), such as `cgir space` writes")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the vectors")
    parser.add_argument(
        "--encoder",
        default="universal",
        metavar="NAME | FILE",
        help="universal, which comes with the package, or a file that `cgir pretrain` wrote (default: %(default)s)",
    )
    add_writing_options(parser)
    add_device_option(parser)


def run(args: argparse.Namespace) -> int:
    """Embed what is missing, and print how many vectors there are."""
    check_packages("encoders")
    from encoders import StoredEmbeddings, embed_store

    check_place(args.output)  # before weights are loaded
    start = perf_counter()
    with open_executor(args.executor) if args.executor else nullcontext() as executor:
        embed_store(args.encoder, args.store, args.output, executor, args.overwrite, args.device)
    found = StoredEmbeddings(args.output)
    say(f"{printable(args.output)}: {len(found):,} vectors of {found.dim} numbers in {perf_counter() - start:.0f} s")
    return 0
