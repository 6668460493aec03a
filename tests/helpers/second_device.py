"""A second device on a machine that has none: tensors that say they are on "meta", and compute on the CPU.

They refuse to meet tensors of the CPU, as those of a GPU do, unless these are copied, are indices, or have no axis;
what is computed of them is equal to the CPU's, bit for bit. So code that runs on such a device moves all that it
should, and creates nothing on the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

import contrastive.episodes
from encoders.engine import devices
from encoders.engine.batching import GraphTensors
from encoders.features import graph_features
from encoders.predictors import predictor
from frontends.torch import surroundings
from frontends.torch.private_draws import GeneratorMode

SECOND = torch.device("meta")
COPIES = ("_to_copy", "copy_")
VIEWS = ("view", "detach", "slice", "alias")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")  # whose indices, the second argument, may be there


class WrongDevice(RuntimeError):
    """Tensors of two devices met."""


class SecondTensor(Tensor):
    """`held`, a tensor of the CPU, as one of the second device."""

    held: Tensor

    @staticmethod
    def __new__(cls, data: Tensor) -> SecondTensor:
        tensor: SecondTensor = Tensor._make_wrapper_subclass(
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
    """Lets functions that make tensors make them on the second device.

    `on_cpu` gets the names of operators that make floating-point numbers on the CPU, but for copies and views; None:
    nobody asks.
    """

    def __init__(self, on_cpu: list[str] | None = None) -> None:
        super().__init__()
        self.on_cpu = on_cpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = run(func, args, kwargs or {})
        if self.on_cpu is not None and _name(func) not in (*COPIES, *VIEWS):
            made = [value for value in tree_flatten(result)[0] if isinstance(value, Tensor)]
            if any(not isinstance(value, SecondTensor) and value.is_floating_point() for value in made):
                self.on_cpu.append(_name(func))
        return result


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operator of either device gives. WrongDevice where its tensors are on both."""
    if any(isinstance(value, Tensor) and value.is_meta for value in tree_flatten(tree_map(_held, (args, kwargs)))[0]):
        raise WrongDevice(f"{_name(func)}: a tensor without numbers; torch.tensor(list).to(device) has some")
    checked = (args[:1], args[2:], kwargs) if _name(func) in INDEXING else (args, kwargs)
    values = [value for value in tree_flatten(checked)[0] if isinstance(value, Tensor)]
    is_second, asked = any(isinstance(value, SecondTensor) for value in values), kwargs.get("device")
    if is_second and _name(func) not in COPIES:
        for value in values:
            if not isinstance(value, SecondTensor) and value.dim():
                raise WrongDevice(f"{_name(func)}: a tensor {tuple(value.shape)} of the CPU meets the second device")
    if asked is not None:
        is_second, kwargs = torch.device(asked) == SECOND, kwargs | {"device": "cpu"}
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if func._schema.is_mutable:
        return args[0] if isinstance(args[0], Tensor) else result
    return tree_map(_as_second, result) if is_second else result


def _name(func: Any) -> str:
    return str(func._schema.name.partition("::")[2])


def _held(value: Any) -> Any:
    return value.held if isinstance(value, SecondTensor) else value


def _as_second(value: Any) -> Any:
    return SecondTensor(value) if isinstance(value, Tensor) else value


@contextmanager
def second_device(monkeypatch: pytest.MonkeyPatch, on_cpu: list[str] | None = None) -> Iterator[torch.device]:
    """The second device, for functions of the library that take a device; `on_cpu` as in `SecondDevice`.

    What prepares batches may compute on the CPU, and does so in this thread, as a mode is a thread's.
    """
    prepare = GraphTensors._minibatch

    def prepared(self: GraphTensors, indices: Any) -> Any:
        with _disable_current_modes():
            return prepare(self, indices)

    with monkeypatch.context() as patch:
        for module in (devices, contrastive.distributed, contrastive.episodes, graph_features, predictor):
            patch.setattr(module, "as_device", lambda device: torch.device("cpu" if device == "auto" else device))
        patch.setattr(GraphTensors, "_minibatch", prepared)
        patch.setattr(contrastive.pretraining, "ThreadPoolExecutor", InThisThread)
        patch.setattr(surroundings, "_disable_current_modes", nullcontext)  # this one stays
        patch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["cpu", SECOND.type])
        patch.setattr(GeneratorMode, "_generator_on", lambda self, device: self.generator)
        with SecondDevice(on_cpu):
            yield SECOND


class InThisThread(Executor):
    """An executor that has done its work when it is submitted."""

    def __init__(self, *args: object, **options: object) -> None: ...

    def submit(self, call: Any, /, *args: Any, **options: Any) -> Future[Any]:
        """Call the function now."""
        future: Future[Any] = Future()
        future.set_result(call(*args, **options))
        return future
