"""Arguments of the commands on models and graphs: trace, show, diff, space."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import MODEL, add_pictures, add_request, positive

TRACE_EPILOG = """examples:
  cgir trace net.py:build --input-shape 1,3,224,224 --svg net.svg      build() in net.py returns a PyTorch or Keras model, or an ONNX one
  cgir trace net.onnx --dim batch=1 --dim time=128 -o net.json         files know their shapes; sizes for dimensions they leave open
"""
SPACE_EPILOG = """examples:
  cgir space                                                  all search spaces
  cgir space transnas_macro                                   what its strings look like
  cgir space transnas_macro 64-433241-basic --svg net.svg     a network of it
  cgir space ofa_mbv3 --sample 5000 -o pool                   a data set of random networks, for `cgir pretrain pool`
  cgir space nasbench201 --all -o nb201                       a data set of all of them
"""


def add_trace(commands: Any) -> None:
    """`cgir trace`."""
    sub = commands.add_parser(
        "trace",
        help="turn a PyTorch, Keras, TensorFlow or ONNX model into a graph",
        description="Turn a model into a graph without running it on data, and report what is in it.",
        epilog=TRACE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("model", help=MODEL)
    add_request(sub)
    sub.add_argument("-o", "--output", type=Path, help="write the graph here (JSON)")
    sub.add_argument("--raw", action="store_true", help="as recorded, not canonical")
    add_pictures(sub)


def add_show(commands: Any) -> None:
    """`cgir show`."""
    sub = commands.add_parser(
        "show",
        help="print or draw a saved graph",
        description="Print a saved graph as a table of blocks, equal blocks in a row as one; draw it with --svg, --dot or --html.",
    )
    sub.add_argument("graph", type=Path, help="a graph written by `cgir trace -o`")
    sub.add_argument("--report", action="store_true", help="totals, operators and what they cost instead of blocks")
    add_pictures(sub)


def add_diff(commands: Any) -> None:
    """`cgir diff`."""
    sub = commands.add_parser(
        "diff",
        help="say where two graphs part",
        description="Compare two graphs or models up to names and order. Exit status 1: they differ.",
        epilog="example:\n  cgir diff net.py:build net.onnx --input-shape 1,3,224,224 --level inference",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("a", help="a graph written by `cgir trace -o`, or any model that `cgir trace` takes")
    sub.add_argument("b", help="the same")
    add_request(sub)


def add_space(commands: Any) -> None:
    """`cgir space`."""
    sub = commands.add_parser(
        "space",
        help="a search space: one of its networks as a graph, or many as a data set",
        description="List the search spaces, describe one, turn one of its networks into a graph, or write a data set of many.",
        epilog=SPACE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("name", nargs="?", help="the space (default: list all)")
    sub.add_argument("architecture", nargs="?", help="a network, in the benchmark's own form")
    many = sub.add_mutually_exclusive_group()
    many.add_argument("--sample", type=positive, metavar="N", help="a data set of N networks drawn at random")
    many.add_argument("--all", action="store_true", help="a data set of all networks")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument(
        "-o", "--output", type=Path, help="write the graph (JSON) or the data set (a folder, or a .parquet file) here"
    )
    add_pictures(sub)
