"""`cgir show`: print or draw a saved graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from cgir.drawing import summary
from cgir.serialize import load

from .graph_output import write_drawings
from .options import add_drawing_options
from .output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir show`."""
    parser.description = (
        "Print a saved graph as a table of blocks, equal blocks in a row as one; draw it with --svg, --dot or --html."
    )
    parser.add_argument("graph", type=Path, help="a graph written by `cgir trace -o`")
    parser.add_argument("--report", action="store_true", help="totals, operators and what they cost instead of blocks")
    add_drawing_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the graph as blocks, as nodes (`--full`) or as a report, and draw it."""
    graph = load(args.graph)
    say(graph.report() if args.report else graph if args.full else summary(graph, args.depth))
    write_drawings(graph, args)
    return 0
