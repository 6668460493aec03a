"""Inputs and initializers of an ONNX model as tensors with sizes, batch axes, and which are trainable.

The batch is axis 0 of the inputs; axis 1 where a recurrent layer that has time first reads the input; or the axis whose
dimension the model calls "batch", "batch_size" or "N". An input whose batch axis has another size than the first
input's has no batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import onnx

from cgir import TraceError
from cgir.ops import TORCH_NAMES
from cgir.typing import AnyArray
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest

from .tensors import FLOATS, OnnxTensor, decode_small, get_attribute

INPUT_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
FOLDED_FROM = "pkg.onnxscript.optimizer.folded_from"
BATCH_NAMES = re.compile(r"^(n|b|bs|batch|batch_?size|unk__\d+)$", re.IGNORECASE)
_CONSTANT_OPS = (
    "zeros ones full fill eye arange min_val max_val linspace empty tensor scalar_tensor zeros_like ones_like "
    "full_like lift_fresh_copy lifted_tensor "
    "to_copy _to_copy shape value"
)
CONSTANT_OPS = frozenset(_CONSTANT_OPS.split())
QUALIFIED_NAME = re.compile(r"^[A-Za-z_]\w*(\.\w+)+$")  # names that only PyTorch's parameters and buffers have
MAX_MASK_VALUE = -1e4  # a tensor with such a value is a mask and no weight
MAX_EXAMPLE_ELEMENTS = 64  # of an example whose values may be sizes
RECURRENT_OPS = ("LSTM", "GRU", "RNN")


def initializer_tensors(graph: onnx.GraphProto, model_label: str) -> dict[str, OnnxTensor]:
    """The initializers of a graph as tensors, by name.

    Floating-point ones of more than one element, or with the name of a module's parameter, are trainable, unless
    PyTorch's exporter says that they are buffers or constants.

    Args:
        graph: of the model, or of a node's attribute.
        model_label: how messages refer to the model.

    Raises:
        TraceError: sizes are negative, a name occurs twice, or the contents are said to lie outside the model's folder.
    """
    kinds = {info.name: _kind(info) for info in graph.value_info if info.metadata_props}
    tensors: dict[str, OnnxTensor] = {}
    for proto in graph.initializer:
        _check_initializer(proto, model_label)
        tensor = OnnxTensor(proto.name, proto.data_type, tuple(proto.dims), decode_small(proto))
        tensors[_unused(proto.name, tensors, model_label)] = _classify(
            tensor, _kind(proto) or kinds.get(proto.name, "")
        )
    for sparse in graph.sparse_initializer:
        _check_initializer(sparse.values, model_label)
        tensor = OnnxTensor(sparse.values.name, sparse.values.data_type, tuple(sparse.dims))
        tensors[_unused(sparse.values.name, tensors, model_label)] = _classify(tensor, "")
    return tensors


def _kind(proto: onnx.ValueInfoProto | onnx.TensorProto) -> str:
    """The kind that PyTorch's exporter records for a tensor; of a folded one, that of its sources."""
    metadata: dict[str, str] = {entry.key: entry.value for entry in proto.metadata_props}
    if INPUT_KIND in metadata or FOLDED_FROM not in metadata:
        return metadata.get(INPUT_KIND, "")
    sources = re.findall(r"'([^']*)'", metadata[FOLDED_FROM])
    return "PARAMETER" if any(not _is_generated(name) for name in sources) else "CONSTANT_TENSOR"


def _is_generated(name: str) -> bool:
    """Whether a name is that of an intermediate result, which PyTorch names after its function, and of no parameter."""
    base = re.sub(r"(_split)?_\d+$", "", name)
    base = re.sub(r"_\d+$", "", base)
    if base.endswith(".lifted_tensor"):  # a constant that a submodule's forward writes down
        return True
    return base == "val" or base.lstrip("_") in TORCH_NAMES or base in CONSTANT_OPS


def _unused(name: str, tensors: Mapping[str, OnnxTensor], model_label: str) -> str:
    """The name of an initializer, which no other may have."""
    if name in tensors:
        raise TraceError(f"{model_label}: there are two initializers {name!r}")
    return name


