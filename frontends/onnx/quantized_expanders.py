"""Quantised operators as those on floating-point numbers that they stand for.

Quantised weights are parameters of the size that they have unpacked; scales and zero points are none, and what only
multiplies with a scale or changes the type leaves a tensor as it is. Operators of ONNX and of onnxruntime
(docs/ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx import TensorProto

from cgir.typing import AnyArray

from .attention_expanders import packed_attention
from .expansion import Expander, Expansion, Results
from .fused_expanders import activation, window_attrs
from .parameters import QUANTISATION_NAME, classify
from .position_expanders import embeddings
from .tensors import OnnxTensor


class Scale(OnnxTensor):
    """What a tensor was divided by when it was quantised in the same graph, or a product of such numbers."""

    __slots__ = ()


class Quantized(OnnxTensor):
    """A tensor of the file that the graph itself divides by a scale, before rounding and a cast."""

    __slots__ = ()


# --- constants


def _dequantized(x: Expansion, slot: int, scale_slot: int | None = None) -> OnnxTensor:
    """The operand in a slot; quantised numbers of the file as the weights or constants that they stand for.

    Args:
        x: the node.
        slot: of the operand.
        scale_slot: of its scale, before that of its zero point; None if its contents are of no importance.
    """
    tensor = x.require_input(slot)
    if tensor.value is not None or tensor.is_floating:
        return tensor
    scale = None if scale_slot is None else x.input(scale_slot)
    zero_point = None if scale_slot is None else x.input(scale_slot + 1)
    contents = _contents(tensor, scale, zero_point)
    result = OnnxTensor(tensor.name, TensorProto.FLOAT, tensor.size, contents)
    return classify(result, "" if tensor.is_weight or not tensor.size else "CONSTANT_TENSOR", ())


def _contents(tensor: OnnxTensor, scale: OnnxTensor | None, zero_point: OnnxTensor | None) -> AnyArray | None:
    """The numbers that quantised ones stand for, where they and one scale for all are known."""
    if tensor.data is None or scale is None or scale.data is None or scale.data.size != 1:
        return None
    if zero_point is not None and zero_point.data is not None and zero_point.data.size != 1:
        return None
    zero = 0.0 if zero_point is None or zero_point.data is None else zero_point.data.astype(np.float32)
    return np.asarray((tensor.data.astype(np.float32) - zero) * scale.data.astype(np.float32)).reshape(tensor.size)


def _weight(x: Expansion, slot: int, size: Sequence[int]) -> OnnxTensor:
    """The weight in a slot with the size that it has unpacked."""
    tensor = x.require_input(slot)
    return x.param(tensor.name, tuple(size)) if tensor.value is None else x.op("Reshape", tensor, x.ints(*size))


def _without_points(x: Expansion, *slots: int) -> list[OnnxTensor | None]:
    """Operands that are followed by their scales and zero points; None for those left out."""
    return [None if x.input(slot) is None else _dequantized(x, slot, slot + 1) for slot in slots]


# --- between floating-point and quantised numbers


def _quantize(x: Expansion) -> Results:
    """A tensor of integers, of the zero point's type; constants and weights stay what they are."""
    tensor, zero_point = x.require_input(0), x.input(2)
    if tensor.value is None:
        return [tensor]
    kind = TensorProto.UINT8 if zero_point is None else zero_point.elem_type
    return [x.op("Cast", tensor, to=int(x.attr("output_dtype", 0)) or kind)]


def _dequantize(x: Expansion) -> Results:
    tensor = _dequantized(x, 0, 1)
    if tensor.value is None:
        return [tensor]
    if x.tape.nodes[tensor.value.node].op == "Input":  # whose channels are where its first layer has them
        x.tape.await_reader(tensor.value)
        return [OnnxTensor(tensor.name, TensorProto.FLOAT, tensor.size, value=tensor.value)]
    return [x.op("Cast", tensor, to=TensorProto.FLOAT)]


def _quantize_dynamically(x: Expansion) -> Results:
    """A tensor of integers, its scale and its zero point, which depend on the tensor."""
    scale = Scale("scale", TensorProto.FLOAT, ())
    return [*(_quantize(x) or ()), scale, x.constant("zero_point", (), TensorProto.UINT8)]


