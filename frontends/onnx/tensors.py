"""Symbolic tensors of an ONNX graph during import: element type, size, and contents where they are small and known.

size: a tensor's shape, batch included, in the model's own order of axes
data: contents of a constant of at most `LIMIT` elements, as a numpy array
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cgir import Param, TraceError
from cgir.typing import AnyArray
from frontends.common.constant_folding import LIMIT
from frontends.common.tape import ProvenanceHint, Size, Tape, Value

# TensorProto.DataType: floating point and complex, float4 and float8 among them
FLOATS = frozenset((1, 10, 11, 14, 15, 16, 17, 18, 19, 20, 23, 24, 27, 28))
QUANTIZED_TYPES = frozenset((2, 3, 4, 5, 21, 22, 25, 26))  # integers of 2 to 16 bits, which are no indices in ONNX
WEIGHT_TYPES = FLOATS | QUANTIZED_TYPES
INT64, BOOL = onnx.TensorProto.INT64, onnx.TensorProto.BOOL


class OnnxTensor:
    """A tensor of the graph.

    Attributes:
        name: in the model.
        elem_type: `TensorProto.DataType` of its elements.
        size: its shape; of a sequence, that of an element.
        data: its contents, where it is a small constant.
        value: its value on the tape, made when it is first read.
        is_param: whether it is trainable if it is used as a weight or in arithmetic (see `parameters`).
        is_weight: whether it is trainable where an operator takes a weight.
        explicit_shape: whether the file marks it as parameter or buffer; its size then counts even with one element.
        is_sequence: whether it is a sequence of tensors.
        elements: those of a sequence, None where their number is unknown.
        example_value: its contents in the example inputs, or as computed from parameters: they may be sizes but are not
            constants.
    """

    __slots__ = (
        "data",
        "elem_type",
        "elements",
        "example_value",
        "explicit_shape",
        "is_param",
        "is_sequence",
        "is_weight",
        "name",
        "size",
        "value",
    )

    def __init__(
        self,
        name: str,
        elem_type: int,
        size: Size,
        data: AnyArray | None = None,
        value: Value | None = None,
        is_param: bool = False,
    ) -> None:
        """A tensor that is no sequence; the arguments are attributes of the class.

        Args:
            name: in the model.
            elem_type: `TensorProto.DataType` of its elements.
            size: its shape.
            data: its contents, where known.
            value: its value on the tape, where it has one.
            is_param: whether it is trainable; it then is a weight as well.
        """
        self.name, self.elem_type, self.size, self.data, self.value = name, elem_type, size, data, value
        self.is_param = self.is_weight = is_param
        self.explicit_shape = False
        self.is_sequence = False
        self.elements: list[OnnxTensor] | None = None
        self.example_value: AnyArray | None = None

    def resized(self, size: Size) -> OnnxTensor:
        """A part of this size of a tensor that no node has computed, such as a weight; its contents are not known."""
        part = OnnxTensor(self.name, self.elem_type, size, is_param=self.is_param)
        part.is_weight, part.explicit_shape = self.is_weight, self.explicit_shape
        return part

    @property
    def is_floating(self) -> bool:
        """Whether its elements are floating-point or complex numbers."""
        return self.elem_type in FLOATS

    @property
    def static(self) -> bool:
        """Whether it depends on no graph input."""
        return self.value is None or self.value.static

    @property
    def known_value(self) -> AnyArray | None:
        """Its contents, constant or those of the example inputs; None where neither is known."""
        return self.example_value if self.data is None else self.data

    @property
    def has_unfolded_contents(self) -> bool:
        """Whether its contents are known, but folding would lose the input or parameter that they come from."""
        return self.example_value is not None or (self.is_param and self.data is not None)

    @property
    def scalar(self) -> float | None:
        """Its one number, if it is a constant of one element."""
        if (
            self.is_param
            or self.data is None
            or self.data.size != 1
            or self.data.dtype.kind not in "fiub"
            or (self.explicit_shape and self.data.ndim)
        ):
            return None
        return shortest_float(self.data.reshape(()))

    def to_value(self, tape: Tape) -> Value:
        """Its value on the tape: a parameter, a constant, or the result of a node."""
        if self.value is None:
            self.value = (
                tape.param(self.name, self.size)
                if self.is_param
                else tape.constant(self.name, self.size, _numeric(self.data))
            )
        return self.value

    def ints(self) -> list[int]:
        """Its values, as integers.

        Raises:
            TraceError: they are not known.
        """
        if self.known_value is None:
            raise TraceError(
                f"the sizes or axes in tensor {self.name!r} depend on values of inputs or of external data; "
                "pass example inputs that have these values"
            )
        return [int(v) for v in np.asarray(self.known_value).reshape(-1)]

    def type_proto(self) -> onnx.TypeProto:
        """Its type for ONNX's own shape inference."""
        proto = onnx.TypeProto()
        part = proto.sequence_type.elem_type.tensor_type if self.is_sequence else proto.tensor_type
        part.elem_type = self.elem_type
        if not self.is_sequence:
            part.shape.SetInParent()
            for n in self.size:
                part.shape.dim.add().dim_value = n
        return proto


