"""Shared by all importers: the type of converters, and the split of weights into parameters and inputs.

An importer follows a model call by call and hands each to a converter, a function registered under the name of a
framework's operator, layer or function in a table `CONVERTERS`. A converter describes the call in the vocabulary of
`cgir.ops`, or appends the nodes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from cgir import Param

Result = TypeVar("Result")
Weight = TypeVar("Weight")

# Arguments are those of the framework's function (PyTorch), (importer, layer, *arguments) (Keras), or one call.
Converter: TypeAlias = Callable[..., Result]


def split_weights(
    weights: Sequence[Weight], params: Sequence[Param | None]
) -> tuple[tuple[Param, ...], Sequence[Weight]]:
    """Which weights of a call become parameters of its node, and which become inputs.

    Weights that were computed are inputs, and so are all before them, which keeps the order of the operator's row.

    Args:
        weights: in the order of the operator's row in `cgir.ops`.
        params: the parameter that each of them is, None for a computed one.

    Returns:
        The parameters of the node, and the weights that are its inputs.
    """
    num_inputs = max((index + 1 for index, param in enumerate(params) if param is None), default=0)
    return tuple(param for param in params[num_inputs:] if param is not None), weights[:num_inputs]