def _multiply_by_scale(x: Expansion) -> Results | None:
    """A product with a scale: of scales again a scale, of anything else as it is."""
    left, right = x.require_input(0), x.require_input(1)
    scale, other = (left, right) if isinstance(left, Scale) else (right, left)
    are_scales = _is_named_scale(scale) and _is_named_scale(other)
    if not isinstance(scale, Scale) and not are_scales:
        return None
    size = np.broadcast_shapes(scale.size, other.size)
    if other.value is None and other.is_floating:  # the scale of a weight, whatever its name
        return [Scale("scale", TensorProto.FLOAT, size)]
    return [other] if size == other.size else None


def _is_named_scale(tensor: OnnxTensor) -> bool:
    """Whether a constant has the name of a scale, which is one where it meets another scale."""
    match = QUANTISATION_NAME.match(tensor.name) if tensor.value is None and not tensor.is_weight else None
    return match is not None and match[2].startswith("scale")


def _divide_by_scale(x: Expansion) -> Results | None:
    """A bias in steps of a scale, which leaves it as it is."""
    bias, scale = x.require_input(0), x.require_input(1)
    if not isinstance(scale, Scale) or bias.value is not None:
        return None
    quantized = Quantized(bias.name, bias.elem_type, bias.size, bias.data, is_param=bias.is_param)
    quantized.is_weight = bias.is_weight
    return [quantized]


def _round_quantized(x: Expansion) -> Results | None:
    return [x.require_input(0)] if isinstance(x.require_input(0), Quantized) else None


def _add_quantized(x: Expansion) -> Results | None:
    """The sum with a bias of 32-bit integers, in the steps of the other operand."""
    for bias, other in (x.inputs, x.inputs[::-1]):
        if bias is None or other is None or bias.elem_type != TensorProto.INT32 or not other.is_floating:
            continue
        return [x.op("Add", other, _dequantized(x, x.inputs.index(bias)))] if bias.value is None else None
    return None


# --- layers


def _conv(weight_slot: int, bias_slot: int, scale_slot: int | None) -> Expander:
    """Convolutions, with the slots of their weights."""

    def expand(x: Expansion) -> Results:
        image, filters = x.require_input(0), _dequantized(x, weight_slot, scale_slot)
        bias = None if x.input(bias_slot) is None or scale_slot is None else _dequantized(x, bias_slot)
        last = bool(x.attr("channels_last", 0))
        image = x.channels_first(image) if last else image
        result = x.op("Conv", image, filters, bias, **window_attrs(x))
        if scale_slot is None:  # sums of products, which are no longer quantised to few bits
            result.elem_type = TensorProto.FLOAT
        return [x.channels_last(result) if last else result]

    return expand


def _matmul(left_slot: int, right_slot: int, bias_slot: int | None = None, scaled: bool = False) -> Expander:
    """Matrix products, with the slots of their operands.

    Args:
        left_slot: of the first factor.
        right_slot: of the second.
        bias_slot: of a bias, where there may be one.
        scaled: whether factors are followed by their scales.
    """

    def expand(x: Expansion) -> Results:
        factors = [_dequantized(x, slot, slot + 1 if scaled else None) for slot in (left_slot, right_slot)]
        product = x.op("MatMul", *factors)
        if not scaled:  # sums of products, which are no longer quantised to few bits
            product.elem_type = TensorProto.FLOAT
        return [product if bias_slot is None else x.sum(product, x.input(bias_slot))]

    return expand


def _gemm(x: Expansion) -> Results:
    left, right = _without_points(x, 0, 3)
    bias = None if x.input(6) is None else _dequantized(x, 6)
    return [x.op("Gemm", left, right, bias, **x.attrs("transA", "transB", "alpha"))]


def _lstm(x: Expansion) -> Results:
    """DynamicQuantizeLSTM: its matrices are those of LSTM, transposed."""
    matrices = []
    for slot in (1, 2):
        directions, width, rows = x.require_input(slot).size
        matrices.append(_weight(x, slot, (directions, rows, width)))
    attrs = x.attrs("hidden_size", "direction", "activations", "activation_alpha", "activation_beta", "clip")
    operands = [x.require_input(0), *matrices, *(x.input(slot) for slot in range(3, 8))]
    return x.ops("LSTM", operands, len(x.node.output), **attrs)


def _attention(x: Expansion) -> Results:
    bias = x.input(2)
    return packed_attention(x, x.require_input(0), _dequantized(x, 1), bias, (x.input(5), None), x.input(8))


