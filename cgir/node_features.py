"""Node features: numbers and categories of node kinds, the input of every encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2, prod

import numpy as np

from .cost import kind_flops
from .graph import NodeKind, Shape
from .ops import INDEX
from .typing import Float32Array, IntArray

FEATURE_NAMES = (
    "out_channels", "out_height", "out_width", "in_channels", "in_height", "in_width", "num_inputs",
    "kernel_height", "kernel_width", "stride", "dilation", "groups", "bias", "params", "flops",
)  # fmt: skip

# Attributes of convolutions that are also encoded as categories, because 3 x 3 is no nearer to 1 x 1 than to 7 x 7,
# with their number of categories; larger values share the last one. Groupings are none, in groups, and depthwise.
VARIANTS = {"kernel_height": 8, "kernel_width": 8, "stride": 4, "dilation": 3, "grouping": 3}


def categories(kinds: Sequence[NodeKind]) -> IntArray:
    """(K, 1 + len(VARIANTS)): each kind's row in the table of `cgir.ops`, then its variant in each of `VARIANTS`."""
    return np.asarray([_kind_categories(kind) for kind in kinds], np.int64).reshape(len(kinds), 1 + len(VARIANTS))


def node_features(kinds: Sequence[NodeKind]) -> Float32Array:
    """(K, len(FEATURE_NAMES)) float32: log2(1 + value) / 8 of the quantities in `FEATURE_NAMES` (`bias` 0 or 1)."""
    return np.asarray([_kind_features(kind) for kind in kinds], np.float32).reshape(len(kinds), len(FEATURE_NAMES))


def extent(shape: Shape) -> tuple[int, int, int]:
    """(channels, height, width) of a shape of any rank: missing axes are 1, axes beyond the third count as width."""
    padded = (*shape, 1, 1, 1)
    return padded[0], padded[1], padded[2] * prod(shape[3:])


@lru_cache(maxsize=200_000)
def _kind_categories(kind: NodeKind) -> tuple[int, ...]:
    kernel, groups = kind.attr("kernel", (0,)), kind.attr("groups", 0)
    grouping = 0 if groups <= 1 else 2 if kind.in_shapes and groups == extent(kind.in_shapes[0])[0] else 1
    values = kernel[0], kernel[-1], max(kind.attr("stride", (0,))), max(kind.attr("dilation", (0,))), grouping
    return INDEX[kind.op], *(min(value, size - 1) for value, size in zip(values, VARIANTS.values(), strict=True))


@lru_cache(maxsize=200_000)
def _kind_features(kind: NodeKind) -> tuple[float, ...]:
    kernel = kind.attr("kernel", (0,))
    values = (
        *extent(kind.shape), *extent(kind.in_shapes[0] if kind.in_shapes else ()), len(kind.in_shapes),
        kernel[0], kernel[-1], max(kind.attr("stride", (0,))), max(kind.attr("dilation", (0,))), kind.attr("groups", 0),
        0, sum(map(prod, kind.param_shapes)), kind_flops(kind),
    )  # fmt: skip
    scaled = [log2(1 + value) / 8 for value in values]
    scaled[FEATURE_NAMES.index("bias")] = float(len(kind.param_shapes) > 1)
    return tuple(scaled)
