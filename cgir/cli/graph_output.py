"""Output of a graph by the commands trace, space and show: its report, its file, its drawings."""

from __future__ import annotations

import argparse

from cgir.atomic_files import atomic_path
from cgir.drawing import to_dot, to_html, to_png, to_svg
from cgir.errors import printable
from cgir.graph import Graph

from .output import say
from .output_files import check_file


def check_drawings(args: argparse.Namespace) -> None:
    """Raise CgirError unless the drawings that the options name can be written; before any work."""
    for path, suffixes in (
        (args.svg, (".svg",)),
        (args.png, (".png",)),
        (args.html, (".html", ".htm")),
        (args.dot, ()),
    ):
        check_file(path, *suffixes)


def write_graph(graph: Graph, args: argparse.Namespace) -> None:
    """Print the report, and write the graph and its drawings to the files that the options name."""
    say(graph.report())
    if args.output:
        graph.save(args.output)
        say(f"\nwrote {printable(args.output)}")
    write_drawings(graph, args)


def write_drawings(graph: Graph, args: argparse.Namespace) -> None:
    """Draw to the files that `options.add_drawing_options` declares."""
    if args.svg:
        to_svg(graph, args.svg, args.depth, args.full)
    if args.png:
        to_png(graph, args.png, args.depth, args.full)
    if args.dot:
        with atomic_path(args.dot) as path:
            path.write_text(to_dot(graph, args.depth, args.full), encoding="utf-8", errors="backslashreplace")
    if args.html:
        to_html(graph, args.html, args.depth, args.full)
    for path in (args.svg, args.png, args.dot, args.html):
        if path:
            say(f"wrote {printable(path)}")
