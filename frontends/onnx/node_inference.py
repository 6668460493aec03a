"""ONNX's own shape inference of one node, in the process of `onnx_process`; what nodes of the same kind get is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx import defs, numpy_helper

from cgir.errors import printable
from cgir.limits import Limits

from .onnx_process import call
from .simple_inference import simple_type
from .tensors import OnnxTensor, ResultType, declared_size

Inputs: TypeAlias = Sequence[OnnxTensor | None]
Answer: TypeAlias = tuple[str, list[ResultType]]
MAX_KEPT = 4096  # answers
MAX_KEPT_BYTES = 4096  # of attributes and contents of a node whose answer is kept

_answers: dict[Any, Answer] = {}


class _Request(NamedTuple):
    """A node without names, so that nodes of a model that differ in nothing else are one."""

    op_type: str
    since_version: int
    domain: str
    opsets: tuple[tuple[str, int], ...]
    ir_version: int
    attributes: tuple[bytes, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[bool, ...]
    memory: int  # which may not be enough


def infer(
    node: onnx.NodeProto,
    schema: defs.OpSchema,
    inputs: Inputs,
    opsets: Mapping[str, int],
    ir_version: int,
    limits: Limits,
) -> Answer:
    """Why ONNX refuses a node, "" if it does not, and the types of the node's results.

    Args:
        node: the node.
        schema: definition of its operator.
        inputs: its operands, None for those left out.
        opsets: domain -> version of the operators in it.
        ir_version: of the model.
        limits: of what inference may take.

    Raises:
        TraceError: no operator allows the node, so that ONNX's code ended on it.
    """
    simple = simple_type(node, schema.since_version, inputs)
    if simple is not None:
        return "", [simple]
    request = _Request(
        schema.name,
        schema.since_version,
        schema.domain,
        tuple(opsets.items()),
        ir_version,
        tuple(attribute.SerializeToString(deterministic=True) for attribute in node.attribute),
        tuple(None if tensor is None else _operand(tensor) for tensor in inputs),
        tuple(map(bool, node.output)),
        limits.bytes,
    )
    answer = _answers.get(request)
    if answer is None:
        answer = _ask(request, node, inputs, limits)
        if len(_answers) >= MAX_KEPT:
            _answers.clear()
        contents = [operand[-1] for operand in request.inputs if operand is not None]
        if sum(map(len, (*request.attributes, *contents))) <= MAX_KEPT_BYTES:
            _answers[request] = answer
    return answer


def _operand(tensor: OnnxTensor) -> tuple[Any, ...]:
    """What inference sees of an operand."""
    data = _sizes(tensor)
    kind, shape, contents = ("", (), b"") if data is None else (data.dtype.str, data.shape, data.tobytes())
    return tensor.elem_type, tensor.size, tensor.is_sequence, kind, shape, contents


def _sizes(tensor: OnnxTensor) -> np.ndarray[Any, Any] | None:
    """The contents of a tensor, if they may be sizes, axes or scales, which ONNX's inference reads."""
    data = tensor.known_value
    if data is None or data.ndim > 1 or data.size > 1024 or data.dtype.kind not in "iufb":
        return None
    return np.asarray(data)


def _ask(request: _Request, node: onnx.NodeProto, inputs: Inputs, limits: Limits) -> Answer:
    slots = [slot for slot, tensor in enumerate(inputs) if tensor is not None]
    unnamed = onnx.NodeProto(op_type=request.op_type, domain=node.domain, attribute=node.attribute)
    unnamed.input.extend("" if tensor is None else f"i{slot}" for slot, tensor in enumerate(inputs))
    unnamed.output.extend(f"o{slot}" if kept else "" for slot, kept in enumerate(request.outputs))
    parts = [unnamed.SerializeToString()]
    for tensor in filter(None, inputs):
        data = _sizes(tensor)
        parts.append(tensor.type_proto().SerializeToString())
        parts.append(b"" if data is None else numpy_helper.from_array(data).SerializeToString())
    head = {
        "op": request.op_type,
        "version": request.since_version,
        "domain": request.domain,
        "opsets": dict(request.opsets),
        "ir_version": request.ir_version,
        "slots": slots,
        "results": len(request.outputs),
    }
    error, *types = call("infer", head, parts, limits)
    if error:
        return printable(error.decode(), 300), []
    return "", [_result_type(onnx.TypeProto.FromString(kind)) for kind in types]


def _result_type(kind: onnx.TypeProto) -> ResultType:
    if not kind.HasField("tensor_type"):
        return ResultType()
    return ResultType(kind.tensor_type.elem_type, declared_size(kind.tensor_type, {}))
