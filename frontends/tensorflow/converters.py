"""How each TensorFlow operator becomes a node: one small function per family. Operators without a converter take all
operands as data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from cgir.graph import Attr
from cgir.ops import OPS, TF_NAMES
from frontends.common.einsum import einsum, emit_matmul, parse_equation, tape_ops
from frontends.common.tape import Value

from . import layer_converters as layers
from . import movement_converters as moves
from . import pool_converters as pools
from .graph_def import FLOATING, Item
from .graph_walk import Call
from .layer_converters import ReshapeOf
from .shape_inference import numbers

Result = Sequence[Value | Item]


# --- sizes and constants


def _shape(call: Call) -> Result:
    return [_integers(item.size, kind) for item, (_, kind) in zip(call.items, call.outputs, strict=True)]


def _rank(call: Call) -> Result:
    return [_integers(len(call.items[0].size), call.outputs[0][1])]


def _count(call: Call) -> Result:
    return [_integers(prod(call.items[0].size), call.outputs[0][1])]


def _integers(value: Any, dtype: int) -> Item:
    data = np.asarray(value, np.int64)
    return Item(data.shape, dtype, data)


def _filled(call: Call) -> Result:
    """Tensors that do not depend on what is computed: zeros, ones, ranges, random numbers."""
    return [Item(size, kind) for size, (_, kind) in zip(call.sizes, call.outputs, strict=True)]


def _fill(call: Call) -> Result:
    return [Item(call.size, call.outputs[0][1], call.items[1].data if call.size == () else None)]


def _like(call: Call) -> Result:
    value = 1.0 if call.node.op == "OnesLike" else 0.0
    return [Item(call.size, call.outputs[0][1], np.asarray(value) if call.size == () else None)]


# --- identities


def _identity(call: Call) -> Result:
    """Weights and constants stay what they are; other tensors pass through a node."""
    item = call.items[0]
    if item.value is None and item.make is None:
        return [Item(item.size, item.dtype, item.data, variable=item.variable)]
    return list(call.plain("Identity"))


def _pass(call: Call) -> Result:
    return list(call.items)


def _cast(call: Call) -> Result:
    item, kind = call.items[0], call.outputs[0][1]
    if item.value is None and item.make is None and (item.variable is None or item.dtype in FLOATING):
        return [Item(item.size, kind, None if item.data is None else item.data, variable=item.variable)]
    return list(call.plain("Cast"))


# --- arithmetic


def _arithmetic(op: str) -> Callable[[Call], Result]:
    """Two or more operands; constants of one element count as scalars."""

    def convert(call: Call) -> Result:
        return list(call.emit(op, [_operand(call, item) for item in call.items]))

    return convert


def _operand(call: Call, item: Item) -> Value:
    if (
        item.data is not None
        and item.data.size == 1
        and len(item.size) <= len(call.size)
        and item.data.dtype.kind in "biuf"
    ):
        return call.walk.tape.constant("constant", (), item.data.reshape(()))
    return call.walk.value(item)


def _bias(call: Call) -> Result:
    """BiasAdd: the bias lies along the channels, wherever they are."""
    image, bias = call.items
    if call.attr("data_format") == "NCHW" and len(image.size) > 2:
        wide = (bias.size[0], *(1,) * (len(image.size) - 2))
        [value] = call.walk.tape.apply("Reshape", "bias", [call.value(1)], [wide])
        return list(call.emit("Add", [call.value(0), value]))
    # a sum that Keras writes as a bias
    if (
        isinstance(bias.provenance, ReshapeOf)
        and bias.provenance.source.size == (1,) * (len(image.size) - 1) + bias.size
    ):
        return list(call.emit("Add", [call.value(0), call.walk.value(bias.provenance.source)]))
    return list(call.plain("Add"))


def _power(exponent: float) -> Callable[[Call], Result]:
    return lambda call: list(call.plain("Pow", attrs={"scalar": exponent}))


def _squared_difference(call: Call) -> Result:
    [value] = call.walk.tape.apply("Sub", call.name, [_operand(call, item) for item in call.items], [call.size])
    return list(call.emit("Pow", [value], attrs={"scalar": 2.0}))


def _complement_of_erf(call: Call) -> Result:
    """erfc(x) = 1 - erf(x)."""
    [value] = call.walk.tape.apply("Erf", call.name, [call.value(0)], [call.size])
    return list(call.emit("Sub", [value], attrs={"scalar": 1.0, "reverse": True}))


def _select(call: Call) -> Result:
    """A choice element by element; negative indices that count from the end are the indices."""
    tape, [chosen, shifted, plain] = call.walk.tape, [call.value(slot) for slot in range(3)]
    if call.outputs[0][1] not in FLOATING and not plain.static:
        ops = tape.nodes[chosen.node], tape.nodes[shifted.node]
        if (ops[0].op, ops[1].op) == ("Compare", "Add") and all(node.inputs[:1] == (plain.node,) for node in ops):
            return [call.items[2]]
    return list(call.plain("Where"))


def _clip(call: Call) -> Result:
    low, high = (item.data for item in call.items[1:])
    if low is None or high is None or low.size != 1 or high.size != 1:
        return list(call.plain("Clip"))
    bounds: dict[str, Attr] = {"min": float(low), "max": float(high)}
    return list(call.plain("ReLU6", 0) if bounds == {"min": 0, "max": 6} else call.plain("Clip", 0, attrs=bounds))


def _slope(name: str, attr: str) -> Callable[[Call], Result]:
    return lambda call: list(call.plain(TF_NAMES[call.node.op], attrs={name: float(call.attr(attr))}))


def _elu(call: Call) -> Result:
    return list(call.plain("ELU", attrs={"alpha": 1.0}))


def _softmax(call: Call) -> Result:
    return list(call.plain(TF_NAMES[call.node.op], attrs={"size": call.size[-1] if call.size else 1}))


def _reduction(call: Call) -> Result:
    """Reductions over constant axes."""
    rank = len(call.items[0].size)
    dims = tuple(sorted({axis % max(rank, 1) for axis in numbers(call.items[1], "axes", call.node)})) if rank else ()
    op = TF_NAMES[call.node.op]
    if not dims:
        return list(call.plain("Identity", 0))
    return list(call.plain(op, 0, attrs={"dims": len(dims)}, reduced_axes=dims))


# --- products


def _matmul(call: Call) -> Result:
    """Products; one of a matrix that was flattened for it is a product of the tensor before, as linear layers on any
    number of axes are written.
    """
    flat = call.items[0]
    if (
        isinstance(flat.provenance, ReshapeOf)
        and call.node.op == "MatMul"
        and not call.attr("transpose_a")
        and flat.provenance.source.size[-1:] == flat.size[-1:]
    ):
        source = flat.provenance.source
        right = _turned(call, 1) if call.attr("transpose_b") else call.value(1)
        if right.static:
            wide = emit_matmul(
                call.walk.tape, call.name, call.walk.value(source), right, (*source.size[:-1], call.size[-1])
            )
            return list(call.emit("Reshape", [wide]))
    flags = ("transpose_a", "transpose_b") if call.node.op == "MatMul" else ("adj_x", "adj_y")
    left, right = (_turned(call, slot) if call.attr(flag) else call.value(slot) for slot, flag in enumerate(flags))
    return [emit_matmul(call.walk.tape, call.name, left, right, call.size)]


def _turned(call: Call, slot: int) -> Value:
    value = call.value(slot)
    rank = len(value.size)
    axes = {**{axis: axis for axis in range(rank - 2)}, rank - 2: rank - 1, rank - 1: rank - 2}
    return call.walk.tape.apply(
        "Transpose", "transpose", [value], [(*value.size[:-2], value.size[-1], value.size[-2])], axis_map=axes
    )[0]


def _einsum(call: Call) -> Result:
    equation = call.attr("equation")
    try:
        parse_equation(equation, [len(item.size) for item in call.items])
    except ValueError:  # a diagonal
        return list(
            call.emit("Opaque", [call.value(slot) for slot in range(len(call.items))], display_name="tf.Einsum")
        )
    return [einsum(tape_ops(call.walk.tape), equation, *(call.value(slot) for slot in range(len(call.items))))]


def _image_patches(call: Call) -> Result:
    kernel, stride, rates = (tuple(int(v) for v in call.attr(name))[1:-1] for name in ("ksizes", "strides", "rates"))
    room = call.items[0].size[1:-1]
    padding = layers.same(room, kernel, stride, rates) if call.attr("padding") == "SAME" else ((0, 0),) * 2
    return list(
        call.plain(
            "Unfold",
            attrs={"kernel": kernel, "stride": stride, "padding": padding, "dilation": rates},
            channels_last=True,
        )
    )


def _one_hot(call: Call) -> Result:
    return list(call.plain("OneHot", 0))


def _top_k(call: Call) -> Result:
    return list(call.plain("Sort", 0))


_ARITHMETIC = [
    name for name, op in TF_NAMES.items() if OPS[op].category == "arithmetic" and name not in ("BiasAdd", "Square")
]
_REDUCTIONS = [name for name, op in TF_NAMES.items() if OPS[op].category == "reduction"]
_RANDOM = (
    "RandomUniform RandomStandardNormal TruncatedNormal RandomUniformInt StatelessRandomUniform StatelessRandomNormal StatelessRandomUniformV2 "
    "StatelessRandomNormalV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 "
    "StatelessRandomGetKeyCounter StatelessRandomGetAlg Multinomial"
)

CONVERTERS: dict[str, Callable[[Call], Result]] = {
    **{name: _arithmetic(TF_NAMES[name]) for name in _ARITHMETIC},
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **layers.CONVERTERS,
    **pools.CONVERTERS,
    **dict.fromkeys(("Shape", "ShapeN"), _shape), "Rank": _rank, "Size": _count,
    **dict.fromkeys(("Range", "LinSpace", "Empty", *_RANDOM.split()), _filled), "Fill": _fill, "ZerosLike": _like, "OnesLike": _like,
    **dict.fromkeys(("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot", "EnsureShape", "PlaceholderWithDefault"), _identity),
    "IdentityN": _pass, "Cast": _cast,
    "BiasAdd": _bias, "BiasAddV1": _bias, "Square": _power(2.0), "SquaredDifference": _squared_difference, "Erfc": _complement_of_erf,
    "Select": _select, "SelectV2": _select, "ClipByValue": _clip, "LeakyRelu": _slope("slope", "alpha"), "Elu": _elu,
    "Softmax": _softmax, "LogSoftmax": _softmax,
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _matmul), "Einsum": _einsum,
    **moves.CONVERTERS,
    "Cumsum": moves.first("CumSum"), "Cumprod": moves.first("CumSum"),
    "ExtractImagePatches": _image_patches, "OneHot": _one_hot, "TopKV2": _top_k,
}  # fmt: skip
