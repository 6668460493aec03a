"""Converters of ONNX attention and recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from cgir import Param, TraceError
from cgir.graph import Attr
from frontends.common.tape import Size, Tape, Value

from .calls import OnnxCall, OnnxConverter
from .parameters import as_initial_state
from .tensors import OnnxTensor, TransposeOf, as_param, shortest_float

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

DEFAULT_ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


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
        if directions != (expected := 2 if call.attr("direction", "forward") == "bidirectional" else 1):
            raise TraceError(f"its recurrent weights are those of {directions} directions, expected {expected}")
        batch_first = bool(call.attr("layout", 0))
        batch, length = (x.size[0], x.size[1]) if batch_first else (x.size[1], x.size[0])
        params = _recurrent_params(call, directions, num_gates * hidden)
        attrs: dict[str, Attr] = {"hidden": int(hidden), "layers": 1, "bidirectional": directions == 2}
        attrs |= _activation_attrs(call, DEFAULT_ACTIVATIONS[op])
        if call.attr("direction", "forward") == "reverse":
            attrs["reverse"] = True
        states = [state for slot in ((5, 6) if op == "LSTM" else (5,)) if (state := call.input(slot)) is not None]
        states = [as_initial_state(state) for state in states]
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


def _activation_attrs(call: OnnxCall, default: tuple[str, ...]) -> dict[str, Attr]:
    """The activations of a layer, and their settings, where they are not the usual ones; once if directions agree."""
    attrs: dict[str, Attr] = {}
    directions = call.require_input(2).size[0]
    names = tuple(name.lower() for name in _once(call.attr("activations"), directions) or default)
    if names != default:
        attrs["activations"] = names
    for name in ("activation_alpha", "activation_beta"):
        if numbers := call.attr(name):
            attrs[name] = _once([shortest_float(number) for number in numbers], directions)
    return attrs


def _once(settings: Sequence[Any] | None, directions: int) -> tuple[Any, ...]:
    """The settings of one direction, if those of two are equal; all of them otherwise."""
    settings = tuple(settings or ())
    half = len(settings) // directions
    return settings[:half] if settings == settings[:half] * directions else settings


def _recurrent_params(call: OnnxCall, directions: int, num_rows: int) -> tuple[Param, ...]:
    """Parameters in PyTorch's order: input and hidden matrix, input and hidden bias, peepholes, for each direction.

    Args:
        call: of the layer.
        directions: 1 or 2.
        num_rows: of the matrices, gates x hidden.
    """
    matrices = [
        _weight_params(call, tensor, directions, (num_rows, tensor.size[-1]))
        for tensor in (call.require_input(1), call.require_input(2))
    ]
    bias, peephole = call.input(3), call.input(7)
    biases = [] if bias is None else _weight_params(call, bias, 2 * directions, (num_rows,))
    peepholes = [] if peephole is None else _weight_params(call, peephole, directions, peephole.size[1:])
    params = []
    for direction in range(directions):
        params += [group[direction] for group in matrices if group]
        params += biases[2 * direction : 2 * direction + 2]
        params += peepholes[direction : direction + 1]
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
