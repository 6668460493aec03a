"""Arguments of `cgir tables`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

TABLES_EPILOG = """formats, and the files that users have:
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
Pickles in these files are read without running them: what is not an array, a tensor or a plain value is refused by name.
"""


def add_tables(commands: Any) -> None:
    """`cgir tables`."""
    sub = commands.add_parser(
        "tables",
        help="label tables: list them, make one of a benchmark's official file, or a data set of one",
        description="Networks and their labels.",
    )
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="which tables there are, their rows, and where they lie", description="List the label tables."
    )
    listing.add_argument(
        "--data", type=Path, help="the folder with the published tables (default: the environment variable CGIR_DATA)"
    )
    reading = actions.add_parser(
        "import",
        help="make a table of a benchmark's official file",
        description="Read what a benchmark's authors published and write a Parquet table.",
        epilog=TABLES_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reading.add_argument("format", metavar="FORMAT", help="which benchmark, see below")
    reading.add_argument("file", type=Path, metavar="FILE", help="its file, folder or archive")
    reading.add_argument(
        "-o",
        "--output",
        type=Path,
        help="write this .parquet file (default: named like FILE, in the working directory)",
    )
    reading.add_argument("--space", help="csv and parquet: the search space")
    reading.add_argument(
        "--spec", metavar="COLUMN", help="csv and parquet: the column of architectures, in the space's text form"
    )
    joining = actions.add_parser(
        "graphs",
        help="a data set of a table's networks and labels",
        description="Write a table's networks as graphs, with all its metrics as labels.",
    )
    joining.add_argument("name", help="a table of `cgir tables list`, or a file that `cgir tables import` wrote")
    joining.add_argument(
        "--data", type=Path, help="the folder with the published tables (default: the environment variable CGIR_DATA)"
    )
    joining.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="a folder, or a .parquet file, for `cgir finetune` and `cgir pretrain`",
    )
