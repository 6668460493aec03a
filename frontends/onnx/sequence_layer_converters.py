"""Converters of ONNX attention and recurrent layers."""

from __future__ import annotations

from math import prod

import numpy as np

from cgir import Param
from cgir.graph import Attr
from frontends.common.tape import Size, Tape, Value

from .calls import OnnxCall, OnnxConverter
from .tensors import OnnxTensor, TransposeOf, as_param

# --- attention


def _split_heads(call: OnnxCall, tensor: OnnxTensor, num_heads: int | None) -> Value:
    """(batch, length, heads x width) as (batch, heads, length, width)."""
    value = tensor.to_value(call.tape)
    if len(value.size) == 4 or num_heads is None:
        return value
    batch, length, width = value.size
    head_width = width // num_heads
    [value] = call.emit("Reshape", [value], sizes=[(batch, length, num_heads, head_width)])
    size = (batch, num_heads, length, head_width)
    return call.emit("Transpose", [value], sizes=[size], axis_map={0: 0, 1: 2, 2: 1, 3: 3})[0]


def _attention(call: OnnxCall) -> list[Value]:
    """Attention of opset 23: on three or four axes, with a key-value cache, with grouped queries."""
    num_heads, num_key_heads = call.attr("q_num_heads"), call.attr("kv_num_heads")
    query, key, value = (
        _split_heads(call, call.require_input(0), num_heads),
        _split_heads(call, call.require_input(1), num_key_heads),
        _split_heads(call, call.require_input(2), num_key_heads),
    )
    present = []
    for slot, projected in ((4, key), (5, value)):
        past = call.input(slot)
        if past is not None:
            size = (*projected.size[:2], projected.size[2] + past.size[2], projected.size[3])
            [projected] = call.emit("Concat", [past, projected], sizes=[size], name="concat")
        present.append(projected)
    mask = call.input(3)
    batch, num_query_heads, length, _ = query.size
    size = (batch, num_query_heads, length, present[1].size[3])
    attrs: dict[str, Attr] = {"causal": bool(call.attr("is_causal", 0))}
    [result] = call.emit("Attention", [query, *present, *([] if mask is None else [mask])], attrs, sizes=[size])
    if len(call.sizes[0]) == 3:
        size = (batch, length, num_query_heads, size[3])
        [result] = call.emit("Transpose", [result], sizes=[size], axis_map={0: 0, 1: 2, 2: 1, 3: 3})
        [result] = call.emit("Reshape", [result], sizes=[call.sizes[0]])
    scores = [Value(result.node, size, result.layout, result.static) for size in call.sizes[3:4]]
    return [result, *present, *scores][: len(call.sizes)] if len(call.sizes) > 1 else [result]


# --- recurrent layers


def _source_params(tape: Tape, tensor: OnnxTensor) -> list[Param]:
    """The parameters that a weight is computed from, in the order of use; the weight's own if it is one."""
    param = as_param(tape, tensor)
    if param is not None:
        return [param]
    if tensor.value is None or not tensor.value.static:
        return []
    params: dict[Param, None] = {}
    stack, visited = [tensor.value.node], set()
    while stack:
        index = stack.pop()
        if index in visited:
            continue
        visited.add(index)
        params.update(dict.fromkeys(tape.nodes[index].params))
        stack.extend(reversed(tape.nodes[index].inputs))
    return list(params)


def _recurrent(op: str, num_gates: int) -> OnnxConverter:
    """LSTM, GRU and RNN as one node with PyTorch's result, (length, batch, directions x hidden), and its last states.

    ONNX has the directions on a separate axis, made by a reshape and a transpose behind the node.
    """

    def emit(call: OnnxCall) -> list[Value]:
        tape, x = call.tape, call.require_input(0)
        directions, _, hidden = call.require_input(2).size
        batch_first = bool(call.attr("layout", 0))
        batch, length = (x.size[0], x.size[1]) if batch_first else (x.size[1], x.size[0])
        params = _recurrent_params(call, directions, num_gates * hidden)
        attrs: dict[str, Attr] = {"hidden": int(hidden), "layers": 1, "bidirectional": directions == 2}
        slots = (5, 6) if op == "LSTM" else (5,)
        states = [_initial_state(state) for slot in slots if (state := call.input(slot)) is not None]
        state_size = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
        lead = (batch, length) if batch_first else (length, batch)
        values = [x.to_value(tape), *(tensor.to_value(tape) for tensor in states)]
        sizes = [(*lead, directions * hidden), state_size, state_size]
        result, *last_states = tape.apply(op, call.name, values, sizes, attrs=attrs, params=params)
        [split] = call.emit("Reshape", [result], sizes=[(*lead, directions, hidden)], name="reshape")
        if batch_first:
            return [split, *last_states][: len(call.sizes)]
        [result] = call.emit(
            "Transpose",
            [split],
            sizes=[(length, directions, batch, hidden)],
            axis_map={0: 0, 1: 2, 2: 1, 3: 3},
            name="transpose",
        )
        result.provenance = TransposeOf(split, (0, 2, 1, 3))
        return [result, *last_states][: len(call.sizes)]

    return emit


def _initial_state(tensor: OnnxTensor) -> OnnxTensor:
    """The state that a layer starts with; one of zeros, which optimisers write as a tensor, is no parameter."""
    if tensor.value is not None or tensor.data is None or np.any(tensor.data):
        return tensor
    return OnnxTensor(tensor.name, tensor.elem_type, tensor.size, tensor.data)


def _recurrent_params(call: OnnxCall, directions: int, num_rows: int) -> tuple[Param, ...]:
    """Parameters in PyTorch's order: input and hidden matrix, input and hidden bias, for each direction.

    Args:
        call: of the layer.
        directions: 1 or 2.
        num_rows: of the matrices, gates x hidden.
    """
    weights = [call.require_input(1), call.require_input(2)]
    if (bias := call.input(3)) is not None:
        weights.append(bias)
    counts = [directions, directions, 2 * directions]
    groups = [
        _weight_params(call, tensor, count, (num_rows, tensor.size[-1]) if count == directions else (num_rows,))
        for tensor, count in zip(weights, counts, strict=False)
    ]
    groups += [[]] * (3 - len(groups))
    matrices, biases = groups[:2], groups[2]
    params = []
    for direction in range(directions):
        params += [group[direction] for group in matrices if group]
        params += biases[2 * direction : 2 * direction + 2]
    return tuple(params)


def _weight_params(call: OnnxCall, tensor: OnnxTensor, count: int, size: Size) -> list[Param]:
    """The parameters of one operand: those that it is stacked from, else parts of it, else none.

    Args:
        call: of the layer.
        tensor: the operand.
        count: number of parameters.
        size: of each of them, if they are parts.
    """
    params = _source_params(call.tape, tensor)
    if len(params) == count and all(prod(param.shape) * count == prod(tensor.size) for param in params):
        return [Param(param.id, param.shape[-len(size) :]) for param in params]
    if params or tensor.is_weight:
        name = params[0].id if params else tensor.name
        return [Param(f"{name}.{index}", size) for index in range(count)]
    return []


CONVERTERS: dict[str, OnnxConverter] = {
    "Attention": _attention,
    "LSTM": _recurrent("LSTM", 4),
    "GRU": _recurrent("GRU", 3),
    "RNN": _recurrent("RNN", 1),
}
