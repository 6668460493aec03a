"""Which tensors of an ONNX file are parameters: one rule for initializers and for Constant nodes.

ONNX does not tell trained tensors from other constants. A tensor of the file is a parameter

* if PyTorch's exporter says so; it is none if that says "buffer" or "constant";
* else, if its numbers are floating-point ones, or integers of at most 16 bits (quantised weights), and it has more than
  one element; an initializer of one element needs the dotted name of a module's parameter.

Even then it is none if it is

* a mask: it has a value that suppresses scores, such as -1e9;
* a setting of a quantisation: its name is that of another tensor and `_scale` or `_zero_point`;
* a Constant node of PyTorch's exporter, whose weights are initializers; or one with one number everywhere on several
  axes, which folding leaves;
* used as anything but a number to compute with: sizes, axes, bounds, indices, conditions, coordinates (boxes, sampling
  grids), windows of a Fourier transform. Whatever is cast to bool or to integers of 32 or 64 bits is that;
* the zeros that a recurrence starts from.

Where an operator has a slot for a weight (convolution, factor of a product, bias of Gemm), any tensor with axes is a
weight, also one of one element; so is one element that is added to a product with one output channel: a bias.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx

from cgir import TraceError
from cgir.ops import TORCH_NAMES
from frontends.common.constant_folding import LIMIT

from .external_data import check_location
from .functions import constant_id
from .tensors import WEIGHT_TYPES, OnnxTensor, decode_small

INPUT_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
FOLDED_FROM = "pkg.onnxscript.optimizer.folded_from"
_CONSTANT_OPS = (
    "zeros ones full fill eye arange min_val max_val linspace empty tensor scalar_tensor zeros_like ones_like "
    "full_like lift_fresh_copy lifted_tensor logspace tril_indices triu_indices "
    "hann_window hamming_window blackman_window bartlett_window kaiser_window "
    "to_copy _to_copy shape value"
)
CONSTANT_OPS = frozenset(_CONSTANT_OPS.split())
PARAMETER_NAMES = frozenset(["pos"])  # usual names of parameters, although PyTorch has a function of that name
QUALIFIED_NAME = re.compile(r"^[A-Za-z_]\w*(\.\w+)+$")  # names that only PyTorch's parameters and buffers have
# names of constants by PyTorch's TorchScript exporter, whose weights are initializers
TORCHSCRIPT_CONSTANT = re.compile(r"/Constant(_\d+)?_output_0$")
QUANTISATION_NAME = re.compile(r"^(.+)_(scales?|zero_points?)$")
MAX_MASK_VALUE = -1e4  # a tensor with such a value is a mask and no weight
# operators -> slots of coordinates, scores and windows
COORDINATES: dict[str, tuple[int, ...]] = {
    "RoiAlign": (1,),
    "MaxRoiPool": (1,),
    "GridSample": (1,),
    "AffineGrid": (0,),
    "NonMaxSuppression": (0, 1),
    "STFT": (2,),
}


def initializer_tensors(graph: onnx.GraphProto, model_label: str) -> dict[str, OnnxTensor]:
    """The initializers of a graph as tensors, by name.

    Args:
        graph: of the model, or of a node's attribute.
        model_label: how messages refer to the model.

    Raises:
        TraceError: sizes are negative, a name occurs twice, or the contents are said to lie outside the model's folder.
    """
    kinds = {info.name: _kind(info) for info in graph.value_info if info.metadata_props}
    names = {proto.name for proto in graph.initializer} | {name for node in graph.node for name in node.output}
    tensors: dict[str, OnnxTensor] = {}
    for proto in graph.initializer:
        _check_initializer(proto, model_label)
        tensor = OnnxTensor(proto.name, proto.data_type, tuple(proto.dims), decode_small(proto))
        tensors[_unused(proto.name, tensors, model_label)] = classify(
            tensor, _kind(proto) or kinds.get(proto.name, ""), names
        )
    for sparse in graph.sparse_initializer:
        _check_initializer(sparse.values, model_label)
        tensor = OnnxTensor(sparse.values.name, sparse.values.data_type, tuple(sparse.dims))
        tensors[_unused(sparse.values.name, tensors, model_label)] = classify(tensor, "", names)
    return tensors


def has_constant_weights(model: onnx.ModelProto) -> bool:
    """Whether Constant nodes of a model may be weights: PyTorch's exporters write weights as initializers."""
    return model.producer_name != "pytorch" or not model.graph.initializer


def constant_tensor(node: onnx.NodeProto, may_be_weight: bool) -> OnnxTensor | None:
    """The tensor of a Constant node; None for plain numbers, which fold.

    Args:
        node: the node.
        may_be_weight: whether the model has weights in Constant nodes.
    """
    tensor = next(filter(None, (_attribute_tensor(constant_id(node), attribute) for attribute in node.attribute)), None)
    if tensor is None or TORCHSCRIPT_CONSTANT.search(tensor.name) is not None:
        return tensor
    classify(tensor, "", ())
    tensor.is_param &= may_be_weight and np.prod(tensor.size, dtype=object) > 1 and not _is_uniform_array(tensor)
    return tensor


