"""Converters of Keras layers over sequences: recurrent networks and attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import keras

from cgir import Param
from frontends.common.tape import Size, Value

from .importer import UnfollowedError, Walk
from .layer_converters import activated, linear

# cell -> operator, gates, usual activations
CELLS = {
    "LSTMCell": ("LSTM", 4, ("tanh", "sigmoid")),
    "GRUCell": ("GRU", 3, ("tanh", "sigmoid")),
    "SimpleRNNCell": ("RNN", 1, ("tanh",)),
}


# --- recurrent networks


def recurrent(walk: Walk, layer: Any, value: Value, initial_state: Any = None) -> Any:
    """LSTM, GRU and SimpleRNN, and `RNN` of their cells: one node per cell, then the last time step unless all are
    returned.
    """
    cells = list(layer.cell.cells) if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
    if any(type(cell).__name__ not in CELLS for cell in cells):
        return _loop(walk, layer, value, initial_state)
    given = keras.tree.flatten(initial_state) if initial_state is not None else []
    out = walk.same("Shuffle", "flip", value) if layer.go_backwards else value
    states: list[Value] = []
    for cell in cells:
        count = 2 if CELLS[type(cell).__name__][0] == "LSTM" else 1
        out, *last = _layer(walk, layer.name, [cell], out, [[state] for state in given[:count]])
        given = given[count:]
        states += [walk.pick(state, 0) for state in last]
    result = out if layer.return_sequences else walk.pick(out, 1)
    return [result, *states] if layer.return_state else result


def _loop(walk: Walk, layer: Any, value: Value, initial_state: Any) -> Any:
    """Cells that are no operator: with TensorFlow its frontend follows the loop, elsewhere it is one opaque node."""
    if keras.backend.backend() == "tensorflow":
        raise UnfollowedError(f"{walk.where()}: {type(layer).__name__} is a loop over cells of its own")
    return walk.opaque(
        layer, value, params=walk.weights(layer), **({} if initial_state is None else {"initial_state": initial_state})
    )


def _layer(walk: Walk, name: str, cells: Sequence[Any], value: Value, states: Sequence[Sequence[Value]]) -> list[Value]:
    """One recurrent node: a cell, or one per direction. Results are the sequence and the last states, (directions,
    batch, hidden).
    """
    cell, batch, length = cells[0], value.size[0], value.size[1]
    op, _, usual = CELLS[type(cell).__name__]
    attrs: dict[str, Any] = {"hidden": cell.units, "layers": 1, "bidirectional": len(cells) == 2}
    found = tuple(
        getattr(getattr(cell, key), "__name__", "custom")
        for key in ("activation", "recurrent_activation")[: len(usual)]
    )
    if found != usual and not (op == "RNN" and found == ("relu",)):
        attrs["activations"] = found
    if op == "GRU" and not cell.reset_after:
        attrs["reset_after"] = False
    weights = tuple(param for cell in cells for param in _cell_weights(walk, cell))
    sizes: list[Size] = [(batch, length, cell.units * len(cells))] + [(len(cells), batch, cell.units)] * (
        2 if op == "LSTM" else 1
    )
    operands = [value, *(_stacked(walk, state) for state in states)]
    return walk.several(op, name, operands, sizes, [""], params=weights, attrs=attrs)


def _stacked(walk: Walk, states: Sequence[Value]) -> Value:
    """Initial states as PyTorch has them: (directions, batch, hidden)."""
    flat = [walk.reshape(state, (1, *state.size)) for state in states]
    return flat[0] if len(flat) == 1 else walk.apply("Concat", "concatenate", flat, (len(flat), *flat[0].size[1:]))


def _cell_weights(walk: Walk, cell: Any) -> list[Param]:
    """Weights in PyTorch's order and layout; a bias of two rows (GRU that resets after the product) is two vectors."""
    hidden = cell.units
    gates = CELLS[type(cell).__name__][1] * hidden
    with walk.tape.child_scope(cell.name):
        weights = [
            walk.param(cell.kernel, (gates, cell.kernel.shape[0])),
            walk.param(cell.recurrent_kernel, (gates, hidden)),
        ]
        if cell.bias is None:
            return weights
        if len(cell.bias.shape) == 1:
            return [*weights, walk.param(cell.bias)]
        return [*weights, *(walk.param(cell.bias, (gates,), part) for part in (".input", ".recurrent"))]


