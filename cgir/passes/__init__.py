"""Passes: functions `Graph -> Graph`, one concern each. `canonicalize` is their fixed sequence."""

from __future__ import annotations

from cgir.errors import InvalidGraphError
from cgir.graph import Graph

from .activations import recognize_clips as recognize_clips
from .activations import recognize_prelu as recognize_prelu
from .arithmetic import fold_batch_norm as fold_batch_norm
from .arithmetic import merge_adds as merge_adds
from .arithmetic import merge_concats as merge_concats
from .arithmetic import recognize_affine as recognize_affine
from .arithmetic import unify_linear as unify_linear
from .attention import pack_projections as pack_projections
from .attention import recognize_attention as recognize_attention
from .constants import fold_constants as fold_constants
from .constants import round_numbers as round_numbers
from .constants import squeeze_parameters as squeeze_parameters
from .contract import contract_identities as contract_identities
from .contract import contract_movement as contract_movement
from .contract import fold_padding as fold_padding
from .contract import unify_pools as unify_pools
from .dead import remove_dead as remove_dead
from .duplicates import merge_duplicates as merge_duplicates
from .groups import recognize_groups as recognize_groups
from .groups import split_gates as split_gates
from .loops import recognize_recurrent as recognize_recurrent
from .norms import recognize_batch_norm as recognize_batch_norm
from .norms import recognize_norms as recognize_norms
from .recognize import forget_parts as forget_parts
from .recognize import recognize_in_parts as recognize_in_parts
from .recognize import recognize_patterns as recognize_patterns
from .recurrent import merge_recurrent as merge_recurrent

LEVELS = ("module", "inference")
STEPS = (
    contract_identities, unify_pools, remove_dead, fold_padding, recognize_groups, split_gates, recognize_norms, recognize_patterns,
    recognize_clips, recognize_prelu, recognize_attention, unify_linear, pack_projections, merge_adds, merge_concats, merge_recurrent,
    round_numbers,
)  # fmt: skip


def canonicalize(graph: Graph, level: str = "module", keep_movement: bool = False) -> Graph:
    """The canonical form: networks that compute the same from the same operators become isomorphic graphs.

    Args:
        graph: raw or canonical (canonicalising twice changes nothing). Only a raw graph knows the shapes of what is
            computed from parameters, which "inference" wants.
        level: "module" keeps operators as written; "inference" is what an optimising exporter leaves of it: BatchNorm
            is folded into the convolution or linear layer before it, what is computed from parameters alone is one
            parameter, and equal nodes are merged.
        keep_movement: keep reshapes, transposes and slices as nodes.

    Raises:
        InvalidGraphError: `level` is neither of the two.
    """
    if level not in LEVELS:
        raise InvalidGraphError(f"canonicalize: level is {level!r}, expected one of {', '.join(LEVELS)}")
    graph = fold_constants(recognize_batch_norm(recognize_recurrent(graph)), computed=level == "inference")
    graph = forget_parts(graph) if keep_movement else contract_movement(recognize_in_parts(graph))
    for step in STEPS:
        graph = step(graph)
    if level == "inference":
        graph = merge_duplicates(squeeze_parameters(fold_batch_norm(recognize_affine(graph))))
    return graph.with_nodes(graph.nodes, level=level)
