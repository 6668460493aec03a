"""Types of what PyTorch's functions are called with, for annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any, Literal, TypeAlias

from torch import Tensor

Function: TypeAlias = Callable[..., Any]
Args: TypeAlias = tuple[Any, ...]
Kwargs: TypeAlias = dict[str, Any]

Number: TypeAlias = int | float | bool
IntOrInts: TypeAlias = int | Sequence[int]  # one for all axes, or one for each
Padding: TypeAlias = Literal["valid", "same"] | IntOrInts
TensorOrNumber: TypeAlias = Tensor | complex  # an operand of arithmetic; complex takes int and float too
Index: TypeAlias = int | slice | Tensor | list[Any] | EllipsisType | None
Tensors: TypeAlias = Tensor | Sequence[Tensor]  # such as the states of a recurrent network: LSTMs have two
