"""Checks of calls that define their own batch axis, or have none, against the axis that the trace divides costs by."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .call_kinds import RECURRENT, CallKind
from .tensor_values import TensorValues
from .typing import Args, Kwargs

WINDOWS = tuple(
    f"{name}{dims}d" for name in ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool") for dims in (1, 2, 3)
)
PICKING = ("index_select", "gather", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy")
ATTENTION = "multi_head_attention_forward"
LAYERS = frozenset((*RECURRENT, ATTENTION))  # that have an axis of their own for the batch
CHECKED = frozenset((*RECURRENT, *WINDOWS, *PICKING, ATTENTION, "linear", "getitem", "matmul", "mm"))


def check_batch_axis(values: TensorValues, call: CallKind, args: Args, kwargs: Kwargs) -> None:
    """Note in `values.tape` where a call contradicts the batch axis of a tensor that it reads.

    Args:
        values: what the tensors of the trace hold.
        call: its kind, of a name in `CHECKED`.
        args: positional arguments.
        kwargs: keyword arguments.
    """
    tensor = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("input")
    axis = _batch_axis(values, tensor)
    tape, name = values.tape, call.name
    if name in ("matmul", "mm", "linear"):
        _check_product(values, name, args, kwargs)
    if axis is None or not isinstance(tensor, Tensor):
        return
    module = f" in module {tape.path[-1]!r}" if tape.path[-1] else ""
    if name in PICKING or name == "getitem":
        # of one example with more merged into that axis, nothing but its own elements can be picked
        merged = tape.sliced and tensor.shape[axis] > 1
        if not merged and _picks(name, args, kwargs, axis, tensor.dim()):
            tape.conflicts.append(f"{name}{module} picks elements along the batch axis")
        return
    expected = _expected_axis(call, args, kwargs, tensor.dim())
    if expected is None:
        tape.unbatched = True
        tape.conflicts.append(f"{name}{module} reads a tensor without a batch")
    elif name in RECURRENT or name == ATTENTION:
        check_expected_axis(values, name, tensor, expected)


def check_expected_axis(values: TensorValues, name: str, tensor: object, expected: int) -> None:
    """Note a layer that takes one axis of a sequence for the batch, where it is another.

    Args:
        values: what the tensors of the trace hold.
        name: of the layer.
        tensor: that it reads.
        expected: the axis that it takes; one element there is no batch.
    """
    if not isinstance(tensor, Tensor) or _batch_axis(values, tensor) in (None, expected):
        return
    tape = values.tape
    module = f" in module {tape.path[-1]!r}" if tape.path[-1] else ""
    tape.unbatched |= tensor.dim() < 3 or tensor.shape[expected] == 1
    tape.conflicts.append(f"{name}{module} takes axis {expected} for the batch")
    if tensor.dim() > 2 and tensor.shape[expected] > 1:
        tape.other_batches.append(f"{tape.conflicts[-1]}, of {tensor.shape[expected]} examples")


def check_steps(values: TensorValues, name: str, sequences: Sequence[Tensor]) -> None:
    """Note a loop over the first axis of its sequences, each step of which reads the one before, where it is the batch.

    Args:
        values: what the tensors of the trace hold.
        name: of the loop.
        sequences: that it reads an element of in each step.
    """
    if any(_batch_axis(values, tensor) == 0 for tensor in sequences):
        values.tape.conflicts.append(f"{name} takes its steps along the batch axis")


def _batch_axis(values: TensorValues, tensor: object) -> int | None:
    state = values.state_of(tensor) if isinstance(tensor, Tensor) else None
    return None if state is None or state.static else state.layout.batch


def _expected_axis(call: CallKind, args: Args, kwargs: Kwargs, rank: int) -> int | None:
    """The axis that the call itself takes for the batch, None where it takes a tensor without one."""
    if call.name == "linear":
        return 0 if rank > 1 else None
    if call.name in RECURRENT:
        return 0 if args[-1] is True or kwargs.get("batch_first") is True else 1
    if call.name == ATTENTION:
        return 1 if rank > 2 else None
    return None if rank == (call.num_spatial_dims or 0) + 1 else 0


def _picks(name: str, args: Args, kwargs: Kwargs, axis: int, rank: int) -> bool:
    """Whether a call indexes the axis; `x[range(batch), index]`, one element of each example, does not."""
    if name != "getitem":
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        return isinstance(dim, int) and dim % max(rank, 1) == axis
    items = args[1] if isinstance(args[1], tuple) else (args[1],)
    if any(item is None or item is Ellipsis for item in items[: axis + 1]) or len(items) <= axis:
        return False
    indices = [item for item in items if isinstance(item, Tensor | list)]
    return len(indices) == 1 and indices[0] is items[axis]


def _check_product(values: TensorValues, name: str, args: Args, kwargs: Kwargs) -> None:
    """Note a product that sums over the batch, or multiplies every example with every other."""
    factors = [*args, *kwargs.values()][:2]
    if len(factors) < 2 or not all(isinstance(factor, Tensor) for factor in factors):
        return
    left, right = (_batch_axis(values, factor) for factor in factors)
    rank, right_rank = (factor.dim() for factor in factors)
    columns = 0 if name == "linear" else right_rank - 1
    if left is not None and left == rank - 2 and right == columns:
        if values.tape.batch > 1:
            values.tape.undivided.append("a matrix product multiplies every example with every other")
        return
    summed = left is not None and left == rank - 1
    summed |= right is not None and right == max(right_rank - 2, 0)
    if summed and right_rank < 3 and name != "linear":
        values.tape.conflicts.append("a matrix product sums over the batch axis")
