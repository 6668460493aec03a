"""Converters of TensorFlow layers: convolutions, normalisation, tables. Weights get PyTorch's order of axes.

Convolutions with a dilation may be written as SpaceToBatchND, a convolution and BatchToSpaceND; one-dimensional ones as
two-dimensional ones (see `windows`). Both become one node.
"""

from __future__ import annotations

from math import prod

from cgir import Param
from cgir.graph import Attr
from frontends.common.kernel_shapes import permute_params
from frontends.common.tape import CallFields, Operand, Size

from .constant_folding import constant_ints
from .graph_def import TFTensor, contents_of
from .graph_walk import Results, TFCall, TFConverter
from .provenance import ExpandedDim, ReshapeOf, SpaceToBatchConv, SpaceToBatchOf
from .windows import (
    channels_last,
    drop,
    emit_windowed,
    expand_result,
    explicit_padding,
    spatial_entries,
    spatial_part,
    squeeze_inputs,
)


def _weight(
    call: TFCall, kernel: TFTensor, order: tuple[int, ...], shape: Size
) -> tuple[tuple[Param, ...], list[Operand]]:
    """A kernel as the node's own parameter if it is a variable, else as an operand with its axes permuted.

    Args:
        call: of the layer.
        kernel: its weight.
        order: old axes in PyTorch's order.
        shape: of the parameter in PyTorch.
    """
    if kernel.variable is not None and kernel.variable.trainable and kernel.value is None:
        return (Param(kernel.variable.id, shape),), []
    value = call.importer.to_value(kernel)
    permute_params(call.tape, value.node, order)
    size = tuple(kernel.size[old] for old in order)
    axis_map = {old: new for new, old in enumerate(order)}
    [value] = call.tape.apply("Transpose", "kernel", [value], [size], axis_map=axis_map)
    return (), [Operand(value, value.size, is_weight=True)]


# --- convolutions


def _conv(call: TFCall) -> Results:
    """Conv2D, Conv3D and DepthwiseConv2dNative; kernels are (window, in, out), depthwise (window, in, multiplier)."""
    image = call.inputs[0]
    source = image.provenance.source if isinstance(image.provenance, ExpandedDim) else image
    if not isinstance(source.provenance, SpaceToBatchOf) or source.value is not None or call.attr("padding") != "VALID":
        return [_emit_conv(call, None)]
    convolution = call.deferred(lambda: call.importer.to_value(_emit_conv(call, None)))
    hint = SpaceToBatchConv(call, source.provenance)
    return [TFTensor(call.size, image.dtype, deferred_value=convolution, provenance=hint)]


