"""Sequences of tensors in ONNX: lists while their number is known, else one value that stands for all of them."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from cgir import TraceError
from frontends.common.tape import Size

from .tensors import Call, Tensor, attribute

if TYPE_CHECKING:
    from .importer import Walk

Scope = MutableMapping[str, Tensor]


def _made(walk: Walk, node: onnx.NodeProto, elements: list[Tensor], like: Tensor | None = None) -> Tensor:
    first = like or (elements[0] if elements else Tensor("", 1, ()))
    result = Tensor(node.output[0], first.elem, first.size)
    result.sequence, result.elements = True, elements
    return result


def _construct(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    return [_made(walk, node, [tensor for tensor in given if tensor is not None])]


def _empty(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    return [_made(walk, node, [], Tensor("", int(attribute(node, "dtype", 1)), ()))]


def _split(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    """SplitToSequence: slices along an axis."""
    tensor, parts = given[0], given[1] if len(given) > 1 else None
    assert tensor is not None
    axis = attribute(node, "axis", 0) % max(len(tensor.size), 1)
    extent = tensor.size[axis]
    lengths = [1] * extent if parts is None else parts.ints()
    if parts is not None and not parts.size:
        step = lengths[0]
        if step < 1:
            raise TraceError(f"it splits into parts of {step} elements")
        lengths = [min(step, extent - begin) for begin in range(0, extent, step)]
    keep = parts is not None or attribute(node, "keepdims", 1)
    axes = {old: old if keep or old < axis else old - 1 for old in range(len(tensor.size)) if keep or old != axis}
    sizes = [(*tensor.size[:axis], *((n,) if keep else ()), *tensor.size[axis + 1 :]) for n in lengths]
    call = Call(walk.tape, node, [tensor], sizes, [], 1, "split")
    values = call.emit("Slice", [tensor], axis_map=axes) if sizes else []
    return [
        _made(
            walk,
            node,
            [Tensor(f"{node.output[0]}.{i}", tensor.elem, value.size, value=value) for i, value in enumerate(values)],
            tensor,
        )
    ]


def _elements(tensor: Tensor | None, what: str) -> list[Tensor]:
    if tensor is None or tensor.elements is None:
        raise TraceError(f"{what} of a sequence whose length depends on data")
    return tensor.elements


def _at(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    sequence, place = given[0], given[1]
    assert sequence is not None
    assert place is not None
    if sequence.elements is None or place.data is None:
        return _opaque(walk, node, given)
    found = sequence.elements[place.ints()[0]]
    return [found]


def _insert(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    sequence, new = given[0], given[1]
    assert sequence is not None
    assert new is not None
    place = given[2] if len(given) > 2 else None
    if sequence.elements is None or (place is not None and place.data is None):
        return _opaque(walk, node, given)
    elements = list(sequence.elements)
    elements.insert(len(elements) if place is None else place.ints()[0], new)
    return [_made(walk, node, elements)]


def _erase(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    sequence = given[0]
    assert sequence is not None
    place = given[1] if len(given) > 1 else None
    if sequence.elements is None or (place is not None and place.data is None):
        return _opaque(walk, node, given)
    elements = list(sequence.elements)
    del elements[-1 if place is None else place.ints()[0]]
    return [_made(walk, node, elements, sequence)]


def _length(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    sequence = given[0]
    assert sequence is not None
    if sequence.elements is None:
        return _opaque(walk, node, given, ())
    return [Tensor(node.output[0], 7, (), np.array(len(sequence.elements), dtype=np.int64))]


def _join(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    """ConcatFromSequence: concatenated, or stacked on a new axis."""
    parts = _elements(given[0], "it joins the elements")
    axis, new = attribute(node, "axis", 0), attribute(node, "new_axis", 0)
    first = parts[0].size
    place = axis % (len(first) + new)
    total = len(parts) if new else sum(part.size[place] for part in parts)
    size = (*first[:place], total, *first[place + (0 if new else 1) :])
    axes = {old: old + (old >= place) for old in range(len(first))} if new else None
    value = Call(walk.tape, node, [*parts], [size], [], 1, "concat").emit("Concat", parts, axis_map=axes)[0]
    return [Tensor(node.output[0], parts[0].elem, size, value=value)]


def _opaque(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None], size: Size | None = None) -> list[Tensor]:
    """An element, or a changed sequence, of one whose length is unknown."""
    tensors = [tensor for tensor in given if tensor is not None]
    sizes = [tensors[0].size if size is None else size]
    value = Call(walk.tape, node, [*tensors], sizes, [], 1, node.op_type.lower()).emit(
        "Opaque", tensors, display_name=f"onnx.{node.op_type}"
    )[0]
    result = Tensor(node.output[0], tensors[0].elem if size is None else 7, value.size, value=value)
    result.sequence = node.op_type in ("SequenceInsert", "SequenceErase")
    return [result]


def _optional(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    """A tensor that may be missing is the tensor, where it is there."""
    if not given or given[0] is None:
        kind = attribute(node, "type")
        elem = kind.tensor_type.elem_type if kind is not None else 1
        missing = Tensor(node.output[0], elem, ())
        missing.elements = []
        return [missing]
    return [given[0]]


def _has(walk: Walk, node: onnx.NodeProto, given: list[Tensor | None]) -> list[Tensor]:
    there = bool(given) and given[0] is not None and (given[0].sequence or given[0].elements is None)
    return [Tensor(node.output[0], 9, (), np.array(there))]


def _plain(rule: Callable[..., list[Tensor]]) -> Callable[[Any, onnx.NodeProto, Scope], None]:
    def follow(walk: Walk, node: onnx.NodeProto, scope: Scope) -> None:
        given = [scope[name] if name else None for name in node.input]
        for name, tensor in zip(node.output, rule(walk, node, given), strict=False):
            scope[name] = tensor

    return follow


SEQUENCES: dict[str, Callable[[Any, onnx.NodeProto, Scope], None]] = {
    "SequenceConstruct": _plain(_construct),
    "SequenceEmpty": _plain(_empty),
    "SplitToSequence": _plain(_split),
    "SequenceAt": _plain(_at),
    "SequenceInsert": _plain(_insert),
    "SequenceErase": _plain(_erase),
    "SequenceLength": _plain(_length),
    "ConcatFromSequence": _plain(_join),
    "Optional": _plain(_optional),
    "OptionalGetElement": _plain(_optional),
    "OptionalHasElement": _plain(_has),
}