def _ordered_attention(x: Expansion) -> Results:
    """QOrderedAttention: attention with three weights."""
    weights = [_dequantized(x, slot) for slot in (5, 6, 7)]
    heads = int(x.attr("num_heads"))
    parts = [
        x.sum(x.op("MatMul", x.require_input(0), weight), None if x.input(slot) is None else _dequantized(x, slot))
        for slot, weight in zip((11, 12, 13), weights, strict=True)
    ]
    return x.ops("Attention", [*parts, x.input(17)], 1, q_num_heads=heads, kv_num_heads=heads)


def _embeddings(x: Expansion) -> Results:
    """QEmbedLayerNormalization."""
    names = ("ids", "segments", "word", "position", "segment", "gamma", "beta")
    operands = {
        name: None if x.input(slot) is None else _dequantized(x, slot) if slot > 1 else x.require_input(slot)
        for slot, name in enumerate(names)
    }
    return embeddings(x, operands | {"mask": x.input(7)})


# --- weights in blocks of few bits


def _matmul_of_blocks(x: Expansion) -> Results:
    """A linear layer whose weight is packed: (columns, rows), whatever its bits."""
    weight = _weight(x, 1, (int(x.attr("N")), int(x.attr("K"))))
    return [x.sum(x.op("MatMul", x.require_input(0), x.transpose(weight, 1, 0)), x.input(5))]


def _matmul_of_float_blocks(x: Expansion) -> Results:
    """MatMulFpQ4: a linear layer with the size of its weight as an input."""
    return [x.op("MatMul", x.require_input(0), _weight(x, 1, x.require_input(2).ints()))]