def _emit_conv(call: TFCall, blocks: SpaceToBatchOf | None) -> TFTensor:
    """A convolution; with `blocks`, of the tensor that was cut into them, with their number as dilation."""
    image, weight = call.inputs[:2]
    kernel, (in_channels, out_channels) = weight.size[:-2], weight.size[-2:]
    depthwise = call.node.op.startswith("Depthwise")
    stride, dilation = spatial_entries(call, "strides"), spatial_entries(call, "dilations")
    padding = explicit_padding(call, spatial_part(call, image.size), kernel, stride, dilation)
    image_channels = image.size[-1] if channels_last(call) else image.size[1]
    groups = image_channels if depthwise else image_channels // in_channels
    axis, size = None, call.size
    if (squeezed := squeeze_inputs(call, image, weight)) is not None:
        axis, index, image, weight = squeezed
        kernel, stride = drop(kernel, index), drop(stride, index)
        if blocks is None:
            dilation, padding, size = drop(dilation, index), drop(padding, index), drop(size, axis)
    if blocks is not None:
        image, dilation, padding = blocks.source, blocks.block, blocks.padding
    n = len(kernel)
    order = (n, n + 1, *range(n)) if depthwise else (n + 1, n, *range(n))
    shape = (in_channels * out_channels, 1, *kernel) if depthwise else (out_channels, in_channels, *kernel)
    params, weights = _weight(call, weight, order, shape)
    attrs: dict[str, Attr] = {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    operands = [Operand(call.importer.to_value(image), image.size), *weights]
    return expand_result(call, emit_windowed(call, "Conv", operands, attrs, params, size), axis)


def _space_to_batch(call: TFCall) -> Results:
    """SpaceToBatchND: a hint for the convolution that reads it; a node only if anything else does."""
    block = constant_ints(call.inputs[1], "block shape", call.node)
    flat = constant_ints(call.inputs[2], "padding", call.node)
    blocks = SpaceToBatchOf(call.inputs[0], block, tuple(zip(flat[::2], flat[1::2], strict=True)))
    shuffle = call.deferred(lambda: call.emit_inputs("Shuffle", 0)[0])
    return [TFTensor(call.size, call.inputs[0].dtype, deferred_value=shuffle, provenance=blocks)]


def _batch_to_space(call: TFCall) -> Results:
    """BatchToSpaceND: with the SpaceToBatchND and the convolution before it, a dilated convolution."""
    tensor = call.inputs[0]
    if isinstance(tensor.provenance, ReshapeOf) and tensor.value is None:  # a one-dimensional one
        tensor = tensor.provenance.source
    block = constant_ints(call.inputs[1], "block shape", call.node)
    flat = constant_ints(call.inputs[2], "crops", call.node)
    hint = tensor.provenance
    if not isinstance(hint, SpaceToBatchConv) or hint.blocks.block != block or tensor.value is not None:
        return call.emit_inputs("Shuffle", 0)
    crops = zip(flat[::2], flat[1::2], strict=True)
    padding = tuple(
        (before - first, after - last)
        for (before, after), (first, last) in zip(hint.blocks.padding, crops, strict=True)
    )
    conv = hint.call
    merged = TFCall(conv.importer, conv.node, conv.inputs, conv.results, call.sizes)
    return [_emit_conv(merged, SpaceToBatchOf(hint.blocks.source, block, padding))]


def _conv_transpose(call: TFCall) -> Results:
    """Conv2DBackpropInput and Conv3DBackpropInputV2: operands are the output's size, the kernel, and the tensor.

    The kernel is (window, out, in).
    """
    weight, image = call.inputs[1:]
    kernel, (out_channels, in_channels) = weight.size[:-2], weight.size[-2:]
    stride, dilation = spatial_entries(call, "strides"), spatial_entries(call, "dilations")
    after, before = spatial_part(call, call.size), spatial_part(call, image.size)
    padding = explicit_padding(call, after, kernel, stride, dilation)
    output_padding = tuple(
        n - ((m - 1) * s - first - last + d * (k - 1) + 1)
        for n, m, s, (first, last), d, k in zip(after, before, stride, padding, dilation, kernel, strict=True)
    )
    axis, size = None, call.size
    if (squeezed := squeeze_inputs(call, image, weight)) is not None:
        axis, index, image, weight = squeezed
        kernel, stride, dilation = drop(kernel, index), drop(stride, index), drop(dilation, index)
        padding, output_padding, size = drop(padding, index), drop(output_padding, index), drop(size, axis)
    attrs: dict[str, Attr] = {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": 1,
        "output_padding": output_padding,
    }
    n = len(kernel)
    params, weights = _weight(call, weight, (n + 1, n, *range(n)), (in_channels, out_channels, *kernel))
    operands = [Operand(call.importer.to_value(image), image.size), *weights]
    return [expand_result(call, emit_windowed(call, "ConvTranspose", operands, attrs, params, size), axis)]


# --- normalisation, tables


def _batch_norm(call: TFCall) -> Results:
    """FusedBatchNorm and its versions: scale and offset are weights; statistics are not part of the architecture."""
    statistics = [TFTensor(size, dtype) for size, (_, dtype) in zip(call.sizes[1:], call.results[1:], strict=True)]
    if (num_axes := _layer_norm_axes(call)) is not None:
        return [_layer_norm(call, num_axes), *statistics]
    affine = call.inputs[1:3]
    params = tuple(
        Param(tensor.variable.id, tensor.variable.size)
        for tensor in affine
        if tensor.variable is not None and tensor.variable.trainable
    )
    computed = [tensor for tensor in affine if tensor.variable is None and tensor.data is None]
    fields: CallFields = {
        "params": params,
        "channels_last": channels_last(call),
        "num_spatial_dims": len(call.inputs[0].size) - 2,
    }
    values = [call.importer.to_value(tensor) for tensor in (*computed, call.inputs[0])]
    [value] = call.tape.apply("BatchNorm", call.name, [values[-1], *values[:-1]], [call.size], **fields)
    return [value, *statistics]


def _layer_norm_axes(call: TFCall) -> int | None:
    """The number of last axes that a fused norm normalises over, if it is the layer normalisation of Keras 2.

    That flattens the tensor to (1, positions, features, 1), so that positions are the channels of a norm that computes
    its statistics and has no weights.
    """
    image, *affine = call.inputs[:3]
    if not call.attr("is_training") or call.attr("data_format") != "NCHW" or len(image.size) != 4:
        return None
    if any(tensor.variable is not None or tensor.value is not None for tensor in affine):
        return None
    if image.size[0] != 1 or image.size[3] != 1 or not isinstance(image.provenance, ReshapeOf):
        return None
    size = image.provenance.source.size
    return next((n for n in range(1, len(size) + 1) if prod(size[-n:]) == image.size[2]), None)


def _layer_norm(call: TFCall, num_axes: int) -> TFTensor:
    """A layer normalisation over the last axes of the tensor before it was flattened, and the result flattened."""
    assert isinstance(call.inputs[0].provenance, ReshapeOf)
    source = call.inputs[0].provenance.source
    value = call.importer.to_value(source)
    [norm] = call.tape.apply("LayerNorm", call.name, [value], [source.size], attrs={"dims": num_axes})
    flat = call.deferred(lambda: call.emit("Reshape", [norm])[0])
    result = TFTensor(source.size, call.dtype, value=norm)
    return TFTensor(call.size, call.dtype, deferred_value=flat, provenance=ReshapeOf(result))


def _gather(call: TFCall) -> Results:
    """GatherV2 and ResourceGather: rows of a weight are an embedding, anything else is indexing."""
    table, axis, batch_dims = call.inputs[0], 0, call.attr("batch_dims")
    if len(call.inputs) > 2:
        axis = constant_ints(call.inputs[2], "axis", call.node)[0]
    variable = table.variable
    if variable is not None and variable.trainable and axis == 0 and not batch_dims and len(variable.size) == 2:
        return call.emit("Embedding", [call.value(1)], params=(Param(variable.id, variable.size),))
    if variable is not None and table.dtype != variable.dtype:  # a handle: the contents are read here
        table = contents_of(variable)
    rank = len(table.size)
    axis %= max(rank, 1)
    shift = len(call.size) - rank
    axis_map = {old: old if old < axis else old + shift for old in range(rank) if old != axis}
    if prod(call.inputs[1].size) == 1 and call.inputs[1].data is not None:
        return call.emit("Slice", [call.importer.to_value(table)], axis_map=axis_map)
    return call.emit("Gather", [call.importer.to_value(table), call.value(1)], axis_map=axis_map)


CONVERTERS: dict[str, TFConverter] = {
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative"), _conv),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _conv_transpose),
    "SpaceToBatchND": _space_to_batch,
    "BatchToSpaceND": _batch_to_space,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _batch_norm),
    **dict.fromkeys(("GatherV2", "ResourceGather", "Gather"), _gather),
}
