"""Converters of Keras layers over sequences: recurrent networks and attention."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import keras

from cgir import Param
from cgir.graph import Attr
from frontends.common.tape import Size, Value

from .graph_walk import KerasConverter, KerasImporter, TensorLike, UnfollowedError, Values, ValueTree
from .layer_converters import apply_activation, emit_linear


class Cell(NamedTuple):
    """A cell: its operator, number of gates, and activations in ONNX's order with the attributes that hold them."""

    op: str
    gates: int
    activations: tuple[str, ...]
    keys: tuple[str, ...]


CELLS = {
    "LSTMCell": Cell("LSTM", 4, ("sigmoid", "tanh", "tanh"), ("recurrent_activation", "activation", "activation")),
    "GRUCell": Cell("GRU", 3, ("sigmoid", "tanh"), ("recurrent_activation", "activation")),
    "SimpleRNNCell": Cell("RNN", 1, ("tanh",), ("activation",)),
}


# --- recurrent networks


def _recurrent(
    importer: KerasImporter, layer: keras.Layer, value: Value, initial_state: Values | None = None
) -> Values:
    """LSTM, GRU, SimpleRNN, and `RNN` of their cells: a node per cell, then the last step unless all are returned."""
    cells = list(layer.cell.cells) if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
    if not all(map(_is_known, cells)):
        return _custom_cells(importer, layer, value, initial_state)
    initial = keras.tree.flatten(initial_state) if initial_state is not None else []
    out = importer.emit_unary("Shuffle", "flip", value) if layer.go_backwards else value
    states: list[Value] = []
    for cell in cells:
        count = 2 if CELLS[type(cell).__name__].op == "LSTM" else 1
        first = [[state] for state in initial[:count]]
        out, *last = _emit_recurrent(importer, layer.name, [cell], out, first, layer.go_backwards)
        initial = initial[count:]
        states += [importer.slice_axis(state, 0) for state in last]
    result = out if layer.return_sequences else importer.slice_axis(out, 1)
    return [result, *states] if layer.return_state else result


def _is_known(cell: keras.Layer) -> bool:
    """Whether a cell is Keras's own, with activations of Keras."""
    return (
        type(cell).__name__ in CELLS and type(cell).__module__.startswith("keras.") and None not in _activations(cell)
    )


def _activations(cell: keras.Layer) -> tuple[str | None, ...]:
    """The activations of a cell as in ONNX, in lower case; None for a function that is not of Keras."""
    functions = [getattr(cell, key) for key in CELLS[type(cell).__name__].keys]
    names = [getattr(function, "__name__", "") for function in functions]
    return tuple(
        name.replace("_", "") if getattr(keras.activations, name, None) is function else None
        for name, function in zip(names, functions, strict=True)
    )


def _custom_cells(importer: KerasImporter, layer: keras.Layer, value: Value, initial_state: Values | None) -> Values:
    """Cells outside the vocabulary: on TensorFlow, its frontend follows the loop; elsewhere, one opaque node."""
    if keras.backend.backend() == "tensorflow":
        raise UnfollowedError(f"{importer.location()}: {type(layer).__name__} is a loop over cells of its own")
    return importer.emit_opaque(
        layer,
        value,
        params=importer.params_of(layer),
        **({} if initial_state is None else {"initial_state": initial_state}),
    )


