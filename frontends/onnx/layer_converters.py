"""Converters of ONNX layers: convolutions, pooling, norms, resampling and padding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from cgir import TraceError
from cgir.graph import Attr
from frontends.common.tape import Value

from .calls import OnnxCall, OnnxConverter
from .tensors import OnnxTensor

Pairs: TypeAlias = tuple[tuple[int, int], ...]
GENERATED = re.compile(r"^(onnx::|val_\d+$)")  # names by PyTorch's exporters of tensors that belong to no module


def _window_attrs(call: OnnxCall, kernel: Sequence[int]) -> dict[str, Attr]:
    """Kernel, stride, dilation and padding of an operator with windows."""
    n = len(kernel)
    size = call.require_input(0).size
    if 0 in call.sizes[0] and 0 not in size:
        raise TraceError(f"a window of {tuple(kernel)} does not fit into an input of size {size}")
    stride = tuple(int(s) for s in call.attr("strides") or (1,) * n)
    dilation = tuple(int(d) for d in call.attr("dilations") or (1,) * n)
    if not len(stride) == len(dilation) == n:
        raise TraceError(f"kernel {tuple(kernel)}, strides {stride} and dilations {dilation} must have as many numbers")
    return {
        "kernel": tuple(int(k) for k in kernel),
        "stride": stride,
        "dilation": dilation,
        "padding": _padding(call, kernel, stride, dilation),
    }


def _padding(call: OnnxCall, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Pairs:
    """Padding before and after each axis: explicit, or so that outputs have ceil(size / stride) elements."""
    n, auto = len(kernel), call.attr("auto_pad", "NOTSET")
    if auto == "VALID":
        return ((0, 0),) * n
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for size, k, s, d in zip(call.require_input(0).size[-n:], kernel, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
            pairs.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
        return tuple(pairs)
    pads = [int(p) for p in call.attr("pads") or (0,) * (2 * n)]
    return tuple((pads[axis], pads[axis + n]) for axis in range(n))


def _conv(data_slots: Sequence[int], bias_slot: int) -> OnnxConverter:
    """Convolutions, with the slots of their operands; a deformable one also reads offsets and a mask."""

    def emit(call: OnnxCall) -> list[Value]:
        filters = call.require_input(1)
        kernel = filters.size[2:]
        attrs = _window_attrs(call, kernel) | {"groups": int(call.attr("group", 1))}
        data = [tensor for slot in data_slots if (tensor := call.input(slot)) is not None]
        return call.emit("Conv", data, attrs, weights=[filters, call.input(bias_slot)], num_spatial_dims=len(kernel))

    return emit


def _conv_transpose(call: OnnxCall) -> list[Value]:
    filters = call.require_input(1)
    kernel = filters.size[2:]
    n = len(kernel)
    attrs = _window_attrs(call, kernel) | {"groups": int(call.attr("group", 1))}
    output_padding = [int(e) for e in call.attr("output_padding") or (0,) * n]
    before, after = call.require_input(0).size[-n:], call.sizes[0][-n:]
    pairs = []
    for axis in range(n):  # the sizes determine the padding where the file does not have it explicitly
        reach = attrs["dilation"][axis] * (kernel[axis] - 1) + 1
        unpadded = (before[axis] - 1) * attrs["stride"][axis] + reach + output_padding[axis]
        first, second = attrs["padding"][axis]
        if call.attr("output_shape") or call.attr("auto_pad", "NOTSET") != "NOTSET":
            total = unpadded - after[axis]
            first = total // 2 if call.attr("auto_pad") != "SAME_UPPER" else total - total // 2
            second = total - first
        pairs.append((first, second))
    attrs |= {"padding": tuple(pairs), "output_padding": tuple(output_padding)}
    return call.emit(
        "ConvTranspose", [call.require_input(0)], attrs, weights=[filters, call.input(2)], num_spatial_dims=n
    )


def _pool(op: str) -> OnnxConverter:
    def emit(call: OnnxCall) -> list[Value]:
        kernel = call.attr("kernel_shape")
        attrs = _window_attrs(call, kernel)
        if op == "AvgPool":
            if all(d == 1 for d in attrs["dilation"]):
                del attrs["dilation"]
            if any(map(any, attrs["padding"])):
                attrs["include_pad"] = bool(call.attr("count_include_pad", 0))
        if op == "LPPool":
            attrs = {"p": float(call.attr("p", 2)), "kernel": attrs["kernel"], "stride": attrs["stride"]}
        return call.emit(op, [call.require_input(0)], attrs, num_spatial_dims=len(kernel))

    return emit


def _global_pool(op: str) -> OnnxConverter:
    return lambda call: call.emit(op, [call.require_input(0)], num_spatial_dims=len(call.require_input(0).size) - 2)


def _affine(call: OnnxCall, weight: OnnxTensor | None, bias: OnnxTensor | None) -> list[OnnxTensor | None]:
    """Weight and bias of a norm; None for constants of ones and zeros, which exporters write for norms without any."""
    no_weight, no_bias = _is_constant(weight, 1), _is_constant(bias, 0)
    return [None if no_weight and (no_bias or bias is None) else weight, None if no_bias else bias]


def _is_constant(tensor: OnnxTensor | None, number: float) -> bool:
    """Whether a tensor has this number everywhere and belongs to no module."""
    if tensor is None or tensor.data is None or not tensor.static:
        return False
    if tensor.is_param and GENERATED.match(tensor.name) is None:
        return False
    return bool(np.all(np.asarray(tensor.data) == number))


def _batch_norm(call: OnnxCall) -> list[Value]:
    result = call.emit(
        "BatchNorm",
        [call.require_input(0)],
        weights=_affine(call, call.input(1), call.input(2)),
        sizes=call.sizes[:1],
        num_spatial_dims=_num_spatial_dims(call),
    )
    return result + [call.tape.constant("statistic", size) for size in call.sizes[1:]]


def _num_spatial_dims(call: OnnxCall) -> int:
    return max(len(call.require_input(0).size) - 2, 0)


def _instance_norm(call: OnnxCall) -> list[Value]:
    return call.emit(
        "InstanceNorm",
        [call.require_input(0)],
        weights=_affine(call, call.input(1), call.input(2)),
        num_spatial_dims=_num_spatial_dims(call),
    )


def _group_norm(call: OnnxCall) -> list[Value]:
    groups = int(call.attr("num_groups"))
    return call.emit(
        "GroupNorm",
        [call.require_input(0)],
        {"groups": groups},
        weights=_affine(call, call.input(1), call.input(2)),
        num_spatial_dims=_num_spatial_dims(call),
    )


def _layer_norm(op: str) -> OnnxConverter:
    def emit(call: OnnxCall) -> list[Value]:
        rank = len(call.require_input(0).size)
        num_axes = rank - call.attr("axis", -1) % max(rank, 1)
        weights = [call.input(1)] if op == "RMSNorm" else _affine(call, call.input(1), call.input(2))
        result = call.emit(
            op,
            [call.require_input(0)],
            {"dims": num_axes},
            weights=weights,
            sizes=call.sizes[:1],
            layout_op="" if num_axes > 1 else op,
        )
        return result + [call.tape.constant("statistic", size) for size in call.sizes[1:]]

    return emit


def _prelu(call: OnnxCall) -> list[Value]:
    slope = call.require_input(1)
    if slope.static and slope.value is None:  # (C, 1, 1) in ONNX, (C,) in PyTorch
        size = (int(np.prod(slope.size, dtype=object)),)
        slope = OnnxTensor(slope.name, slope.elem_type, size, slope.data, is_param=slope.is_param)
        slope.is_weight = True
    return call.emit("PReLU", [call.require_input(0)], weights=[slope])


def _resize(call: OnnxCall) -> list[Value]:
    rank = len(call.require_input(0).size)
    num_resized = sum(a != b for a, b in zip(call.require_input(0).size, call.sizes[0], strict=True))
    mode = call.attr("mode", "nearest")
    if mode == "linear":
        mode = {3: "linear", 4: "bilinear", 5: "trilinear"}.get(rank, "bilinear" if num_resized == 2 else "linear")
    elif mode == "cubic":
        mode = "bicubic"
    return call.emit_unary("Resize", mode=mode)


def _pad(call: OnnxCall) -> list[Value]:
    rank = len(call.require_input(0).size)
    pads = call.attr_or_input("pads", 1) if call.since_version >= 11 else call.attr("pads") or call.attr("paddings")
    axes_input = call.input(3)
    axes = [axis % rank for axis in axes_input.ints()] if axes_input is not None else list(range(rank))
    pairs = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        pairs[axis] = (int(pads[index]), int(pads[index + len(axes)]))
    mode = call.attr("mode", "constant")
    mode = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    attrs: dict[str, Attr] = {"padding": tuple(pairs), "mode": mode}
    if mode == "constant":
        value = call.input(2)
        attrs["value"] = float(call.attr("value", 0.0)) if value is None else float(value.scalar or 0)
    return call.emit("Pad", [call.require_input(0)], attrs)


def _col2im(call: OnnxCall) -> list[Value]:
    kernel = call.require_input(2).ints()
    attrs = _window_attrs(call, kernel)
    return call.emit("Fold", [call.require_input(0)], attrs, num_spatial_dims=1)


def _grid_sample(call: OnnxCall) -> list[Value]:
    return call.emit("GridSample", call.present_inputs, num_spatial_dims=len(call.require_input(0).size) - 2)


CONVERTERS: dict[str, OnnxConverter] = {
    "Conv": _conv((0,), 2),
    "DeformConv": _conv((0, 2, 4), 3),
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("MaxPool"),
    "AveragePool": _pool("AvgPool"),
    "LpPool": _pool("LPPool"),
    "GlobalAveragePool": _global_pool("GlobalAvgPool"),
    "GlobalMaxPool": _global_pool("GlobalMaxPool"),
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm("LayerNorm"),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization"), _layer_norm("RMSNorm")),
    "PRelu": _prelu,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Pad": _pad,
    "Col2Im": _col2im,
    "GridSample": _grid_sample,
}
