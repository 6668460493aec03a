"""Writing a fused or quantised node as operators of ONNX's default domain, which are imported one after the other.

Sizes, costs, parameters and constants of what a fused operator stands for then come from ONNX's own inference and from
the same converters as those of a file that nobody has fused, so that the two files have one canonical graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, defs, helper

from cgir import TraceError
from cgir.graph import Attr
from frontends.common.tape import Size

from .calls import NodeOperands, OnnxCall
from .node_inference import Inputs
from .shape_inference import ShapeInference
from .tensors import QUANTIZED_TYPES, OnnxTensor, ResultType

Results: TypeAlias = Sequence[OnnxTensor | None]
Importer: TypeAlias = Callable[[onnx.NodeProto, list[OnnxTensor | None], ShapeInference], list[OnnxTensor]]

# the operators that expansions are written in, whatever opset the file has
OPSETS = {"": defs.onnx_opset_version()}


class _FloatInference(ShapeInference):
    """Inference that takes floating-point and quantised numbers of any width for one type.

    Operators of onnxruntime mix types that those of ONNX do not. Results have the type of the first operand of another
    type than float, as those of quantised operators do.
    """

    def result_types(self, node: onnx.NodeProto, schema: defs.OpSchema | None, inputs: Inputs) -> list[ResultType]:
        """See `ShapeInference.result_types`."""
        types = super().result_types(node, schema, [_as_float(tensor) for tensor in inputs])
        narrow = [tensor.elem_type for tensor in inputs if tensor is not None and _as_float(tensor) is not tensor]
        if not narrow or node.op_type == "Cast":
            return types
        return [kind._replace(elem_type=narrow[0]) if kind.elem_type == TensorProto.FLOAT else kind for kind in types]


def _as_float(tensor: OnnxTensor | None) -> OnnxTensor | None:
    """A stand-in of type float for a tensor of other floating-point or of quantised numbers."""
    if (
        tensor is None
        or tensor.elem_type == TensorProto.FLOAT
        or not (tensor.is_floating or tensor.elem_type in QUANTIZED_TYPES)
    ):
        return tensor
    return OnnxTensor(tensor.name, TensorProto.FLOAT, tensor.size)


@dataclass(slots=True)
class Expansion(NodeOperands):
    """A node, its operands, and the operators that it has been written as so far.

    Attributes:
        ir_version: of the file.
        import_node: imports a node of the default domain with its operands.
    """

    ir_version: int
    import_node: Importer
    _num_results: int = 0

    # --- the node

    def attrs(self, *names: str) -> dict[str, Any]:
        """Those of some attributes that the node has."""
        values = {name: self.attr(name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def wants(self, slot: int) -> bool:
        """Whether the node's result in a slot has a name."""
        return slot < len(self.node.output) and bool(self.node.output[slot])

    # --- what it is written as

    def op(self, op_type: str, *inputs: OnnxTensor | None, **attrs: Any) -> OnnxTensor:
        """The first result of an operator of the default domain.

        Args:
            op_type: name of the operator.
            inputs: its operands, None for those left out.
            attrs: its attributes.
        """
        return self.ops(op_type, inputs, 1, **attrs)[0]

    def ops(
        self, op_type: str, inputs: Sequence[OnnxTensor | None], num_results: int, **attrs: Any
    ) -> list[OnnxTensor]:
        """The results of an operator of the default domain.

        Args:
            op_type: name of the operator.
            inputs: its operands, None for those left out.
            num_results: how many of its results are asked for.
            attrs: its attributes.
        """
        names = [f"{self._base}.{self._num_results + index}" for index in range(num_results)]
        self._num_results += num_results
        slots = [f"input.{slot}" if tensor is not None else "" for slot, tensor in enumerate(inputs)]
        node = helper.make_node(op_type, slots, names, **attrs)
        for tensor in inputs:
            if tensor is not None and tensor.elem_type in QUANTIZED_TYPES and tensor.value is not None:
                self.tape.await_reader(tensor.value)  # quantised numbers
        return self.import_node(node, list(inputs), _FloatInference(OPSETS, self.ir_version, {}, {}))

    @property
    def _base(self) -> str:
        """What names of results start with; no other node makes tensors of these names."""
        return str(next(iter(filter(None, self.node.output)), self.node.op_type))

    def opaque(self, sizes: Sequence[Size], **attrs: int) -> list[OnnxTensor]:
        """The node as it is, of these sizes; what it costs is unknown without the attribute `flops`."""
        name = f"{self.node.domain}.{self.node.op_type}"
        return self.emit("Opaque", self.present_inputs, sizes, attrs, display_name=name)

    def emit(
        self,
        op: str,
        tensors: Sequence[OnnxTensor],
        sizes: Sequence[Size],
        attrs: Mapping[str, Attr] | None = None,
        display_name: str = "",
    ) -> list[OnnxTensor]:
        """The results of an operator of the graph that ONNX does not have.

        Args:
            op: name of the operator in `cgir.ops`.
            tensors: that it reads.
            sizes: of its results.
            attrs: of the node.
            display_name: of an opaque operator.
        """
        elem_type = tensors[0].elem_type if tensors else TensorProto.FLOAT
        call = OnnxCall(self.tape, self.node, self.inputs, list(sizes))
        values = call.emit(op, tensors, attrs, display_name=display_name)
        return [OnnxTensor(self._base, elem_type, value.size, value=value) for value in values]

    def ints(self, *values: int) -> OnnxTensor:
        """Constant sizes, axes or indices."""
        return OnnxTensor("ints", TensorProto.INT64, (len(values),), np.array(values, np.int64))

    def number(self, value: float) -> OnnxTensor:
        """A constant number."""
        return OnnxTensor("number", TensorProto.FLOAT, (), np.array(value, np.float32))

    def constant(self, name: str, size: Size, elem_type: int = TensorProto.FLOAT) -> OnnxTensor:
        """A constant whose contents are of no importance.

        Args:
            name: of the tensor.
            size: of the tensor.
            elem_type: of its elements.
        """
        return OnnxTensor(name, elem_type, size)

    def param(self, name: str, size: Size) -> OnnxTensor:
        """A parameter with a name of the file."""
        return OnnxTensor(name, TensorProto.FLOAT, size, is_param=True)

    def own_param(self, name: str, size: Size) -> OnnxTensor:
        """A parameter that the node has as an attribute, called after the node's result."""
        return self.param(f"{self._base}.{name}", size)

    # --- movements

    def reshape(self, tensor: OnnxTensor, size: Size) -> OnnxTensor:
        """The tensor with another size; itself if it has that already."""
        return tensor if tensor.size == size else self.op("Reshape", tensor, self.ints(*size))

    def transpose(self, tensor: OnnxTensor, *order: int) -> OnnxTensor:
        """The tensor with its axes in another order."""
        return self.op("Transpose", tensor, perm=list(order))

    def channels_first(self, tensor: OnnxTensor) -> OnnxTensor:
        """The tensor with its channels, which come last, behind the batch."""
        rank = len(tensor.size)
        return self.transpose(tensor, 0, rank - 1, *range(1, rank - 1))

    def channels_last(self, tensor: OnnxTensor) -> OnnxTensor:
        """The tensor with its channels, which are behind the batch, last."""
        return self.transpose(tensor, 0, *range(2, len(tensor.size)), 1)

    def split(self, tensor: OnnxTensor, sizes: Sequence[int], axis: int = -1) -> list[OnnxTensor]:
        """The tensor cut along an axis.

        Args:
            tensor: to cut.
            sizes: of the parts.
            axis: that is cut.
        """
        return self.ops("Split", [tensor, self.ints(*sizes)], len(sizes), axis=axis % len(tensor.size))

    def sum(self, *tensors: OnnxTensor | None) -> OnnxTensor:
        """The sum of the tensors that are there."""
        present = [tensor for tensor in tensors if tensor is not None]
        total = present[0]
        for tensor in present[1:]:
            total = self.op("Add", total, tensor)
        return total


Expander: TypeAlias = Callable[[Expansion], "Results | None"]


def matched(expanders: Mapping[str, Mapping[str, Expander]], node: onnx.NodeProto) -> Expander | None:
    """What expands a node, None if nothing does; `expanders` are by domain and operator."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return expanders.get(domain, {}).get(node.op_type)


def named_results(node: onnx.NodeProto, results: Results) -> dict[str, OnnxTensor]:
    """The results of an expansion by the names that the node gives them.

    Raises:
        TraceError: one of them is missing.
    """
    named = dict(zip(node.output, results, strict=False))
    missing = [name for name in node.output if name and named.get(name) is None]
    if missing:
        raise TraceError(f"its result {missing[0]!r} is not known here; leave it out of the model's outputs")
    return {name: tensor for name, tensor in named.items() if name and tensor is not None}
