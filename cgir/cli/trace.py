"""`cgir trace`: turn a model into a graph, report on it, save and draw it."""

from __future__ import annotations

import argparse
from pathlib import Path

from cgir.errors import printable
from cgir.passes import canonicalize

from .graph_output import check_drawings, write_graph
from .options import MODEL, add_drawing_options, add_trace_options
from .output import say
from .output_files import check_file
from .targets import trace_model

EPILOG = """examples:
  cgir trace net.py:build --input-shape 1,3,224,224 --svg net.svg      \
build() in net.py returns a PyTorch or Keras model, or an ONNX one
  cgir trace net.onnx --dim batch=1 --dim time=128 -o net.json         \
files know their shapes; sizes for dimensions they leave open
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir trace`."""
    parser.description = "Turn a model into a graph without running it on data, and report what is in it."
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help=MODEL)
    add_trace_options(parser)
    parser.add_argument("-o", "--output", type=Path, help="write the graph here (JSON)")
    parser.add_argument("--raw", action="store_true", help="as recorded, not canonical")
    add_drawing_options(parser)


def run(args: argparse.Namespace) -> int:
    """Trace `args.model`, print the report of its graph, save and draw it where the options say so."""
    check_file(args.output, ".json")  # before the model is built
    check_drawings(args)
    recorded, seconds = trace_model(args.model, args, raw=True)
    graph = recorded if args.raw else canonicalize(recorded, level=args.level)
    counts = f"{len(recorded):,} operators recorded, {len(graph):,} nodes in the graph"
    say(f"traced {printable(args.model)} in {seconds:.1f} s: {counts}\n")
    write_graph(graph, args)
    return 0