def _attribute_tensor(name: str, attribute: onnx.AttributeProto) -> OnnxTensor | None:
    """The tensor in an attribute of a Constant node; None for integers, single numbers and strings."""
    if attribute.name == "value_floats":
        size = (len(attribute.floats),)
        data = np.array(attribute.floats, np.float32) if size[0] <= LIMIT else None
        return OnnxTensor(name, onnx.TensorProto.FLOAT, size, data)
    if attribute.name == "value":
        proto = attribute.t
        return OnnxTensor(name, proto.data_type, tuple(proto.dims), decode_small(proto))
    if attribute.name == "sparse_value":
        sparse = attribute.sparse_tensor
        return OnnxTensor(name, sparse.values.data_type, tuple(sparse.dims))
    return None


def without_coordinates(op_type: str, inputs: Sequence[OnnxTensor | None]) -> list[OnnxTensor | None]:
    """Operands of a standard operator, tensors of the file that it takes as coordinates being no parameters.

    Args:
        op_type: name of the operator.
        inputs: its operands, None for those left out.
    """
    slots = COORDINATES.get(op_type, ())
    return [
        tensor
        if slot not in slots or tensor is None or not tensor.is_param or tensor.explicit_shape
        else OnnxTensor(tensor.name, tensor.elem_type, tensor.size, tensor.data)
        for slot, tensor in enumerate(inputs)
    ]


def as_initial_state(tensor: OnnxTensor) -> OnnxTensor:
    """What a recurrence starts from: zeros without the name of a module's parameter are a constant."""
    named = tensor.explicit_shape or QUALIFIED_NAME.match(tensor.name) is not None
    if tensor.value is not None or not tensor.is_param or named or tensor.data is None or np.any(tensor.data):
        return tensor
    return OnnxTensor(tensor.name, tensor.elem_type, tensor.size, tensor.data)


# --- the rule


def classify(tensor: OnnxTensor, kind: str, names: Collection[str]) -> OnnxTensor:
    """The tensor with its attributes set.

    Args:
        tensor: of the file.
        kind: that PyTorch's exporter records, "" where the file has none.
        names: of the graph's tensors.
    """
    tensor.explicit_shape = kind in ("PARAMETER", "BUFFER")
    multiple = np.prod(tensor.size, dtype=object) > 1 or QUALIFIED_NAME.match(tensor.name) is not None
    is_setting = not kind and _is_quantisation_setting(tensor.name, names)
    trainable = tensor.elem_type in WEIGHT_TYPES and (
        kind == "PARAMETER" or (not kind and multiple and not is_setting and not _is_mask(tensor))
    )
    tensor.is_param = trainable
    is_constant = kind in ("BUFFER", "CONSTANT_TENSOR") or is_setting
    may_be_weight = tensor.elem_type in WEIGHT_TYPES or tensor.elem_type == onnx.TensorProto.INT32  # a quantised bias
    tensor.is_weight = not is_constant and may_be_weight and (tensor.is_param or len(tensor.size) > 0)
    return tensor


def _is_mask(tensor: OnnxTensor) -> bool:
    """Whether a constant is added to scores to suppress them."""
    data = tensor.data
    if data is None or data.dtype.kind == "c":
        return False
    with np.errstate(invalid="ignore"):  # NaN in narrow types
        return bool(np.any(data.astype(np.float64) <= MAX_MASK_VALUE))


def _is_uniform_array(tensor: OnnxTensor) -> bool:
    """Whether a constant has one number everywhere, on more than one axis: a bias or a scale has one axis."""
    data = tensor.data
    if data is None or sum(n > 1 for n in tensor.size) < 2:
        return False
    return bool(np.all(data == data.reshape(-1)[0]))


def _is_quantisation_setting(name: str, names: Collection[str]) -> bool:
    """Whether a name is that of a scale or zero point of another tensor, as onnxruntime's quantiser writes them."""
    match = QUANTISATION_NAME.match(name)
    if match is None:
        return False
    base = match[1]
    return base in names or f"{base}_quantized" in names or base.endswith((".weight", ".bias"))


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
    base = re.sub(r"(_default)?(_\d+)?$", "", base)
    if base in PARAMETER_NAMES:
        return False
    if base.endswith(".lifted_tensor"):  # a constant that a submodule's forward writes down
        return True
    return base == "val" or base.lstrip("_") in TORCH_NAMES or base in CONSTANT_OPS


def _unused(name: str, tensors: Mapping[str, OnnxTensor], model_label: str) -> str:
    """The name of an initializer, which no other may have."""
    if name in tensors:
        raise TraceError(f"{model_label}: there are two initializers {name!r}")
    return name


def _check_initializer(proto: onnx.TensorProto, model_label: str) -> None:
    if not isinstance(proto.name, str):
        raise TraceError(f"{model_label}: the name of initializer {proto.name[:50]!r} is no UTF-8")
    if any(n < 0 for n in proto.dims):
        raise TraceError(f"{model_label}: initializer {proto.name!r} has size {tuple(proto.dims)}")
    check_location(proto, model_label)
