"""Shape inference of one node at a time: by ONNX's own inference, by rules where that stops, or as the file declares.

Operators whose results depend on values (NonZero, Unique, Compress ...) get the largest size that the result can have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import TypeAlias

import numpy as np
import onnx
from onnx import defs

from cgir import TraceError
from cgir.limits import DEFAULT, Limits
from frontends.common.tape import Size

from .node_inference import Inputs, infer
from .tensors import ResultType, declared_size, get_attribute

Sizes: TypeAlias = list[Size | None]
LATEST_OPSET = 1 << 20  # above every opset, for operators whose version is unknown


class ShapeInference:
    """Element types and sizes of the results of a model's nodes; `opsets` are the versions by domain."""

    def __init__(
        self,
        opsets: Mapping[str, int],
        ir_version: int,
        declared: Mapping[str, onnx.TypeProto],
        dims: Mapping[str, int],
        limits: Limits = DEFAULT,
    ) -> None:
        """Inference for the nodes of one model.

        Args:
            opsets: domain -> version of the operators in it.
            ir_version: of the model.
            declared: types that the file has for tensors by name.
            dims: sizes of named dimensions in those types.
            limits: of what inference may take.
        """
        self.opsets = dict(opsets)
        self.ir_version, self._declared, self._dims, self._limits = ir_version, declared, dims, limits

    def schema(self, node: onnx.NodeProto) -> defs.OpSchema | None:
        """The definition of a node's operator, None if onnx has none."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = self.opsets.get(domain)
        return None if version is None else _schema(node.op_type, version, domain)

    def result_types(self, node: onnx.NodeProto, schema: defs.OpSchema | None, inputs: Inputs) -> list[ResultType]:
        """Types of the results that ONNX's own inference determines; unknown ones otherwise.

        Args:
            node: the node.
            schema: definition of its operator.
            inputs: its operands, None for those left out.

        Raises:
            TraceError: ONNX refuses the operands, and there is no rule for the operator.
        """
        unknown = [ResultType() for _ in node.output]
        if schema is None or not schema.has_type_and_shape_inference_function:
            return unknown
        error, types = infer(node, schema, inputs, self.opsets, self.ir_version, self._limits)
        if error and node.op_type in SIZE_RULES:
            return unknown
        if error:
            raise TraceError(f"ONNX's shape inference refuses it: {error}")
        return types

    def result_sizes(self, node: onnx.NodeProto, types: Sequence[ResultType], inputs: Inputs) -> list[Size]:
        """Sizes of the results: inferred, by rule, or declared in the file; () for results that are left out.

        Args:
            node: the node.
            types: of its results, from `result_types`.
            inputs: its operands, None for those left out.

        Raises:
            TraceError: a size stays unknown.
        """
        sizes = [kind.size for kind in types]
        if any(size is None for size, name in zip(sizes, node.output, strict=True) if name):
            sizes = _filled_by_rule(node, inputs, sizes)
        for slot, name in enumerate(node.output):
            if sizes[slot] is None and name:
                sizes[slot] = self._declared_size(name)
            if sizes[slot] is None and name:
                reason = _unknown_reason(node, inputs, self.opsets.get("", 1))
                raise TraceError(f"the size of its result {name!r} cannot be known without data{reason}")
        known_sizes = [() if size is None else size for size in sizes]
        correct = CORRECTIONS.get(node.op_type)
        return correct(node, inputs, known_sizes) if correct is not None else known_sizes

    def _declared_size(self, name: str) -> Size | None:
        declared = self._declared.get(name)
        if declared is None or not declared.HasField("tensor_type"):
            return None
        return declared_size(declared.tensor_type, self._dims)


def _filled_by_rule(node: onnx.NodeProto, inputs: Inputs, sizes: Sizes) -> Sizes:
    """The sizes, unknown ones by the operator's rule; results behind those of the rule have its last one."""
    rule = SIZE_RULES.get(node.op_type)
    by_rule = rule(node, inputs) if rule else None
    if by_rule is None:
        return sizes
    return [size if size is not None else by_rule[min(slot, len(by_rule) - 1)] for slot, size in enumerate(sizes)]


@lru_cache(4096)
def _schema(op_type: str, version: int, domain: str) -> defs.OpSchema | None:
    try:
        return defs.get_schema(op_type, version, domain)
    except (defs.SchemaError, TypeError):  # a TypeError for names that are no UTF-8, and versions beyond 32 bits
        return None


def _first_version(op_type: str) -> int | None:
    """The opset that brought an operator of the default domain, None where none has."""
    versions = [
        schema.since_version
        for schema in defs.get_all_schemas_with_history()
        if schema.name == op_type and schema.domain in ("", "ai.onnx")
    ]
    return min(versions, default=None)


