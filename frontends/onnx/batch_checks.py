"""Checks of ONNX operators that define their own batch axis against the axis that the trace divides costs by."""

from __future__ import annotations

from collections.abc import Sequence

from frontends.common.tape import Tape

from .calls import OnnxCall
from .tensors import OnnxTensor

RECURRENT = ("LSTM", "GRU", "RNN")
_WINDOWS = (
    "Conv ConvTranspose DeformConv MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool "
    "GlobalLpPool BatchNormalization InstanceNormalization GroupNormalization"
)
WINDOWS = frozenset(_WINDOWS.split())
MATRIX_PRODUCTS = ("MatMul", "Gemm")
PICKING = ("Gather", "GatherElements", "ScatterElements")


def check_batch_axis(call: OnnxCall) -> None:
    """Note in the call's tape where the call contradicts the batch axis of a tensor that it reads."""
    tensor, tape = call.input(0), call.tape
    axis = None if tensor is None else batch_axis(tensor)
    if call.op_type in MATRIX_PRODUCTS:
        _check_product(call)
    if tensor is None or axis is None:
        return
    name = call.node.name or call.name
    if call.op_type in PICKING and _picks(call, tensor, axis):
        tape.conflicts.append(f"{name} picks elements along the batch axis")
    expected = None
    if call.op_type in RECURRENT:
        expected = 0 if call.attr("layout", 0) else 1
    elif call.op_type in WINDOWS:
        expected = 0
    if expected not in (None, axis):
        tape.unbatched |= tensor.size[expected] == 1
        tape.conflicts.append(f"{name} takes axis {expected} for the batch")


def check_steps(tape: Tape, name: str, steps: Sequence[tuple[OnnxTensor, int]]) -> None:
    """Note a loop over the batch axis of its sequences, each step of which reads the one before.

    They have no batch where no other axis can hold one.

    Args:
        tape: that the loop is on.
        name: of the loop.
        steps: the sequences, with the axes that the loop takes its steps along.
    """
    for tensor, axis in steps:
        if batch_axis(tensor) == axis:
            tape.unbatched |= len(tensor.size) < 3 or tensor.size[1 if axis == 0 else 0] == 1
            tape.conflicts.append(f"{name} takes its steps along the batch axis")


def batch_axis(tensor: OnnxTensor) -> int | None:
    """The batch axis of a tensor, None where it has none."""
    return None if tensor.value is None or tensor.value.static else tensor.value.layout.batch


def _picks(call: OnnxCall, tensor: OnnxTensor, axis: int) -> bool:
    """Whether an operator takes some elements of the axis; a single one known beforehand is as `x[0]`."""
    indices = call.input(1)
    single = indices is not None and indices.static and call.op_type == "Gather" and not indices.size
    return call.attr("axis", 0) % max(len(tensor.size), 1) == axis and not single


def _check_product(call: OnnxCall) -> None:
    """Note a product that sums over the batch, and one with a vector, which has none."""
    left, right = call.require_input(0), call.require_input(1)
    transposed = bool(call.attr("transA", 0)), bool(call.attr("transB", 0))
    axes = batch_axis(left), batch_axis(right)
    if len(left.size) == 1 and axes[0] is not None:
        call.tape.unbatched = True
    summed = axes[0] is not None and axes[0] == max(len(left.size) - 1 - transposed[0], 0)
    summed |= axes[1] is not None and axes[1] == max(len(right.size) - 2 + transposed[1], 0)
    if summed and len(right.size) < 3:
        call.tape.conflicts.append(f"{call.node.name or call.name} sums over the batch axis")
