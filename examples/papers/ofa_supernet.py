"""Networks of Once-for-All with the weights of the authors' supernet: what is cut out of a checkpoint, and how.

The checkpoint is `ofa_mbv3_d234_e346_k357_w1.0` or `_w1.2` (github.com/mit-han-lab/once-for-all), a file of
`torch.save` with a `state_dict`. It is read without executing anything of it. As the authors' `get_active_subnet` does,
a network takes the first channels of every layer (they are sorted by importance), BatchNorm included; the middle 5 x 5
of a 7 x 7 kernel times a matrix of the layer is its kernel of size 5, and of that the middle 3 x 3 times another is the
one of size 3 (Cai et al. 2020, section 3.3).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgir.errors import FileFormatError
from frontends.spaces.mbconv.ofa_mbv3 import (
    DEEPEST,
    EXPANSIONS,
    KERNELS,
    STAGES,
    OfaMobileNetV3,
    Spec,
    make_divisible,
)
from frontends.spaces.mbconv.torch_blocks import SqueezeExcite
from frontends.tables.safe_load.torch_reader import read_torch

LARGEST = Spec((max(KERNELS),) * STAGES * DEEPEST, (max(EXPANSIONS),) * STAGES * DEEPEST, (DEEPEST,) * STAGES, 224)
# The layers whose output channels are the nine widths of the space, in its order.
WIDTHS = (
    "first_conv.conv.weight",
    *(f"blocks.{block}.point_linear.conv.weight" for block in range(0, STAGES * DEEPEST + 1, DEEPEST)),
    "final_expand_layer.conv.weight",
    "feature_mix_layer.conv.weight",
)
TRANSFORMS = {"7to5_matrix": 25, "5to3_matrix": 9}  # of every block but the first: rows and columns
COUNTER = "num_batches_tracked"  # of BatchNorm, which nothing here reads


@dataclass(frozen=True)
class Supernet:
    """All weights of a supernet.

    Attributes:
        space: the networks in it, with its widths and its number of classes.
        weights: name of a layer in `layers`, "." and its tensor -> float32.
        digest: SHA-256 of the file.
    """

    space: OfaMobileNetV3
    weights: Mapping[str, Tensor]
    digest: str


def read_supernet(path: Path) -> Supernet:
    """The supernet in a checkpoint; `width`, widths and classes are those of its layers.

    Raises:
        FileFormatError: no such file, damaged, or another network: names the tensor, what was found and expected.
    """
    value = read_torch(path)
    entries = value.get("state_dict", value) if isinstance(value, dict) else value
    if not isinstance(entries, dict) or not entries:
        raise FileFormatError(f"{path}: a {type(entries).__name__}; expected tensors by name, or a state_dict of them")
    weights = {_short(str(key)): _tensor(path, key, entry) for key, entry in entries.items()}
    space = _space(path, weights)
    expected = _shapes(space)
    for name in expected:
        _check_shape(path, weights, name, expected[name])
    if unknown := [name for name in weights if name not in expected and not name.endswith(COUNTER)]:
        raise FileFormatError(
            f"{path}: {len(unknown)} tensors that this supernet does not have, such as {_full(unknown[0])}; expected "
            f"{1 + STAGES * DEEPEST} blocks with kernels {KERNELS} and expansions {EXPANSIONS}"
        )
    with path.open("rb") as file:
        return Supernet(space, weights, hashlib.file_digest(file, "sha256").hexdigest())


def subnet(spec: Spec, supernet: Supernet) -> nn.Module:
    """The network of a spec with the supernet's weights, in evaluation mode.

    BatchNorm has the statistics of the largest network, on which no smaller one works: see `ofa_measure.recalibrate`.
    """
    network = supernet.space.module(spec)
    for name, layer in layers(network, spec):
        for kind, target in layer.state_dict().items():
            if kind != COUNTER:
                target.copy_(_cut(supernet.weights, name, kind, target.shape))
    return network.eval()


def layers(network: nn.Module, spec: Spec) -> Iterator[tuple[str, nn.Module]]:
    """Layers with weights of a network of the space, by the authors' names without what differs between releases."""
    features = list(network.get_submodule("features").children())
    yield from (("first_conv.conv", features[0]), ("first_conv.bn", features[1]))
    positions = [-1, *(position for _, position in spec.active())]
    for position, block in zip(positions, features[3:], strict=True):
        for name, layer in _block_layers(block):
            yield f"blocks.{position + 1}.{name}", layer
    for index, kind in enumerate(("conv", "bn")):
        yield f"final_expand_layer.{kind}", network.get_submodule(f"final_expand.{index}")
    yield "feature_mix_layer.conv", network.get_submodule("feature_mix.0")
    yield "classifier.linear", network.get_submodule("classifier")


