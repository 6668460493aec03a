"""Windows, norms, resampling and padding of ONNX. See `converters` for what a converter is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cgir import TraceError
from cgir.graph import Attr
from frontends.common.tape import Value

from .tensors import Call, Tensor

Emitted = list[Value]
Pairs = tuple[tuple[int, int], ...]
GENERATED = re.compile(r"^(onnx::|val_\d+$)")  # names that PyTorch's exporters give to what no module owns


def _window(call: Call, kernel: Sequence[int]) -> dict[str, Attr]:
    n = len(kernel)
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


def _padding(call: Call, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Pairs:
    """Padding before and after each axis: as given, or what makes the output as large as the input divided by the
    stride.
    """
    n, auto = len(kernel), call.attr("auto_pad", "NOTSET")
    if auto == "VALID":
        return ((0, 0),) * n
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for size, k, s, d in zip(call.need(0).size[-n:], kernel, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
            pairs.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
        return tuple(pairs)
    pads = [int(p) for p in call.attr("pads") or (0,) * (2 * n)]
    return tuple((pads[axis], pads[axis + n]) for axis in range(n))


def _conv_of(weight: int, bias: int) -> Callable[[Call], Emitted]:
    """Convolutions; `weight` and `bias` are the slots of their weights."""

    def emit(call: Call) -> Emitted:
        filters = call.need(weight)
        kernel = filters.size[2:]
        attrs = _window(call, kernel) | {"groups": int(call.attr("group", 1))}
        return call.emit("Conv", [call.need(0)], attrs, weights=[filters, call.get(bias)], num_spatial_dims=len(kernel))

    return emit


def _conv_transpose(call: Call) -> Emitted:
    filters = call.need(1)
    kernel = filters.size[2:]
    n = len(kernel)
    attrs = _window(call, kernel) | {"groups": int(call.attr("group", 1))}
    extra = [int(e) for e in call.attr("output_padding") or (0,) * n]
    before, after = call.need(0).size[-n:], call.sizes[0][-n:]
    pairs = []
    for axis in range(n):  # whatever the padding is called in the file, the sizes say what it amounts to
        full = (
            (before[axis] - 1) * attrs["stride"][axis] + attrs["dilation"][axis] * (kernel[axis] - 1) + 1 + extra[axis]
        )
        first, second = attrs["padding"][axis]
        if call.attr("output_shape") or call.attr("auto_pad", "NOTSET") != "NOTSET":
            total = full - after[axis]
            first = total // 2 if call.attr("auto_pad") != "SAME_UPPER" else total - total // 2
            second = total - first
        pairs.append((first, second))
    attrs |= {"padding": tuple(pairs), "output_padding": tuple(extra)}
    return call.emit("ConvTranspose", [call.need(0)], attrs, weights=[filters, call.get(2)], num_spatial_dims=n)


def _pool(op: str) -> Callable[[Call], Emitted]:
    def emit(call: Call) -> Emitted:
        kernel = call.attr("kernel_shape")
        attrs = _window(call, kernel)
        if op == "AvgPool":
            if all(d == 1 for d in attrs["dilation"]):
                del attrs["dilation"]
            if any(map(any, attrs["padding"])):
                attrs["include_pad"] = bool(call.attr("count_include_pad", 0))
        if op == "LPPool":
            attrs = {"p": float(call.attr("p", 2)), "kernel": attrs["kernel"], "stride": attrs["stride"]}
        return call.emit(op, [call.need(0)], attrs, num_spatial_dims=len(kernel))

    return emit


def _global(op: str) -> Callable[[Call], Emitted]:
    return lambda call: call.emit(op, [call.need(0)], num_spatial_dims=len(call.need(0).size) - 2)


def _affine(call: Call, weight: Tensor | None, bias: Tensor | None) -> list[Tensor | None]:
    """Weight and bias of a norm without those that are constants of ones and zeros, as exporters write a norm that has
    none.
    """
    idle = [_is_full(weight, 1), _is_full(bias, 0)]
    return [None if idle[0] and (idle[1] or bias is None) else weight, None if idle[1] else bias]


def _is_full(tensor: Tensor | None, value: float) -> bool:
    idle = tensor is not None and (not tensor.param or GENERATED.match(tensor.name) is not None) and tensor.static
    return idle and tensor is not None and tensor.data is not None and bool(np.all(np.asarray(tensor.data) == value))


def _running_norm(call: Call) -> Emitted:
    result = call.emit(
        "BatchNorm",
        [call.need(0)],
        weights=_affine(call, call.get(1), call.get(2)),
        sizes=call.sizes[:1],
        num_spatial_dims=_space(call),
    )
    return result + [call.tape.constant("statistic", size) for size in call.sizes[1:]]


def _space(call: Call) -> int:
    return max(len(call.need(0).size) - 2, 0)


def _instance_norm(call: Call) -> Emitted:
    return call.emit(
        "InstanceNorm", [call.need(0)], weights=_affine(call, call.get(1), call.get(2)), num_spatial_dims=_space(call)
    )


def _group_norm(call: Call) -> Emitted:
    groups = int(call.attr("num_groups"))
    return call.emit(
        "GroupNorm",
        [call.need(0)],
        {"groups": groups},
        weights=_affine(call, call.get(1), call.get(2)),
        num_spatial_dims=_space(call),
    )


def _layer_norm(op: str) -> Callable[[Call], Emitted]:
    def emit(call: Call) -> Emitted:
        rank = len(call.need(0).size)
        dims = rank - call.attr("axis", -1) % max(rank, 1)
        weights = [call.get(1)] if op == "RMSNorm" else _affine(call, call.get(1), call.get(2))
        result = call.emit(
            op, [call.need(0)], {"dims": dims}, weights=weights, sizes=call.sizes[:1], layout_op="" if dims > 1 else op
        )
        return result + [call.tape.constant("statistic", size) for size in call.sizes[1:]]

    return emit


def _prelu(call: Call) -> Emitted:
    slope = call.need(1)
    if slope.static and slope.value is None:  # (C, 1, 1) in ONNX, (C,) in PyTorch
        flat = Tensor(slope.name, slope.elem, (int(np.prod(slope.size, dtype=object)),), slope.data, param=slope.param)
        flat.weight = True
        slope = flat
    return call.emit("PReLU", [call.need(0)], weights=[slope])


def _resize(call: Call) -> Emitted:
    rank = len(call.need(0).size)
    spatial = sum(a != b for a, b in zip(call.need(0).size, call.sizes[0], strict=True))
    mode = call.attr("mode", "nearest")
    if mode == "linear":
        mode = {3: "linear", 4: "bilinear", 5: "trilinear"}.get(rank, "bilinear" if spatial == 2 else "linear")
    elif mode == "cubic":
        mode = "bicubic"
    return call.same("Resize", mode=mode)


def _pad(call: Call) -> Emitted:
    rank = len(call.need(0).size)
    pads = call.setting("pads", 1) if call.version >= 11 else call.attr("pads") or call.attr("paddings")
    given = call.get(3)
    axes = [axis % rank for axis in given.ints()] if given is not None else list(range(rank))
    pairs = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        pairs[axis] = (int(pads[place]), int(pads[place + len(axes)]))
    mode = call.attr("mode", "constant")
    mode = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    attrs: dict[str, Attr] = {"padding": tuple(pairs), "mode": mode}
    if mode == "constant":
        value = call.get(2)
        attrs["value"] = float(call.attr("value", 0.0)) if value is None else float(value.scalar or 0)
    return call.emit("Pad", [call.need(0)], attrs)


def _col2im(call: Call) -> Emitted:
    kernel = call.need(2).ints()
    attrs = _window(call, kernel)
    return call.emit("Fold", [call.need(0)], attrs, num_spatial_dims=1)


def _table(names: str, converter: Callable[[Call], Emitted]) -> dict[str, Any]:
    return dict.fromkeys(names.split(), converter)


CONVERTERS: dict[str, Callable[[Call], Emitted]] = {
    "Conv": _conv_of(1, 2), "ConvInteger": _conv_of(1, 4), "QLinearConv": _conv_of(3, 8), "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("MaxPool"), "AveragePool": _pool("AvgPool"), "LpPool": _pool("LPPool"),
    "GlobalAveragePool": _global("GlobalAvgPool"), "GlobalMaxPool": _global("GlobalMaxPool"),
    "BatchNormalization": _running_norm, "InstanceNormalization": _instance_norm, "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm("LayerNorm"), **_table("RMSNormalization SimplifiedLayerNormalization", _layer_norm("RMSNorm")),
    "PRelu": _prelu, **_table("Resize Upsample", _resize), "Pad": _pad, "Col2Im": _col2im,
    "GridSample": lambda call: call.emit("GridSample", call.tensors, num_spatial_dims=len(call.need(0).size) - 2),
}  # fmt: skip
