"""Tensors and calls of an ONNX graph while it is followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cgir import Param, TraceError
from cgir.graph import Attr
from frontends.common.constant_folding import LIMIT
from frontends.common.importer import split_weights
from frontends.common.tape import LayoutFields, OpCall, Operand, ProvenanceHint, Size, Tape, Value

# TensorProto.DataType: floating point and complex, float4 and float8 among them
FLOATS = frozenset((1, 10, 11, 14, 15, 16, 17, 18, 19, 20, 23, 24, 25))


class Tensor:
    """A tensor of the graph: its type, its size, and what is known of it.

    `param` says that it is trainable if it is used as a weight or in arithmetic; `data` are its values, where known and
    few; `value` is what the tape holds for it, made when it is first read. A sequence of tensors has `elements` instead
    (None where their number is unknown).
    """

    __slots__ = ("data", "elem", "elements", "hint", "kept", "name", "param", "sequence", "size", "value", "weight")

    def __init__(
        self, name: str, elem: int, size: Size, data: Any = None, value: Value | None = None, param: bool = False
    ) -> None:
        self.name, self.elem, self.size, self.data, self.value, self.param = name, elem, size, data, value, param
        self.weight = param  # trainable if it stands where weights stand
        self.kept = False  # the file says what it is: its size means something even if it has one element
        self.sequence, self.elements = False, None  # type: bool, list[Tensor] | None
        # the values in the example inputs, which say how large things are without being constants
        self.hint: Any = None

    @property
    def floating(self) -> bool:
        """Whether its elements are floating-point or complex numbers."""
        return self.elem in FLOATS

    @property
    def static(self) -> bool:
        """Whether it depends on no graph input."""
        return self.value is None or self.value.static

    @property
    def known(self) -> Any:
        """Its values, or those of the example inputs."""
        return self.hint if self.data is None else self.data

    @property
    def scalar(self) -> float | None:
        """Its one number, if it is a constant of one element."""
        if (
            self.param
            or self.data is None
            or self.data.size != 1
            or self.data.dtype.kind not in "fiub"
            or (self.kept and self.data.ndim)
        ):
            return None
        return shortest(self.data.reshape(()))

    def read(self, tape: Tape) -> Value:
        """What the tape holds for it."""
        if self.value is None:
            self.value = (
                tape.param(self.name, self.size)
                if self.param
                else tape.constant(self.name, self.size, _plain(self.data))
            )
        return self.value

    def ints(self) -> list[int]:
        """Its values as integers.

        Raises:
            TraceError: they are not known.
        """
        if self.known is None:
            raise TraceError(
                f"the sizes or axes in tensor {self.name!r} depend on values of inputs or of external data; pass example inputs that have these values"
            )
        return [int(v) for v in np.asarray(self.known).reshape(-1)]

    def type(self) -> onnx.TypeProto:
        """Its type for ONNX's own shape inference."""
        proto = onnx.TypeProto()
        part = proto.sequence_type.elem_type.tensor_type if self.sequence else proto.tensor_type
        part.elem_type = self.elem
        if not self.sequence:
            part.shape.SetInParent()
            for n in self.size:
                part.shape.dim.add().dim_value = n
        return proto


def _plain(data: Any) -> Any:
    """Scalars of types that numpy itself does not have (bfloat16, float8), and strings, which are no numbers."""
    if data is None or data.dtype.kind in "OUS":
        return None
    return data if data.dtype.kind in "fiubc" else data.astype(np.float32)


def shortest(number: Any) -> float:
    """A number as its author wrote it: 0.1, not the 0.10000000149 that is left of it in single precision."""
    return float(str(np.float32(number))) if np.asarray(number).dtype.kind not in "iub" else float(number)


def decoded(proto: onnx.TensorProto) -> Any:
    """The values of a tensor in the file, or None where there are too many, or none here."""
    if (
        proto.data_location == onnx.TensorProto.EXTERNAL
        or not all(n >= 0 for n in proto.dims)
        or int(np.prod(proto.dims, dtype=object)) > LIMIT
    ):
        return None
    try:
        return numpy_helper.to_array(proto)
    except Exception:  # contents that do not fit the declared size: cut out, or damaged; what needs them says so
        return None


