"""Sequences of tensors in ONNX: lists while their length is known, else one tensor for all elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from cgir import TraceError
from frontends.common.tape import CallFields, Size

from .graph_walk import ControlFlow, OnnxImporter
from .tensors import BOOL, INT64, OnnxTensor, Scope, get_attribute

Inputs = list[OnnxTensor | None]


def _sequence(node: onnx.NodeProto, elements: list[OnnxTensor], example: OnnxTensor | None = None) -> OnnxTensor:
    """A sequence of known length; its type is that of its first element, or of `example`."""
    first = example or (elements[0] if elements else OnnxTensor("", onnx.TensorProto.FLOAT, ()))
    sequence = OnnxTensor(node.output[0], first.elem_type, first.size)
    sequence.is_sequence, sequence.elements = True, elements
    return sequence


def _construct(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    return _sequence(node, [tensor for tensor in inputs if tensor is not None])


def _empty(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    return _sequence(node, [], OnnxTensor("", int(get_attribute(node, "dtype", onnx.TensorProto.FLOAT)), ()))


def _split(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    """SplitToSequence: slices along an axis."""
    tensor, parts = inputs[0], inputs[1] if len(inputs) > 1 else None
    assert tensor is not None
    axis = get_attribute(node, "axis", 0) % max(len(tensor.size), 1)
    extent = tensor.size[axis]
    length = 1 if parts is None else (parts.ints() or [0])[0]
    if parts is not None and parts.size:
        lengths = parts.ints()
    else:
        if length < 1:
            raise TraceError(f"it splits into parts of {length} elements")
        importer.limits.check("nodes", extent // length, "the sequence that it splits into")
        lengths = [min(length, extent - begin) for begin in range(0, extent, length)]
    keep = parts is not None or get_attribute(node, "keepdims", 1)
    axis_map = {old: old if keep or old < axis else old - 1 for old in range(len(tensor.size)) if keep or old != axis}
    sizes = [(*tensor.size[:axis], *((n,) if keep else ()), *tensor.size[axis + 1 :]) for n in lengths]
    values = importer.emit("Slice", "split", [tensor], sizes, axis_map=axis_map) if sizes else []
    elements = [
        OnnxTensor(f"{node.output[0]}.{index}", tensor.elem_type, value.size, value=value)
        for index, value in enumerate(values)
    ]
    return _sequence(node, elements, None if elements else tensor)


def _at(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    sequence, index = inputs[0], inputs[1]
    assert sequence is not None
    assert index is not None
    if sequence.elements is None or index.data is None:
        return _opaque(importer, node, inputs)
    return sequence.elements[index.ints()[0]]


def _insert(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    sequence, element = inputs[0], inputs[1]
    assert sequence is not None
    assert element is not None
    index = inputs[2] if len(inputs) > 2 else None
    if sequence.elements is None or (index is not None and index.data is None):
        return _opaque(importer, node, inputs)
    elements = list(sequence.elements)
    elements.insert(len(elements) if index is None else index.ints()[0], element)
    return _sequence(node, elements)


def _erase(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    sequence = inputs[0]
    assert sequence is not None
    index = inputs[1] if len(inputs) > 1 else None
    if sequence.elements is None or (index is not None and index.data is None):
        return _opaque(importer, node, inputs)
    elements = list(sequence.elements)
    del elements[-1 if index is None else index.ints()[0]]
    return _sequence(node, elements, sequence)


def _length(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    sequence = inputs[0]
    assert sequence is not None
    if sequence.elements is None:
        return _opaque(importer, node, inputs, ())
    return OnnxTensor(node.output[0], INT64, (), np.array(len(sequence.elements), dtype=np.int64))


def _concat(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    """ConcatFromSequence: elements concatenated, or stacked on a new axis."""
    sequence = inputs[0]
    if sequence is None or sequence.elements is None:
        raise TraceError("it joins the elements of a sequence whose length depends on data")
    parts = sequence.elements
    new_axis = get_attribute(node, "new_axis", 0)
    first = parts[0].size
    axis = get_attribute(node, "axis", 0) % (len(first) + new_axis)
    extent = len(parts) if new_axis else sum(part.size[axis] for part in parts)
    size = (*first[:axis], extent, *first[axis + (0 if new_axis else 1) :])
    axis_map = {old: old + (old >= axis) for old in range(len(first))} if new_axis else None
    [value] = importer.emit("Concat", "concat", parts, [size], axis_map=axis_map)
    return OnnxTensor(node.output[0], parts[0].elem_type, size, value=value)


def _opaque(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs, size: Size | None = None) -> OnnxTensor:
    """What an operator computes from a sequence of unknown length or at an unknown place.

    It is an element, a sequence, or a number of size ().
    """
    sequence = inputs[0]
    assert sequence is not None
    tensors = [
        part
        for tensor in inputs
        if tensor is not None
        for part in (tensor.elements if tensor.value is None and tensor.elements else [tensor])
    ]
    op_type = node.op_type
    sizes = [sequence.size if size is None else size]
    fields = CallFields(attrs={"flops": 0}, display_name=f"onnx.{op_type}")
    [value] = importer.emit("Opaque", op_type.lower(), tensors, sizes, **fields)
    result = OnnxTensor(node.output[0], sequence.elem_type if size is None else INT64, value.size, value=value)
    result.is_sequence = op_type in ("SequenceInsert", "SequenceErase")
    return result


def _optional(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    """An optional tensor: the tensor itself where it is present, a sequence without elements otherwise."""
    if inputs and inputs[0] is not None:
        return inputs[0]
    declared = get_attribute(node, "type")
    elem_type = declared.tensor_type.elem_type if declared is not None else onnx.TensorProto.FLOAT
    missing = OnnxTensor(node.output[0], elem_type, ())
    missing.elements = []
    return missing


def _has_element(importer: OnnxImporter, node: onnx.NodeProto, inputs: Inputs) -> OnnxTensor:
    present = bool(inputs) and inputs[0] is not None and (inputs[0].is_sequence or inputs[0].elements is None)
    return OnnxTensor(node.output[0], BOOL, (), np.array(present))


def _bound(convert: Callable[[OnnxImporter, onnx.NodeProto, Inputs], OnnxTensor]) -> ControlFlow:
    """Wrap a function of a node's operands as one that looks its operands up by name and binds its result."""

    def bind(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
        scope[node.output[0]] = convert(importer, node, [scope[name] if name else None for name in node.input])

    return bind


SEQUENCES: dict[str, ControlFlow] = {
    "SequenceConstruct": _bound(_construct),
    "SequenceEmpty": _bound(_empty),
    "SplitToSequence": _bound(_split),
    "SequenceAt": _bound(_at),
    "SequenceInsert": _bound(_insert),
    "SequenceErase": _bound(_erase),
    "SequenceLength": _bound(_length),
    "ConcatFromSequence": _bound(_concat),
    "Optional": _bound(_optional),
    "OptionalGetElement": _bound(_optional),
    "OptionalHasElement": _bound(_has_element),
}
