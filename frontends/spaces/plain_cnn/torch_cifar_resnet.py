"""ResNets for small images (He et al. 2016, section 4.2) with projections as shortcuts, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from frontends.spaces.mbconv.torch_blocks import conv_bn


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut: the identity, or a convolution 1x1 with BatchNorm where the shape changes.

    Args:
        in_channels: channels it reads.
        channels: channels it returns.
        kernel: height and width of the two kernels.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(in_channels, channels, kernel, stride), nn.ReLU(), *conv_bn(channels, channels, kernel)
        )
        keeps_shape = stride == 1 and in_channels == channels
        self.shortcut = nn.Sequential(*([] if keeps_shape else conv_bn(in_channels, channels, 1, stride)))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H/stride, W/stride)."""
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


class CifarResNetwork(nn.Module):
    """A convolution, the blocks, global pooling, linear layer.

    Args:
        blocks: channels and stride of each.
        kernel: height and width of the kernels.
        in_channels: of the image.
        classes: length of the logits.
    """

    def __init__(self, blocks: Sequence[tuple[int, int]], kernel: int, in_channels: int, classes: int) -> None:
        super().__init__()
        channels = blocks[0][0]
        self.stem = nn.Sequential(*conv_bn(in_channels, channels, kernel), nn.ReLU())
        inputs = (channels, *(width for width, _ in blocks))
        self.blocks = nn.Sequential(
            *(BasicBlock(width, *block[:1], kernel, block[1]) for width, block in zip(inputs, blocks, strict=False))
        )
        self.classifier = nn.Linear(inputs[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean((2, 3)))
        return logits
