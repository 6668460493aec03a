"""Constant folding in numpy: the arithmetic on shapes and small constants that exported graphs contain.

Operations have names of their own, to which frontends map their operators. No result has more than `LIMIT` elements, so
that no declared shape, however large, costs memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from cgir.typing import AnyArray

LIMIT = 10_000
_BROADCASTING = (
    "add mul max min equal less less_equal greater greater_equal not_equal where sub div floordiv mod pow and or xor "
    "clip"
)
BROADCASTING = frozenset(_BROADCASTING.split())  # operations whose results may be larger than their operands together
Folded: TypeAlias = AnyArray | list[AnyArray] | None


def fold(name: str, *arrays: AnyArray, **settings: object) -> Folded:
    """The result of an operation on known values.

    Args:
        name: of the operation in `FOLDS`.
        arrays: its operands.
        settings: its attributes.

    Returns:
        An array, a list of arrays for `split`, or None: for operations that are not in `FOLDS`, results of more than
        `LIMIT` elements, and invalid arguments.
    """
    function = FOLDS.get(name)
    if function is None or sum(np.size(array) for array in arrays) > 4 * LIMIT:
        return None
    try:
        shapes = [getattr(operand, "shape", ()) for operand in (*arrays, *settings.values())]
        if name in BROADCASTING and not is_small(np.broadcast_shapes(*shapes)):
            return None
        with np.errstate(all="ignore"):
            result = function(*arrays, **settings)
    except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError, OverflowError, MemoryError):
        return None
    parts = result if isinstance(result, list) else [result]
    return result if all(part is not None and np.size(part) <= LIMIT for part in parts) else None


def is_small(size: Sequence[int]) -> bool:
    """Whether a tensor of this size may be made."""
    return all(n >= 0 for n in size) and prod(size) <= LIMIT


def divide(a: AnyArray, b: AnyArray) -> AnyArray:
    """Division; of integers, rounded towards zero as in C."""
    if not (np.issubdtype(np.result_type(a, b), np.integer)):
        return np.asarray(np.divide(a, b))
    if np.any(np.equal(b, 0)):
        raise ZeroDivisionError
    quotient = np.abs(a) // np.abs(b)
    return np.asarray(np.where((np.less(a, 0)) == (np.less(b, 0)), quotient, -quotient), dtype=np.result_type(a, b))


def _floordiv(a: AnyArray, b: AnyArray) -> AnyArray:
    if np.issubdtype(np.result_type(a, b), np.integer) and np.any(np.equal(b, 0)):
        raise ZeroDivisionError
    return np.asarray(np.floor_divide(a, b))


def _mod(a: AnyArray, b: AnyArray, fmod: bool = False) -> AnyArray:
    if np.issubdtype(np.result_type(a, b), np.integer) and np.any(np.equal(b, 0)):
        raise ZeroDivisionError
    return np.asarray((np.fmod if fmod else np.mod)(a, b))


def _pow(a: AnyArray, b: AnyArray) -> AnyArray:
    return np.asarray(np.power(a.astype(np.float64), b)).astype(a.dtype)


def _concat(*arrays: AnyArray, axis: int = 0) -> AnyArray | None:
    return np.concatenate(arrays, axis) if sum(map(np.size, arrays)) <= LIMIT else None


def _stack(*arrays: AnyArray, axis: int = 0) -> AnyArray | None:
    return np.stack(arrays, axis) if sum(map(np.size, arrays)) <= LIMIT else None


def _gather(data: AnyArray, indices: AnyArray, axis: int = 0) -> AnyArray | None:
    size = (*data.shape[:axis], *indices.shape, *data.shape[axis % max(data.ndim, 1) + 1 :])
    return np.take(data, indices.astype(np.int64), axis) if is_small(size) else None


def _slice(
    data: AnyArray,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> AnyArray:
    picks: list[slice] = [slice(None)] * data.ndim
    for slot, axis in enumerate(range(len(starts)) if axes is None else axes):
        begin, end, step = int(starts[slot]), int(ends[slot]), int(steps[slot]) if steps is not None else 1
        if step < 0 and end < -data.shape[axis]:
            picks[axis] = slice(begin, None, step)
        else:
            picks[axis] = slice(begin, end, step)
    return data[tuple(picks)]


def _split(data: AnyArray, sizes: Sequence[int], axis: int = 0) -> list[AnyArray]:
    return list(np.split(data, np.cumsum(list(sizes))[:-1], axis))


def _full(size: Sequence[int], value: complex | np.generic | AnyArray = 0) -> AnyArray | None:
    return np.full(tuple(int(n) for n in size), value) if is_small([int(n) for n in size]) else None


def _range(start: AnyArray, limit: AnyArray, delta: AnyArray) -> AnyArray | None:
    first, last, step = (np.asarray(v).item() for v in (start, limit, delta))
    count = max(int(np.ceil((last - first) / step)), 0)
    return (first + step * np.arange(count)).astype(np.asarray(start).dtype) if count <= LIMIT else None


def _expand(data: AnyArray, size: Sequence[int]) -> AnyArray | None:
    target = np.broadcast_shapes(data.shape, tuple(int(n) for n in size))
    return np.broadcast_to(data, target) if is_small(target) else None


def _tile(data: AnyArray, repeats: Sequence[int]) -> AnyArray | None:
    times = [int(n) for n in repeats]
    return np.tile(data, times) if max(data.size, 1) * prod(max(n, 1) for n in times) <= LIMIT else None


def _reduce(function: Callable[..., Any]) -> Callable[..., AnyArray | None]:
    def reduce(data: AnyArray, axes: Sequence[int] | None = None, keep: bool = False) -> AnyArray | None:
        if not data.size and function is np.mean:  # numpy warns
            return None
        result = function(data, axis=None if axes is None else tuple(int(a) for a in axes), keepdims=keep)
        return np.asarray(result, dtype=result.dtype if data.dtype == bool else data.dtype)

    return reduce


def _fold_left(function: Callable[..., Any]) -> Callable[..., AnyArray]:
    def fold_left(*arrays: AnyArray) -> AnyArray:
        result = arrays[0]
        for array in arrays[1:]:
            result = function(result, array)
        return np.asarray(result)

    return fold_left


def _one_hot(
    indices: AnyArray, depth: int, low: float | AnyArray = 0, high: float | AnyArray = 1, axis: int = -1
) -> AnyArray | None:
    if max(indices.size, 1) * depth > LIMIT:
        return None
    hits = np.arange(depth) == (indices % depth)[..., None]
    return np.asarray(np.moveaxis(np.where(hits, high, low), -1, axis))


_SAME_NAME = "equal less less_equal greater greater_equal not_equal where sqrt floor ceil exp"
FOLDS: dict[str, Callable[..., Any]] = {
    "add": _fold_left(np.add),
    "mul": _fold_left(np.multiply),
    "max": _fold_left(np.maximum),
    "min": _fold_left(np.minimum),
    **{name: getattr(np, name) for name in _SAME_NAME.split()},
    "sub": np.subtract,
    "div": divide,
    "floordiv": _floordiv,
    "mod": _mod,
    "pow": _pow,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "round": np.round,
    "log": np.log,
    "reciprocal": lambda x: 1 / x,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
    "identity": lambda x: x,
    "cast": lambda x, dtype: x.astype(dtype),
    "concat": _concat,
    "stack": _stack,
    "gather": _gather,
    "gather_nd": lambda x, i: x[tuple(np.moveaxis(i, -1, 0))] if i.shape[-1] == x.ndim else None,
    "slice": _slice,
    "split": _split,
    "full": _full,
    "range": _range,
    "expand": _expand,
    "tile": _tile,
    "reshape": lambda x, size: x.reshape(size),
    "transpose": lambda x, perm: x.transpose(perm),
    "nonzero": lambda x: np.array(np.nonzero(x)),
    "cumsum": np.cumsum,
    "one_hot": _one_hot,
    "sum": _reduce(np.sum),
    "prod": _reduce(np.prod),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "mean": _reduce(np.mean),
    "any": _reduce(np.any),
    "all": _reduce(np.all),
    "argmax": lambda x, axis: np.argmax(x, axis),
    "trilu": lambda x, k, upper: np.triu(x, k) if upper else np.tril(x, k),
    "clip": np.clip,
}
