"""Inputs and initializers of an ONNX model: which tensors there are before the first node, and of what size.

The batch is axis 0 of the inputs; axis 1 where the input goes straight into a recurrent layer that has time first; or
the axis that the model calls "batch", "batch_size" or "N". An input whose batch axis has another size than the first
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
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest

from .tensors import FLOATS, Tensor, attribute, decoded

KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
FOLDED = "pkg.onnxscript.optimizer.folded_from"
BATCH = re.compile(r"^(n|b|bs|batch|batch_?size|unk__\d+)$", re.IGNORECASE)
_SOURCES = (
    "zeros ones full fill eye arange min_val max_val linspace empty tensor scalar_tensor zeros_like ones_like full_like lift_fresh_copy lifted_tensor "
    "to_copy _to_copy shape value"
)
SOURCES = frozenset(_SOURCES.split())
QUALIFIED = re.compile(r"^[A-Za-z_]\w*(\.\w+)+$")  # names that only PyTorch's parameters and buffers have
NEVER_TRAINED = -1e4  # below it are masks, not weights
HINTS = 64  # elements of an example whose values are looked at
RECURRENT = ("LSTM", "GRU", "RNN")


def initializers(graph: onnx.GraphProto, where: str) -> dict[str, Tensor]:
    """The tensors that a graph brings along, by name.

    Floating-point ones of more than one element, or with the name of a module's parameter, are trainable, unless
    PyTorch's exporter says that they are buffers or constants.

    Raises:
        TraceError: sizes are negative, a name occurs twice, or the contents are said to lie outside the model's folder.
    """
    kinds = {info.name: _kind(info) for info in graph.value_info if info.metadata_props}
    found: dict[str, Tensor] = {}
    for proto in graph.initializer:
        _check(proto, where)
        tensor = Tensor(proto.name, proto.data_type, tuple(proto.dims), decoded(proto))
        found[_new(proto.name, found, where)] = _classified(tensor, _kind(proto) or kinds.get(proto.name, ""))
    for sparse in graph.sparse_initializer:
        _check(sparse.values, where)
        tensor = Tensor(sparse.values.name, sparse.values.data_type, tuple(sparse.dims))
        found[_new(sparse.values.name, found, where)] = _classified(tensor, "")
    return found


def _kind(proto: Any) -> str:
    """What PyTorch's exporter says that a tensor is; what its optimiser computed is what it was computed from."""
    found = {entry.key: entry.value for entry in proto.metadata_props}
    if KIND in found or FOLDED not in found:
        return found.get(KIND, "")
    sources = re.findall(r"'([^']*)'", found[FOLDED])
    return "PARAMETER" if any(not _is_generated(name) for name in sources) else "CONSTANT_TENSOR"


def _is_generated(name: str) -> bool:
    """Whether a name is that of an intermediate result, which PyTorch calls after the function that computed it, and
    not that of a parameter.
    """
    base = re.sub(r"(_split)?_\d+$", "", name)
    base = re.sub(r"_\d+$", "", base)
    if base.endswith(".lifted_tensor"):  # a constant that a submodule's forward writes down
        return True
    return base == "val" or base.lstrip("_") in TORCH_NAMES or base in SOURCES


def _new(name: str, found: Mapping[str, Tensor], where: str) -> str:
    if name in found:
        raise TraceError(f"{where}: there are two initializers {name!r}")
    return name


def _classified(tensor: Tensor, kind: str) -> Tensor:
    tensor.kept = kind in ("PARAMETER", "BUFFER")
    many = prod(tensor.size) > 1 or QUALIFIED.match(tensor.name) is not None
    tensor.param = tensor.floating and (kind == "PARAMETER" or (not kind and many and not _is_mask(tensor)))
    tensor.weight = kind not in ("BUFFER", "CONSTANT_TENSOR") and (tensor.param or len(tensor.size) > 0)
    return tensor


def _is_mask(tensor: Tensor) -> bool:
    return tensor.data is not None and bool(np.any(np.asarray(tensor.data, dtype=np.float64) <= NEVER_TRAINED))


def _check(proto: onnx.TensorProto, where: str) -> None:
    if any(n < 0 for n in proto.dims):
        raise TraceError(f"{where}: initializer {proto.name!r} has size {tuple(proto.dims)}")
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
            f"{where}: initializer {proto.name!r} says that its contents lie outside the model's folder, in {location!r}; the file was not opened"
        )


# --- inputs


def graph_inputs(
    model: onnx.ModelProto, given: set[str], request: TraceRequest, where: str
) -> tuple[list[Tensor], int]:
    """The model's inputs with the sizes they get from the request, and the size of the batch.

    Raises:
        TraceError: sizes are missing or do not fit.
    """
    infos = [info for info in model.graph.input if info.name not in given]
    asked = _asked(request, [info.name for info in infos], where)
    _check_dims(request.dims, model, where)
    tensors = [_input(info, asked.get(info.name), request.dims, where) for info in infos]
    examples = _by_name(request.inputs, [info.name for info in infos])
    for tensor in tensors:
        tensor.hint = _hint(examples.get(tensor.name))
    places = [place_of(info, tensor, model.graph.node) for info, tensor in zip(infos, tensors, strict=True)]
    first = next(((tensor.size[place]) for tensor, place in zip(tensors, places, strict=True) if place is not None), 1)
    return tensors, max(first, 1)