def _matmul_of_packed_floats(x: Expansion) -> Results:
    """Linear layers of 8-bit and 4-bit floating-point weights, (columns, rows)."""
    features = x.require_input(0).size[-1]
    weight = x.require_input(1)
    rows = weight.size[0] if weight.size[-1] in (features, features // 2) else weight.size[-1]
    bias = x.input(len(x.inputs) - 1) if len(x.inputs) > 4 else None
    return [x.sum(x.op("MatMul", x.require_input(0), x.transpose(_weight(x, 1, (rows, features)), 1, 0)), bias)]


def _linear_of_blocks(x: Expansion, tensor: OnnxTensor, slot: int, columns: int) -> OnnxTensor:
    """A linear layer whose packed weight, scales and bias stand in slots one after the other."""
    weight = _weight(x, slot, (columns, tensor.size[-1]))
    return x.sum(x.op("MatMul", tensor, x.transpose(weight, 1, 0)), x.input(slot + 2))


def _normalized(x: Expansion) -> tuple[OnnxTensor, OnnxTensor]:
    """The sum of the first two operands, and that normalised if there is a scale."""
    total = x.sum(x.require_input(0), x.input(1))
    scale = x.input(2)
    return total, total if scale is None else x.op("RMSNormalization", total, scale, axis=-1)


def _gated_mlp_of_blocks(x: Expansion) -> Results:
    """MatMulNBitsMlp: a norm, and the product of two linear layers, one with an activation."""
    total, tensor = _normalized(x)
    gate, up = (_linear_of_blocks(x, tensor, slot, int(x.attr("N"))) for slot in (3, 6))
    return [x.op("Mul", activation(x, gate, x.attr("activation", "silu")), up), total]


def _projections_of_blocks(x: Expansion) -> Results:
    """MatMulNBitsQkv: a norm and three linear layers."""
    total, tensor = _normalized(x)
    columns = (int(x.attr("Nq")), int(x.attr("Nkv")), int(x.attr("Nkv")))
    return [*(_linear_of_blocks(x, tensor, 3 + 3 * i, n) for i, n in enumerate(columns)), total]


def _gather_of_blocks(x: Expansion) -> Results:
    """GatherBlockQuantized: rows of a table whose numbers of less than 8 bits are packed into bytes."""
    table = x.require_input(0)
    size = list(table.size)
    if table.elem_type == TensorProto.UINT8:
        size[-1] *= 8 // int(x.attr("bits", 4))
    return [x.op("Gather", _weight(x, 0, size), x.require_input(1), axis=x.attr("gather_axis", 0))]


# --- elementwise, pooling, joining


def _binary(op: str) -> Expander:
    """Operators of two tensors, each followed by its scale and zero point."""
    return lambda x: [x.op(op, *_without_points(x, 0, 3))]


def _unary(op: str, *attrs: str) -> Expander:
    return lambda x: [x.op(op, x.require_input(0), **x.attrs(*attrs))]


def _softmax(x: Expansion) -> Results:
    """Softmax; of nodes of opset 12 and before, over all axes from `axis` on."""
    tensor, axis = x.require_input(0), int(x.attr("axis", -1))
    if int(x.attr("opset", 13)) >= 13:
        return [x.op("Softmax", tensor, axis=axis)]
    flat = x.reshape(tensor, (prod(tensor.size[:axis]), prod(tensor.size[axis:])))
    return [x.reshape(x.op("Softmax", flat, axis=1), tensor.size)]


def _reduce(op: str) -> Expander:
    def expand(x: Expansion) -> Results:
        axes = x.attr("axes")
        return [x.op(op, x.require_input(0), None if axes is None else x.ints(*axes), keepdims=x.attr("keepdims", 1))]

    return expand


def _where(x: Expansion) -> Results:
    return [x.op("Where", x.require_input(0), _dequantized(x, 1, 2), _dequantized(x, 4, 5))]


def _concat(x: Expansion) -> Results:
    """Tensors, each followed by its scale and zero point, behind those of the result."""
    return [x.op("Concat", *_without_points(x, *range(2, len(x.inputs), 3)), axis=x.attr("axis"))]


def _pool(op: str, *attrs: str) -> Expander:
    def expand(x: Expansion) -> Results:
        tensor, last = x.require_input(0), bool(x.attr("channels_last", 0))
        result = x.op(op, x.channels_first(tensor) if last else tensor, **x.attrs(*attrs))
        return [x.channels_last(result) if last else result]

    return expand


def _ordered_matmul(x: Expansion) -> Results:
    bias = None if x.input(5) is None else _dequantized(x, 5)
    return [x.sum(x.op("MatMul", x.require_input(0), _dequantized(x, 2)), bias, x.input(6))]


def _ordered_layer_norm(x: Expansion) -> Results:
    return [x.op("LayerNormalization", x.require_input(0), x.require_input(2), x.input(3), axis=x.attr("axis", -1))]


_AVERAGE = ("kernel_shape", "strides", "pads", "auto_pad", "ceil_mode", "count_include_pad")
# operators of ONNX itself
STANDARD: dict[str, Expander] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _quantize_dynamically,
    "Mul": _multiply_by_scale,
    "Div": _divide_by_scale,
    **dict.fromkeys(("Floor", "Round", "Cast"), _round_quantized),
    "Add": _add_quantized,
    "ConvInteger": _conv(1, 2, None),
    "QLinearConv": _conv(3, 8, 4),
    "MatMulInteger": _matmul(0, 1),
    "QLinearMatMul": _matmul(0, 3, scaled=True),
}
# those of onnxruntime
QUANTIZED: dict[str, Expander] = {
    **dict.fromkeys(("QuantizeLinear", "QuantizeWithOrder"), _quantize),
    **dict.fromkeys(("DequantizeLinear", "DequantizeWithOrder"), _dequantize),
    "QLinearConv": _conv(3, 8, 4),
    **dict.fromkeys(("MatMulInteger", "MatMulInteger16"), _matmul(0, 1)),
    "DynamicQuantizeMatMul": _matmul(0, 1, bias_slot=4),
    "MatMulIntegerToFloat": _matmul(0, 1, bias_slot=6),
    "QGemm": _gemm,
    "DynamicQuantizeLSTM": _lstm,
    "QAttention": _attention,
    "QOrderedAttention": _ordered_attention,
    "QOrderedMatMul": _ordered_matmul,
    "QOrderedGelu": _unary("Gelu"),
    "QOrderedLayerNormalization": _ordered_layer_norm,
    "QEmbedLayerNormalization": _embeddings,
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), _matmul_of_blocks),
    "MatMulFpQ4": _matmul_of_float_blocks,
    **dict.fromkeys(("MatMulBlockQuantizedFp4Weight", "MatMulBlockQuantizedFp8Weight"), _matmul_of_packed_floats),
    "MatMulNBitsMlp": _gated_mlp_of_blocks,
    "MatMulNBitsQkv": _projections_of_blocks,
    "GatherBlockQuantized": _gather_of_blocks,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "MulInteger": lambda x: [x.op("Mul", _dequantized(x, 0), _dequantized(x, 2))],
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
    "QLinearSoftmax": _softmax,
    "QLinearReduceMean": _reduce("ReduceMean"),
    "ReduceSumInteger": _reduce("ReduceSum"),
    "QLinearWhere": _where,
    "QLinearConcat": _concat,
    "QLinearAveragePool": _pool("AveragePool", *_AVERAGE),
    "QLinearGlobalAveragePool": _pool("GlobalAveragePool"),
}
