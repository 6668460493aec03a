"""Operators of onnxruntime that are no layers: those that ONNX has too, transforms, distances, crops."""

from __future__ import annotations

from .expansion import Expander, Expansion, Results
from .tensors import OnnxTensor

# --- operators that the default domain has too


def standard(op_type: str, *attr_names: str, **renamed: str) -> Expander:
    """An operator that the default domain has with the same operands.

    Args:
        op_type: its name there.
        attr_names: attributes that both have.
        renamed: name there -> name here.
    """

    def expand(x: Expansion) -> Results:
        attrs = x.attrs(*attr_names)
        attrs |= {there: x.attr(here) for there, here in renamed.items() if x.attr(here) is not None}
        return x.ops(op_type, x.inputs, len(x.node.output), **attrs)

    return expand


def _expand_dims(x: Expansion) -> Results:
    return [x.op("Unsqueeze", x.require_input(0), x.ints(*x.require_input(1).ints()))]


def _complex_product(x: Expansion) -> Results:
    """Products of complex numbers, whose two parts are on the last axis: four products and two sums."""
    return [x.op("Mul", x.require_input(0), x.require_input(1))]


def _fft(x: Expansion) -> Results:
    """The real Fourier transform of the last axis; its two parts are a new last axis."""
    tensor = x.require_input(0)
    signal = x.reshape(tensor, (*tensor.size, 1))
    return [x.op("DFT", signal, None, x.reshape(x.ints(len(tensor.size) - 1), ()), onesided=x.attr("onesided", 1))]


def _distances(x: Expansion) -> Results:
    """Distances of all pairs of rows: products of rows, and their norms."""
    left, right = x.require_input(0), x.require_input(1)
    difference = x.op("Sub", x.op("Unsqueeze", left, x.ints(1)), x.op("Unsqueeze", right, x.ints(0)))
    squares = x.op("ReduceSumSquare", difference, x.ints(2), keepdims=0)
    return [squares if x.attr("metric", "sqeuclidean") == "sqeuclidean" else x.op("Sqrt", squares)]


def _inverse_fft(x: Expansion) -> Results:
    tensor = x.require_input(0)
    *lead, frequencies, _ = tensor.size
    length = 2 * (frequencies - 1) if x.attr("onesided", 1) else frequencies
    return x.emit("FFT", [tensor], [(*lead, length)])


def _windows(x: Expansion) -> Results:
    """Windows of one axis, whose elements are a new last one."""
    tensor, width = x.require_input(0), int(x.attr("size"))
    axis = int(x.attr("dim", -1)) % len(tensor.size)
    count = (tensor.size[axis] - width) // int(x.attr("step", 1)) + 1
    return x.emit("Unfold", [tensor], [(*tensor.size[:axis], count, *tensor.size[axis + 1 :], width)])


def _crops(x: Expansion) -> Results:
    """Regions of images, resized: none of their elements is multiplied with a weight, as in `Resize`."""
    image, boxes, size = x.require_input(0), x.require_input(1), x.require_input(3).ints()
    x.inputs[1] = OnnxTensor(boxes.name, boxes.elem_type, boxes.size, boxes.data, boxes.value)
    return x.opaque([(boxes.size[0], image.size[1], *size)], flops=0)


def _word_embedding(x: Expansion) -> Results:
    """Embeddings of the characters of words, a convolution over them, the largest value of each filter."""
    characters = x.op("Unsqueeze", x.op("Gather", x.require_input(3), x.require_input(0)), x.ints(1))
    filtered = x.op("Tanh", x.op("Conv", characters, x.require_input(1), x.require_input(2)))
    return [x.op("ReduceMax", filtered, x.ints(2, 3), keepdims=0)]


def _like(slot: int, **attrs: int) -> Expander:
    """An operator without a formula whose result has the size of an operand."""
    return lambda x: x.opaque([x.require_input(slot).size], **attrs)


ELEMENTARY: dict[str, Expander] = {
    "Pad": standard("Pad", "mode"),
    "Range": standard("Range"),
    "Trilu": standard("Trilu", "upper"),
    "GatherND": standard("GatherND"),
    "Unique": standard("Unique"),
    "GridSample": standard("GridSample", "mode", "padding_mode", "align_corners"),
    "ExpandDims": _expand_dims,
    **dict.fromkeys(("ComplexMul", "ComplexMulConj"), _complex_product),
    "Rfft": _fft,
    "CDist": _distances,
    "Irfft": _inverse_fft,
    "UnfoldTensor": _windows,
    "CropAndResize": _crops,
    "WordConvEmbedding": _word_embedding,
    "NGramRepeatBlock": _like(1, flops=0),
    **dict.fromkeys(("Inverse", "SampleOp"), _like(0)),
}
