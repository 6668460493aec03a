"""Networks of a space made small enough to be trained in a second, and images for them without a data set."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from frontends.spaces import Space

from .feature_maps import ends_of_sizes, live_maps
from .isolation import isolated
from .probe import Probe
from .regression import IMAGES

SMALL = {"cells": 1, "layers": 3, "head": 128}  # fields of a skeleton, and the most that is trained
FEWEST_CHANNELS, MOST_CHANNELS = 8, 16  # between which a quarter of the skeleton's are trained
LEAST = 2  # height and width of the smallest map that a network has to draw
FEWEST_PIXELS = 16


def small_space(space: Space[Any], spec: Any, images: Tensor | None = None, seed: int = 0) -> tuple[Space[Any], Tensor]:
    """A space whose networks train in a second, and the images that they read.

    Args:
        space: as its networks were measured.
        spec: a network of it, whose smallest feature map decides how many pixels images have.
        images: that shall be used; None: noise.
        seed: of the noise.

    Raises:
        CgirError: its networks read something else than images.
    """
    shapes = [tuple(x.shape) for x in space.inputs(spec)]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise CgirError(f"rehearse: networks of {space.name} read inputs of shape {shapes}; expected images")
    if images is not None:
        return _skeleton(space, tuple(images.shape[1:])), images
    _, channels, own, _ = shapes[0]
    with isolated(seed, torch.device("cpu")):
        module = _skeleton(space, (channels, own, own)).module(spec)
    stride = _stride(module, natural_noise(2, channels, own, seed))
    size = min(own, max(FEWEST_PIXELS, LEAST * stride))
    return _skeleton(space, (channels, size, size)), natural_noise(IMAGES, channels, size, seed)


def _skeleton(space: Space[Any], image: tuple[int, ...]) -> Space[Any]:
    names = {field.name for field in fields(space)}  # type: ignore[arg-type]
    limits: dict[str, Any] = {name: min(most, getattr(space, name)) for name, most in SMALL.items() if name in names}
    if "channels" in names:
        channels = space.channels  # type: ignore[attr-defined]  # only some have them
        limits["channels"] = min(channels, MOST_CHANNELS, max(channels // 4, FEWEST_CHANNELS))
    if "image" in names:
        limits["image"] = image
    return replace(space, **limits)  # type: ignore[type-var]


def _stride(module: nn.Module, images: Tensor) -> int:
    """Pixels of the images to a position of the smallest map of 2 x 2 positions or more."""
    probe = Probe(module, images, device="cpu")
    with isolated(probe.seed, probe.device):
        sizes = ends_of_sizes(live_maps(probe, probe.module, probe.inputs))
    return images.shape[-1] // min((min(size) for size in sizes), default=images.shape[-1])


def natural_noise(count: int, channels: int, size: int, seed: int = 0) -> Tensor:
    """Square images (count, channels, size, size) of noise whose amplitudes fall with frequency, as photographs' do.

    Field 1987, "Relations between the statistics of natural images and the response properties of cortical cells":
    amplitude ~ 1 / frequency. All together have variance 1.

    Args:
        count: of images.
        channels: of each, independent of each other.
        size: height and width.
        seed: of the noise.
    """
    white = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed), device="cpu")
    frequencies = torch.fft.fftfreq(size, device="cpu")
    frequency = torch.hypot(frequencies[:, None], frequencies[None, :]).clamp(min=1 / size)  # the mean's is 0
    images: Tensor = torch.fft.ifft2(torch.fft.fft2(white) / frequency).real
    return images / images.std(correction=0)
