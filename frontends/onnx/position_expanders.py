"""Embeddings of tokens and positions, rotations of queries and keys, biases of scores by position.

batch, length: of the tokens; width: of one head
"""

from __future__ import annotations

from onnx import TensorProto

from cgir import TraceError
from frontends.common.constant_folding import LIMIT

from .expansion import Expander, Expansion, Results
from .tensors import OnnxTensor


def heads_first(x: Expansion, tensor: OnnxTensor, heads: int) -> OnnxTensor:
    """(batch, length, heads x width) as (batch, heads, length, width).

    Args:
        x: the node.
        tensor: with three axes.
        heads: number of heads.
    """
    batch, length, features = tensor.size
    return x.transpose(x.reshape(tensor, (batch, length, heads, features // heads)), 0, 2, 1, 3)


def _rotary_embedding(x: Expansion) -> Results:
    """RotaryEmbedding of (batch, length, heads x width) or (batch, heads, length, width)."""
    tensor, table = x.require_input(0), x.require_input(2)
    heads = int(x.attr("num_heads", 0)) or tensor.size[-1] // (2 * table.size[-1])
    return [rotated(x, tensor, heads, int(x.attr("rotary_embedding_dim", 0)))]


def standard_rotary_embedding(x: Expansion) -> Results:
    """RotaryEmbedding of ONNX, whose angles may be computed: (batch, length, half of the width), or looked up."""
    tensor, cos, sin = x.require_input(0), x.require_input(1), x.require_input(2)
    positions = x.input(3)
    angles = None if cos.static or sin.static else (cos, sin)
    if angles is not None and positions is not None:
        angles = x.op("Gather", cos, positions), x.op("Gather", sin, positions)
    heads = int(x.attr("num_heads", 0)) or tensor.size[-1] // (2 * cos.size[-1])
    return [rotated(x, tensor, heads, int(x.attr("rotary_embedding_dim", 0)), angles)]


def rotated(
    x: Expansion,
    tensor: OnnxTensor,
    heads: int,
    rotary_width: int = 0,
    angles: tuple[OnnxTensor, OnnxTensor] | None = None,
) -> OnnxTensor:
    """x cos + (-x2, x1) sin, of the first channels of every head.

    Args:
        x: the node.
        tensor: (batch, length, heads x width) or (batch, heads, length, width).
        heads: number of heads.
        rotary_width: how many channels of a head are rotated, 0 for all.
        angles: cosines and sines, None where they are constants.
    """
    if len(tensor.size) == 4:
        return _rotation(x, tensor, rotary_width, angles)
    turned = _rotation(x, heads_first(x, tensor, heads), rotary_width, angles)
    return x.reshape(x.transpose(turned, 0, 2, 1, 3), tensor.size)


def _rotation(
    x: Expansion, tensor: OnnxTensor, rotary_width: int, angles: tuple[OnnxTensor, OnnxTensor] | None
) -> OnnxTensor:
    length, width = tensor.size[-2:]
    rotary_width = rotary_width or width
    turned, rest = tensor, None
    if rotary_width < width:
        turned, rest = x.split(tensor, [rotary_width, width - rotary_width])
    half = rotary_width // 2
    left, right = x.split(turned, [half, rotary_width - half])
    if angles is None:
        cos, sin = (x.constant(name, (1, 1, length, rotary_width)) for name in ("cos", "sin"))
    else:
        cos, sin = (x.op("Unsqueeze", x.op("Concat", angle, angle, axis=-1), x.ints(1)) for angle in angles)
    swapped = x.op("Concat", x.op("Neg", right), left, axis=-1)
    result = x.op("Add", x.op("Mul", turned, cos), x.op("Mul", swapped, sin))
    return result if rest is None else x.op("Concat", result, rest, axis=-1)


def _gemma_rotary_embedding(x: Expansion) -> Results:
    angles, *pairs = (x.require_input(slot) for slot in range(5))
    sin, cos = (x.op("Unsqueeze", x.op(op, angles), x.ints(1)) for op in ("Sin", "Cos"))
    return [x.op("Add", x.op("Mul", plain, cos), x.op("Mul", turned, sin)) for plain, turned in (pairs[:2], pairs[2:])]


def _relative_position_bias(x: Expansion) -> Results:
    """One row of a table for every pair of positions, (1, heads, queries, keys)."""
    table = x.require_input(0)
    queries, keys = (x.require_input(slot).ints()[0] for slot in (1, 2))
    rows = x.op("Gather", table, x.constant("buckets", (queries, keys), TensorProto.INT64))
    return [x.op("Unsqueeze", x.transpose(rows, 2, 0, 1), x.ints(0))]


def _gated_relative_position_bias(x: Expansion) -> Results:
    """A bias of the scores times a gate that is computed from the queries."""
    heads, query, bias = int(x.attr("num_heads")), x.sum(x.require_input(0), x.require_input(1)), x.require_input(2)
    gates = x.sum(x.op("MatMul", heads_first(x, query, heads), x.require_input(3)), x.require_input(4))
    batch, _, length, _ = gates.size
    pairs = x.reshape(gates, (batch, heads, length, 2, gates.size[-1] // 2))
    first, second = x.split(x.op("Sigmoid", x.op("ReduceSum", pairs, x.ints(4), keepdims=0)), [1, 1])
    inner = x.op("Sub", x.op("Mul", second, x.require_input(5)), x.number(1.0))
    gate = x.op("Add", x.op("Mul", first, inner), x.number(2.0))
    return [x.op("Mul", gate, bias)]


# --- embeddings


def _embed_layer_norm(x: Expansion) -> Results:
    """EmbedLayerNormalization; its operands are those of `embeddings`."""
    names = ("ids", "segments", "word", "position", "segment", "gamma", "beta", "mask", "positions")
    return embeddings(x, dict(zip(names, [*x.inputs, *[None] * len(names)], strict=False)))


def embeddings(x: Expansion, operands: dict[str, OnnxTensor | None]) -> Results:
    """The sum of two or three embeddings, normalised; the lengths of the sequences; the sum.

    Args:
        x: the node.
        operands: `ids` and `segments` of the tokens; the tables `word`, `position` and `segment`; `gamma` and `beta` of
            the norm; `mask` of padding; `positions`, counted if there are none.

    Raises:
        TraceError: ids or a table are missing.
    """
    ids, word, position = (operands[name] for name in ("ids", "word", "position"))
    if ids is None or word is None or position is None:
        raise TraceError("needs ids, and tables of words and positions")
    batch, length = ids.size
    places = operands.get("positions")
    if places is None:
        places = x.op("Reshape", _counted(x, length), x.ints(1, length))
    found = [x.op("Gather", word, ids), x.op("Gather", position, places)]
    segment, segments = operands.get("segment"), operands.get("segments")
    if segment is not None and segments is not None:
        found.append(x.op("Gather", segment, segments))
    total = x.sum(*found)
    result = x.op("LayerNormalization", total, operands["gamma"], operands["beta"], axis=-1)
    mask = operands.get("mask")
    lengths = x.constant("lengths", (batch,), TensorProto.INT32)
    if mask is not None and x.wants(1):
        lengths = x.op("ReduceSum", mask, x.ints(1), keepdims=0)
    return [result, lengths, total]


def _counted(x: Expansion, length: int) -> OnnxTensor:
    """The numbers from 0, in whose place a constant stands where they are many."""
    if length > LIMIT:
        return x.constant("positions", (length,), TensorProto.INT64)
    return x.ints(*range(length))


POSITIONS: dict[str, Expander] = {
    **dict.fromkeys(("RotaryEmbedding", "MRotaryEmbedding"), _rotary_embedding),
    "GemmaRotaryEmbedding": _gemma_rotary_embedding,
    "RelativePositionBias": _relative_position_bias,
    "GatedRelativePositionBias": _gated_relative_position_bias,
    "EmbedLayerNormalization": _embed_layer_norm,
}