def _block_layers(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    children = list(block.get_submodule("conv").children())
    body = [layer for layer in children if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
    parts = ("inverted_bottleneck", "depth_conv", "point_linear")[
        -(len(body) // 2) :
    ]  # the first block does not expand
    yield from zip((f"{part}.{kind}" for part in parts for kind in ("conv", "bn")), body, strict=True)
    for layer in children:
        if isinstance(layer, SqueezeExcite):
            yield from (("depth_conv.se.fc.reduce", layer.reduce), ("depth_conv.se.fc.expand", layer.expand))


def _cut(weights: Mapping[str, Tensor], name: str, kind: str, shape: torch.Size) -> Tensor:
    """The part of a tensor that a smaller layer has."""
    source = weights[f"{name}.{kind}"][tuple(slice(length) for length in shape[:2])]
    if name.endswith("depth_conv.conv"):
        for larger, smaller in ((7, 5), (5, 3)):
            if shape[-1] <= smaller < source.shape[-1]:
                matrix = weights[f"{name}.{larger}to{smaller}_matrix"]
                middle = source[:, :, 1:-1, 1:-1].flatten(1)
                source = F.linear(middle, matrix).reshape(-1, 1, smaller, smaller)
    return source


def _space(path: Path, weights: Mapping[str, Tensor]) -> OfaMobileNetV3:
    """The space whose widths a supernet has: one of the two that were published, or a scaled one."""
    for name in (*WIDTHS, "classifier.linear.weight"):
        if name not in weights or not weights[name].dim():
            _check_shape(path, weights, name, None)
    widths = tuple(len(weights[name]) for name in WIDTHS)
    classes = len(weights["classifier.linear.weight"])
    if wrong := [channels for channels in widths if channels < 1 or make_divisible(channels) != channels]:
        raise FileFormatError(f"{path}: a layer of {wrong[0]} channels among {widths}; expected multiples of 8")
    for width in (1.0, 1.2):
        space = OfaMobileNetV3(width, classes=max(1, classes))
        if tuple(make_divisible(channels * width) for channels in space.widths) == widths:
            return space
    return OfaMobileNetV3(widths=widths, classes=max(1, classes))


def _shapes(space: OfaMobileNetV3) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of the supernet: those of its largest network, and the matrices."""
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        network = space.module(LARGEST)
    for name, layer in layers(network, LARGEST):
        shapes |= {f"{name}.{kind}": tuple(value.shape) for kind, value in layer.state_dict().items()}
        if name.endswith("depth_conv.conv") and not name.startswith("blocks.0."):
            shapes |= {f"{name}.{matrix}": (side, side) for matrix, side in TRANSFORMS.items()}
    return {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}


def _check_shape(path: Path, weights: Mapping[str, Tensor], name: str, shape: tuple[int, ...] | None) -> None:
    found = tuple(weights[name].shape) if name in weights else None
    if found is None:
        raise FileFormatError(
            f"{path}: no {_full(name)} among {len(weights)} tensors, the first {_full(next(iter(weights)))}; expected "
            "a supernet of Once-for-All MobileNetV3 with kernels 3, 5, 7"
        )
    if found != shape:
        raise FileFormatError(f"{path}: {_full(name)} is {found}; expected {shape or 'a tensor of weights'}")


def _tensor(path: Path, key: object, entry: Any) -> Tensor:
    if not isinstance(entry, np.ndarray) or entry.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: {key} is a {type(entry).__name__}; expected a tensor of numbers")
    if not np.isfinite(entry).all():
        raise FileFormatError(f"{path}: {key} has a value that is not a finite number; expected trained weights")
    return torch.from_numpy(np.array(entry, np.float32))


def _short(key: str) -> str:
    """A name in either release of the authors' code, of dynamic and of static layers -> the one used here."""
    key = re.sub(r"^(blocks\.\d+)\.(?:mobile_inverted_conv|conv)\.", r"\1.", key)
    return re.sub(r"\.(conv|bn|linear)\.\1\.", r".\1.", key)


def _full(name: str) -> str:
    """The name as most published checkpoints have it."""
    name = re.sub(r"^(blocks\.\d+)\.", r"\1.mobile_inverted_conv.", name)
    dynamic = name.startswith("blocks.") and not name.startswith("blocks.0.")
    return re.sub(r"\.(conv|bn)\.(?=\w+$)(?!\dto)", r".\1.\1.", name) if dynamic else name
