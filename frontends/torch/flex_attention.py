"""Attention with functions of the user: what they do to each score and which scores they mask.

Both functions take one score and its position. They run as `torch.vmap` over all positions, so that their parameters
and products are part of the graph, as often as they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cgir.ops import OPS
from frontends.common.axis_layout import AxisLayout

from .bodies import scratch, unknown_constant
from .recorder import Recorder
from .typing import Function

Positions = Callable[..., Tensor]  # of the scores, or of nothing, at all positions


def flex_attention(
    recorder: Recorder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Function | None = None,
    block_mask: Sequence[Any] = (),
    scale: float | None = None,
    kernel_options: object = None,
    score_buffers: Sequence[Any] = (),
    mask_buffers: Sequence[Any] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain attention where the scores stay what they are, otherwise its products with the function between them.

    Args:
        recorder: of the trace.
        query: (batch, heads, positions, features).
        key: the same; there may be fewer heads, each for several of the query.
        value: likewise.
        score_mod: function of a score and its example, head, and positions in query and key.
        block_mask: the parts of a `BlockMask`, the function of a position that keeps its score last.
        scale: of the scores.
        kernel_options: for compiled kernels.
        score_buffers: further arguments of `score_mod`.
        mask_buffers: further arguments of the function of `block_mask`.

    Returns:
        The attended values, and two statistics of the scores.
    """
    sizes = (*query.shape[:3], key.shape[2])
    keeps = block_mask[-1] if block_mask else None
    with recorder:
        mask = None
        if keeps is not None and _computes(recorder, lambda: _at_all(recorder, sizes, keeps, mask_buffers)):
            mask = _at_all(recorder, sizes, keeps, mask_buffers)
        scores = torch.empty(sizes, dtype=query.dtype, device="meta")
        if score_mod is None or not _computes(
            recorder, lambda: _at_all(recorder, sizes, score_mod, score_buffers, unknown_constant(recorder, scores))
        ):
            grouped = query.shape[1] != key.shape[1]
            output = F.scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=grouped)
        else:
            groups = query.shape[1] // key.shape[1]
            if groups > 1:
                key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
            scores = query @ key.transpose(-2, -1) * (1 / sqrt(query.shape[-1]) if scale is None else scale)
            scores = _at_all(recorder, sizes, score_mod, score_buffers, scores)
            if mask is not None:
                scores = scores.masked_fill(mask.logical_not(), -torch.inf)
            output = scores.softmax(-1) @ value
    return output, _statistics(recorder, output), _statistics(recorder, output)


def _computes(recorder: Recorder, run: Callable[[], object]) -> bool:
    """Whether a function does more than to return a constant or its argument."""
    with scratch(recorder):
        start = len(recorder.tape.nodes)
        run()
        categories = {OPS[node.op].category for node in recorder.tape.nodes[start:]}
    return not categories <= {"source", "movement", "identity"}


def _at_all(
    recorder: Recorder, sizes: Sequence[int], function: Function, buffers: Sequence[Any], *scores: Tensor
) -> Tensor:
    """The results of a function of scores, example, head, and positions in query and key, at all of them."""

    def at_one(*args: Tensor) -> Tensor:
        result: Tensor = function(*args, *buffers)
        return result

    at_all: Positions = at_one
    for axis in (3, 2, 1, 0):
        in_dims = (0,) * len(scores) + tuple(0 if other == axis else None for other in range(4))
        at_all = torch.vmap(at_all, in_dims)
    positions = [torch.empty(size, dtype=torch.int64, device="meta") for size in sizes]
    output = at_all(*scores, *(unknown_constant(recorder, position) for position in positions))
    return recorder.values.as_traced(output)


def _statistics(recorder: Recorder, output: Tensor) -> Tensor:
    """A further result of attention, a number for each position of the query."""
    state = recorder.values.read(output)
    statistics = torch.empty(output.shape[:-1], dtype=torch.float32, device="meta")
    recorder.values.bind(statistics, state.node, AxisLayout(None, state.layout.batch), state.static)
    return statistics
