"""Passes: functions `Graph -> Graph`, one concern each. `canonicalize` is their fixed sequence."""

from __future__ import annotations

from ..errors import InvalidGraphError
from ..graph import Graph
from .arithmetic import fold_batch_norm as fold_batch_norm
from .arithmetic import merge_adds as merge_adds
from .arithmetic import unify_linear as unify_linear
from .attention import pack_projections as pack_projections
from .attention import recognize_attention as recognize_attention
from .constants import fold_constants as fold_constants
from .contract import contract_identities as contract_identities
from .contract import contract_movement as contract_movement
from .contract import fold_padding as fold_padding
from .contract import unify_pools as unify_pools
from .dead import remove_dead as remove_dead
from .recognize import recognize_patterns as recognize_patterns

LEVELS = ("module", "inference")
STEPS = (
    contract_identities, unify_pools, remove_dead, fold_padding, recognize_patterns, recognize_attention, unify_linear, pack_projections, merge_adds,
)  # fmt: skip


def canonicalize(graph: Graph, level: str = "module", keep_movement: bool = False) -> Graph:
    """The canonical form: networks that compute the same from the same operators become isomorphic graphs.

    Args:
        graph: raw or canonical (canonicalising twice changes nothing).
        level: "module" keeps operators as written; "inference" also folds BatchNorm into the convolution or linear layer before it.
        keep_movement: keep reshapes, transposes and slices as nodes.

    Raises:
        InvalidGraphError: `level` is neither of the two.
    """
    if level not in LEVELS:
        raise InvalidGraphError(f"canonicalize: level is {level!r}, expected one of {', '.join(LEVELS)}")
    graph = fold_constants(graph)
    if not keep_movement:
        graph = contract_movement(graph)
    for step in STEPS:
        graph = step(graph)
    if level == "inference":
        graph = fold_batch_norm(graph)
    return graph.with_nodes(graph.nodes, level=level)
