"""Converters of TensorFlow operators: one small function per family, and the table of all of them.

A converter takes a `TFCall` and returns the values or tensors of the node's results. Operators without one take all
operands as data.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cgir.graph import Attr
from cgir.ops import OPS, TF_NAMES
from frontends.common.einsum import einsum, emit_matmul, parse_equation, tape_ops
from frontends.common.tape import Value

from . import layer_converters, movement_converters, pool_converters
from .constant_folding import constant_ints
from .graph_def import FLOATING, TFTensor
from .graph_walk import Results, TFCall, TFConverter
from .movement_converters import unary
from .provenance import AtLeast, Pairs, ReshapeOf
from .shape_inference import LOOKUPS
from .windows import same_padding

# --- sizes and constants


def _shape(call: TFCall) -> Results:
    return [_integers(tensor.size, dtype) for tensor, (_, dtype) in zip(call.inputs, call.results, strict=True)]


def _rank(call: TFCall) -> Results:
    return [_integers(len(call.inputs[0].size), call.dtype)]


def _num_elements(call: TFCall) -> Results:
    return [_integers(prod(call.inputs[0].size), call.dtype)]


def _integers(value: int | Sequence[int], dtype: int) -> TFTensor:
    data = np.asarray(value, np.int64)
    return TFTensor(data.shape, dtype, data)


def _source(call: TFCall) -> Results:
    """Tensors that do not depend on other tensors: zeros, ones, ranges, random numbers."""
    return [TFTensor(size, dtype) for size, (_, dtype) in zip(call.sizes, call.results, strict=True)]


def _fill(call: TFCall) -> Results:
    return [TFTensor(call.size, call.dtype, call.inputs[1].data if call.size == () else None)]


def _like(call: TFCall) -> Results:
    value = 1.0 if call.node.op == "OnesLike" else 0.0
    return [TFTensor(call.size, call.dtype, np.asarray(value) if call.size == () else None)]


# --- identities


def _identity(call: TFCall) -> Results:
    """Weights and constants stay what they are; other tensors pass through a node."""
    tensor = call.inputs[0]
    if tensor.value is None and tensor.deferred_value is None:
        return [TFTensor(tensor.size, tensor.dtype, tensor.data, variable=tensor.variable)]
    return call.emit_inputs("Identity", 0)


def _identity_n(call: TFCall) -> Results:
    return list(call.inputs)


def _cast(call: TFCall) -> Results:
    tensor = call.inputs[0]
    if tensor.value is None and tensor.deferred_value is None and (tensor.variable is None or tensor.dtype in FLOATING):
        return [TFTensor(tensor.size, call.dtype, tensor.data, variable=tensor.variable)]
    return call.emit_inputs("Cast")


# --- arithmetic


def _arithmetic(op: str) -> TFConverter:
    """Arithmetic on two or more operands; constants of one element count as scalars."""

    def convert(call: TFCall) -> Results:
        return call.emit(op, [_scalar_or_value(call, tensor) for tensor in call.inputs])

    return convert


def _scalar_or_value(call: TFCall, tensor: TFTensor) -> Value:
    """A constant of one element as a constant of no axes, any other tensor as it is."""
    if (
        tensor.data is not None
        and tensor.data.size == 1
        and len(tensor.size) <= len(call.size)
        and tensor.data.dtype.kind in "biuf"
    ):
        return call.tape.constant("constant", (), tensor.data.reshape(()))
    return call.importer.to_value(tensor)


def _bias_add(call: TFCall) -> Results:
    """BiasAdd: the bias lies along the channels, wherever they are."""
    image, bias = call.inputs
    if call.attr("data_format") == "NCHW" and len(image.size) > 2:
        expanded = (bias.size[0], *(1,) * (len(image.size) - 2))
        [value] = call.tape.apply("Reshape", "bias", [call.value(1)], [expanded])
        return call.emit("Add", [call.value(0), value])
    # a sum that Keras writes as a bias
    if (
        isinstance(bias.provenance, ReshapeOf)
        and bias.provenance.source.size == (1,) * (len(image.size) - 1) + bias.size
    ):
        return call.emit("Add", [call.value(0), call.importer.to_value(bias.provenance.source)])
    return call.emit_inputs("Add")


def _power(exponent: float) -> TFConverter:
    return lambda call: list(call.emit_inputs("Pow", attrs={"scalar": exponent}))


def _squared_difference(call: TFCall) -> Results:
    [value] = call.tape.apply("Sub", call.name, [_scalar_or_value(call, tensor) for tensor in call.inputs], [call.size])
    return call.emit("Pow", [value], attrs={"scalar": 2.0})


def _erfc(call: TFCall) -> Results:
    """erfc(x) = 1 - erf(x)."""
    [value] = call.tape.apply("Erf", call.name, [call.value(0)], [call.size])
    return call.emit("Sub", [value], attrs={"scalar": 1.0, "reverse": True})


def _select(call: TFCall) -> Results:
    """Elementwise choice; `where(i < 0, i + n, i)`, which wraps negative indices, is `i`."""
    condition, wrapped, index = (call.value(slot) for slot in range(3))
    if call.dtype not in FLOATING and not index.static:
        nodes = call.tape.nodes[condition.node], call.tape.nodes[wrapped.node]
        if [node.op for node in nodes] == ["Compare", "Add"] and all(
            node.inputs[:1] == (index.node,) for node in nodes
        ):
            return [call.inputs[2]]
    return call.emit_inputs("Where")


def _clip(call: TFCall) -> Results:
    low, high = (tensor.data for tensor in call.inputs[1:])
    if low is None or high is None or low.size != 1 or high.size != 1:
        return call.emit_inputs("Clip")
    bounds: dict[str, Attr] = {"min": float(low), "max": float(high)}
    return call.emit_inputs("ReLU6", 0) if bounds == {"min": 0, "max": 6} else call.emit_inputs("Clip", 0, attrs=bounds)


def _with_float(name: str, tf_name: str) -> TFConverter:
    return lambda call: list(call.emit_inputs(TF_NAMES[call.node.op], attrs={name: float(call.attr(tf_name))}))


def _elu(call: TFCall) -> Results:
    return call.emit_inputs("ELU", attrs={"alpha": 1.0})


def _softmax(call: TFCall) -> Results:
    return call.emit_inputs(TF_NAMES[call.node.op], attrs={"size": call.size[-1] if call.size else 1})


def _reduce(call: TFCall) -> Results:
    """Reductions over constant axes."""
    rank = len(call.inputs[0].size)
    reduced = (
        tuple(sorted({axis % max(rank, 1) for axis in constant_ints(call.inputs[1], "axes", call.node)}))
        if rank
        else ()
    )
    op = TF_NAMES[call.node.op]
    if not reduced:
        return call.emit_inputs("Identity", 0)
    return call.emit_inputs(op, 0, attrs={"dims": len(reduced)}, reduced_axes=reduced)


def _maximum(call: TFCall) -> Results:
    """Maximum; one with a known integer is at least that, which may tell a size."""
    known = next((tensor.data for tensor in call.inputs if tensor.data is not None and tensor.size == ()), None)
    maximum = call.deferred(lambda: call.emit("Maximum", [_scalar_or_value(call, tensor) for tensor in call.inputs])[0])
    if call.size != () or call.dtype in FLOATING or known is None:
        return [maximum()]
    return [TFTensor((), call.dtype, deferred_value=maximum, provenance=AtLeast(int(known)))]


def _minimum(call: TFCall) -> Results:
    """Minimum; min(n, max(n, anything)) is n, the number of bins that counts are asked for."""
    for known, other in (call.inputs, reversed(call.inputs)):
        hint = other.provenance
        if known.data is not None and known.size == () and isinstance(hint, AtLeast) and hint.number >= int(known.data):
            return [known]
    return _arithmetic("Minimum")(call)


def _lookup(call: TFCall) -> Results:
    """Values of keys in a table, which has no weights and costs no products."""
    return call.emit_inputs("Opaque", 1, attrs={"flops": 0}, display_name=f"tf.{call.node.op}")


# --- products


def _matmul(call: TFCall) -> Results:
    """Matrix products; where a tensor was flattened into a matrix for it, a product of the tensor before flattening.

    Linear layers on any number of axes are written with such a reshape.
    """
    is_matmul = call.node.op == "MatMul"
    flat = call.inputs[0]
    if isinstance(flat.provenance, ReshapeOf) and is_matmul and not call.attr("transpose_a"):
        source = flat.provenance.source
        if source.size[-1:] == flat.size[-1:]:
            right = _matrix_transpose(call, 1) if call.attr("transpose_b") else call.value(1)
            if right.static:
                left, size = call.importer.to_value(source), (*source.size[:-1], call.size[-1])
                return call.emit("Reshape", [emit_matmul(call.tape, call.name, left, right, size)])
    flags = ("transpose_a", "transpose_b") if is_matmul else ("adj_x", "adj_y")
    left, right = (
        _matrix_transpose(call, slot) if call.attr(flag) else call.value(slot) for slot, flag in enumerate(flags)
    )
    return [emit_matmul(call.tape, call.name, left, right, call.size)]


def _matrix_transpose(call: TFCall, slot: int) -> Value:
    """An operand with its last two axes exchanged."""
    value = call.value(slot)
    order = [*range(len(value.size) - 2), len(value.size) - 1, len(value.size) - 2]
    size = tuple(value.size[old] for old in order)
    axis_map = {old: new for new, old in enumerate(order)}
    return call.tape.apply("Transpose", "transpose", [value], [size], axis_map=axis_map)[0]


def _einsum(call: TFCall) -> Results:
    equation = call.attr("equation")
    try:
        parse_equation(equation, [len(tensor.size) for tensor in call.inputs])
    except ValueError:  # a diagonal
        return call.emit_inputs("Opaque", display_name="tf.Einsum")
    return [einsum(tape_ops(call.tape), equation, *(call.value(slot) for slot in range(len(call.inputs))))]


def _image_patches(call: TFCall) -> Results:
    kernel, stride, dilation = (tuple(int(v) for v in call.attr(name))[1:-1] for name in ("ksizes", "strides", "rates"))
    padding: Pairs = ((0, 0),) * 2
    if call.attr("padding") == "SAME":
        padding = same_padding(call.inputs[0].size[1:-1], kernel, stride, dilation)
    attrs: dict[str, Attr] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return call.emit_inputs("Unfold", attrs=attrs, channels_last=True)


_ARITHMETIC = [
    name for name, op in TF_NAMES.items() if OPS[op].category == "arithmetic" and name not in ("BiasAdd", "Square")
]
_REDUCTIONS = [name for name, op in TF_NAMES.items() if OPS[op].category == "reduction"]
_SOURCES = (
    "Range LinSpace Empty RandomUniform RandomStandardNormal TruncatedNormal RandomUniformInt StatelessRandomUniform "
    "StatelessRandomNormal StatelessRandomUniformV2 StatelessRandomNormalV2 StatelessTruncatedNormal "
    "StatelessTruncatedNormalV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomGetKeyCounter "
    "StatelessRandomGetAlg Multinomial HashTableV2 MutableHashTableV2 MutableHashTableOfTensorsV2 AnonymousHashTable "
    "MutableDenseHashTableV2 AnonymousMutableHashTable AnonymousMutableHashTableOfTensors HashTable MutableHashTable "
    "AnonymousMutableDenseHashTable MutableHashTableOfTensors MutableDenseHashTable LookupTableSize LookupTableSizeV2"
)
_IDENTITIES = "Identity StopGradient PreventGradient CheckNumerics Snapshot EnsureShape PlaceholderWithDefault Print"

CONVERTERS: dict[str, TFConverter] = {
    **{name: _arithmetic(TF_NAMES[name]) for name in _ARITHMETIC},
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **layer_converters.CONVERTERS,
    **pool_converters.CONVERTERS,
    **dict.fromkeys(("Shape", "ShapeN"), _shape),
    "Rank": _rank,
    "Size": _num_elements,
    **dict.fromkeys(_SOURCES.split(), _source),
    "Fill": _fill,
    "ZerosLike": _like,
    "OnesLike": _like,
    **dict.fromkeys(_IDENTITIES.split(), _identity),
    "IdentityN": _identity_n,
    "Cast": _cast,
    **dict.fromkeys(("BiasAdd", "BiasAddV1"), _bias_add),
    "Square": _power(2.0),
    "SquaredDifference": _squared_difference,
    "Erfc": _erfc,
    **dict.fromkeys(("Select", "SelectV2"), _select),
    "ClipByValue": _clip,
    "LeakyRelu": _with_float("slope", "alpha"),
    "Elu": _elu,
    "Maximum": _maximum,
    "Minimum": _minimum,
    **dict.fromkeys(LOOKUPS, _lookup),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _matmul),
    "Einsum": _einsum,
    **movement_converters.CONVERTERS,
    **dict.fromkeys(("Cumsum", "Cumprod"), unary("CumSum")),
    "ExtractImagePatches": _image_patches,
    "OneHot": unary("OneHot"),
    "TopKV2": unary("Sort"),
}
