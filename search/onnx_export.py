"""A PyTorch module as an ONNX model in memory; the module is not copied, and is afterwards as it was."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from cgir.errors import CgirError, one_line
from cgir.typing import AnyArray
from frontends.common.trace_request import InputShape
from frontends.torch.module_shadow import shadow_of
from frontends.torch.module_tracer import example_arguments
from frontends.torch.private_draws import DrawingMode, Generators, private_generators
from frontends.torch.surroundings import plain_surroundings

from .zero_cost.isolation import unwrapped

MAX_BYTES = 2_000_000_000  # of a protobuf message, which an ONNX model in memory is
OPSET = 20  # the newest of the TorchScript exporter


class OnnxModel(NamedTuple):
    """What a runtime needs.

    model: the bytes of a `ModelProto`, or the path of a file.
    feeds: an array for each input by name.
    label: how messages refer to the model.
    """

    model: bytes | str
    feeds: dict[str, AnyArray]
    label: str


def export(module: nn.Module, inputs: Any = None, input_shape: InputShape | None = None) -> OnnxModel:
    """The module in evaluation mode.

    PyTorch's exporter by TorchScript writes it, in half a second for a MobileNet; where that fails, the one by
    `torch.export`, which takes ten times as long and leads to the same operators in the runtime.

    Args:
        module: with real weights.
        inputs: as of `frontends.trace`; those on the meta device are drawn here, integers are ones.
        input_shape: instead, as of `frontends.trace`.

    Raises:
        CgirError: the weights are missing or above 2 GB, the inputs do not fit, or neither exporter can do it.
    """
    module = unwrapped(module)
    name = type(module).__name__
    device = _checked_device(module, name)
    args = tree_map_only(Tensor, lambda t: _real(t, device), example_arguments(module, inputs, input_shape))
    leaves, structure = tree_flatten(args)
    positions = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    tensors = tuple(leaves[index] for index in positions)
    names = [f"input_{index}" for index in range(len(tensors))]
    feeds = dict(zip(names, (_array(tensor, name) for tensor in tensors), strict=True))
    generators = Generators()
    with plain_surroundings(), private_generators(generators), DrawingMode(generators.torch):
        flat = _Flat(_evaluation(module), leaves, positions, structure)
        _check_call(flat, tensors, name)
        return OnnxModel(_exported(flat, tensors, names, name), feeds, name)


class _Flat(nn.Module):
    """The module as a function of its tensors alone, in a row, which returns those in its result."""

    def __init__(self, module: nn.Module, leaves: list[Any], positions: list[int], structure: TreeSpec) -> None:
        super().__init__()
        self.module, self.leaves, self.positions, self.structure = module, leaves, positions, structure
        self.training = False  # without calling `train`, which modules may override

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Tensors in the order of the arguments -> those in the result."""
        leaves = list(self.leaves)
        for index, tensor in zip(self.positions, tensors, strict=True):
            leaves[index] = tensor
        args, kwargs = tree_unflatten(leaves, self.structure)
        return tuple(leaf for leaf in tree_leaves(self.module(*args, **kwargs)) if isinstance(leaf, Tensor))


def _checked_device(module: nn.Module, name: str) -> torch.device:
    """Where the weights are.

    Raises:
        CgirError: they are nowhere yet, there are too many of them, or the module is compiled.
    """
    if any(isinstance(inner, torch.jit.ScriptModule) for inner in module.modules()):
        raise CgirError(f"latency: {name} is a TorchScript module, or has one; give the nn.Module it was made from")
    weights = [*module.parameters(), *module.buffers()]
    if any(nn.parameter.is_lazy(weight) for weight in weights):
        raise CgirError(f"latency: {name} has lazy parameters without a shape; call it once first")
    if any(weight.is_meta for weight in weights):
        raise CgirError(f"latency: {name} has weights on the meta device; build it on the CPU, random ones will do")
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    if size > MAX_BYTES:
        raise CgirError(
            f"latency: {name} has {size / 1e9:.1f} GB of weights, and an ONNX model in memory holds 2; write it with "
            "torch.onnx.export(model, inputs, 'net.onnx', external_data=True) and give the path net.onnx"
        )
    return weights[0].device if weights else torch.device("cpu")


def _real(tensor: Tensor, device: torch.device) -> Tensor:
    """An example input with values, on the device."""
    if not tensor.is_meta:
        return tensor.detach().to(device, copy=True)  # the module may change it
    generator = torch.Generator().manual_seed(0)
    if tensor.is_floating_point():
        return torch.randn(tensor.shape, generator=generator).to(device, tensor.dtype)
    return torch.ones(tensor.shape, dtype=tensor.dtype, device=device)


def _array(tensor: Tensor, name: str) -> AnyArray:
    try:
        return np.ascontiguousarray(tensor.cpu().numpy())
    except (TypeError, RuntimeError) as error:
        raise CgirError(
            f"latency: {name} takes {tensor.dtype}, which NumPy does not have; measure it as model.float()"
        ) from error


def _evaluation(module: nn.Module) -> nn.Module:
    """The module in evaluation mode: a shadow with buffers of its own, so that other threads may call the module."""
    shadow = shadow_of(module)
    copies: dict[int, Tensor | None] = {id(buffer): buffer.clone() for buffer in module.buffers()}
    for inner in shadow.modules():
        inner.training = False
        inner._buffers.update({name: copies.get(id(buffer), buffer) for name, buffer in inner._buffers.items()})
    return shadow


def _check_call(flat: _Flat, tensors: tuple[Tensor, ...], name: str) -> None:
    """Raises: CgirError: the module refuses the inputs, or returns no tensor."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = flat(*tensors)
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        reason = one_line(error, 300, named=True)
        raise CgirError(f"latency: {name} refuses inputs of shape {shapes} ({reason})") from error
    if not outputs:
        raise CgirError(f"latency: {name} returns no tensor; wrap it so that it returns one")


def _exported(flat: _Flat, tensors: tuple[Tensor, ...], names: list[str], name: str) -> bytes:
    """The bytes of the model by the first exporter that can.

    Raises:
        CgirError: none can.
    """
    reasons = []
    with _quiet():
        for exporter in (_by_torchscript, _by_torch_export):
            try:
                return exporter(flat, tensors, names)
            except Exception as error:
                reasons.append(error)
    raise CgirError(
        f"latency: PyTorch cannot write {name} as ONNX ({one_line(reasons[0], 200, named=True)}); "
        "give an .onnx file of it, or leave out what cannot be written"
    ) from reasons[0]


def _by_torchscript(flat: _Flat, tensors: tuple[Tensor, ...], names: list[str]) -> bytes:
    from torch.onnx._internal.torchscript_exporter import utils

    exporter, setup, file = cast(Any, utils), utils.setup_onnx_logging, io.BytesIO()
    is_logging = torch._C._jit_is_onnx_log_enabled()
    torch._C._jit_set_onnx_log_enabled(False)
    exporter.setup_onnx_logging = nullcontext  # that of PyTorch 2.13 prints the graph of a failure, and ever after
    try:
        torch.onnx.export(flat, tensors, cast(Any, file), input_names=names, opset_version=OPSET, dynamo=False)
    finally:
        exporter.setup_onnx_logging = setup
        torch._C._jit_set_onnx_log_enabled(is_logging)
    return file.getvalue()


def _by_torch_export(flat: _Flat, tensors: tuple[Tensor, ...], names: list[str]) -> bytes:
    program = torch.onnx.export(flat, tensors, input_names=names, dynamo=True, verbose=False)
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings, log and prints: deprecations, constants, versions of operators."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(max(level, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(level)
