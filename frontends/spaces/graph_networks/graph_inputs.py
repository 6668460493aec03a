"""The stand-in graph on which networks run."""

from __future__ import annotations

from cgir.errors import SpecError


def check_edges(space: str, nodes: int, edges: int) -> None:
    """Refuse more edges than there are pairs of different nodes.

    Args:
        space: name of the search space.
        nodes: of the graph.
        edges: of the graph.

    Raises:
        SpecError: there are more.
    """
    if edges > nodes * (nodes - 1):
        raise SpecError(f"{space}: {edges:,} edges between {nodes:,} nodes; expected at most {nodes * (nodes - 1):,}")
