"""A second device on a machine that has none: tensors that say they are on "meta", and compute on the CPU.

They refuse to meet tensors of the CPU, as those of a GPU do, unless these are copied, are indices, or have one element;
what is computed of them is equal to the CPU's, bit for bit. So code that runs on such a device moves all that it
should, and creates nothing on the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

SECOND = torch.device("meta")
COPIES = ("_to_copy", "copy_")


class WrongDevice(RuntimeError):
    """Tensors of two devices met."""


class SecondTensor(Tensor):
    """`data`, a tensor of the CPU, as one of the second device."""

    @staticmethod
    def __new__(cls, data: Tensor) -> SecondTensor:
        tensor = Tensor._make_wrapper_subclass(
            cls, data.shape, data.stride(), data.storage_offset(), dtype=data.dtype, device=SECOND
        )
        tensor.held = data
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"SecondTensor({self.held!r})"


class SecondDevice(TorchDispatchMode):
    """Lets functions that make tensors make them on the second device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operator of either device gives."""
    name = func._schema.name.partition("::")[2]
    values = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    seconds = [value for value in values if isinstance(value, SecondTensor)]
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = kwargs | {"device": "cpu"}
    if seconds and name not in COPIES:
        others = [value for value in values if not isinstance(value, SecondTensor) and value.dim()]
        indices = others if name.startswith(("index", "_index", "_unsafe_index")) else []
        if len(others) > len(indices):
            raise WrongDevice(f"{name}: {len(seconds)} tensors of the second device, and {others[0].shape} of the CPU")
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    on_second = torch.device(asked) == SECOND if asked is not None else bool(seconds)
    if name == "copy_" or func._schema.name.endswith("_") or func._schema.is_mutable:
        return args[0] if isinstance(args[0], Tensor) else result
    return tree_map(lambda x: SecondTensor(x) if isinstance(x, Tensor) else x, result) if on_second else result


def _held(value: Any) -> Any:
    return value.held if isinstance(value, SecondTensor) else value


@contextmanager
def second_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The second device, for functions of the library that take a device."""

    from encoders.engine import devices
    from frontends.torch import surroundings

    monkeypatch.setattr(devices, "as_device", lambda device: torch.device(device))
    monkeypatch.setattr(surroundings, "_disable_current_modes", nullcontext)  # this one stays
    with SecondDevice():
        yield SECOND