def _emit_recurrent(
    importer: KerasImporter,
    name: str,
    cells: Sequence[keras.Layer],
    value: Value,
    states: Sequence[Sequence[Value]],
    reverse: bool,
) -> list[Value]:
    """Append one recurrent node.

    Args:
        importer: of the model.
        name: of the node.
        cells: one, or one for each direction.
        value: its input, (batch, length, features).
        states: initial ones, each as a list with one for each direction.
        reverse: whether the (first) cell reads the sequence from its end.

    Returns:
        The sequence, and the last states, (directions, batch, hidden).
    """
    cell, batch, length = cells[0], value.size[0], value.size[1]
    kind, activations = CELLS[type(cell).__name__], _activations(cell)
    op = kind.op
    attrs: dict[str, Attr] = {"hidden": cell.units, "layers": 1, "bidirectional": len(cells) == 2}
    if activations != kind.activations:
        attrs["activations"] = tuple(map(str, activations))
    if reverse:
        attrs["reverse"] = True
    if op == "GRU" and not cell.reset_after:
        attrs["reset_after"] = False
    params = tuple(param for cell in cells for param in _cell_params(importer, cell))
    sizes: list[Size] = [(batch, length, cell.units * len(cells))] + [(len(cells), batch, cell.units)] * (
        2 if op == "LSTM" else 1
    )
    operands = [value, *(_stack_states(importer, state) for state in states)]
    return importer.emit_results(op, name, operands, sizes, [""], params=params, attrs=attrs)


def _stack_states(importer: KerasImporter, states: Sequence[Value]) -> Value:
    """Initial states as PyTorch has them: (directions, batch, hidden)."""
    flat = [importer.reshape(state, (1, *state.size)) for state in states]
    return flat[0] if len(flat) == 1 else importer.emit("Concat", "concatenate", flat, (len(flat), *flat[0].size[1:]))


def _cell_params(importer: KerasImporter, cell: keras.Layer) -> list[Param]:
    """Weights in PyTorch's order and layout; a bias of two rows (GRU that resets after the product) is two vectors."""
    hidden = cell.units
    num_rows = CELLS[type(cell).__name__].gates * hidden
    with importer.tape.child_scope(cell.name):
        weights = [
            importer.param(cell.kernel, (num_rows, cell.kernel.shape[0])),
            importer.param(cell.recurrent_kernel, (num_rows, hidden)),
        ]
        if cell.bias is None:
            return weights
        if len(cell.bias.shape) == 1:
            return [*weights, importer.param(cell.bias)]
        return [*weights, *(importer.param(cell.bias, (num_rows,), part) for part in (".input", ".recurrent"))]


def _bidirectional(
    importer: KerasImporter, layer: keras.Layer, value: Value, initial_state: Values | None = None
) -> Values:
    """Both directions in one node where they have the same cells; their results are joined as `merge_mode` says."""
    cells: list[keras.Layer] = [getattr(inner, "cell", None) for inner in (layer.forward_layer, layer.backward_layer)]
    same_cells = all(cell is not None and _is_known(cell) for cell in cells) and _settings(cells[0]) == _settings(
        cells[1]
    )
    if not same_cells:
        return _custom_cells(importer, layer, value, initial_state)
    initial = keras.tree.flatten(initial_state) if initial_state is not None else []
    half = len(initial) // 2
    sequence, *last = _emit_recurrent(
        importer,
        layer.name,
        cells,
        value,
        list(zip(initial[:half], initial[half:], strict=True)),
        layer.forward_layer.go_backwards,
    )
    if layer.return_sequences and layer.merge_mode == "concat":
        result: Values = sequence
    else:
        parts = [importer.slice_axis(sequence, 2, cells[0].units) for _ in range(2)]
        parts = parts if layer.return_sequences else [importer.slice_axis(part, 1) for part in parts]
        result = _merge_directions(importer, layer.merge_mode, parts)
    states = [importer.slice_axis(state, 0) for _ in range(2) for state in last]
    return [*(result if isinstance(result, list) else [result]), *states] if layer.return_state else result


def _settings(cell: keras.Layer) -> tuple[object, ...]:
    """What a node of both directions says of the cell of each."""
    kind, bias, after = type(cell), cell.bias is not None, getattr(cell, "reset_after", None)
    return kind, cell.units, _activations(cell), bias, after


def _merge_directions(importer: KerasImporter, mode: str | None, parts: list[Value]) -> Values:
    """The results of both directions joined as a `merge_mode` says."""
    first = parts[0]
    if mode is None:
        return parts
    if mode == "concat":
        return importer.emit("Concat", "concatenate", parts, (*first.size[:-1], 2 * first.size[-1]))
    out = importer.emit("Mul" if mode == "mul" else "Add", mode, parts, first.size)
    return importer.emit_unary("Mul", "scale", out, attrs={"scalar": 0.5}) if mode == "ave" else out


