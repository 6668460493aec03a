"""MetaQNN's networks (Baker et al. 2017, the authors' libs/caffe/string_to_model.py), in PyTorch."""

from __future__ import annotations

from math import prod

from torch import nn

from .spec import Layer, dropouts


def metaqnn_network(layers: tuple[Layer, ...], image: tuple[int, int, int], classes: int) -> nn.Sequential:
    """The layers, dropout in its places, and a linear layer: (B, C, H, W) -> logits (B, classes).

    Args:
        layers: in order.
        image: channels, height, width.
        classes: length of the logits.
    """
    dropout = {place: nn.Dropout(number / (2 * of)) for place, number, of in dropouts(layers)}
    modules: list[nn.Module] = []
    shape: tuple[int, ...] = image
    for place, layer in enumerate(layers):
        added, shape = _layer(layer, shape)
        modules += [*added, dropout[place]] if place in dropout else added
    return nn.Sequential(*modules, *_linear(shape, classes))


def _layer(layer: Layer, shape: tuple[int, ...]) -> tuple[list[nn.Module], tuple[int, ...]]:
    """Modules of a layer that reads such a shape, and the shape that it returns."""
    if layer.kind == "C":
        channels, kernel, stride = layer.numbers
        return [nn.Conv2d(shape[0], channels, kernel, stride, kernel // 2), nn.ReLU()], (channels, *shape[1:])
    if layer.kind == "P":
        kernel, stride = layer.numbers
        sizes = (-(-(size - kernel) // stride) + 1 for size in shape[1:])
        return [nn.MaxPool2d(kernel, stride, ceil_mode=True)], (shape[0], *sizes)
    features = layer.numbers[0]
    if layer.kind == "FC":
        return [*_linear(shape, features), nn.ReLU()], (features,)
    return [nn.Conv2d(shape[0], features, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()], (features,)


def _linear(shape: tuple[int, ...], features: int) -> list[nn.Module]:
    flatten: list[nn.Module] = [nn.Flatten()] if len(shape) > 1 else []
    return [*flatten, nn.Linear(prod(shape), features)]
