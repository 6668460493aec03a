"""The canonical form: the fixed sequence of passes that makes graphs of different origin equal."""

from __future__ import annotations

from dataclasses import replace

from cgir.errors import InvalidGraphError
from cgir.graph import Graph
from cgir.report import COMPUTED

from .accounting import account, unconnected
from .activations import recognize_clips, recognize_prelu
from .arithmetic import fold_batch_norm, merge_adds, merge_concats, recognize_affine, unify_linear, unify_reciprocals
from .attention import pack_projections, recognize_attention
from .constants import fold_computed_constants, fold_constants, round_numbers, squeeze_parameters
from .contract import contract_identities, contract_movement, fold_padding, unify_pools
from .dead import remove_dead
from .driver import Pass, run_passes
from .duplicates import merge_duplicates
from .groups import recognize_groups, split_gates
from .loops import recognize_recurrent
from .norms import recognize_batch_norm, recognize_norms
from .recognize import forget_parts, recognize_in_parts, recognize_patterns
from .recurrent import merge_recurrent

LEVELS = ("module", "inference")
STEPS: tuple[Pass, ...] = (
    contract_identities, unify_pools, remove_dead, fold_padding, recognize_groups, split_gates, recognize_norms,
    recognize_patterns, unify_reciprocals, recognize_clips, recognize_prelu, recognize_attention, unify_linear,
    pack_projections, merge_adds, merge_concats, merge_recurrent, round_numbers,
)  # fmt: skip


def sequence(level: str = "module", keep_movement: bool = False) -> tuple[Pass, ...]:
    """The passes of `canonicalize`, in order: constants, movement, `STEPS`, and those for inference only."""
    inference = level == "inference"
    return (
        recognize_recurrent, recognize_batch_norm, fold_computed_constants if inference else fold_constants,
        *((forget_parts,) if keep_movement else (recognize_in_parts, contract_movement)),
        *STEPS,
        *((recognize_affine, fold_batch_norm, squeeze_parameters, merge_duplicates) if inference else ()),
    )  # fmt: skip


def canonicalize(graph: Graph, level: str = "module", keep_movement: bool = False, debug: bool = False) -> Graph:
    """The canonical form: networks that compute the same from the same operators become isomorphic graphs.

    Args:
        graph: raw or canonical (canonicalising twice changes nothing). A graph of level "module" can be brought to
            "inference", unless nodes of it read tensors computed from parameters, such as tables of relative positions
            or normalised weights: only the raw graph has their shapes.
        level: "module" keeps operators as written; "inference" is what an optimising exporter would write: BatchNorm
            is folded into the convolution or linear layer before it, a tensor computed from parameters alone is one
            parameter, and equal nodes are merged.
        keep_movement: keep reshapes, transposes and slices as nodes.
        debug: check every invariant of `cgir.verify` after each pass, which takes a multiple of the time; the
            environment variable CGIR_DEBUG=1 also enables it.

    Raises:
        InvalidGraphError: `level` is neither of the two, or one that this canonical graph cannot be brought to; or a
            pass failed, as it may on a graph that `cgir.verify` refuses.
    """
    if level not in LEVELS:
        raise InvalidGraphError(f"canonicalize: level is {level!r}, expected one of {', '.join(LEVELS)}")
    _check_level(graph, level)
    canonical = run_passes(graph, sequence(level, keep_movement), debug)
    canonical = canonical.with_nodes(canonical.nodes, level=level)
    if level == "inference":  # nothing is computed that depends on no input, and BatchNorm has become weights
        return replace(canonical, detached=(), known_gaps=graph.known_gaps + unconnected(graph))
    return account(graph, canonical)


def _check_level(graph: Graph, level: str) -> None:
    """Refuse what a canonical graph no longer has the shapes for."""
    computed = dict(graph.notes).get(COMPUTED, 0)
    if level == "inference" and graph.level == "module" and computed:
        raise InvalidGraphError(
            f"graph {graph.name!r} cannot be brought from level 'module' to 'inference': {computed} of its nodes read "
            "tensors computed from parameters, whose shapes only the raw graph has; trace the model at level "
            "'inference', or save it with raw=True"
        )
