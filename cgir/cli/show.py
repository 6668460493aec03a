"""`cgir show`: print or draw a saved graph, or a model."""

from __future__ import annotations

import argparse

from cgir.drawing import summary

from .graph_output import check_drawings, write_drawings
from .options import add_drawing_options, add_trace_options
from .output import say
from .targets import load_or_trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir show`."""
    parser.description = (
        "Print a graph or model as a table of blocks, equal blocks in a row as one; "
        "draw it with --svg, --dot or --html."
    )
    parser.add_argument("graph", help="a graph written by `cgir trace -o`, or any model that `cgir trace` takes")
    parser.add_argument("--report", action="store_true", help="totals, operators and what they cost instead of blocks")
    add_drawing_options(parser)
    add_trace_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the graph as blocks, as nodes (`--full`) or as a report, and draw it."""
    check_drawings(args)  # before a model is traced
    graph = load_or_trace(args.graph, args)
    say(graph.report() if args.report else graph if args.full else summary(graph, args.depth))
    write_drawings(graph, args)
    return 0