class ResultType(NamedTuple):
    """Element type and size of a result; 0 and None where unknown, or where it is no tensor."""

    elem_type: int = 0
    size: Size | None = None


Scope = dict[str, OnnxTensor]  # the tensors of a graph, and of the graphs around it, by name


@dataclass(frozen=True, slots=True)
class TransposeOf(ProvenanceHint):
    """The source of a transposed tensor, and the permutation."""

    source: Value
    order: tuple[int, ...]


# --- tensors as weights


def as_param(tape: Tape, weight: OnnxTensor) -> Param | None:
    """The parameter for a tensor that an operator takes as a weight; None if it is computed or constant."""
    if weight.is_weight:
        return Param(weight.name, weight.size)
    value = weight.value
    if value is not None and tape.nodes[value.node].op == "Param" and tape.nodes[value.node].shape == weight.size:
        return tape.nodes[value.node].params[0]
    return None


def weight_value(tape: Tape, weight: OnnxTensor) -> Value:
    """The value on the tape for a tensor that an operator takes as a weight."""
    return tape.param(weight.name, weight.size) if weight.is_weight else weight.to_value(tape)


# --- reading protobuf messages


def _numeric(data: AnyArray | None) -> AnyArray | None:
    """Contents as numpy has them: types of its own for bfloat16 and float8 become float32, strings are None."""
    if data is None or data.dtype.kind in "OUS":
        return None
    return data if data.dtype.kind in "fiubc" else data.astype(np.float32)


def shortest_float(number: AnyArray | float) -> float:
    """A number as its author wrote it: 0.1, not the 0.10000000149 of single precision."""
    return float(str(np.float32(number))) if np.asarray(number).dtype.kind not in "iub" else float(number)


def decode_small(proto: onnx.TensorProto) -> AnyArray | None:
    """The contents of a tensor in the file; None where there are more than `LIMIT`, or none in the file."""
    if (
        proto.data_location == onnx.TensorProto.EXTERNAL
        or not all(n >= 0 for n in proto.dims)
        or int(np.prod(proto.dims, dtype=object)) > LIMIT
    ):
        return None
    try:
        contents: AnyArray = numpy_helper.to_array(proto)
        return contents
    except Exception:  # contents that do not fit the size (cut out, or damaged); an error follows if they are needed
        return None


def get_attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute of a node as a Python value, strings as text.

    Args:
        node: the node.
        name: of the attribute.
        default: the result where the node lacks it.
    """
    for attribute in node.attribute:
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            if isinstance(value, float):
                return shortest_float(value)
            if attribute.type == onnx.AttributeProto.STRINGS:
                return [text.decode("utf-8", "replace") for text in value]
            return list(value) if attribute.type in (6, 7) else value
    return default


def declared_size(proto: onnx.TypeProto.Tensor, dims: Mapping[str, int]) -> Size | None:
    """The size that a type declares, open dimensions from `dims`; None if some are unknown."""
    if not proto.HasField("shape"):
        return None
    sizes = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dims.get(dim.dim_param, -1)
        for dim in proto.shape.dim
    ]
    return tuple(sizes) if all(n >= 0 for n in sizes) else None