@dataclass(frozen=True, slots=True)
class TransposeOf(ProvenanceHint):
    """What a transposed tensor was before, and the permutation."""

    source: Value
    order: tuple[int, ...]


class Call:
    """One node of the graph: its attributes, its operands and the sizes of its results. `version` is that of its
    operator's definition.
    """

    def __init__(
        self,
        tape: Tape,
        node: onnx.NodeProto,
        inputs: list[Tensor | None],
        sizes: list[Size],
        elems: list[int],
        version: int,
        name: str,
    ) -> None:
        self.tape, self.node, self.given, self.sizes, self.elems, self.version, self.name = (
            tape,
            node,
            inputs,
            sizes,
            elems,
            version,
            name,
        )
        self.op = node.op_type

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, strings as text."""
        return attribute(self.node, name, default)

    def get(self, slot: int) -> Tensor | None:
        """The operand in a slot, None if left out."""
        return self.given[slot] if slot < len(self.given) else None

    def need(self, slot: int) -> Tensor:
        """The operand in a slot.

        Raises:
            TraceError: it is missing.
        """
        tensor = self.get(slot)
        if tensor is None:
            raise TraceError(f"needs at least {slot + 1} inputs, found {len(self.given)}")
        return tensor

    @property
    def tensors(self) -> list[Tensor]:
        """All operands that are there."""
        return [tensor for tensor in self.given if tensor is not None]

    def setting(self, name: str, slot: int, default: Any = None) -> Any:
        """Integers that older opsets have as an attribute and newer ones as an input."""
        tensor = self.get(slot)
        return tensor.ints() if tensor is not None else self.attr(name, default)

    def emit(
        self,
        op: str,
        tensors: Sequence[Tensor | Value],
        attrs: Mapping[str, Attr] | None = None,
        weights: Sequence[Tensor | Param | None] = (),
        sizes: Sequence[Size] | None = None,
        name: str = "",
        **fields: Unpack[LayoutFields],
    ) -> list[Value]:
        """Append a node; of `weights` in the order of the operator's row, those that are parameters become its own,
        computed ones inputs.
        """
        values = [tensor if isinstance(tensor, Value) else tensor.read(self.tape) for tensor in tensors]
        operands = [Operand(value, value.size) for value in values]
        given = [weight for weight in weights if weight is not None]
        params = [weight if isinstance(weight, Param) else as_param(self.tape, weight) for weight in given]
        own, computed = split_weights(given, params)
        for weight in computed:
            value = self.tape.param(*weight) if isinstance(weight, Param) else read_weight(self.tape, weight)
            operands.append(Operand(value, value.size, is_weight=True))
        sizes = self.sizes if sizes is None else sizes
        return self.tape.emit_values(OpCall(op, name or self.name, operands, attrs or {}, own, **fields), sizes)

    def same(self, op: str, **attrs: Attr) -> list[Value]:
        """A node that reads the first operand only."""
        return self.emit(op, [self.need(0)], attrs)


def as_param(tape: Tape, weight: Tensor) -> Param | None:
    """The parameter that a tensor is, where it stands for a weight."""
    if weight.weight:
        return Param(weight.name, weight.size)
    value = weight.value
    if value is not None and tape.nodes[value.node].op == "Param" and tape.nodes[value.node].shape == weight.size:
        return tape.nodes[value.node].params[0]
    return None


def read_weight(tape: Tape, weight: Tensor) -> Value:
    """What the tape holds for a tensor where it stands for a weight."""
    return tape.param(weight.name, weight.size) if weight.weight else weight.read(tape)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute of a node, strings as text."""
    for found in node.attribute:
        if found.name == name:
            value = helper.get_attribute_value(found)
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            if isinstance(value, float):
                return shortest(value)
            return list(value) if found.type in (6, 7, 8) else value
    return default


def shape_of(proto: onnx.TypeProto.Tensor, dims: Mapping[str, int]) -> Size | None:
    """The size that a type declares, open dimensions from `dims`, or None if some are unknown."""
    if not proto.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else dims.get(dim.dim_param, -1) for dim in proto.shape.dim]
    return tuple(sizes) if all(n >= 0 for n in sizes) else None
