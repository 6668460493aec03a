"""Specs of NAS-Bench-Macro: a choice for every layer, and the layers that they make in a skeleton."""

from __future__ import annotations

from typing import NamedTuple

from frontends.spaces.mbconv.blocks import BottleneckSpec

BOTTLENECKS = {1: (3, 3), 2: (6, 5)}  # choice -> (expansion, kernel); choice 0 is the identity
NUM_CHOICES = 3

Spec = tuple[int, ...]  # the choice of every layer


class LayerSpec(NamedTuple):
    """One layer: what was chosen, and the change of shape that its position requires."""

    choice: int
    in_channels: int
    out_channels: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether input and output have one shape, so that an identity needs no convolution."""
        return self.in_channels == self.out_channels and self.stride == 1

    @property
    def bottleneck(self) -> BottleneckSpec:
        """The inverted bottleneck that was chosen."""
        expansion, kernel = BOTTLENECKS[self.choice]
        return BottleneckSpec(self.in_channels * expansion, self.out_channels, kernel, self.stride)
