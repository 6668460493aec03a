"""`Conversion`, the result of a converter: a call in the vocabulary of `cgir.ops`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from cgir.graph import Attr


class Conversion(NamedTuple):
    """A call as an operator.

    Attributes:
        inputs: the data that it reads; items that are not tensors are left out.
        attrs: attributes of the node.
        weights: in the order of the operator's row, None for those that are missing.
        op: name of the operator in `cgir.ops`, empty for the one of the function's name.
        reduced_axes: axes that are reduced.
        like_linear: whether it is a linear layer if its second operand turns out to be a weight.
    """

    inputs: tuple[Any, ...]
    attrs: Mapping[str, Attr] = MappingProxyType({})
    weights: tuple[Tensor | None, ...] = ()
    op: str = ""
    reduced_axes: tuple[int, ...] | None = None
    like_linear: bool = False
