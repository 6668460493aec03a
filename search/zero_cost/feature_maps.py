"""Feature maps of a network of images: what its modules return, in order, as far as the output depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isqrt, log
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .live_graph import live_nodes, nodes_of
from .probe import MissingLayerError, Probe

Key = tuple[str, int]  # name of a module, and which of its calls
Size = tuple[int, int]  # height and width
PARAMETRIZATIONS = "parametrizations"  # where `torch.nn.utils.parametrize` puts its modules


class FeatureMap(NamedTuple):
    """What a module returned.

    value: the tensor itself.
    layout: "BCHW", "BHWC" or "tokens", see `layout_of`.
    """

    value: Tensor
    layout: str

    @property
    def image(self) -> Tensor:
        """The map as (B, C, H, W)."""
        return as_image(self.value, self.layout)

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.image.shape[2], self.image.shape[3]


def image_size(inputs: tuple[Tensor, ...]) -> Size:
    """Height and width of the first input of four axes.

    Raises:
        MissingLayerError: there is none.
    """
    for x in inputs:
        if x.dim() == 4:
            return x.shape[2], x.shape[3]
    raise MissingLayerError("feature maps of images (B, C, H, W)")


def layout_of(value: Tensor, image: Size) -> str | None:
    """Which axis of a feature map is which, or None where the tensor is none.

    Of four axes, channels are the second, or the last where height and width of the image are then in better
    proportion, as in Swin transformers. Three, (B, tokens, C), are a map if the tokens are the positions of a square,
    in rows, without or with a class token in front.
    """
    if not value.is_floating_point() or 0 in value.shape:
        return None
    if value.dim() == 4:
        first, last = _distortion(value.shape[2:], image), _distortion(value.shape[1:3], image)
        return "BCHW" if first <= last else "BHWC"
    if value.dim() == 3 and value.shape[1] - isqrt(value.shape[1]) ** 2 in (0, 1):
        return "tokens"
    return None


def as_image(value: Tensor, layout: str) -> Tensor:
    """A map of this layout as (B, C, H, W); a class token is left out."""
    if layout == "BCHW":
        return value
    if layout == "BHWC":
        return value.permute(0, 3, 1, 2)
    side = isqrt(value.shape[1])
    return value[:, -(side**2) :].transpose(1, 2).reshape(len(value), -1, side, side)


def _distortion(size: torch.Size, image: Size) -> float:
    return abs(log(size[0] / size[1] * image[1] / image[0]))


@contextmanager
def watched(modules: Mapping[str, nn.Module], see: Callable[[Key, Tensor], None]) -> Iterator[None]:
    """While it is on, every tensor that one of the modules returns is shown under the module's name and call.

    The network goes on with a copy, so that what was seen stays what it was if the network changes it in place.
    """
    calls = dict.fromkeys(modules, 0)

    def hook(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def seen(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
            number, calls[name] = calls[name], calls[name] + 1
            if not isinstance(output, Tensor):
                return None
            see((name, number), output)
            return output.clone()

        return seen

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def live_maps(
    probe: Probe, network: nn.Module, inputs: tuple[Tensor, ...], names: Iterable[str] | None = None
) -> dict[Key, FeatureMap]:
    """The feature maps that modules return in one pass and that the output depends on, in order.

    Args:
        probe: whose network it is.
        network: one of its copies.
        inputs: of the network.
        names: of the modules; by default all.

    Returns:
        Maps with their graph of gradients.

    Raises:
        MissingLayerError: no input is a batch of images, or no module at all returns a feature map.
    """
    size = image_size(inputs)
    modules = own_modules(network)
    seen: dict[Key, Tensor] = {}
    with watched(modules if names is None else {name: modules[name] for name in names}, seen.__setitem__):
        output = probe.call(network, inputs)
    maps = maps_of(seen, size, len(inputs[0]))
    if not maps and names is None:
        raise MissingLayerError("modules that return feature maps")
    nodes = live_nodes(output)
    return {key: feature for key, feature in maps.items() if not nodes.isdisjoint(nodes_of(feature.value))}


def maps_of(seen: Mapping[Key, Tensor], image: Size, batch: int) -> dict[Key, FeatureMap]:
    """Those of the tensors that are feature maps of a batch of images.

    Args:
        seen: what modules returned.
        image: size of the images.
        batch: how many there are.
    """
    whole = {key: value for key, value in seen.items() if value.dim() > 0 and len(value) == batch}
    layouts = {key: layout_of(value, image) for key, value in whole.items()}
    return {key: FeatureMap(whole[key], layout) for key, layout in layouts.items() if layout is not None}


def own_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The network's modules by name, without those that compute a weight, as of spectral normalisation."""
    return {name: module for name, module in network.named_modules() if PARAMETRIZATIONS not in name.split(".")}


def inner_modules(module: nn.Module) -> dict[str, nn.Module]:
    """The modules right in a module by name, without those that compute its weights."""
    return {name: child for name, child in module.named_children() if name != PARAMETRIZATIONS}


def ends_of_sizes(maps: Mapping[Key, FeatureMap], smallest: int = 2) -> dict[Size, Key]:
    """The last map of each height and width from `smallest` on: where the network is about to change it."""
    return {feature.size: key for key, feature in maps.items() if min(feature.size) >= smallest}
