"""Dense regression: how fast a network learns to draw sinusoids with its feature maps, a training of a second."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, mse_loss

from cgir.errors import CgirError
from encoders.engine.devices import Device
from frontends.torch.surroundings import in_plain_surroundings
from frontends.torch.thread_count import threads_for

from .feature_maps import FeatureMap, Key, Size, ends_of_sizes, live_maps
from .isolation import isolated
from .probe import MissingLayerError, Probe, in_one_line

IMAGES = 16
SIZES = 3  # stages of the network that have to draw
WAVES = 8
LEARNING_RATE = 0.005  # chosen on 47 random cells of NAS-Bench-201, so scores of that space are not free of labels


@in_plain_surroundings(grad=True)
def dense_regression(
    module: nn.Module,
    images: Tensor,
    *,
    steps: int = 20,
    seed: int = 0,
    device: Device = "auto",
) -> float | None:
    """Minus the sum of losses of a short training on one batch of 16 images without labels; higher is better.

    After GenNAS (Li et al. 2021, "Generic Neural Architecture Search via Regression", section 3,
    https://arxiv.org/abs/2108.01899). The last feature map of each of the three smallest sizes, of 2 x 2 positions or
    more, passes BatchNorm without weights and a 1x1 convolution to 8 channels, which have to be sinusoids of random
    direction, phase and frequency, other ones for each image; the loss is the mean squared error, summed over sizes.
    Adam, .005 with a cosine to 0. All weights are trained, of a copy.

    Args:
        module: the network; it is left as it is.
        images: (B, C, H, W); the first 16 are used.
        steps: of training.
        seed: of sinusoids, heads and whatever the network draws.
        device: where to compute; "auto" is CUDA where there is one, otherwise the CPU.

    Returns:
        The score; None where the training diverges, or no map depends on the image.

    Raises:
        CgirError: the network refuses the images, cannot be copied, or returns no feature maps.
    """
    losses = regression_losses(module, images, steps, seed, device)
    return None if losses is None else -math.fsum(map(math.fsum, losses))


@in_plain_surroundings(grad=True)
def regression_losses(
    module: nn.Module,
    images: Tensor,
    steps: int = 20,
    seed: int = 0,
    device: Device = "auto",
    learning_rate: float = LEARNING_RATE,
) -> list[list[float]] | None:
    """The losses of `dense_regression`: of each step, of each size of map, smallest first; None where it is undefined.

    Args:
        module: the network; it is left as it is.
        images: (B, C, H, W); the first 16 are used.
        steps: of training.
        seed: of sinusoids, heads and whatever the network draws.
        device: see `dense_regression`.
        learning_rate: of Adam, at the first step.

    Raises:
        CgirError: see `dense_regression`.
    """
    if not isinstance(steps, int) or steps < 1:
        raise CgirError(f"dense_regression: {steps!r} steps; expected an integer of 1 or more")
    probe = Probe(module, images, seed=seed, device=device)
    probe.inputs = tuple(x[:IMAGES] if probe.has_batch(x) else x for x in probe.inputs)
    with isolated(seed, probe.device), threads_for(probe.numbers):
        try:
            with in_one_line("dense_regression", probe.name):
                losses = _train(probe, steps, learning_rate)
        except MissingLayerError as error:
            raise CgirError(f"dense_regression needs {error}, and {probe.name} has none") from None
    return losses


class Drawing(nn.Module):
    """A head: BatchNorm without weights, 1x1 convolution, and what it should return.

    Args:
        channels: of the map that it reads.
        target: (B, waves, H, W).
        generator: of its weights, uniform between +-1 / sqrt(channels) as of PyTorch's convolutions.
    """

    def __init__(self, channels: int, target: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        waves, bound = target.shape[1], channels**-0.5
        self.weight = nn.Parameter(_uniform((waves, channels, 1, 1), -bound, bound, generator).to(target))
        self.bias = nn.Parameter(_uniform((waves,), -bound, bound, generator).to(target))
        self.target = target

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> the mean squared error, a scalar."""
        return mse_loss(conv2d(batch_norm(image, None, None, training=True), self.weight, self.bias), self.target)


def heads_of(probe: Probe, network: nn.Module) -> dict[Key, Drawing]:
    """A head for the end of each of the smallest sizes, smallest first; none where that map is equal for all images."""
    maps = live_maps(probe, network, probe.inputs)
    ends = sorted(ends_of_sizes(maps).items(), key=lambda end: math.prod(end[0]))[:SIZES]
    if not ends or _is_constant(maps[ends[0][1]].value.detach()):
        return {}
    generator = torch.Generator().manual_seed(probe.seed)
    return {key: _head(maps[key], generator) for _, key in ends}


def _train(probe: Probe, steps: int, learning_rate: float) -> list[list[float]] | None:
    """The losses of each step; None where there is nothing to train, or losses are not finite."""
    network = probe.fresh()
    heads = heads_of(probe, network)
    weights = [*network.parameters(), *(weight for head in heads.values() for weight in head.parameters())]
    optimizer = torch.optim.Adam([weight for weight in weights if weight.requires_grad], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses: list[list[float]] = []
    while heads and len(losses) < steps:
        maps = live_maps(probe, network, probe.inputs, {name for name, _ in heads})
        if not heads.keys() <= maps.keys():
            return None  # a network that does not call the same modules again
        found = torch.stack([head(maps[key].image) for key, head in heads.items()])
        losses.append(found.tolist())
        if not math.isfinite(math.fsum(losses[-1])):
            return None
        optimizer.zero_grad()
        torch.autograd.backward(found.sum())
        optimizer.step()
        schedule.step()
    return losses or None


def _is_constant(batch: Tensor) -> bool:
    return torch.equal(batch, batch[:1].expand_as(batch))


def _head(feature: FeatureMap, generator: torch.Generator) -> Drawing:
    batch, channels = feature.image.shape[:2]
    height, width = feature.size
    frequency = _uniform((batch, WAVES), 0, min(height, width) / 2, generator)
    direction, phase = (_uniform((batch, WAVES), 0, 2 * math.pi, generator) for _ in range(2))
    target = sinusoids(frequency, direction, phase, feature.size)
    return Drawing(channels, target.to(feature.image), generator)


def sinusoids(frequency: Tensor, direction: Tensor, phase: Tensor, size: Size) -> Tensor:
    """Waves sqrt(2) sin(2 pi f (x cos d + y sin d) + phase), which have variance 1; x and y go from 0 to 1.

    Args:
        frequency: f, (B, waves), in periods a map.
        direction: d, (B, waves), radians.
        phase: (B, waves), radians.
        size: height and width.

    Returns:
        (B, waves, height, width).
    """
    height, width = size
    y = torch.arange(height, device=phase.device).unsqueeze(1) / height
    x = torch.arange(width, device=phase.device).unsqueeze(0) / width
    frequency, direction, phase = (value[..., None, None] for value in (frequency, direction, phase))
    along = x * direction.cos() + y * direction.sin()
    return math.sqrt(2) * (2 * math.pi * frequency * along + phase).sin()


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device="cpu")
