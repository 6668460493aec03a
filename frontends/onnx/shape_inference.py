"""Sizes of a node's results: ONNX's own inference, one node at a time with all that is known, and rules where that
stops.

Operators whose results depend on values (NonZero, Unique, Compress ...) get the largest size that the result can have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
import onnx
from onnx import defs, numpy_helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from cgir import TraceError
from cgir.errors import one_line
from frontends.common.tape import Size

from .tensors import Tensor, attribute, shape_of

Sizes = list[Size | None]


class Inference:
    """Opsets of a model, and what the file itself says about sizes."""

    def __init__(
        self,
        opsets: Mapping[str, int],
        ir_version: int,
        declared: Mapping[str, onnx.TypeProto],
        dims: Mapping[str, int],
    ) -> None:
        self.opsets, self.ir_version, self.declared, self.dims = dict(opsets), ir_version, declared, dims
        self._imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]

    def schema(self, node: onnx.NodeProto) -> defs.OpSchema | None:
        """The definition of a node's operator, None if onnx knows none."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = self.opsets.get(domain)
        if version is None:
            return None
        try:
            return defs.get_schema(node.op_type, version, domain)
        except defs.SchemaError:
            return None

    def results(
        self, node: onnx.NodeProto, schema: defs.OpSchema | None, inputs: Sequence[Tensor | None]
    ) -> list[onnx.TypeProto]:
        """Types of the results, as far as ONNX can tell; those left out by the node have none either."""
        found: dict[str, onnx.TypeProto] = {}
        if schema is not None and schema.has_type_and_shape_inference_function:
            given = {name: tensor for name, tensor in zip(node.input, inputs, strict=True) if tensor is not None}
            types = {name: tensor.type() for name, tensor in given.items()}
            data = {
                name: numpy_helper.from_array(np.asarray(tensor.known), name)
                for name, tensor in given.items()
                if _tells_size(tensor)
            }
            try:
                found = infer_node_outputs(schema, node, types, data, None, self._imports, self.ir_version)
            except (InferenceError, RuntimeError, ValueError) as error:
                if node.op_type in RULES:
                    return [onnx.TypeProto() for _ in node.output]
                raise TraceError(f"ONNX's shape inference refuses it: {one_line(error, 300)}") from error
        return [found.get(name, onnx.TypeProto()) for name in node.output]

    def sizes(
        self, node: onnx.NodeProto, types: Sequence[onnx.TypeProto], inputs: Sequence[Tensor | None]
    ) -> list[Size]:
        """Sizes of the results, by inference, by rule, or as the file declares them.

        Raises:
            TraceError: one of them stays unknown.
        """
        sizes: Sizes = [None if not kind.HasField("tensor_type") else shape_of(kind.tensor_type, {}) for kind in types]
        if any(size is None for size, name in zip(sizes, node.output, strict=True) if name):
            rule = RULES.get(node.op_type)
            ruled = rule(node, inputs) if rule else None
            if ruled is not None:
                sizes = [
                    size if size is not None else ruled[min(slot, len(ruled) - 1)] for slot, size in enumerate(sizes)
                ]
        for slot, name in enumerate(node.output):
            if sizes[slot] is None and name:
                sizes[slot] = self.as_declared(name)
            if sizes[slot] is None and name:
                raise TraceError(f"the size of its result {name!r} cannot be known without data{_reason(node, inputs)}")
        # ONNX's inference takes its default for 0
        if node.op_type == "STFT" and attribute(node, "onesided", 1) and sizes[0]:
            frame = inputs[3].known if len(inputs) > 3 and inputs[3] is not None else None
            length = (
                frame.item()
                if frame is not None
                else inputs[2].size[0]
                if len(inputs) > 2 and inputs[2] is not None
                else 0
            )
            sizes[0] = (*sizes[0][:2], length // 2 + 1, 2) if length else sizes[0]
        return [() if size is None else size for size in sizes]

    def as_declared(self, name: str) -> Size | None:
        """What the file itself says about a tensor's size."""
        kind = self.declared.get(name)
        return shape_of(kind.tensor_type, self.dims) if kind is not None and kind.HasField("tensor_type") else None


def _tells_size(tensor: Tensor) -> bool:
    """Whether values of a tensor may decide about sizes: ONNX reads integers, and the scales of resizing."""
    data = tensor.known
    return data is not None and data.ndim <= 1 and data.size <= 1024 and data.dtype.kind in "iufb"


def _reason(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f": operators of domain {node.domain!r} are unknown here; run shape inference on the model first, so that the file has the sizes"
    unknown = [
        tensor.name for tensor in inputs[1:] if tensor is not None and tensor.data is None and not tensor.floating
    ]
    return f": it depends on the values of {', '.join(map(repr, unknown))}" if unknown else ""


# --- rules


Rule = Callable[[onnx.NodeProto, Sequence[Tensor | None]], "Sizes | None"]


def _same(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    return None if not inputs or inputs[0] is None else [inputs[0].size]


def _broadcast(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    sizes = [tensor.size for tensor in inputs if tensor is not None]
    rank = max(map(len, sizes), default=0)
    padded = [(1,) * (rank - len(size)) + size for size in sizes]
    return [tuple(next((n for n in column if n != 1), 1) for column in zip(*padded, strict=True))]


def _nonzero(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    return None if inputs[0] is None else [(len(inputs[0].size), prod(inputs[0].size))]


def _unique(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    if inputs[0] is None:
        return None
    axis, size = attribute(node, "axis"), inputs[0].size
    length = prod(size) if axis is None else size[axis]
    return [(length,) if axis is None else size, (length,), (length,), (length,)]


def _compress(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    if inputs[0] is None or inputs[1] is None:
        return None
    axis, size = attribute(node, "axis"), list(inputs[0].size)
    if axis is None:
        size, axis = [prod(size)], 0
    known = inputs[1].known
    size[axis] = min(inputs[1].size[0], size[axis]) if known is None else int(known[: size[axis]].sum())
    return [tuple(size)]


def _suppressed(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    boxes, scores, most = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    if boxes is None or scores is None:
        return None
    each = boxes.size[1] if most is None or most.known is None else min(int(most.known.reshape(-1)[0]), boxes.size[1])
    return [(scores.size[0] * scores.size[1] * each, 3)]


def _range(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    if any(tensor is None or tensor.known is None for tensor in inputs[:3]):
        return None
    start, limit, delta = (tensor.known.item() for tensor in inputs[:3] if tensor is not None)
    return [(max(int(np.ceil((limit - start) / delta)), 0),)]


def _fused_matmul(node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sizes | None:
    a, b = (list(tensor.size) if tensor is not None else [] for tensor in inputs[:2])
    for size, name in ((a, "transA"), (b, "transB")):
        if attribute(node, name, 0):
            size[-2:] = size[:-3:-1]
    lead = _broadcast(node, [Tensor("", 1, tuple(a[:-2])), Tensor("", 1, tuple(b[:-2]))])
    return [(*(lead or [()])[0], a[-2], b[-1])]  # type: ignore[misc]


AS_LARGE = (
    "LayerNormalization SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization Gelu FastGelu QuickGelu BiasGelu GroupNorm "
    "MeanVarianceNormalization GroupNormalization BatchNormalization Dropout Identity RotaryEmbedding Bernoulli StringNormalizer"
)
RULES: dict[str, Rule] = {
    "NonZero": _nonzero, "Unique": _unique, "Compress": _compress, "NonMaxSuppression": _suppressed, "FusedMatMul": _fused_matmul, "Range": _range,
    **dict.fromkeys(AS_LARGE.split(), _same),
    "Where": _broadcast, "Slice": _same,
}  # fmt: skip
