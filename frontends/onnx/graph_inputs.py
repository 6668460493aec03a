"""Inputs of an ONNX model as tensors with sizes and batch axes.

The batch is axis 0 of the inputs, or the axis whose dimension the model calls "batch", "batch_size" or "N", unless the
caller says another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from cgir import TraceError
from cgir.typing import AnyArray
from frontends.common.batch_axis import BatchPlan, plan_batch
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import BatchAxis, TraceRequest

from .tensors import OnnxTensor

BATCH_NAMES = re.compile(r"^(n|b|bs|batch|batch_?size|unk__\d+)$", re.IGNORECASE)
MAX_EXAMPLE_ELEMENTS = 64  # of an example whose values may be sizes


# --- inputs


def input_tensors(
    model: onnx.ModelProto, initializer_names: set[str], request: TraceRequest, model_label: str
) -> list[OnnxTensor]:
    """The model's inputs, with the sizes that the request gives them.

    Args:
        model: the model.
        initializer_names: inputs of these names have a default and are no inputs of the graph.
        request: example inputs, shapes and sizes of named dimensions.
        model_label: how messages refer to the model.

    Raises:
        TraceError: sizes are missing or do not fit.
    """
    infos = [info for info in model.graph.input if info.name not in initializer_names]
    for info in infos:
        if not isinstance(info.name, str):
            raise TraceError(f"{model_label}: the name of input {info.name[:50]!r} is no UTF-8")
    names = [info.name for info in infos]
    requested = _requested_sizes(request, names, model_label)
    _check_dims(request.dims, model, model_label)
    tensors = [_input_tensor(info, requested.get(info.name), request.dims, model_label) for info in infos]
    examples = _examples_by_name(request.inputs, names)
    for tensor in tensors:
        tensor.example_value = _small_example(examples.get(tensor.name))
    return tensors


def batch_plan(model: onnx.ModelProto, inputs: Iterable[OnnxTensor], batch: BatchAxis) -> BatchPlan:
    """Where the batch of each input is.

    Args:
        model: the model.
        inputs: its inputs.
        batch: the argument of `frontends.trace`; where it is 0, an axis that the file calls the batch counts.
    """
    sizes = [(tensor.name, tensor.size) for tensor in inputs]
    if batch == 0 and not isinstance(batch, Mapping):
        named = {name: axis for name, axis in _named_axes(model, sizes).items() if axis}
        if len({dict(sizes)[name][axis] for name, axis in named.items()}) == 1:
            return plan_batch(named, sizes)
    return plan_batch(batch, sizes)


def _named_axes(model: onnx.ModelProto, sizes: Iterable[tuple[str, Size]]) -> dict[str, int]:
    """The axes that the file calls the batch, by input name."""
    infos = {info.name: info for info in model.graph.input}
    axes = {}
    for name, size in sizes:
        dims = infos[name].type.tensor_type.shape.dim
        named = [axis for axis, dim in enumerate(dims) if BATCH_NAMES.match(dim.dim_param or "")]
        if named and named[0] < len(size):
            axes[name] = named[0]
    return axes


def add_inputs(tape: Tape, inputs: Sequence[OnnxTensor], plan: BatchPlan) -> None:
    """Make the tensors inputs of the graph.

    Args:
        tape: where they are appended.
        inputs: the tensors, which get their values, and the sizes that are planned.
        plan: their batch axes.
    """
    sizes = plan.sizes([tensor.size for tensor in inputs])
    for tensor, size, axis in zip(inputs, sizes, plan.axes, strict=True):
        if tensor.example_value is not None:
            tensor.example_value = tensor.example_value[tuple(map(slice, size))]
        tensor.size = size
        tensor.value = tape.input(tensor.name, tensor.size, axis, tensor.is_floating)


def _requested_sizes(request: TraceRequest, names: list[str], model_label: str) -> dict[str, Size]:
    """Sizes that the caller gives, by input name."""
    requested = request.inputs if request.inputs is not None else request.input_shape
    if requested is None:
        return {}
    if isinstance(requested, Mapping):
        unknown = sorted(set(map(str, requested)) - set(names))
        if unknown:
            raise TraceError(
                f"{model_label}: there is no input {unknown[0]!r}; "
                f"the inputs are {', '.join(map(repr, names)) or 'none'}"
            )
        return {str(name): _requested_size(value, model_label) for name, value in requested.items()}
    several = isinstance(requested, tuple | list) and (not requested or not all(isinstance(n, int) for n in requested))
    values = list(requested) if several else [requested]
    if len(values) > len(names):
        raise TraceError(
            f"{model_label}: {len(values)} inputs are given, but the model has {len(names)}: "
            f"{', '.join(map(repr, names)) or 'none'}"
        )
    return {name: _requested_size(value, model_label) for name, value in zip(names, values, strict=False)}


def _examples_by_name(inputs: Any, names: list[str]) -> dict[str, Any]:
    """Example inputs by name: from a dictionary, a tuple or list in the model's order, or the only one."""
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping):
        return {str(name): value for name, value in inputs.items()}
    return dict(zip(names, inputs if isinstance(inputs, tuple | list) else [inputs], strict=False))


