"""`cgir explain`: which operators a network's score depends on, as a table and a drawing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cgir.errors import printable
from cgir.package_check import check_packages

from . import explain_report
from .options import add_detail_options, add_trace_options, positive_int
from .output import say
from .output_files import check_file
from .targets import default_shape, load_or_trace

if TYPE_CHECKING:
    from encoders.explain import Explanation

DRAWINGS = (".svg", ".png", ".html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir explain`."""
    parser.description = (
        "Print the operators that a network's score hangs on, and draw the network shaded by them: "
        "darker is more important."
    )
    parser.epilog = "example: cgir explain net.py:build --predictor predictor --input-shape 1,3,224,224 -o why.html"
    parser.add_argument(
        "model", help="a graph written by `cgir trace -o` or `cgir space -o`, or any model that `cgir trace` takes"
    )
    parser.add_argument("--predictor", type=Path, required=True, help="folder written by `cgir finetune`")
    parser.add_argument(
        "--method", choices=("masks", "occlusion"),
        help="masks: CARL's own; occlusion: the score without each part (default: masks, if any)",
    )  # fmt: skip
    parser.add_argument("--top", type=positive_int, default=10, help="how many to print (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, help="draw to this .svg, .png or .html file")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write a page with bars and a drawing")
    add_detail_options(parser)
    add_trace_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the most important nodes, and draw the graph shaded by importance."""
    check_packages("frontends", "encoders")
    from encoders import Predictor
    from encoders.explain import explain

    check_file(args.output, *DRAWINGS)  # before a model is traced
    check_file(args.report, ".html", ".htm")
    predictor = Predictor.load(args.predictor, args.limits)
    args.default_shape = default_shape(predictor)
    graph = load_or_trace(args.model, args)
    explanation = explain(predictor, graph, args.method)
    text = explanation.table(args.top)
    if args.output:
        draw(explanation, args.output, args.depth, args.full)
        text += f"\n\nwrote {printable(args.output)}"
    if args.report:
        outside = predictor.outside(graph).get(0, "")
        std = float(predictor.predict(graph, return_std=True)[1][0]) if predictor.has_std else None
        explain_report.write_report(args.report, explanation, std, outside, args.top)
        text += f"\n\nreport: {printable(args.report)}"
    say(text)
    return 0


def draw(explanation: Explanation, output: Path, depth: int | None, full: bool) -> None:
    """Draw to an .svg, .png or .html file.

    Args:
        explanation: of one graph.
        output: the file.
        depth: levels of modules that are opened; None: as many as can be read.
        full: every node instead of blocks.
    """
    writers = {".svg": explanation.to_svg, ".png": explanation.to_png, ".html": explanation.to_html}
    writers[output.suffix.lower()](output, depth, full)
