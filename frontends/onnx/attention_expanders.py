"""Attention layers of onnxruntime as projections and the default domain's Attention; packed sequences.

batch, length: of the queries; heads: of the queries, key_heads: of keys and values; width: of one head

Definitions: onnxruntime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from onnx import TensorProto

from cgir import TraceError

from .expansion import Expander, Expansion, Results
from .position_expanders import heads_first, rotated
from .tensors import OnnxTensor

Past: TypeAlias = tuple[OnnxTensor | None, OnnxTensor | None]  # keys and values of earlier steps
MASK_VALUE = -10000.0


def attend(
    x: Expansion,
    qkv: Sequence[OnnxTensor],
    heads: tuple[int, int],
    mask: OnnxTensor | None = None,
    past: Past = (None, None),
) -> list[OnnxTensor]:
    """Attention's result, and keys and values with those of the past, (batch, key_heads, length, width).

    Args:
        x: the node.
        qkv: query, key and value, (batch, length, heads x width).
        heads: number of heads of queries, and of keys and values.
        mask: of the scores, or what it is computed from.
        past: keys and values of earlier steps.
    """
    attrs = {"q_num_heads": heads[0], "kv_num_heads": heads[1]}
    if past[0] is not None:
        return x.ops("Attention", [*qkv, mask, *past], 3, **attrs)
    result = x.op("Attention", *qkv, mask, **attrs)
    present = [heads_first(x, side, heads[1]) for side in qkv[1:]] if x.wants(1) else []
    return [result, *present]


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
    if parts > 3:
        raise TraceError(f"its operand has {parts} parts for each head, expected at most queries, keys and values")
    return [x.reshape(part, (batch, length, heads * width)) for part in x.split(tensor, [1] * parts, 3)]


# --- self-attention with packed weights


def _attention(x: Expansion) -> Results:
    """Attention, with one product for the projections; its past has keys and values in one tensor."""
    bias = x.input(5)
    return packed_attention(x, x.require_input(0), x.require_input(1), x.input(2), (x.input(3), bias), x.input(4))


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
    pasts: Past = (None, None)
    if past is not None:
        keys, values = (x.reshape(part, part.size[1:]) for part in x.split(past, [1, 1], 0))
        in_buffer = bool(x.attr("past_present_share_buffer", 0))
        pasts = _cut_past(x, (keys, values), keys.size[2] - tensor.size[1]) if in_buffer else (keys, values)
    result, *sides = attend(x, qkv, (heads, heads), combined_mask(x, *masks), pasts)
    if not x.wants(1):
        return [result]
    return [result, x.op("Concat", *(x.op("Unsqueeze", side, x.ints(0)) for side in sides), axis=0)]


def _longformer_attention(x: Expansion) -> Results:
    """Attention in windows and to global tokens: its cost depends on how many of these the mask has."""
    return x.opaque([x.require_input(0).size])


# --- attention between projected tensors


def _multi_head_attention(x: Expansion) -> Results:
    """MultiHeadAttention: separate or packed query, key and value, perhaps with their biases."""
    past = (x.input(6), x.input(7))
    return _biased_attention(x, x.input(3), combined_mask(x, x.input(4), x.input(5)), past, x.input(8) is not None)


def _decoder_masked_attention(x: Expansion) -> Results:
    """The same for one step of a decoder, with its operands in another order."""
    past = (x.input(5), x.input(6))
    in_buffer = bool(x.attr("past_present_share_buffer", 0))
    return _biased_attention(x, x.input(10), combined_mask(x, x.input(3), x.input(4)), past, in_buffer)


def _biased_attention(
    x: Expansion, bias: OnnxTensor | None, mask: OnnxTensor | None, past: Past, in_buffer: bool
) -> Results:
    """The results of attention between tensors to which a bias is added.

    Args:
        x: the node.
        bias: of query, key and value, one behind the other.
        mask: of the scores.
        past: keys and values of earlier steps.
        in_buffer: whether the past has room for the new steps.
    """
    heads, query = int(x.attr("num_heads")), x.require_input(0)
    if len(query.size) == 5:
        qkv = _unpacked(x, query)
    elif len(x.require_input(1).size) == 5:
        qkv = [query, *_unpacked(x, x.require_input(1))]
    else:
        qkv = [query, *(_heads_last(x, x.require_input(slot)) for slot in (1, 2))]
    biases = _vectors(x, bias, [part.size[-1] for part in qkv])
    qkv = [x.sum(part, vector) for part, vector in zip(qkv, biases, strict=True)]
    past = _whole_past(past)
    if past[0] is not None and in_buffer:
        past = _cut_past(x, past, past[0].size[2] - qkv[1].size[1])
    return attend(x, qkv, (heads, heads), mask, past)


def _whole_past(past: Past) -> Past:
    """Keys and values of the past, None where they are of no steps, as exporters write the first one."""
    empty = past[0] is None or past[1] is None or 0 in past[0].size
    return (None, None) if empty else past


def _group_query_attention(x: Expansion) -> Results:
    """GroupQueryAttention: fewer heads of keys and values, norms, rotations, a past in a longer buffer."""
    heads, key_heads = int(x.attr("num_heads")), int(x.attr("kv_num_heads"))
    query = x.require_input(0)
    qkv = [query, x.input(1), x.input(2)]
    if qkv[1] is None or qkv[2] is None:
        width = query.size[-1] // (heads + 2 * key_heads)
        qkv = list(x.split(query, [heads * width, key_heads * width, key_heads * width]))
    parts = [tensor for tensor in qkv if tensor is not None]
    for slot, count in ((0, heads), (1, key_heads)):
        parts[slot] = _normalized_heads(x, parts[slot], count, x.input(14 + slot))
        if x.attr("do_rotary", 0):
            parts[slot] = rotated(x, parts[slot], count)
    mask = _with_sink(x, x.input(10) if x.input(10) is not None else x.input(5))
    past, total = _whole_past((x.input(3), x.input(4))), x.input(6)
    if past[0] is not None and total is not None and total.known_value is not None:
        present = max(int(total.known_value.reshape(-1)[0]), past[0].size[2])
        past = _cut_past(x, past, present - parts[1].size[1])
    return attend(x, parts, (heads, key_heads), mask, past)


def _normalized_heads(x: Expansion, tensor: OnnxTensor, heads: int, weight: OnnxTensor | None) -> OnnxTensor:
    """(batch, length, heads x width) with every head normalised, where there is a weight for that."""
    if weight is None:
        return tensor
    batch, length, features = tensor.size
    split = x.reshape(tensor, (batch, length, heads, features // heads))
    return x.reshape(x.op("RMSNormalization", split, weight, axis=-1), tensor.size)


def _with_sink(x: Expansion, mask: OnnxTensor | None) -> OnnxTensor | None:
    """The mask with a score that each head has learned for nothing at all."""
    sink = x.input(11)
    if sink is None:
        return mask
    score = x.op("Reshape", sink, x.ints(1, -1, 1, 1))
    return score if mask is None or len(mask.size) < 4 else x.op("Add", mask, score)


def _cut_past(x: Expansion, past: Past, kept: int) -> Past:
    """The first steps of the past, where a buffer has room for the new ones."""
    if past[0] is None or past[1] is None or kept >= past[0].size[2]:
        return past
    if kept < 1:
        return None, None
    keys, values = (x.op("Slice", side, x.ints(0), x.ints(kept), x.ints(2)) for side in (past[0], past[1]))
    return keys, values


def _sparse_attention(x: Expansion) -> Results:
    """Attention of blocks that values select, on which its cost depends; the present has the size of the past."""
    query, past = x.require_input(0), x.require_input(3)
    heads, key_heads = int(x.attr("num_heads")), int(x.attr("kv_num_heads"))
    packed = x.input(1) is None
    features = query.size[-1] * heads // (heads + 2 * key_heads) if packed else query.size[-1]
    x.inputs[9:11] = [None] * len(x.inputs[9:11])  # tables of angles are no parameters
    return x.opaque([(*query.size[:2], features), past.size, past.size])


def _decoder_attention(x: Expansion) -> Results:
    """DecoderAttention: (length, batch, features), with the weights of the projections."""
    query, key, heads = x.require_input(0), x.require_input(1), int(x.attr("num_heads"))
    width = query.size[-1]
    biases = _vectors(x, x.input(4), [width] * 3)
    parts = [x.op("MatMul", query, x.require_input(2)), *x.split(x.op("MatMul", key, x.require_input(3)), [width] * 2)]
    qkv = [x.transpose(x.sum(part, bias), 1, 0, 2) for part, bias in zip(parts, biases, strict=True)]
    result, *present = attend(x, qkv, (heads, heads), x.input(5))
    return [x.transpose(result, 1, 0, 2), *present]


# --- sequences without padding


def _packed_self_attention(x: Expansion) -> Results:
    """PackedAttention: the tokens of all sequences behind each other, (tokens, features)."""
    tensor, offsets = x.require_input(0), x.require_input(3)
    heads = int(x.attr("num_heads"))
    projected = x.sum(x.op("MatMul", tensor, x.require_input(1)), x.input(2))
    widths = x.attr("qkv_hidden_sizes") or [projected.size[-1] // 3] * 3
    qkv = [_sequences(x, part, offsets) for part in x.split(projected, widths)]
    [result, *_] = attend(x, qkv, (heads, heads), x.input(5))
    return [x.reshape(result, (tensor.size[0], widths[2]))]


def _packed_cross_attention(x: Expansion) -> Results:
    """PackedMultiHeadAttention: the same with projected tensors."""
    heads, query, offsets = int(x.attr("num_heads")), x.require_input(0), x.require_input(4)
    if len(query.size) == 4:  # (tokens, heads, 3, width)
        parts = _unpacked(x, x.reshape(query, (1, *query.size)))
        qkv = [x.reshape(part, part.size[1:]) for part in parts]
    else:
        qkv = [query, x.require_input(1), x.require_input(2)]
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
    tensor = x.require_input(0)
    batch, length, width = tensor.size
    return [
        x.reshape(tensor, (batch * length, width)),
        x.constant("offsets", (batch, length), TensorProto.INT32),
        x.constant("starts", (batch + 1,), TensorProto.INT32),
        x.constant("longest", (1,), TensorProto.INT32),
    ]


def _restore_padding(x: Expansion) -> Results:
    tensor, offsets = x.require_input(0), x.require_input(1)
    if tensor.size[0] != offsets.size[0] * offsets.size[1]:
        return x.opaque([(*offsets.size, tensor.size[-1])], flops=0)
    return [x.reshape(tensor, (*offsets.size, tensor.size[-1]))]


ATTENTION: dict[str, Expander] = {
    **dict.fromkeys(("Attention", "DecoderMaskedSelfAttention"), _attention),
    "LongformerAttention": _longformer_attention,
    "MultiHeadAttention": _multi_head_attention,
    "DecoderMaskedMultiHeadAttention": _decoder_masked_attention,
    "DecoderAttention": _decoder_attention,
    "GroupQueryAttention": _group_query_attention,
    "SparseAttention": _sparse_attention,
    "PackedAttention": _packed_self_attention,
    "PackedMultiHeadAttention": _packed_cross_attention,
    "RemovePadding": _remove_padding,
    "RestorePadding": _restore_padding,
}