def _time_distributed(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A layer at every time step, with time merged into the batch."""
    batch, length, *rest = value.size
    out: Value = importer.import_call(layer.layer, importer.reshape(value, (batch * length, *rest)))
    return importer.reshape(out, (batch, length, *out.size[1:]))


# --- attention


def _multi_head_attention(
    importer: KerasImporter,
    layer: keras.Layer,
    query: Value,
    value: Value,
    key: Value | None = None,
    attention_mask: TensorLike | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    **masks: object,
) -> ValueTree:
    """Multi-head and grouped-query attention: three linear layers, attention, one linear layer."""
    is_grouped = isinstance(layer, keras.layers.GroupQueryAttention)
    library_class = keras.layers.GroupQueryAttention if is_grouped else keras.layers.MultiHeadAttention
    rank = len(query.size)
    axes = getattr(layer, "_attention_axes", None)
    unusual = return_attention_scores or (axes and tuple(axes) != tuple(range(1, rank - 1))) or len(value.size) != rank
    is_gated = getattr(layer, "_use_gate", False) or getattr(layer, "use_gate", False)
    if unusual or is_gated or type(layer)._compute_attention is not library_class._compute_attention:
        return importer.trace_code(
            layer.call,
            query,
            value,
            key=key,
            attention_mask=attention_mask,
            return_attention_scores=return_attention_scores,
            use_causal_mask=use_causal_mask,
        )
    key = value if key is None else key
    sources = zip((query, key, value), (layer._query_dense, layer._key_dense, layer._value_dense), strict=True)
    num_heads = layer.num_query_heads if is_grouped else layer.num_heads
    parts = [_project_heads(importer, source, dense, num_heads) for source, dense in sources]
    operands = parts if attention_mask is None else [*parts, _mask(importer, attention_mask)]
    size = (*parts[0].size[:-1], parts[2].size[-1])
    out = importer.emit("Attention", layer.name, operands, size, attrs={"causal": bool(use_causal_mask)})
    merged = importer.reshape(importer.transpose(out, (0, 2, 1, 3)), (*query.size[:-1], size[1] * size[3]))
    with importer.tape.module_scope(importer.module_path(layer._output_dense)):
        dense = layer._output_dense
        out = emit_linear(importer, dense.name, merged, dense._kernel, dense.bias, prod(dense._kernel.shape[2:]))
    return importer.reshape(out, (*query.size[:-1], *dense._kernel.shape[2:]))


def _project_heads(importer: KerasImporter, source: Value, dense: keras.layers.EinsumDense, num_heads: int) -> Value:
    """A projection as (batch, heads, positions, width); fewer heads of keys and values are repeated."""
    own_heads, width = dense._kernel.shape[1:]
    with importer.tape.module_scope(importer.module_path(dense)):
        out = apply_activation(
            importer,
            dense.activation,
            emit_linear(importer, dense.name, source, dense._kernel, dense.bias, own_heads * width),
        )
    out = importer.reshape(out, (out.size[0], prod(out.size[1:-1]), own_heads, width))
    if own_heads != num_heads:
        size = (*out.size[:2], num_heads, width)
        out = importer.emit("Expand", "repeat", [out], size, axis_map={0: 0, 1: 1, 3: 3})
    return importer.transpose(out, (0, 2, 1, 3))


def _mask(importer: KerasImporter, mask: TensorLike) -> Value:
    """A mask (batch, queries, keys) for all heads."""
    value = importer.to_value(mask)
    if len(value.size) != 3 or value.static:
        return value
    return importer.reshape(value, (value.size[0], 1, *value.size[1:]))


LAYER_CONVERTERS: dict[str, KerasConverter] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), _recurrent),
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "MultiHeadAttention": _multi_head_attention,
    "GroupedQueryAttention": _multi_head_attention,
}
