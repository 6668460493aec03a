"""What onnxruntime's optimisers fuse, as the operators that it stands for: layers with activations, sums, norms.

Definitions: onnxruntime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import TensorProto

from .expansion import Expander, Expansion, Results
from .tensors import OnnxTensor

WINDOW = ("group", "kernel_shape", "pads", "strides", "dilations", "auto_pad", "ceil_mode")
# the parameters of activations, in the order in which FusedConv lists them
ACTIVATION_PARAMS: dict[str, tuple[str, ...]] = {
    "LeakyRelu": ("alpha",),
    "Elu": ("alpha",),
    "Celu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
}
ACTIVATION_NAMES = {"Silu": "Swish", "SiLU": "Swish", "silu": "Swish", "swish": "Swish", "relu": "Relu", "gelu": "Gelu"}


def activation(x: Expansion, tensor: OnnxTensor, name: str, params: Sequence[float | None] = ()) -> OnnxTensor:
    """A tensor behind an activation, which the node names in an attribute.

    Args:
        x: the node.
        tensor: before the activation.
        name: of the activation, "" or "none" for none.
        params: its parameters in the order of `ACTIVATION_PARAMS`, None for its defaults.
    """
    name = ACTIVATION_NAMES.get(name, name)
    if name.lower() in ("", "none", "identity"):
        return tensor
    if name == "Clip":
        bounds = [None if bound is None else x.number(bound) for bound in params]
        return x.op("Clip", tensor, *bounds)
    if name == "QuickGelu":
        return quick_gelu(x, tensor, 1.702)
    given = zip(ACTIVATION_PARAMS.get(name, ()), params, strict=False)
    return x.op(name, tensor, **{key: value for key, value in given if value is not None})


def window_attrs(x: Expansion) -> dict[str, Any]:
    """The node's attributes of a window."""
    return x.attrs(*WINDOW)


# --- convolutions


def _fused_conv(x: Expansion) -> Results:
    return [activated_conv(x, x.require_input(0), x.require_input(1), x.input(2), x.input(3))]


def activated_conv(
    x: Expansion,
    image: OnnxTensor,
    filters: OnnxTensor,
    bias: OnnxTensor | None,
    residual: OnnxTensor | None,
    **attrs: Any,
) -> OnnxTensor:
    """A convolution, the sum with a residual, an activation.

    Args:
        x: the node.
        image: with channels second.
        filters: with channels second.
        bias: of the convolution.
        residual: what is added before the activation.
        attrs: of the convolution, in the place of the node's.
    """
    result = x.op("Conv", image, filters, bias, **window_attrs(x) | attrs)
    return activation(x, x.sum(result, residual), x.attr("activation", ""), x.attr("activation_params", ()))


def _nhwc_conv(x: Expansion) -> Results:
    """The same with channels last, of filters with channels first or last."""
    image, filters = x.require_input(0), x.require_input(1)
    if filters.size[1] * x.attr("group", 1) != image.size[-1]:
        filters = x.channels_first(filters)
    residual = None if x.input(3) is None else x.channels_first(x.require_input(3))
    return [x.channels_last(activated_conv(x, x.channels_first(image), filters, x.input(2), residual))]


def _nhwc_max_pool(x: Expansion) -> Results:
    return [x.channels_last(x.op("MaxPool", x.channels_first(x.require_input(0)), **window_attrs(x)))]


def _max_pool_with_mask(x: Expansion) -> Results:
    image, mask = x.require_input(0), x.op("Cast", x.require_input(1), to=TensorProto.FLOAT)
    return [x.op("MaxPool", x.op("Mul", image, mask), **window_attrs(x))]


def _conv_transpose(x: Expansion) -> Results:
    """A transposed convolution whose padding is an input."""
    attrs = window_attrs(x) | x.attrs("output_padding")
    pads = x.input(2)
    if pads is not None:
        attrs["pads"] = pads.ints()
    return [x.op("ConvTranspose", x.require_input(0), x.require_input(1), x.input(3), **attrs)]


# --- products


