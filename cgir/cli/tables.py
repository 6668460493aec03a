"""`cgir tables`: list label tables, import one from a benchmark's official file, or write a data set of one."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter

from cgir.errors import CgirError, LabelError, printable
from cgir.limits import DEFAULT, Limits
from cgir.package_check import check_packages
from cgir.store import GraphStore

from .options import add_limits_option
from .output import say
from .output_files import check_place

EPILOG = """formats, and the files that users have:
  nasbench101       nasbench_only108.tfrecord, nasbench_full.tfrecord
  nasbench201       NATS-tss-*-simple or -full (folder or .tar), NATS-tss-*.pickle.pbz2, NAS-Bench-201-*.pth
  nasbench301       nb_301_v13 (folder or .zip)
  transnas_micro    transnas-bench_v10141024.pth
  transnas_macro    the same
  nasbench_nlp      logs of the release (folder or .zip)
  csv, parquet      any table with a column of architectures: --space NAME --spec COLUMN
examples:
  cgir tables import nasbench201 NATS-tss-v1_0-3ffb9-simple -o nb201.parquet
  cgir tables import csv mine.csv --space darts --spec genotype
  cgir tables graphs nb201.parquet -o labelled         the networks with their labels, for `cgir finetune`
Pickles in these files are read without running them: \
what is not an array, a tensor or a plain value is refused by name.
"""
DATA = "the folder with the published tables (default: the environment variable CGIR_DATA)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `cgir tables` and their options."""
    parser.description = "Networks and their labels."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_list(
        actions.add_parser(
            "list", help="which tables there are, their rows, and where they lie", description="List the label tables."
        )
    )
    _add_import(
        actions.add_parser(
            "import",
            help="make a table of a benchmark's official file",
            description="Read what a benchmark's authors published and write a Parquet table.",
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_graphs(
        actions.add_parser(
            "graphs",
            help="a data set of a table's networks and labels",
            description="Write a table's networks as graphs, with all its metrics as labels.",
        )
    )


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help=DATA)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("format", metavar="FORMAT", help="which benchmark, see below")
    parser.add_argument("file", type=Path, metavar="FILE", help="its file, folder or archive")
    parser.add_argument(
        "-o", "--output", type=Path,
        help="write this .parquet file (default: named like FILE, in the working directory)",
    )  # fmt: skip
    parser.add_argument("--space", help="csv and parquet: the search space")
    parser.add_argument(
        "--spec", metavar="COLUMN", help="csv and parquet: the column of architectures, in the space's text form"
    )
    add_limits_option(parser)


def _add_graphs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a table of `cgir tables list`, or a file that `cgir tables import` wrote")
    parser.add_argument("--data", type=Path, help=DATA)
    parser.add_argument(
        "-o", "--output", type=Path, required=True,
        help="a folder, or a .parquet file, for `cgir finetune` and `cgir pretrain`",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Carry out the action and print its result."""
    check_packages("frontends")
    if args.action == "list":
        say(list_tables(args.data))
    elif args.action == "import":
        check_place(args.output)
        say(import_file(args.format, args.file, args.output, args.space, args.spec, args.limits))
    else:
        check_place(args.output)
        say(write_store(args.name, args.data, args.output))
    return 0


def list_tables(folder: Path | None) -> str:
    """A line for each label table: rows, metrics, and where it is or which file is missing; and what to do then."""
    from frontends.tables import NAMES, PUBLISHED_TABLES, load
    from frontends.tables.published import find_file

    lines, missing = [f"{'table':20}{'rows':>8}  {'metrics':>7}  where"], 0
    for name in NAMES:
        published, where = PUBLISHED_TABLES.get(name), "in the package"
        try:
            if published is not None:
                where = str(find_file(published, folder))
        except LabelError:
            missing += 1
            lines.append(f"{name:20}{'-':>8}  {'-':>7}  no {published.file if published else name}")
            continue
        try:
            table = load(name, None if published is None else folder)
            lines.append(f"{name:20}{len(table):8,}  {len(table.metrics):7}  {where}")
        except CgirError as error:
            lines.append(f"{name:20}{'-':>8}  {'-':>7}  {error}")
    advice = 'open one with frontends.tables.load("nasbench201"); what to mind of each: help(frontends.tables)'
    return "\n".join([*lines, "", *_how_to_find(missing, folder), advice])


def _how_to_find(missing: int, folder: Path | None) -> list[str]:
    if not missing:
        return []
    looked = folder if folder is not None else os.environ.get("CGIR_DATA")
    found = f"not in the folder {looked}" if looked else "not found, as no folder is named"
    return [f"{missing} tables are {found}; name it with --data FOLDER, or in the environment variable CGIR_DATA"]


def import_file(
    format_name: str,
    file: Path,
    output: Path | None,
    space: str | None,
    spec: str | None,
    limits: Limits = DEFAULT,
) -> str:
    """Make a table of an official file and write it.

    Args:
        format_name: one of `importers.FORMATS`.
        file: the official file, folder or archive.
        output: the Parquet file to write; by default named like `file`, in the working directory.
        space: for "csv" and "parquet", the search space.
        spec: for these, the column of architectures.
        limits: of what the file may take.

    Returns:
        What was written, in two lines.
    """
    from frontends.tables import write_table
    from frontends.tables.importers import import_table

    start = perf_counter()
    table = import_table(format_name, file, space, spec, limits)
    target = output or Path(f"{table.name}.parquet")
    if target.suffix != ".parquet":
        target = target.with_name(f"{target.name}.parquet")
    write_table(table, target)
    assert table.space is not None
    seconds = perf_counter() - start
    content = f"{len(table):,} rows of {table.space.name}, {len(table.metrics)} metrics"
    return (
        f"{printable(target)}: {content}, {target.stat().st_size / 1e6:.1f} MB, in {seconds:.0f} s\n"
        f'open it with frontends.tables.load("{printable(target)}")'
    )


def write_store(name: str, folder: Path | None, output: Path) -> str:
    """Write a data set of a table's networks with all its metrics as labels.

    Args:
        name: a table, or a Parquet file that `cgir tables import` wrote.
        folder: with the published tables.
        output: a .parquet file, or a folder.

    Returns:
        What was written, in a line.
    """
    from frontends.tables import load

    start, table = perf_counter(), load(name, folder)
    family = table.families or (table.space.name if table.space else table.name)
    GraphStore.write(output, table.graphs(), family=family, specs=table.spec_strings, labels=table.columns)
    content = f"{len(table):,} networks with {', '.join(table.metrics)}"
    return f"{printable(output)}: {content}, in {perf_counter() - start:.0f} s"
