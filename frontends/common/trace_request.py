"""What a caller asks of a frontend, and the two ways to say no."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from cgir import TraceError


class TraceRequest(NamedTuple):
    """The arguments of `frontends.trace` that frontends read."""

    inputs: Any = None
    input_shape: Any = None
    dims: Mapping[str, int] = {}
    strict: bool = False
    name: str = ""


def import_optional(module: str, what: str, extra: str) -> Any:
    """Import what a frontend reads its models with.

    Raises:
        TraceError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TraceError(
            f"{what} needs the package {module.partition('.')[0]}, which cannot be imported ({error}): pip install 'cgir[{extra}]'"
        ) from error


def shapes_from(input_shape: Any) -> tuple[tuple[int, ...], ...]:
    """`input_shape` as a tuple of shapes.

    Raises:
        TraceError: it is neither a shape nor several.
    """
    nested = (
        isinstance(input_shape, tuple | list)
        and len(input_shape) > 0
        and all(isinstance(shape, tuple | list) for shape in input_shape)
    )
    shapes = input_shape if nested else (input_shape,)
    for shape in shapes:
        if (
            not isinstance(shape, tuple | list)
            or not shape
            or not all(isinstance(size, int) and size > 0 for size in shape)
        ):
            raise TraceError(
                f"input_shape must be positive integers with the batch first, like (1, 3, 224, 224), or a tuple of such; found {input_shape!r}"
            )
    return tuple(tuple(shape) for shape in shapes)