def fused_gemm(x: Expansion) -> Results:
    """A linear layer with an activation."""
    attrs = x.attrs("transA", "transB", "alpha", "beta")
    result = x.op("Gemm", x.require_input(0), x.require_input(1), x.input(2), **attrs)
    return [_gemm_activation(x, result)]


def _gemm_activation(x: Expansion, tensor: OnnxTensor) -> OnnxTensor:
    name = x.attr("activation", "")
    return activation(x, tensor, name, [x.attr(f"activation_{key}") for key in ACTIVATION_PARAMS.get(name, ())])


def _scaled_product(x: Expansion) -> OnnxTensor:
    """A product whose factors are transposed before, and which is multiplied with a number."""
    factors = [_transposed(x, x.require_input(slot), letter) for slot, letter in ((0, "A"), (1, "B"))]
    result = x.op("MatMul", *factors)
    alpha = x.attr("alpha", 1.0)
    return result if alpha == 1 else x.op("Mul", result, x.number(alpha))


def _transposed(x: Expansion, tensor: OnnxTensor, letter: str) -> OnnxTensor:
    rank = len(tensor.size)
    if rank < 2:
        return tensor
    order = list(range(rank))
    if x.attr(f"transBatch{letter}", 0):  # the first axis goes behind those of the batch
        order = [*range(1, rank - 1), 0, rank - 1]
    if x.attr(f"trans{letter}", 0):
        order[-2:] = order[:-3:-1]
    return tensor if order == list(range(rank)) else x.transpose(tensor, *order)


def _fused_matmul(x: Expansion) -> Results:
    return [_scaled_product(x)]


def _fused_matmul_activation(x: Expansion) -> Results:
    result = _scaled_product(x)
    if x.attr("activation") == "Softmax":
        return [x.op("Softmax", result, axis=x.attr("activation_axis", -1))]
    return [_gemm_activation(x, result)]


def _gemm_fast_gelu(x: Expansion) -> Results:
    total = x.sum(x.op("MatMul", x.require_input(0), x.require_input(1)), x.input(2))
    return [x.op("Gelu", total, approximate="tanh")]


# --- activations


def quick_gelu(x: Expansion, tensor: OnnxTensor, alpha: float) -> OnnxTensor:
    """x sigmoid(alpha x).

    Args:
        x: the node.
        tensor: the argument of the function.
        alpha: its factor.
    """
    scaled = tensor if alpha == 1 else x.op("Mul", tensor, x.number(alpha))
    return x.op("Mul", tensor, x.op("Sigmoid", scaled))


def _gelu(approximate: str) -> Expander:
    """GELU of a sum of all inputs."""
    return lambda x: [x.op("Gelu", x.sum(*x.inputs), approximate=approximate)]


def _bias_split_gelu(x: Expansion) -> Results:
    """The first half of the channels times GELU of the second."""
    total = x.sum(x.require_input(0), x.require_input(1))
    half = total.size[-1] // 2
    left, right = x.split(total, [half, half])
    return [x.op("Mul", left, x.op("Gelu", right))]


def _sum(num_inputs: int) -> Expander:
    """The sum of the first inputs; a mask of what is dropped in training is of no importance."""

    def expand(x: Expansion) -> Results:
        total = x.sum(*x.inputs[:num_inputs])
        return [total, x.constant("mask", total.size)]

    return expand


def _bias_softmax(x: Expansion) -> Results:
    return [x.op("Softmax", x.sum(x.require_input(0), x.require_input(1)), axis=x.attr("axis", 1))]


def _scaled_silu(x: Expansion) -> Results:
    scale = x.input(1)
    activated = quick_gelu(x, x.require_input(0), float(x.attr("alpha", 1.0)))
    return [activated if scale is None else x.op("Mul", activated, scale)]


# --- norms


def skip_norm(op: str) -> Expander:
    """A norm of the sum of all inputs; the sum is a result too."""

    def expand(x: Expansion) -> Results:
        layer = op == "LayerNormalization"
        affine = [x.require_input(2), x.input(3)] if layer else [x.require_input(2)]
        total = _biased_sum(x, [x.require_input(0), x.require_input(1)], x.input(4 if layer else 3))
        result = x.op(op, total, *affine, axis=-1)
        return [result, *statistics(x, total), total]

    return expand


