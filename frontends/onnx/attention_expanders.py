"""Attention layers of onnxruntime as projections and the default domain's Attention, rotations, packed sequences.

batch, length: of the queries; heads: of the queries, key_heads: of keys and values; width: of one head

Definitions: onnxruntime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorProto

from cgir import TraceError

from .expansion import Expander, Expansion, Results
from .tensors import OnnxTensor

MASK_VALUE = -10000.0


def attend(
    x: Expansion,
    qkv: Sequence[OnnxTensor],
    heads: tuple[int, int],
    mask: OnnxTensor | None = None,
    past: Sequence[OnnxTensor | None] = (None, None),
) -> list[OnnxTensor]:
    """Attention's result, and keys and values with those of the past, (batch, key_heads, length, width).

    Args:
        x: the node.
        qkv: query, key and value, (batch, length, heads x width).
        heads: number of heads of queries, and of keys and values.
        mask: of the scores, or what it is computed from.
        past: keys and values of earlier steps.
    """
    return x.ops("Attention", [*qkv, mask, *past], 3, q_num_heads=heads[0], kv_num_heads=heads[1])


def combined_mask(x: Expansion, padding: OnnxTensor | None, bias: OnnxTensor | None) -> OnnxTensor | None:
    """What is added to the scores: a bias, and a large negative number at tokens that are padding.

    Args:
        x: the node.
        padding: 1 for tokens and 0 for padding, (batch, length) or with more axes; or lengths, of one axis.
        bias: of the scores.
    """
    if padding is None or len(padding.size) < 2:
        return padding if bias is None else bias
    axes = {2: (1, 2), 3: (1,)}.get(len(padding.size), ())
    mask = x.op("Unsqueeze", padding, x.ints(*axes)) if axes else padding
    mask = x.op("Sub", x.number(1.0), x.op("Cast", mask, to=TensorProto.FLOAT))
    mask = x.op("Mul", mask, x.number(MASK_VALUE))
    return mask if bias is None else x.op("Add", mask, bias)


def _vectors(x: Expansion, bias: OnnxTensor | None, widths: Sequence[int]) -> list[OnnxTensor | None]:
    """The parts of a bias of query, key and value: parameters of their own, if it is one."""
    if bias is None:
        return [None] * len(widths)
    if not bias.is_param:
        return list(x.split(bias, widths))
    return [x.param(f"{bias.name}.{index}", (width,)) for index, width in enumerate(widths)]


def _heads_last(x: Expansion, tensor: OnnxTensor) -> OnnxTensor:
    """(batch, heads, length, width) as (batch, length, heads x width); tensors of three axes have that already."""
    if len(tensor.size) != 4:
        return tensor
    batch, heads, length, width = tensor.size
    return x.reshape(x.transpose(tensor, 0, 2, 1, 3), (batch, length, heads * width))


def _unpacked(x: Expansion, tensor: OnnxTensor) -> list[OnnxTensor]:
    """Parts that stand side by side for every head: (batch, length, heads, parts, width)."""
    batch, length, heads, parts, width = tensor.size
    return [x.reshape(part, (batch, length, heads * width)) for part in x.split(tensor, [1] * parts, 3)]


# --- self-attention with packed weights


def attention(x: Expansion) -> Results:
    """Attention, with one product for the projections; its past has keys and values in one tensor."""
    bias = x.input(5)
    return packed_attention(x, x.require(0), x.require(1), x.input(2), (x.input(3), bias), x.input(4))


def packed_attention(
    x: Expansion,
    tensor: OnnxTensor,
    weight: OnnxTensor,
    bias: OnnxTensor | None,
    masks: tuple[OnnxTensor | None, OnnxTensor | None],
    past: OnnxTensor | None,
) -> Results:
    """Results of Attention: that of the layer, and keys and values of all steps so far.

    Args:
        x: the node.
        tensor: (batch, length, features).
        weight: (features, widths of query, key and value together).
        bias: of as many columns.
        masks: of padding, and bias of the scores.
        past: (2, batch, heads, length, width).
    """
    heads = int(x.attr("num_heads"))
    projected = x.sum(x.op("MatMul", tensor, weight), bias)
    widths = x.attr("qkv_hidden_sizes") or [projected.size[-1] // 3] * 3
    qkv = x.split(projected, widths)
    if x.attr("do_rotary", 0):
        qkv[:2] = [rotated(x, part, heads, x.attr("rotary_embedding_dim", 0)) for part in qkv[:2]]
    pasts: list[OnnxTensor | None] = [None, None]
    if past is not None:
        pasts = [x.reshape(part, part.size[1:]) for part in x.split(past, [1, 1], 0)]
    result, key, value = attend(x, qkv, (heads, heads), combined_mask(x, *masks), pasts)
    present = None
    if x.wants(1):
        present = x.op("Concat", *(x.op("Unsqueeze", part, x.ints(0)) for part in (key, value)), axis=0)
    return [result, present]


def _longformer_attention(x: Expansion) -> Results:
    """Attention in windows and to global tokens: its cost depends on how many of these the mask has."""
    return x.opaque([x.require(0).size])


# --- attention between projected tensors


def multi_head_attention(x: Expansion) -> Results:
    """MultiHeadAttention: separate or packed query, key and value, perhaps with their biases."""
    past = (x.input(6), x.input(7))
    return _biased_attention(x, x.input(3), combined_mask(x, x.input(4), x.input(5)), past)


def _decoder_masked_attention(x: Expansion) -> Results:
    """The same for one step of a decoder, with its operands in another order."""
    past = (x.input(5), x.input(6))
    return _biased_attention(x, x.input(10), combined_mask(x, x.input(3), x.input(4)), past)


def _biased_attention(
    x: Expansion, bias: OnnxTensor | None, mask: OnnxTensor | None, past: tuple[OnnxTensor | None, OnnxTensor | None]
) -> Results:
    heads, query = int(x.attr("num_heads")), x.require(0)
    if len(query.size) == 5:
        qkv = _unpacked(x, query)
    elif len(x.require(1).size) == 5:
        qkv = [query, *_unpacked(x, x.require(1))]
    else:
        qkv = [query, *(_heads_last(x, x.require(slot)) for slot in (1, 2))]
    biases = _vectors(x, bias, [part.size[-1] for part in qkv])
    qkv = [x.sum(part, vector) for part, vector in zip(qkv, biases, strict=True)]
    return attend(x, qkv, (heads, heads), mask, _whole_past(past))


def _whole_past(past: tuple[OnnxTensor | None, OnnxTensor | None]) -> tuple[OnnxTensor | None, OnnxTensor | None]:
    """Keys and values of the past, None where they are of no steps, as exporters write the first one."""
    empty = past[0] is None or past[1] is None or 0 in past[0].size
    return (None, None) if empty else past


def group_query_attention(x: Expansion) -> Results:
    """GroupQueryAttention: fewer heads of keys and values, rotations, a past in a longer buffer."""
    heads, key_heads = int(x.attr("num_heads")), int(x.attr("kv_num_heads"))
    query = x.require(0)
    qkv = [query, x.input(1), x.input(2)]
    if qkv[1] is None or qkv[2] is None:
        width = query.size[-1] // (heads + 2 * key_heads)
        qkv = list(x.split(query, [heads * width, key_heads * width, key_heads * width]))
    parts = [tensor for tensor in qkv if tensor is not None]
    if x.attr("do_rotary", 0):
        parts[0], parts[1] = rotated(x, parts[0], heads), rotated(x, parts[1], key_heads)
    mask = x.input(10) if x.input(10) is not None else x.input(5)
    past = _current_past(x, _whole_past((x.input(3), x.input(4))), parts[1].size[1])
    return attend(x, parts, (heads, key_heads), mask, past)


def _current_past(
    x: Expansion, past: tuple[OnnxTensor | None, OnnxTensor | None], length: int
) -> tuple[OnnxTensor | None, OnnxTensor | None]:
    """The past without room for the new steps, where the total length is known."""
    total, buffer = x.input(6), past[0]
    if buffer is None or total is None or total.known_value is None:
        return past
    longest = max(int(total.known_value.reshape(-1)[0]), buffer.size[2])
    kept = longest - length
    if kept >= buffer.size[2] or kept < 1:
        return past
    sides = [x.op("Slice", side, x.ints(0), x.ints(kept), x.ints(2)) for side in past if side is not None]
    return sides[0], sides[1]


def _sparse_attention(x: Expansion) -> Results:
    """Attention of blocks that values select, on which its cost depends; the present has the size of the past."""
    query, past = x.require(0), x.require(3)
    heads, key_heads = int(x.attr("num_heads")), int(x.attr("kv_num_heads"))
    packed = x.input(1) is None
    features = query.size[-1] * heads // (heads + 2 * key_heads) if packed else query.size[-1]
    return x.opaque([(*query.size[:2], features), past.size, past.size])


def _decoder_attention(x: Expansion) -> Results:
    """DecoderAttention: (length, batch, features), with the weights of the projections."""
    query, key, heads = x.require(0), x.require(1), int(x.attr("num_heads"))
    width = query.size[-1]
    biases = _vectors(x, x.input(4), [width] * 3)
    parts = [x.op("MatMul", query, x.require(2)), *x.split(x.op("MatMul", key, x.require(3)), [width] * 2)]
    qkv = [x.transpose(x.sum(part, bias), 1, 0, 2) for part, bias in zip(parts, biases, strict=True)]
    result, *present = attend(x, qkv, (heads, heads), x.input(5))
    return [x.transpose(result, 1, 0, 2), *present]


# --- sequences without padding


def _packed_self_attention(x: Expansion) -> Results:
    """PackedAttention: the tokens of all sequences behind each other, (tokens, features)."""
    tensor, offsets = x.require(0), x.require(3)
    heads = int(x.attr("num_heads"))
    projected = x.sum(x.op("MatMul", tensor, x.require(1)), x.input(2))
    widths = x.attr("qkv_hidden_sizes") or [projected.size[-1] // 3] * 3
    qkv = [_sequences(x, part, offsets) for part in x.split(projected, widths)]
    [result, *_] = attend(x, qkv, (heads, heads), x.input(5))
    return [x.reshape(result, (tensor.size[0], widths[2]))]


def _packed_cross_attention(x: Expansion) -> Results:
    """PackedMultiHeadAttention: the same with projected tensors."""
    heads, query, offsets = int(x.attr("num_heads")), x.require(0), x.require(4)
    if len(query.size) == 4:  # (tokens, heads, 3, width)
        parts = _unpacked(x, x.reshape(query, (1, *query.size)))
        qkv = [x.reshape(part, part.size[1:]) for part in parts]
    else:
        qkv = [query, x.require(1), x.require(2)]
    biases = _vectors(x, x.input(3), [part.size[-1] for part in qkv])
    qkv = [_sequences(x, x.sum(part, bias), offsets) for part, bias in zip(qkv, biases, strict=True)]
    [result, *_] = attend(x, qkv, (heads, heads), x.input(6))
    return [x.reshape(result, (query.size[0], result.size[-1]))]


def _sequences(x: Expansion, tensor: OnnxTensor, offsets: OnnxTensor) -> OnnxTensor:
    """(tokens, width) as (batch, length, width), one sequence where padding has been removed."""
    tokens, width = tensor.size
    batch = offsets.size[0] if tokens == offsets.size[0] * offsets.size[1] else 1
    return x.reshape(tensor, (batch, tokens // batch, width))


def _remove_padding(x: Expansion) -> Results:
    """Tokens in one row, at most all of them; their offsets, where sequences begin, the longest length."""
    tensor = x.require(0)
    batch, length, width = tensor.size
    return [
        x.reshape(tensor, (batch * length, width)),
        x.constant("offsets", (batch, length), TensorProto.INT32),
        x.constant("starts", (batch + 1,), TensorProto.INT32),
        x.constant("longest", (1,), TensorProto.INT32),
    ]


def _restore_padding(x: Expansion) -> Results:
    tensor, offsets = x.require(0), x.require(1)
    if tensor.size[0] != offsets.size[0] * offsets.size[1]:
        return x.opaque([(*offsets.size, tensor.size[-1])], flops=0)
    return [x.reshape(tensor, (*offsets.size, tensor.size[-1]))]


# --- positions


def rotary_embedding(x: Expansion) -> Results:
    """RotaryEmbedding of (batch, length, heads x width) or (batch, heads, length, width)."""
    tensor, table = x.require(0), x.require(2)
    heads = int(x.attr("num_heads", 0)) or tensor.size[-1] // (2 * table.size[-1])
    return [rotated(x, tensor, heads, int(x.attr("rotary_embedding_dim", 0)))]


def rotated(x: Expansion, tensor: OnnxTensor, heads: int, rotary_width: int = 0) -> OnnxTensor:
    """x cos + (-x2, x1) sin, of the first channels of every head; the angles are constants.

    Args:
        x: the node.
        tensor: (batch, length, heads x width) or (batch, heads, length, width).
        heads: number of heads.
        rotary_width: how many channels of a head are rotated, 0 for all.
    """
    if len(tensor.size) == 4:
        return _rotation(x, tensor, rotary_width)
    batch, length, features = tensor.size
    split = x.reshape(tensor, (batch, length, heads, features // heads))
    return x.reshape(x.transpose(_rotation(x, x.transpose(split, 0, 2, 1, 3), rotary_width), 0, 2, 1, 3), tensor.size)


def _rotation(x: Expansion, tensor: OnnxTensor, rotary_width: int) -> OnnxTensor:
    length, width = tensor.size[-2:]
    rotary_width = rotary_width or width
    turned, rest = tensor, None
    if rotary_width < width:
        turned, rest = x.split(tensor, [rotary_width, width - rotary_width])
    half = rotary_width // 2
    left, right = x.split(turned, [half, rotary_width - half])
    cos, sin = (x.constant(name, (1, 1, length, rotary_width)) for name in ("cos", "sin"))
    swapped = x.op("Concat", x.op("Neg", right), left, axis=-1)
    result = x.op("Add", x.op("Mul", turned, cos), x.op("Mul", swapped, sin))
    return result if rest is None else x.op("Concat", result, rest, axis=-1)


def _gemma_rotary_embedding(x: Expansion) -> Results:
    angles, *pairs = (x.require(slot) for slot in range(5))
    sin, cos = (x.op("Unsqueeze", x.op(op, angles), x.ints(1)) for op in ("Sin", "Cos"))
    return [x.op("Add", x.op("Mul", plain, cos), x.op("Mul", turned, sin)) for plain, turned in (pairs[:2], pairs[2:])]


def _relative_position_bias(x: Expansion) -> Results:
    """One row of a table for every pair of positions, (1, heads, queries, keys)."""
    table = x.require(0)
    queries, keys = (x.require(slot).ints()[0] for slot in (1, 2))
    rows = x.op("Gather", table, x.constant("buckets", (queries, keys), TensorProto.INT64))
    return [x.op("Unsqueeze", x.transpose(rows, 2, 0, 1), x.ints(0))]


def _gated_relative_position_bias(x: Expansion) -> Results:
    """A bias of the scores times a gate that is computed from the queries."""
    heads, query, bias = int(x.attr("num_heads")), x.sum(x.require(0), x.require(1)), x.require(2)
    batch, length, features = query.size
    split = x.transpose(x.reshape(query, (batch, length, heads, features // heads)), 0, 2, 1, 3)
    gates = x.sum(x.op("MatMul", split, x.require(3)), x.require(4))
    pairs = x.reshape(gates, (batch, heads, length, 2, gates.size[-1] // 2))
    first, second = x.split(x.op("Sigmoid", x.op("ReduceSum", pairs, x.ints(4), keepdims=0)), [1, 1])
    inner = x.op("Sub", x.op("Mul", second, x.require(5)), x.number(1.0))
    gate = x.op("Add", x.op("Mul", first, inner), x.number(2.0))
    return [x.op("Mul", gate, bias)]


# --- embeddings


def embed_layer_norm(x: Expansion) -> Results:
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
        places = x.op("Reshape", x.ints(*range(length)), x.ints(1, length))
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


ATTENTION: dict[str, Expander] = {
    **dict.fromkeys(("Attention", "DecoderMaskedSelfAttention"), attention),
    "LongformerAttention": _longformer_attention,
    "MultiHeadAttention": multi_head_attention,
    "DecoderMaskedMultiHeadAttention": _decoder_masked_attention,
    "DecoderAttention": _decoder_attention,
    "GroupQueryAttention": group_query_attention,
    "SparseAttention": _sparse_attention,
    "PackedAttention": _packed_self_attention,
    "PackedMultiHeadAttention": _packed_cross_attention,
    "RemovePadding": _remove_padding,
    "RestorePadding": _restore_padding,
    **dict.fromkeys(("RotaryEmbedding", "MRotaryEmbedding"), rotary_embedding),
    "GemmaRotaryEmbedding": _gemma_rotary_embedding,
    "RelativePositionBias": _relative_position_bias,
    "GatedRelativePositionBias": _gated_relative_position_bias,
    "EmbedLayerNormalization": embed_layer_norm,
}
