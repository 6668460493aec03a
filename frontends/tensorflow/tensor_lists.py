"""Tensor lists of TensorFlow, which loops read and write one element an iteration: one tensor represents a list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frontends.common.tape import Size, Value

from .constant_folding import constant_ints
from .graph_def import INT32, VARIANT, NodeDef, TFTensor, get_attribute
from .graph_walk import ControlFlow, GraphScope, TensorFlowImporter

Tensors = list[TFTensor]


def _from_tensor(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    return [TFTensor(inputs[0].size, VARIANT, value=importer.to_value(inputs[0]))]


def _reserve(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """An empty list; sizes of elements that are open are those of the batch."""
    if node.op == "EmptyTensorList":
        inputs = [inputs[0], TFTensor((), inputs[1].dtype, np.asarray(0))]
    element_size = constant_ints(inputs[0], "element shape", node)
    length = constant_ints(inputs[1], "length", node)
    return [TFTensor((*length, *(importer.tape.batch if n < 0 else n for n in element_size)), VARIANT)]


def _get_item(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    size = inputs[0].size[1:]
    axis_map = {axis + 1: axis for axis in range(len(size))}
    [value] = importer.tape.apply("Slice", "element", [importer.to_value(inputs[0])], [size], axis_map=axis_map)
    return [TFTensor(size, int(get_attribute(node, "element_dtype")), value=value)]


def _set_item(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """The list with one element replaced: in canonical form that element, repeated."""
    tensor_list, _, element = inputs[:3]
    size = (max(tensor_list.size[0], 1), *element.size)
    return [TFTensor(size, VARIANT, value=_expand(importer, "write", [element, tensor_list], size))]


def _push_back(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    tensor_list, element = inputs[:2]
    size = (tensor_list.size[0] + 1, *element.size)
    return [TFTensor(size, VARIANT, value=_expand(importer, "push", [element, tensor_list], size))]


def _expand(importer: TensorFlowImporter, name: str, tensors: Sequence[TFTensor], size: Size) -> Value:
    """A list made of an element, the first of the tensors, along a new first axis."""
    values = [importer.to_value(tensor) for tensor in tensors]
    axis_map = {axis: axis + 1 for axis in range(len(values[0].size))}
    return importer.tape.apply("Expand", name, values, [size], axis_map=axis_map)[0]


def _stack(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    value = importer.to_value(inputs[0])
    return [TFTensor(value.size, int(get_attribute(node, "element_dtype")), value=value)]


def _length(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    return [TFTensor((), INT32, np.asarray(inputs[0].size[0]))]


TENSOR_LISTS: dict[str, ControlFlow] = {
    "TensorListFromTensor": _from_tensor,
    "TensorListReserve": _reserve,
    "EmptyTensorList": _reserve,
    "TensorListGetItem": _get_item,
    "TensorListSetItem": _set_item,
    "TensorListPushBack": _push_back,
    "TensorListStack": _stack,
    "TensorListLength": _length,
}
