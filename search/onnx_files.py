"""ONNX models that are there already, as files, bytes or messages, with an array for each of their inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
from onnx import helper
from torch import Tensor

from cgir.errors import CgirError, one_line
from cgir.typing import AnyArray
from frontends.common.trace_request import InputShape, TraceRequest
from frontends.onnx import weight_stripping
from frontends.onnx.graph_inputs import input_tensors
from frontends.onnx.parameters import initializer_tensors
from frontends.onnx.tensors import OnnxTensor

from .onnx_export import OnnxModel


def read(model: Any, inputs: Any = None, input_shape: InputShape | None = None) -> OnnxModel:
    """A model as a runtime takes it, checked as `frontends.trace` checks it.

    Args:
        model: a path, bytes, `onnx.ModelProto`, `onnx_ir.Model` or `torch.onnx.ONNXProgram`.
        inputs: as of `frontends.trace`; where only shapes are known, numbers are drawn here, integers are ones.
        input_shape: instead, as of `frontends.trace`; without both, dimensions that the model leaves open are 1.

    Raises:
        CgirError: the model is damaged, too large for memory, or the inputs do not fit.
    """
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        data: bytes | str = str(path)
        stripped, label = weight_stripping.from_file(path), str(path)
    else:
        data, label = _serialized(model), "the ONNX model"
        stripped = weight_stripping.from_bytes(data, label)
    known = set(initializer_tensors(stripped.graph, label))
    tensors = input_tensors(stripped, known, TraceRequest(inputs, input_shape), label)
    names = [tensor.name for tensor in tensors]
    given = _by_name(inputs, names)
    return OnnxModel(data, {tensor.name: _array(tensor, given.get(tensor.name), label) for tensor in tensors}, label)


def _serialized(model: Any) -> bytes:
    if isinstance(model, bytes):
        return model
    try:
        proto = model if isinstance(model, onnx.ModelProto) else onnx_ir.to_proto(getattr(model, "model", model))
        data: bytes = proto.SerializeToString()
    except Exception as error:  # protobuf's EncodeError is not one class in all its implementations
        raise CgirError(
            f"latency: the ONNX model cannot be held in memory ({one_line(error, 200, named=True)}); weights above "
            "2 GB need a file: onnx.save(model, 'net.onnx', save_as_external_data=True), and give the path net.onnx"
        ) from error
    return data


def _by_name(inputs: Any, names: list[str]) -> dict[str, Any]:
    """Example inputs by name: from a dictionary, a tuple or list in the model's order, or the only one."""
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping):
        return {str(name): value for name, value in inputs.items()}
    return dict(zip(names, inputs if isinstance(inputs, tuple | list) else [inputs], strict=False))


def _array(tensor: OnnxTensor, given: Any, label: str) -> AnyArray:
    """The values of an input: those given, as the model's type; else random ones, of integers and booleans ones."""
    if tensor.is_sequence:
        raise CgirError(f"latency: input {tensor.name!r} of {label} is a sequence of tensors, which is not measured")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if isinstance(given, Tensor) and not given.is_meta:
        given = given.detach().cpu().numpy()
    if isinstance(given, np.ndarray):
        return np.ascontiguousarray(given.astype(dtype))
    if np.issubdtype(dtype, np.floating):
        return np.random.default_rng(0).standard_normal(tensor.size).astype(dtype)
    return np.ones(tensor.size, dtype)
