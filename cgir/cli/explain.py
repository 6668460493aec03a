"""What `cgir explain` does, as text for the command line to print."""

from __future__ import annotations

from pathlib import Path

from cgir.errors import CgirError
from cgir.graph import Graph
from encoders.explain.occlusion import Explanation, explain
from encoders.predictors.predictor import Predictor

DRAWINGS = {".svg": Explanation.to_svg, ".html": Explanation.to_html}


def check_output(output: Path | None) -> None:
    """CgirError unless the file, if there is one, has an ending that says what to draw."""
    if output and output.suffix.lower() not in DRAWINGS:
        raise CgirError(f"{output}: no drawing ends in {output.suffix!r}; expected one of {', '.join(DRAWINGS)}")


def explained(
    graph: Graph, predictor: Path, method: str | None, top: int, output: Path | None, depth: int | None, full: bool
) -> str:
    """The most important nodes as a table, and what was drawn.

    Args:
        graph: whose score is explained.
        predictor: folder that `Predictor.save` wrote.
        method: as in `explain`.
        top: nodes in the table.
        output: draw to this .svg or .html file, if any.
        depth, full: how much of the graph is drawn, as in `Explanation.to_svg`.
    """
    check_output(output)
    found = explain(Predictor.load(predictor), graph, method)
    text = found.table(top)
    if output:
        DRAWINGS[output.suffix.lower()](found, output, depth, full)
        text += f"\n\nwrote {output}"
    return text