def _classify(tensor: OnnxTensor, kind: str) -> OnnxTensor:
    """The tensor with its attributes set by its kind, "" where the file has none."""
    tensor.explicit_shape = kind in ("PARAMETER", "BUFFER")
    multiple = prod(tensor.size) > 1 or QUALIFIED_NAME.match(tensor.name) is not None
    tensor.is_param = tensor.is_floating and (kind == "PARAMETER" or (not kind and multiple and not _is_mask(tensor)))
    tensor.is_weight = kind not in ("BUFFER", "CONSTANT_TENSOR") and (tensor.is_param or len(tensor.size) > 0)
    return tensor


def _is_mask(tensor: OnnxTensor) -> bool:
    """Whether a constant is added to scores to suppress them."""
    return tensor.data is not None and bool(np.any(np.asarray(tensor.data, dtype=np.float64) <= MAX_MASK_VALUE))


def _check_initializer(proto: onnx.TensorProto, model_label: str) -> None:
    if any(n < 0 for n in proto.dims):
        raise TraceError(f"{model_label}: initializer {proto.name!r} has size {tuple(proto.dims)}")
    if proto.data_location != onnx.TensorProto.EXTERNAL:
        return
    location = next((entry.value for entry in proto.external_data if entry.key == "location"), "")
    outside = (
        PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).drive
        or location[:1] in "/\\"
        or ".." in re.split(r"[/\\]", location)
    )
    if outside or not location:
        raise TraceError(
            f"{model_label}: initializer {proto.name!r} says that its contents lie outside the model's folder, "
            f"in {location!r}; the file was not opened"
        )


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
    names = [info.name for info in infos]
    requested = _requested_sizes(request, names, model_label)
    _check_dims(request.dims, model, model_label)
    tensors = [_input_tensor(info, requested.get(info.name), request.dims, model_label) for info in infos]
    examples = _examples_by_name(request.inputs, names)
    for tensor in tensors:
        tensor.example_value = _small_example(examples.get(tensor.name))
    return tensors


def batch_size(model: onnx.ModelProto, inputs: Iterable[OnnxTensor]) -> int:
    """The number of examples in the first input that has a batch axis, at least 1."""
    infos = {info.name: info for info in model.graph.input}
    for tensor in inputs:
        axis = _batch_axis(infos[tensor.name], tensor, model.graph.node)
        if axis is not None:
            return max(tensor.size[axis], 1)
    return 1


def add_inputs(tape: Tape, model: onnx.ModelProto, inputs: Iterable[OnnxTensor]) -> None:
    """Make the tensors inputs of the graph.

    Args:
        tape: where they are appended.
        model: from which their batch axes are read.
        inputs: the tensors, which get their values.
    """
    infos = {info.name: info for info in model.graph.input}
    for tensor in inputs:
        axis = _batch_axis(infos[tensor.name], tensor, model.graph.node)
        has_batch = axis is not None and tensor.size[axis] == tape.batch
        tensor.value = tape.input(tensor.name, tensor.size, axis if has_batch else None, tensor.is_floating)


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
    if any(n < 0 for n in size):
        raise TraceError(f"{model_label}: input {info.name!r} has size {size} in the file")
    return OnnxTensor(info.name, proto.elem_type, size)


def _dim_size(dim: onnx.TensorShapeProto.Dimension, dims: Mapping[str, int]) -> int:
    return dim.dim_value if dim.HasField("dim_value") else dims.get(dim.dim_param, 1)


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


def _batch_axis(info: onnx.ValueInfoProto, tensor: OnnxTensor, nodes: Iterable[onnx.NodeProto]) -> int | None:
    """The batch axis of an input; None for scalars."""
    if not tensor.size:
        return None
    proto = info.type.tensor_type
    named = [axis for axis, dim in enumerate(proto.shape.dim) if BATCH_NAMES.match(dim.dim_param or "")]
    if named and named[0] < len(tensor.size):
        return named[0]
    if tensor.elem_type in FLOATS and len(tensor.size) == 3:
        for node in nodes:
            if node.op_type in RECURRENT_OPS and node.input and node.input[0] == tensor.name:
                return 0 if get_attribute(node, "layout", 0) else 1
    return 0