def put_inputs(tape: Tape, model: onnx.ModelProto, tensors: Iterable[Tensor]) -> None:
    """Make the tensors inputs of the graph on the tape."""
    infos = {info.name: info for info in model.graph.input}
    for tensor in tensors:
        place = place_of(infos[tensor.name], tensor, model.graph.node)
        fits = place is not None and tensor.size[place] == tape.batch
        tensor.value = tape.input(tensor.name, tensor.size, place if fits else None, tensor.floating)


def _asked(request: TraceRequest, names: list[str], where: str) -> dict[str, Size]:
    """Sizes that the caller gives, by input name."""
    given = request.inputs if request.inputs is not None else request.input_shape
    if given is None:
        return {}
    if isinstance(given, Mapping):
        unknown = sorted(set(map(str, given)) - set(names))
        if unknown:
            raise TraceError(
                f"{where}: there is no input {unknown[0]!r}; the inputs are {', '.join(map(repr, names)) or 'none'}"
            )
        return {str(name): _size(value, where) for name, value in given.items()}
    several = isinstance(given, tuple | list) and (not given or not all(isinstance(n, int) for n in given))
    values = list(given) if several else [given]
    if len(values) > len(names):
        raise TraceError(
            f"{where}: {len(values)} inputs are given, but the model has {len(names)}: {', '.join(map(repr, names)) or 'none'}"
        )
    return {name: _size(value, where) for name, value in zip(names, values, strict=False)}


def _by_name(given: Any, names: list[str]) -> dict[str, Any]:
    """Example inputs by name, however they are given."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    return dict(zip(names, given if isinstance(given, tuple | list) else [given], strict=False))


def _hint(value: Any) -> Any:
    """The values of an example that may be sizes, axes or numbers of rounds: few of them, in one row."""
    if len(getattr(value, "shape", (0, 0))) > 1 or getattr(value, "is_meta", False):
        return None
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return array if array.size <= HINTS and array.dtype.kind in "iufb" else None


def _size(value: Any, where: str) -> Size:
    shape = getattr(value, "shape", value)
    try:
        size = tuple(int(n) for n in shape)
    except (TypeError, ValueError):
        size = (-1,)
    if any(n < 0 for n in size):
        raise TraceError(
            f"{where}: inputs are given as tensors or shapes with the batch first, such as (1, 3, 224, 224); found {value!r}"
        )
    return size


def _check_dims(dims: Mapping[str, int], model: onnx.ModelProto, where: str) -> None:
    known = {dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim if dim.dim_param}
    for name, size in dims.items():
        if name not in known:
            raise TraceError(
                f"{where}: no input has a dimension named {name!r}; there are {', '.join(map(repr, sorted(known))) or 'none'}"
            )
        if not isinstance(size, int) or size < 1:
            raise TraceError(f"{where}: dims[{name!r}] must be a positive integer, found {size!r}")


def _input(info: onnx.ValueInfoProto, asked: Size | None, dims: Mapping[str, int], where: str) -> Tensor:
    kind = info.type.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return _container(info, asked)
    if kind not in ("tensor_type", "sparse_tensor_type"):
        raise TraceError(f"{where}: input {info.name!r} is of type {kind or 'unknown'}, expected a tensor")
    proto = getattr(info.type, kind)
    declared = [_open(dim, dims) for dim in proto.shape.dim] if proto.HasField("shape") else None
    if declared is None and asked is None:
        raise TraceError(
            f"{where}: input {info.name!r} has no shape in the file; pass input_shape={{{info.name!r}: (1, ...)}} or example inputs"
        )
    if asked is not None and declared is not None and len(asked) != len(declared):
        raise TraceError(
            f"{where}: input {info.name!r} has {len(declared)} axes in the file, found {len(asked)} in the shape {asked} that is given"
        )
    size = asked if asked is not None else tuple(declared or ())
    if any(n < 0 for n in size):
        raise TraceError(f"{where}: input {info.name!r} has size {size} in the file")
    return Tensor(info.name, proto.elem_type, size)


def _open(dim: onnx.TensorShapeProto.Dimension, dims: Mapping[str, int]) -> int:
    return dim.dim_value if dim.HasField("dim_value") else dims.get(dim.dim_param, 1)


def _container(info: onnx.ValueInfoProto, asked: Size | None) -> Tensor:
    """A sequence of tensors, or a tensor that may be missing: the size is that of one tensor, if the file says it."""
    kind = info.type
    sequence = False
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        sequence |= kind.WhichOneof("value") == "sequence_type"
        kind = kind.sequence_type.elem_type if kind.HasField("sequence_type") else kind.optional_type.elem_type
    proto = kind.tensor_type
    tensor = Tensor(
        info.name, proto.elem_type, asked if asked is not None else tuple(_open(dim, {}) for dim in proto.shape.dim)
    )
    tensor.sequence = sequence
    return tensor


def place_of(info: onnx.ValueInfoProto, tensor: Tensor, nodes: Iterable[onnx.NodeProto]) -> int | None:
    """The batch axis of an input."""
    if not tensor.size:
        return None
    proto = info.type.tensor_type
    named = [axis for axis, dim in enumerate(proto.shape.dim) if BATCH.match(dim.dim_param or "")]
    if named and named[0] < len(tensor.size):
        return named[0]
    if tensor.elem in FLOATS and len(tensor.size) == 3:
        for node in nodes:
            if node.op_type in RECURRENT and node.input and node.input[0] == tensor.name:
                return 0 if attribute(node, "layout", 0) else 1
    return 0