def _unknown_reason(node: onnx.NodeProto, inputs: Inputs, opset: int) -> str:
    """Why a size is unknown, as a part of a message.

    Args:
        node: the operator.
        inputs: its operands.
        opset: version of the default domain.
    """
    if node.domain not in ("", "ai.onnx"):
        known = REASONS.get(node.op_type, f"operators of domain {node.domain!r} are unknown here")
        return (
            f": {known}. Either trace a part of the model without it (onnx.utils.extract_model writes one), or write "
            "the size into the file's graph.value_info, which keeps the operator as one of unknown cost"
        )
    since = _first_version(node.op_type)
    if since is None:
        return f": {node.op_type} is no operator of ONNX; exporters leave such nodes in, replace it in the file"
    if since > opset:
        return f": {node.op_type} is an operator of ONNX since opset {since}, but the file has opset {opset}"
    unknown = [
        tensor.name for tensor in inputs[1:] if tensor is not None and tensor.data is None and not tensor.is_floating
    ]
    return f": it depends on the values of {', '.join(map(repr, unknown))}" if unknown else ""


_GENERATES = (
    "it runs the decoder in its attribute until an end token, so that the number of steps depends on values; the "
    "decoder can be traced as a model of its own"
)
_TOKENIZES = "how many tokens there are depends on the text"
# operators of other domains that no rule can cover
REASONS: dict[str, str] = {
    **dict.fromkeys(("BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"), _GENERATES),
    **dict.fromkeys(("Tokenizer", "BertTokenizer", "WordpieceTokenizer", "SentencepieceTokenizer"), _TOKENIZES),
    **dict.fromkeys(("GPT2Tokenizer", "CLIPTokenizer", "RobertaTokenizer", "HfBertTokenizer"), _TOKENIZES),
    "EPContext": "it is a network that was compiled for a device, of which the file has no description",
}


# --- rules


SizeRule: TypeAlias = Callable[[onnx.NodeProto, Inputs], Sizes | None]


def _like_first(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    return None if not inputs or inputs[0] is None else [inputs[0].size]


def _broadcast(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    sizes = [tensor.size for tensor in inputs if tensor is not None]
    rank = max(map(len, sizes), default=0)
    padded = [(1,) * (rank - len(size)) + size for size in sizes]
    return [tuple(next((n for n in column if n != 1), 1) for column in zip(*padded, strict=True))]


def _nonzero(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    return None if inputs[0] is None else [(len(inputs[0].size), prod(inputs[0].size))]


def _unique(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    if inputs[0] is None:
        return None
    axis, size = get_attribute(node, "axis"), inputs[0].size
    length = prod(size) if axis is None else size[axis]
    return [(length,) if axis is None else size, (length,), (length,), (length,)]


def _compress(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    if inputs[0] is None or inputs[1] is None:
        return None
    axis, size = get_attribute(node, "axis"), list(inputs[0].size)
    if axis is None:
        size, axis = [prod(size)], 0
    condition = inputs[1].known_value
    size[axis] = min(inputs[1].size[0], size[axis]) if condition is None else int(condition[: size[axis]].sum())
    return [tuple(size)]


def _non_max_suppression(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    boxes, scores, limit = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    if boxes is None or scores is None:
        return None
    num_boxes = boxes.size[1]
    if limit is not None and limit.known_value is not None:
        num_boxes = min(int(limit.known_value.reshape(-1)[0]), num_boxes)
    return [(scores.size[0] * scores.size[1] * num_boxes, 3)]


def _range(node: onnx.NodeProto, inputs: Inputs) -> Sizes | None:
    known = [None if tensor is None else tensor.known_value for tensor in inputs[:3]]
    if any(array is None for array in known):
        return None
    start, limit, delta = (array.item() for array in known if array is not None)
    if delta == 0:  # refused later
        return [(0,)]
    return [(max(int(np.ceil((limit - start) / delta)), 0),)]


LIKE_FIRST = (
    "LayerNormalization SimplifiedLayerNormalization Gelu MeanVarianceNormalization GroupNormalization "
    "BatchNormalization Dropout Identity Bernoulli StringNormalizer"
)
SIZE_RULES: dict[str, SizeRule] = {
    "NonZero": _nonzero, "Unique": _unique, "Compress": _compress, "NonMaxSuppression": _non_max_suppression,
    "Range": _range,
    **dict.fromkeys(LIKE_FIRST.split(), _like_first),
    "Where": _broadcast, "Slice": _like_first,
}  # fmt: skip


# --- corrections of ONNX's own inference

Correction: TypeAlias = Callable[[onnx.NodeProto, Inputs, list[Size]], list[Size]]


def _stft(node: onnx.NodeProto, inputs: Inputs, sizes: list[Size]) -> list[Size]:
    """STFT is one-sided by default, which ONNX's inference treats as two-sided: half of the frequencies remain."""
    if not get_attribute(node, "onesided", 1) or not sizes[0]:
        return sizes
    window, frame_length = (inputs[slot] if len(inputs) > slot else None for slot in (2, 3))
    if frame_length is not None and frame_length.known_value is not None:
        length = frame_length.known_value.item()
    else:
        length = window.size[0] if window is not None else 0
    return [(*sizes[0][:2], length // 2 + 1, 2)] if length else sizes


def _checked_range(node: onnx.NodeProto, inputs: Inputs, sizes: list[Size]) -> list[Size]:
    """Range with steps of 0 never ends; ONNX's inference makes it empty."""
    delta = inputs[2].known_value if len(inputs) > 2 and inputs[2] is not None else None
    if delta is not None and not np.any(delta):
        raise TraceError("Range has a delta of 0, expected another number")
    return sizes


CORRECTIONS: dict[str, Correction] = {"Range": _checked_range, "STFT": _stft}
