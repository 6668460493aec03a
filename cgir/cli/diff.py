"""`cgir diff`: print the differences of two graphs or models."""

from __future__ import annotations

import argparse
from pathlib import Path

from cgir.analysis import graph_diff
from cgir.drawing import diff_to_html
from cgir.errors import printable

from .options import add_trace_options
from .output import say
from .output_files import check_file
from .targets import load_or_trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir diff`."""
    parser.description = "Compare two graphs or models up to names and order. Exit status 1: they differ."
    parser.epilog = "example:\n  cgir diff net.py:build net.onnx --input-shape 1,3,224,224 --level inference"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("a", help="a graph written by `cgir trace -o`, or any model that `cgir trace` takes")
    parser.add_argument("b", help="the same")
    parser.add_argument("-o", "--output", type=Path, help="show both side by side on this .html page")
    add_trace_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the differences; exit status 1 if there are any."""
    check_file(args.output, ".html", ".htm")  # before a model is traced
    a, b = (load_or_trace(target, args) for target in (args.a, args.b))
    differences = graph_diff.diff(a, b, args.limits)
    say(differences or "the graphs are isomorphic")
    if args.output:
        diff_to_html(a, b, args.output, args.limits)
        say(f"wrote {printable(args.output)}")
    return 1 if differences else 0
