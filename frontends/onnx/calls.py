"""A node of an ONNX model with its operands, and a call of it, which converters turn into nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Unpack

import onnx

from cgir import Param, TraceError
from cgir.graph import Attr
from frontends.common.importer import split_weights
from frontends.common.tape import LayoutFields, OpCall, Operand, Size, Tape, Value

from .tensors import OnnxTensor, as_param, get_attribute, weight_value


@dataclass(slots=True)
class NodeOperands:
    """A node of the model with its operands.

    Attributes:
        tape: where nodes of the graph are appended.
        node: the node in the model.
        inputs: its operands, None for those left out.
    """

    tape: Tape
    node: onnx.NodeProto
    inputs: list[OnnxTensor | None]

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, strings as text."""
        return get_attribute(self.node, name, default)

    def input(self, slot: int) -> OnnxTensor | None:
        """The operand in a slot, None if left out."""
        return self.inputs[slot] if slot < len(self.inputs) else None

    def require_input(self, slot: int) -> OnnxTensor:
        """The operand in a slot.

        Raises:
            TraceError: it is missing.
        """
        tensor = self.input(slot)
        if tensor is None:
            raise TraceError(f"needs at least {slot + 1} inputs, found {len(self.inputs)}")
        return tensor

    @property
    def present_inputs(self) -> list[OnnxTensor]:
        """The operands without those left out."""
        return [tensor for tensor in self.inputs if tensor is not None]


@dataclass(slots=True)
class OnnxCall(NodeOperands):
    """A node whose results have known sizes, for a converter.

    Attributes:
        sizes: of its results.
        elem_types: `TensorProto.DataType` of its results.
        since_version: opset version of the operator's definition.
        name: of the nodes made of it; the operator's in lower case unless given.
    """

    sizes: list[Size]
    elem_types: list[int] = field(default_factory=list)
    since_version: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.node.op_type.lower()

    @property
    def op_type(self) -> str:
        """ONNX's name of the operator."""
        return str(self.node.op_type)

    def attr_or_input(self, name: str, slot: int, default: Any = None) -> Any:
        """Integers that are an attribute in older opsets and an input in newer ones.

        Args:
            name: of the attribute.
            slot: of the input.
            default: the result where there is neither.
        """
        tensor = self.input(slot)
        return tensor.ints() if tensor is not None else self.attr(name, default)

    def emit(
        self,
        op: str,
        tensors: Sequence[OnnxTensor | Value],
        attrs: Mapping[str, Attr] | None = None,
        weights: Sequence[OnnxTensor | Param | None] = (),
        sizes: Sequence[Size] | None = None,
        name: str = "",
        **fields: Unpack[LayoutFields],
    ) -> list[Value]:
        """Append a node.

        Args:
            op: name of the operator in `cgir.ops`.
            tensors: that it reads as data.
            attrs: of the node.
            weights: in the order of the operator's row in `cgir.ops`, None for those left out; parameters become the
                node's own, computed weights, and parameters before them, inputs.
            sizes: of its results; those of the call if None.
            name: of the node; that of the call if empty.
            fields: further fields of `OpCall`.

        Returns:
            The values of its results.
        """
        values = [tensor if isinstance(tensor, Value) else tensor.to_value(self.tape) for tensor in tensors]
        operands = [Operand(value, value.size) for value in values]
        present = [weight for weight in weights if weight is not None]
        params = [weight if isinstance(weight, Param) else as_param(self.tape, weight) for weight in present]
        node_params, computed = split_weights(present, params)
        for weight in computed:
            value = self.tape.param(*weight) if isinstance(weight, Param) else weight_value(self.tape, weight)
            operands.append(Operand(value, value.size, is_weight=True))
        call = OpCall(op, name or self.name, operands, attrs or {}, node_params, **fields)
        return self.tape.emit_values(call, self.sizes if sizes is None else sizes)

    def emit_unary(self, op: str, **attrs: Attr) -> list[Value]:
        """Append a node that reads the first operand only."""
        return self.emit(op, [self.require_input(0)], attrs)


OnnxConverter: TypeAlias = Callable[[OnnxCall], list[Value]]
