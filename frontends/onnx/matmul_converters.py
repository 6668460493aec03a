"""Matrix products, attention and recurrent layers of ONNX. See `converters` for what a converter is."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from cgir import Param
from cgir.graph import Attr
from frontends.common import einsum as einsums
from frontends.common.tape import OpCall, Operand, Tape, Value

from .tensors import Call, Tensor, TransposeOf, as_param, read_weight

Emitted = list[Value]


def _operand(tape: Tape, tensor: Tensor) -> Value:
    """An operand of a product: a constant matrix is a weight."""
    return read_weight(tape, tensor) if tensor.value is None and len(tensor.size) >= 1 else tensor.read(tape)


def _matmul(left: int, right: int) -> Callable[[Call], Emitted]:
    """Products whose factors stand in these slots."""

    def emit(call: Call) -> Emitted:
        a, b = (_operand(call.tape, call.need(slot)) for slot in (left, right))
        return [einsums.emit_matmul(call.tape, call.name, a, b, call.sizes[0])]

    return emit


def _swapped(tape: Tape, value: Value) -> Value:
    rank = len(value.size)
    order = [*range(rank - 2), rank - 1, rank - 2]
    return tape.apply(
        "Transpose",
        "transpose",
        [value],
        [tuple(value.size[axis] for axis in order)],
        axis_map={old: new for new, old in enumerate(order)},
    )[0]


def _scaled(call: Call, value: Value, factor: float) -> Value:
    return value if factor == 1 else call.emit("Mul", [value], {"scalar": factor}, sizes=[value.size])[0]


def _gemm(call: Call) -> Emitted:
    """A linear layer where the second factor is a matrix of weights, else a product and a sum."""
    a, b, c = call.need(0), call.need(1), call.get(2)
    alpha, beta = float(call.attr("alpha", 1.0)), float(call.attr("beta", 1.0))
    weight = as_param(call.tape, b)
    left = _swapped(call.tape, a.read(call.tape)) if call.attr("transA", 0) else a.read(call.tape)
    outer = call.sizes[0][-1]
    bias = None if c is None else as_param(call.tape, c)
    if (
        weight is not None
        and alpha == 1
        and beta == 1
        and not a.static
        and (c is None or (bias is not None and prod(bias.shape) == outer))
    ):
        given = [Param(weight.id, weight.shape if call.attr("transB", 0) else weight.shape[::-1])]
        given += [] if bias is None else [Param(bias.id, (outer,))]
        return call.emit("Linear", [left], weights=given)
    right = _operand(call.tape, b)
    value = einsums.emit_matmul(
        call.tape, call.name, left, _swapped(call.tape, right) if call.attr("transB", 0) else right, call.sizes[0]
    )
    value = _scaled(call, value, alpha)
    if c is None or beta == 0:
        return [value]
    return call.emit("Add", [value, _scaled(call, c.read(call.tape), beta)], name="add")


def _dequantized(call: Call) -> Emitted:
    """Numbers of few bits as floating-point ones: what is quantised are weights, if it is a constant."""
    return call.emit("Cast", [_operand(call.tape, call.need(0))])


def _fused_matmul(call: Call) -> Emitted:
    """`com.microsoft` FusedMatMul: transposes and a factor."""
    a, b = (_operand(call.tape, call.need(slot)) for slot in (0, 1))
    a = _swapped(call.tape, a) if call.attr("transA", 0) else a
    b = _swapped(call.tape, b) if call.attr("transB", 0) else b
    return [
        _scaled(call, einsums.emit_matmul(call.tape, call.name, a, b, call.sizes[0]), float(call.attr("alpha", 1.0)))
    ]


def _einsum(call: Call) -> Emitted:
    values = [_operand(call.tape, tensor) for tensor in call.tensors]
    equation = call.attr("equation", "")
    try:
        einsums.parse_equation(equation, [len(value.size) for value in values])
    except ValueError:  # a diagonal
        return call.emit("Opaque", values, display_name="onnx.Einsum")
    return [einsums.einsum(einsums.tape_ops(call.tape), equation, *values)]


# --- attention


def _heads(call: Call, tensor: Tensor, heads: int | None) -> Value:
    """(B, T, h d) as (B, h, T, d)."""
    value = tensor.read(call.tape)
    if len(value.size) == 4 or heads is None:
        return value
    batch, length, width = value.size
    value = call.emit("Reshape", [value], sizes=[(batch, length, heads, width // heads)])[0]
    return call.emit(
        "Transpose", [value], sizes=[(batch, heads, length, width // heads)], axis_map={0: 0, 1: 2, 2: 1, 3: 3}
    )[0]


def _attention(call: Call) -> Emitted:
    """Attention of opset 23: three or four axes, keys and values of earlier steps, fewer key heads than query heads."""
    heads, key_heads = call.attr("q_num_heads"), call.attr("kv_num_heads")
    query, key, value = (
        _heads(call, call.need(0), heads),
        _heads(call, call.need(1), key_heads),
        _heads(call, call.need(2), key_heads),
    )
    present = []
    for slot, new in ((4, key), (5, value)):
        past = call.get(slot)
        if past is not None:
            size = (*new.size[:2], new.size[2] + past.size[2], new.size[3])
            new = call.emit("Concat", [past, new], sizes=[size], name="concat")[0]
        present.append(new)
    mask = call.get(3)
    batch, query_heads, length, _ = query.size
    size = (batch, query_heads, length, present[1].size[3])
    attrs: dict[str, Attr] = {"causal": bool(call.attr("is_causal", 0))}
    result = call.emit("Attention", [query, *present, *([] if mask is None else [mask])], attrs, sizes=[size])[0]
    if len(call.sizes[0]) == 3:
        result = call.emit(
            "Transpose", [result], sizes=[(batch, length, query_heads, size[3])], axis_map={0: 0, 1: 2, 2: 1, 3: 3}
        )[0]
        result = call.emit("Reshape", [result], sizes=[call.sizes[0]])[0]
    scores = [Value(result.node, size, result.layout, result.static) for size in call.sizes[3:4]]
    return [result, *present, *scores][: len(call.sizes)] if len(call.sizes) > 1 else [result]


# --- recurrent layers


def _params_under(tape: Tape, tensor: Tensor) -> list[Param]:
    """The parameters that a weight is computed from, in the order of use; the weight itself if it is one."""
    own = as_param(tape, tensor)
    if own is not None:
        return [own]
    if tensor.value is None or not tensor.value.static:
        return []
    found: dict[Param, None] = {}
    stack, seen = [tensor.value.node], set()
    while stack:
        index = stack.pop()
        if index in seen:
            continue
        seen.add(index)
        found.update(dict.fromkeys(tape.nodes[index].params))
        stack.extend(reversed(tape.nodes[index].inputs))
    return list(found)


def _recurrent(op: str, gates: int) -> Callable[[Call], Emitted]:
    def emit(call: Call) -> Emitted:
        tape, x = call.tape, call.need(0)
        directions, _, hidden = call.need(2).size
        first = bool(call.attr("layout", 0))  # the batch first
        batch, length = (x.size[0], x.size[1]) if first else (x.size[1], x.size[0])
        weights = _recurrent_weights(call, directions, gates * hidden)
        attrs: dict[str, Attr] = {"hidden": int(hidden), "layers": 1, "bidirectional": directions == 2}
        states = [state for slot in ((5, 6) if op == "LSTM" else (5,)) if (state := call.get(slot)) is not None]
        last_size = (batch, directions, hidden) if first else (directions, batch, hidden)
        flat = (batch, length, directions * hidden) if first else (length, batch, directions * hidden)
        values = [x.read(tape), *(tensor.read(tape) for tensor in states)]
        op_call = OpCall(op, call.name, [Operand(value, value.size) for value in values], attrs, weights)
        node, layouts, static = tape.emit(op_call, [flat, last_size, last_size])
        result, *last = (
            Value(node, size, layout, static)
            for size, layout in zip((flat, last_size, last_size), layouts, strict=True)
        )
        split = call.emit("Reshape", [result], sizes=[(*flat[:2], directions, hidden)], name="reshape")[0]
        axes = {0: 0, 1: 1, 2: 2, 3: 3} if first else {0: 0, 1: 2, 2: 1, 3: 3}
        if first:
            return [split, *last][: len(call.sizes)]
        moved = call.emit(
            "Transpose", [split], sizes=[(length, directions, batch, hidden)], axis_map=axes, name="transpose"
        )[0]
        moved.provenance = TransposeOf(split, (0, 2, 1, 3))
        return [moved, *last][: len(call.sizes)]

    return emit


def _recurrent_weights(call: Call, directions: int, rows: int) -> tuple[Param, ...]:
    """PyTorch's list: input and hidden matrix, input and hidden bias, for each direction."""
    slots = [call.need(1), call.need(2), *([bias] if (bias := call.get(3)) is not None else [])]
    found = [_params_under(call.tape, tensor) for tensor in slots]
    each = [directions, directions, 2 * directions]
    groups: list[list[Param]] = []
    for tensor, params, count in zip(slots, found, each, strict=False):
        if len(params) == count and all(prod(param.shape) * count == prod(tensor.size) for param in params):
            groups.append(
                [Param(param.id, param.shape[-2:] if count == directions else param.shape[-1:]) for param in params]
            )
        elif params or tensor.weight:  # one tensor for all of them
            size = (rows, tensor.size[-1]) if count == directions else (rows,)
            whole = params[0].id if params else tensor.name
            groups.append([Param(f"{whole}.{place}", size) for place in range(count)])
        else:
            groups.append([])
    groups += [[]] * (3 - len(groups))
    matrices, biases = groups[:2], groups[2]
    ordered = []
    for place in range(directions):
        ordered += [group[place] for group in matrices if group]
        ordered += biases[2 * place : 2 * place + 2]
    return tuple(ordered)


CONVERTERS: dict[str, Callable[[Call], Emitted]] = {
    "MatMul": _matmul(0, 1), "MatMulInteger": _matmul(0, 1), "QLinearMatMul": _matmul(0, 3), "Gemm": _gemm, "FusedMatMul": _fused_matmul, "Einsum": _einsum,
    "DequantizeLinear": _dequantized,
    "Attention": _attention, "LSTM": _recurrent("LSTM", 4), "GRU": _recurrent("GRU", 3), "RNN": _recurrent("RNN", 1),
}  # fmt: skip
