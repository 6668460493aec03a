"""The arguments of `frontends.trace` as frontends receive them, and the import of optional frameworks."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from cgir import TraceError
from cgir.limits import DEFAULT, Limits

MAX_ELEMENTS = 1 << 56  # their bytes still fit into 64 bits

# one shape, several, or for ONNX models those of the inputs by name
InputShape: TypeAlias = Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Sequence[int]]


# which axis of the inputs holds the batch; by the name of an input; None where there is no batch
BatchAxis: TypeAlias = int | Mapping[str, int | None] | None


class TraceRequest(NamedTuple):
    """The arguments of `frontends.trace` that frontends read; they are documented there."""

    inputs: Any = None
    input_shape: InputShape | None = None
    dims: Mapping[str, int] = {}
    strict: bool = False
    name: str = ""
    batch: BatchAxis = 0
    limits: Limits = DEFAULT


def import_optional(module: str, purpose: str, extra: str) -> Any:
    """Import a framework that is not among the core requirements.

    Args:
        module: name of the module.
        purpose: what it is needed for, such as "a Keras model".
        extra: the extra of this distribution that brings it.

    Raises:
        TraceError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise TraceError(
            f"{purpose} needs the package {package}, which cannot be imported ({error}): pip install 'cgir[{extra}]'"
        ) from error


def shapes_from(input_shape: InputShape) -> tuple[tuple[int, ...], ...]:
    """The argument `input_shape`, one shape or several, as a tuple of shapes.

    Raises:
        TraceError: it is neither.
    """
    shapes: Sequence[Any] = input_shape if _is_nested(input_shape) else (input_shape,)
    for shape in shapes:
        if not _is_shape(shape):
            raise TraceError(
                "input_shape must be positive integers with the batch first, like (1, 3, 224, 224), "
                f"or a tuple of such; found {input_shape!r}"
            )
        if prod(shape) > MAX_ELEMENTS:
            raise TraceError(
                f"input_shape: a tensor of {'x'.join(map(str, shape))} has more elements than a framework can count "
                "(2**56); give smaller sizes"
            )
    return tuple(tuple(shape) for shape in shapes)


def _is_nested(input_shape: object) -> TypeGuard[Sequence[Sequence[int]]]:
    return (
        isinstance(input_shape, tuple | list)
        and len(input_shape) > 0
        and all(isinstance(shape, tuple | list) for shape in input_shape)
    )


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple | list) and bool(shape) and all(isinstance(size, int) and size > 0 for size in shape)
