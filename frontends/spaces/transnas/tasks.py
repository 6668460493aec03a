"""The seven tasks of TransNAS-Bench-101 with their decoders, and the searched part of a network, the backbone.

Sources: Duan et al. 2021 and the authors' net_macro.py, decoder.py and task configs.
"""

from __future__ import annotations

from typing import NamedTuple

from frontends.spaces.edge_cell import compile_cell

OPS = ("zeroize", "skip", "conv1x1", "conv3x3")  # of an edge of a cell, in the order of their codes
# task -> outputs: classes, coordinates, permutations, or channels of an image
TASKS = {
    "class_object": 75,
    "class_scene": 47,
    "room_layout": 9,
    "jigsaw": 1000,
    "segmentsemantic": 17,
    "normal": 3,
    "autoencoder": 3,
}
IMAGE_TASKS = ("segmentsemantic", "normal", "autoencoder")
JIGSAW_TILES = 9  # each through one and the same backbone
STEM_DOWNSAMPLINGS = 2


class TransNasBackbone(NamedTuple):
    """The searched part of a network, with the stem.

    Attributes:
        layout: a digit per module; even: twice the channels, above 2: half the height and width.
        ops: operations of the cell, an entry of `OPS` for every edge; None for ResNet blocks.
        channels: after the stem.
        cells: in each module.
    """

    layout: tuple[int, ...]
    ops: tuple[str, ...] | None
    channels: int
    cells: int

    @property
    def modules(self) -> tuple[tuple[int, int], ...]:
        """Output channels and stride of each module."""
        result, channels = [], self.channels
        for digit in self.layout:
            channels *= 2 if digit % 2 == 0 else 1
            result.append((channels, 2 if digit > 2 else 1))
        return tuple(result)

    @property
    def num_downsamplings(self) -> int:
        """How often height and width are halved, stem included."""
        return STEM_DOWNSAMPLINGS + sum(stride == 2 for _, stride in self.modules)

    @property
    def is_connected(self) -> bool:
        """Whether the output depends on the input."""
        return self.ops is None or compile_cell(self.ops) is not None


class DecoderBlock(NamedTuple):
    """A layer of an image decoder: a 3x3 convolution, or a transposed one that doubles height and width."""

    channels: int
    upsamples: bool


def decoder_blocks(task: str, num_downsamplings: int) -> tuple[DecoderBlock, ...]:
    """The layers of a decoder before the last, which turn a backbone's output into an image of the input's size."""
    if task == "segmentsemantic":
        same_size = [1024 >> step for step in range(7 - num_downsamplings)]
        upsampled = [same_size[-1] >> step for step in range(1, num_downsamplings)]
        return (
            *(DecoderBlock(c, False) for c in same_size),
            *(DecoderBlock(c, True) for c in (*upsampled, upsampled[-1])),
        )
    # channels of two layers, and from how many downsamplings on the second one upsamples
    pairs = ((1024, 512, 6), (512, 256, 5), (128, 64, 4), (64, 32, 3), (32, 16, 0), (32, 16, 0))
    blocks = [DecoderBlock(1024, False)]
    for first, second, threshold in pairs:
        blocks += [DecoderBlock(first, False), DecoderBlock(second, num_downsamplings >= threshold)]
    return tuple(blocks)