def bidirectional(walk: Walk, layer: Any, value: Value, initial_state: Any = None) -> Any:
    """Both directions in one node where they have the same cells; their results are joined as `merge_mode` says."""
    cells: list[Any] = [getattr(inner, "cell", None) for inner in (layer.forward_layer, layer.backward_layer)]
    alike = type(cells[0]) is type(cells[1]) and type(cells[0]).__name__ in CELLS and cells[0].units == cells[1].units
    if not alike:
        return _loop(walk, layer, value, initial_state)
    given = keras.tree.flatten(initial_state) if initial_state is not None else []
    half = len(given) // 2
    both, *last = _layer(walk, layer.name, cells, value, list(zip(given[:half], given[half:], strict=True)))
    if layer.return_sequences and layer.merge_mode == "concat":
        result: Any = both
    else:
        parts = [walk.pick(both, 2, cells[0].units) for _ in range(2)]
        parts = parts if layer.return_sequences else [walk.pick(part, 1) for part in parts]
        result = _merged(walk, layer.merge_mode, parts)
    states = [walk.pick(state, 0) for _ in range(2) for state in last]
    return [*(result if isinstance(result, list) else [result]), *states] if layer.return_state else result


def _merged(walk: Walk, mode: str | None, parts: list[Value]) -> Any:
    first = parts[0]
    if mode is None:
        return parts
    if mode == "concat":
        return walk.apply("Concat", "concatenate", parts, (*first.size[:-1], 2 * first.size[-1]))
    out = walk.apply("Mul" if mode == "mul" else "Add", mode, parts, first.size)
    return walk.same("Mul", "scale", out, attrs={"scalar": 0.5}) if mode == "ave" else out


def time_distributed(walk: Walk, layer: Any, value: Value) -> Value:
    """A layer at every time step: time is merged into the batch meanwhile."""
    batch, length, *rest = value.size
    out: Value = walk.call(layer.layer, walk.reshape(value, (batch * length, *rest)))
    return walk.reshape(out, (batch, length, *out.size[1:]))


# --- attention


def multi_head(
    walk: Walk,
    layer: Any,
    query: Value,
    value: Value,
    key: Value | None = None,
    attention_mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    **masks: Any,
) -> Any:
    """Multi-head attention, also with fewer heads for keys and values: three linear layers, attention, one linear
    layer.
    """
    own = (
        keras.layers.GroupQueryAttention
        if isinstance(layer, keras.layers.GroupQueryAttention)
        else keras.layers.MultiHeadAttention
    )
    rank = len(query.size)
    axes = getattr(layer, "_attention_axes", None)
    unusual = return_attention_scores or (axes and tuple(axes) != tuple(range(1, rank - 1))) or len(value.size) != rank
    gated = getattr(layer, "_use_gate", False) or getattr(layer, "use_gate", False)
    if unusual or gated or type(layer)._compute_attention is not own._compute_attention:
        return walk.enter(
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
    heads = layer.num_query_heads if own is keras.layers.GroupQueryAttention else layer.num_heads
    parts = [_heads(walk, source, dense, heads) for source, dense in sources]
    operands = parts if attention_mask is None else [*parts, _mask(walk, attention_mask)]
    size = (*parts[0].size[:-1], parts[2].size[-1])
    out = walk.apply("Attention", layer.name, operands, size, attrs={"causal": bool(use_causal_mask)})
    merged = walk.reshape(walk.transpose(out, (0, 2, 1, 3)), (*query.size[:-1], size[1] * size[3]))
    with walk.tape.module_scope(walk.path_of(layer._output_dense)):
        dense = layer._output_dense
        out = linear(walk, dense.name, merged, dense._kernel, dense.bias, prod(dense._kernel.shape[2:]))
    return walk.reshape(out, (*query.size[:-1], *dense._kernel.shape[2:]))


def _heads(walk: Walk, source: Value, dense: Any, heads: int) -> Value:
    """A projection as (batch, heads, positions, width); fewer heads of keys and values are repeated."""
    own, width = dense._kernel.shape[1:]
    with walk.tape.module_scope(walk.path_of(dense)):
        out = activated(
            walk, dense.activation, linear(walk, dense.name, source, dense._kernel, dense.bias, own * width)
        )
    out = walk.reshape(out, (out.size[0], prod(out.size[1:-1]), own, width))
    if own != heads:
        out = walk.apply("Expand", "repeat", [out], (*out.size[:2], heads, width), axis_map={0: 0, 1: 1, 3: 3})
    return walk.transpose(out, (0, 2, 1, 3))


def _mask(walk: Walk, mask: Any) -> Value:
    """A mask (batch, queries, keys) for all heads."""
    value = walk.value(mask)
    if len(value.size) != 3 or value.static:
        return value
    return walk.reshape(value, (value.size[0], 1, *value.size[1:]))


LAYER_CONVERTERS: dict[str, Callable[..., Any]] = {
    "LSTM": recurrent, "GRU": recurrent, "SimpleRNN": recurrent, "RNN": recurrent, "Bidirectional": bidirectional, "TimeDistributed": time_distributed,
    "MultiHeadAttention": multi_head, "GroupedQueryAttention": multi_head,
}  # fmt: skip