def _biased_sum(x: Expansion, addends: list[OnnxTensor], bias: OnnxTensor | None) -> OnnxTensor:
    """The sum of two tensors and a bias, which belongs to the one that is a product, whichever it was fused with."""
    products = [_is_product(x, tensor) for tensor in addends]
    owner = products.index(True) if bias is not None and True in products else 0
    addends[owner] = x.sum(addends[owner], bias)
    return x.sum(*addends)


def _is_product(x: Expansion, tensor: OnnxTensor) -> bool:
    """Whether a tensor is a matrix product, perhaps reshaped."""
    if tensor.value is None:
        return False
    node = x.tape.nodes[tensor.value.node]
    while node.op in ("Reshape", "Transpose", "Cast") and node.inputs:
        node = x.tape.nodes[node.inputs[0]]
    return node.op == "MatMul"


def statistics(x: Expansion, tensor: OnnxTensor) -> list[OnnxTensor]:
    """Mean and deviation, which only training needs."""
    return [x.constant("statistic", (*tensor.size[:-1], 1)) for _ in range(2)]


def _simplified_layer_norm(x: Expansion) -> Results:
    tensor = x.require_input(0)
    return [x.op("RMSNormalization", tensor, x.require_input(1), axis=x.attr("axis", -1)), *statistics(x, tensor)[:1]]


def _layer_norm(x: Expansion) -> Results:
    tensor = x.require_input(0)
    result = x.op("LayerNormalization", tensor, x.require_input(1), x.input(2), axis=x.attr("axis", -1))
    return [result, *statistics(x, tensor)]


def _group_norm(skip: bool) -> Expander:
    """GroupNorm, perhaps of a sum, and perhaps an activation; channels are last unless the node says otherwise."""

    def expand(x: Expansion) -> Results:
        tensor = x.require_input(0)
        if skip:
            added = x.require_input(3)
            batch, channels, rank = tensor.size[0], tensor.size[-1], len(tensor.size)
            if len(added.size) == 2:
                added = x.reshape(added, (batch, *(1,) * (rank - 2), channels))
            tensor = x.sum(tensor, added, x.input(4))
        last = bool(x.attr("channels_last", 1))
        result = x.op(
            "GroupNormalization",
            x.channels_first(tensor) if last else tensor,
            x.require_input(1),
            x.require_input(2),
            num_groups=x.attr("groups"),
        )
        if x.attr("activation", 0):
            result = quick_gelu(x, result, 1.0)
        return [x.channels_last(result) if last else result, tensor]

    return expand


FUSED: dict[str, Expander] = {
    "FusedConv": _fused_conv,
    **dict.fromkeys(("NhwcConv", "NhwcFusedConv"), _nhwc_conv),
    "NhwcMaxPool": _nhwc_max_pool,
    "MaxpoolWithMask": _max_pool_with_mask,
    "ConvTransposeWithDynamicPads": _conv_transpose,
    **dict.fromkeys(("FusedGemm", "GemmFloat8"), fused_gemm),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul", "SparseToDenseMatMul"), _fused_matmul),
    "FusedMatMulActivation": _fused_matmul_activation,
    "GemmFastGelu": _gemm_fast_gelu,
    **dict.fromkeys(("Gelu", "BiasGelu"), _gelu("none")),
    "FastGelu": _gelu("tanh"),
    "QuickGelu": lambda x: [quick_gelu(x, x.require_input(0), float(x.attr("alpha", 1.702)))],
    "ScaledSiLU": _scaled_silu,
    "BiasSplitGelu": _bias_split_gelu,
    **dict.fromkeys(("BiasAdd", "BiasDropout", "BitmaskBiasDropout"), _sum(3)),
    "BitmaskDropout": _sum(1),
    "BiasSoftmax": _bias_softmax,
    "LayerNormalization": _layer_norm,
    "SimplifiedLayerNormalization": _simplified_layer_norm,
    "SkipLayerNormalization": skip_norm("LayerNormalization"),
    "SkipSimplifiedLayerNormalization": skip_norm("RMSNormalization"),
    "GroupNorm": _group_norm(skip=False),
    "SkipGroupNorm": _group_norm(skip=True),
}
