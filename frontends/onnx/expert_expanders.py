"""Mixtures of experts of onnxruntime: the experts that each token is sent to, as products with weights that are picked.

k: number of experts of one token
"""

from __future__ import annotations

from cgir import TraceError

from .expansion import Expander, Expansion, Results
from .fused_expanders import activation
from .tensors import OnnxTensor


def _mixture(slots: tuple[int, ...], bits: str = "") -> Expander:
    """MoE and QMoE.

    Args:
        slots: of weight and bias of the first, the second and the third layer.
        bits: the attribute with the number of bits of a weight, "" where weights are not packed.
    """

    def expand(x: Expansion) -> Results:
        tensor, router = x.require_input(0), x.require_input(1)
        *lead, features = tensor.size
        num_picked = int(x.attr("k", 1))
        chances = x.op("Softmax", x.reshape(router, (*lead, router.size[-1])), axis=-1)
        scores, picked = x.ops("TopK", [chances, x.ints(num_picked)], 2)
        packing = 8 // int(x.attr(bits, 4)) if bits else 1
        rows = x.reshape(tensor, (*lead, 1, 1, features))
        rows = x.op("Expand", rows, x.ints(*lead, num_picked, 1, features))
        first, third = (_layer(x, rows, slots[index : index + 2], picked, packing) for index in (0, 4))
        result = _layer(x, _hidden(x, first, third), slots[2:4], picked, packing)
        if result is None:
            raise TraceError("needs weights of the second layer")
        result = x.op("Mul", result, x.reshape(scores, (*lead, num_picked, 1, 1)))
        rank = len(tensor.size)
        return [x.reshape(x.op("ReduceSum", result, x.ints(rank - 1, rank), keepdims=0), tensor.size)]

    return expand


def _layer(
    x: Expansion, rows: OnnxTensor, slots: tuple[int, ...], picked: OnnxTensor, packing: int
) -> OnnxTensor | None:
    """A linear layer of each token with the weights of its experts; None where there are none.

    Args:
        x: the node.
        rows: (..., k, 1, features).
        slots: of weight and bias.
        picked: numbers of the experts, (..., k).
        packing: how many numbers of a weight are in one byte.
    """
    weight, bias = (x.input(slot) for slot in slots)
    if weight is None:
        return None
    experts, outer, inner = weight.size
    features = rows.size[-1]
    columns_first = inner * packing == features
    size = (experts, outer, features) if columns_first else (experts, features, inner * packing)
    table = x.param(weight.name, size) if weight.value is None else weight
    matrices = x.op("Gather", table, picked)
    if columns_first:
        rank = len(matrices.size)
        matrices = x.transpose(matrices, *range(rank - 2), rank - 1, rank - 2)
    result = x.op("MatMul", rows, matrices)
    if bias is None:
        return result
    return x.op("Add", result, x.op("Unsqueeze", x.op("Gather", bias, picked), x.ints(-2)))


def _hidden(x: Expansion, first: OnnxTensor | None, third: OnnxTensor | None) -> OnnxTensor:
    """The hidden features of the experts: behind an activation, and times those of a gate where there is one."""
    if first is None:
        raise TraceError("needs weights of the first layer")
    name = str(x.attr("activation_type", "relu"))
    gate = third
    if name == "swiglu":
        name = "silu"
        if third is None:  # both stand in one weight
            half = first.size[-1] // 2
            first, gate = x.split(first, [half, first.size[-1] - half])
    hidden = activation(x, first, name)
    return hidden if gate is None else x.op("Mul", hidden, gate)


EXPERTS: dict[str, Expander] = {
    "MoE": _mixture((2, 3, 4, 5, 6, 7)),
    "QMoE": _mixture((2, 4, 5, 7, 8, 10), bits="expert_weight_bits"),
}