def _small_example(value: Any) -> AnyArray | None:
    """The contents of an example that may be sizes, axes or trip counts: few numbers on at most one axis."""
    if len(getattr(value, "shape", (0, 0))) > 1 or getattr(value, "is_meta", False):
        return None
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return array if array.size <= MAX_EXAMPLE_ELEMENTS and array.dtype.kind in "iufb" else None


def _requested_size(value: Any, model_label: str) -> Size:
    shape = getattr(value, "shape", value)
    try:
        size = tuple(int(n) for n in shape)
    except (TypeError, ValueError):
        size = (-1,)
    if any(n < 0 for n in size):
        raise TraceError(
            f"{model_label}: inputs are given as tensors or shapes with the batch first, such as (1, 3, 224, 224); "
            f"found {value!r}"
        )
    return size


def _check_dims(dims: Mapping[str, int], model: onnx.ModelProto, model_label: str) -> None:
    dim_names = {
        dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim if dim.dim_param
    }
    for name, size in dims.items():
        if name not in dim_names:
            raise TraceError(
                f"{model_label}: no input has a dimension named {name!r}; "
                f"there are {', '.join(map(repr, sorted(dim_names))) or 'none'}"
            )
        if not isinstance(size, int) or size < 1:
            raise TraceError(f"{model_label}: dims[{name!r}] must be a positive integer, found {size!r}")


def _input_tensor(
    info: onnx.ValueInfoProto, requested: Size | None, dims: Mapping[str, int], model_label: str
) -> OnnxTensor:
    kind = info.type.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return _container_input(info, requested)
    if kind not in ("tensor_type", "sparse_tensor_type"):
        raise TraceError(f"{model_label}: input {info.name!r} is of type {kind or 'unknown'}, expected a tensor")
    proto = getattr(info.type, kind)
    declared = [_dim_size(dim, dims) for dim in proto.shape.dim] if proto.HasField("shape") else None
    if declared is None and requested is None:
        raise TraceError(
            f"{model_label}: input {info.name!r} has no shape in the file; "
            f"pass input_shape={{{info.name!r}: (1, ...)}} or example inputs"
        )
    if requested is not None and declared is not None and len(requested) != len(declared):
        raise TraceError(
            f"{model_label}: input {info.name!r} has {len(declared)} axes in the file, "
            f"found {len(requested)} in the shape {requested} that is given"
        )
    size = requested if requested is not None else tuple(declared or ())
    return OnnxTensor(info.name, proto.elem_type, size)


def _dim_size(dim: onnx.TensorShapeProto.Dimension, dims: Mapping[str, int]) -> int:
    """The size of a dimension; open ones, which some exporters write as -1 or 0, are 1 unless they are given."""
    return dim.dim_value if dim.dim_value > 0 else dims.get(dim.dim_param, 1)


def _container_input(info: onnx.ValueInfoProto, requested: Size | None) -> OnnxTensor:
    """A sequence of tensors, or a tensor that may be missing: the size is that of one tensor, if the file has it."""
    kind = info.type
    is_sequence = False
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        is_sequence |= kind.WhichOneof("value") == "sequence_type"
        kind = kind.sequence_type.elem_type if kind.HasField("sequence_type") else kind.optional_type.elem_type
    proto = kind.tensor_type
    declared = tuple(_dim_size(dim, {}) for dim in proto.shape.dim)
    tensor = OnnxTensor(info.name, proto.elem_type, requested if requested is not None else declared)
    tensor.is_sequence = is_sequence
    return tensor
