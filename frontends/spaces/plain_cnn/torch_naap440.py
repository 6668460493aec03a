"""NAAP-440's networks (Hakim 2022, the author's create_dataset.py), in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from frontends.spaces.mbconv.torch_blocks import conv_bn

from .spec import Block


class Naap440Network(nn.Module):
    """Blocks of convolution, BatchNorm and ReLU, some with an addition; global pooling, linear layer.

    Args:
        blocks: in order.
        channels: of the image.
        classes: length of the logits.
    """

    def __init__(self, blocks: Sequence[Block], channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, *(block.width for block in blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(*conv_bn(width, block.width, block.kernel, block.stride), nn.ReLU())
            for width, block in zip(widths, blocks, strict=False)
        )
        self.residual = [block.residual for block in blocks]
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        for block, residual in zip(self.blocks, self.residual, strict=True):
            x = block(x) + x if residual else block(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
