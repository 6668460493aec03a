"""Networks built without their weights: what their own code asks for on any device is on the meta device."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from cgir.passes import canonicalize
from frontends.common.trace_request import TraceRequest
from frontends.torch.module_tracer import trace
from frontends.torch.torchvision_ops import declare

MOVES = (Tensor.cpu, Tensor.cuda)
UNKNOWN_SETTING = 0.5  # of a hyperparameter that the table does not have; the authors draw it from 0 to 1


class _Settings(dict[str, Any]):
    def __missing__(self, name: str) -> float:
        return UNKNOWN_SETTING


class _MetaOnly(TorchFunctionMode):
    """New tensors are meta tensors, and moves to another device leave a tensor where it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _device_constructors():
            kwargs["device"] = "meta"
        elif func is Tensor.to and any(map(_is_device, [*args[1:], kwargs.get("device")])):
            types_of_numbers = [value for value in (*args[1:], kwargs.get("dtype")) if isinstance(value, torch.dtype)]
            return args[0].to(types_of_numbers[0]) if types_of_numbers else args[0]
        elif func in MOVES:
            return args[0]
        return func(*args, **kwargs)


def _is_device(argument: object) -> bool:
    return isinstance(argument, torch.device | str)


def build(
    network: Callable[..., nn.Module],
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    settings: Mapping[str, Any],
) -> nn.Module:
    """A network as LEMUR's own training builds it: `Net(in_shape, out_shape, prm, device)`, in evaluation.

    It has real weights only where its constructor looks at values of tensors.

    Args:
        network: its class.
        in_shape: of a batch of images.
        out_shape: the number of classes.
        settings: the hyperparameters.
    """
    device = torch.device("cpu")
    try:
        with torch.device("meta"), _MetaOnly():
            return network(in_shape, out_shape, _Settings(settings), device).eval()
    except RuntimeError:  # what needs values has no meta kernel
        return network(in_shape, out_shape, _Settings(settings), device).eval()


def warm_up() -> None:
    """Import what traces and shapes on the meta device import on the way; some of it looks for a folder to write to."""
    declare()
    importlib.import_module("torch._dynamo")
    with torch.device("meta"), _MetaOnly():
        torch.stack([torch.zeros(1), torch.ones(1)]).mean(dim=0)

    class Net(nn.Module):
        def __init__(self, in_shape: Any, out_shape: Any, prm: Any, device: Any) -> None:
            super().__init__()
            layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
            self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(), nn.Linear(4, *out_shape))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.layers(x)
            return result

    canonicalize(trace(build(Net, (1, 3, 8, 8), (2,), {}), TraceRequest(input_shape=(1, 3, 8, 8))))
