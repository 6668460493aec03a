"""Networks written twice, in PyTorch and in Keras, as a user of each would write them.

Widths are small; images have 32 x 32 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers, ops
from sequence_pairs import TorchPacked, TorchRecurrent, TorchSeparate, TorchViT, keras_recurrent, keras_vit


class Pair(NamedTuple):
    """One network: the module, the Keras model, and PyTorch's example input (Keras models know their shapes)."""

    torch: Callable[[], nn.Module]
    keras: Callable[[], Any]
    example: Callable[[], Tensor]


def image() -> Tensor:
    return torch.zeros(1, 3, 32, 32)


def tokens() -> Tensor:
    return torch.zeros(1, 12, dtype=torch.long)


def image_input() -> Any:
    return keras.Input((32, 32, 3), batch_size=1)


# --- VGG: plain convolutions, and a classifier on flattened features (in another order in either framework)


def torch_vgg() -> nn.Module:
    parts: list[nn.Module] = []
    width = 3
    for out_channels, depth in ((8, 1), (16, 2)):
        for _ in range(depth):
            parts += [nn.Conv2d(width, out_channels, 3, padding=1), nn.ReLU()]
            width = out_channels
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(16 * 64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


def keras_vgg() -> Any:
    model = keras.Sequential([image_input()])
    for out_channels, depth in ((8, 1), (16, 2)):
        for _ in range(depth):
            model.add(layers.Conv2D(out_channels, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    for layer in (layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dropout(0.5), layers.Dense(10)):
        model.add(layer)
    return model


# --- ResNet-18: padding as a layer of its own in Keras, shortcuts by convolution


class TorchBasic(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.conv2, self.bn2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False), nn.BatchNorm2d(out_channels)
        self.down = (
            nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
            if stride > 1 or in_channels != out_channels
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.down(x))


def torch_resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)]
    blocks = [
        TorchBasic(max(width // 2, 8) if first else width, width, 2 if first and width > 8 else 1)
        for width in (8, 16, 32, 64)
        for first in (True, False)
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def keras_resnet18() -> Any:
    def conv(x: Any, width: int, kernel: int, stride: int) -> Any:
        if kernel > 1:
            x = layers.ZeroPadding2D(kernel // 2)(x)
        return layers.BatchNormalization()(layers.Conv2D(width, kernel, stride, use_bias=False)(x))

    inputs = image_input()
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(layers.ReLU()(conv(inputs, 8, 7, 2))))
    for width in (8, 16, 32, 64):
        for first in (True, False):
            stride = 2 if first and width > 8 else 1
            shortcut = conv(x, width, 1, stride) if stride > 1 else x
            out = conv(layers.Activation("relu")(conv(x, width, 3, stride)), width, 3, 1)
            x = layers.ReLU()(layers.Add()([shortcut, out]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


# --- MobileNetV2: depthwise convolutions, ReLU6, TensorFlow's own padding at stride 2

BOTTLENECKS = ((1, 8, 1), (6, 12, 2), (6, 12, 1), (6, 16, 2))


class TorchInverted(nn.Module):
    def __init__(self, in_channels: int, expand: int, out_channels: int, stride: int) -> None:
        super().__init__()
        width = in_channels * expand
        parts: list[nn.Module] = (
            [nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()] if expand > 1 else []
        )
        parts += [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
        parts += [
            nn.Conv2d(width, width, 3, stride, 0 if stride == 2 else 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
        ]
        self.body = nn.Sequential(*parts, nn.Conv2d(width, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def torch_mobilenetv2() -> nn.Module:
    parts: list[nn.Module] = [
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(3, 8, 3, 2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
    ]
    in_channels = 8
    for expand, out_channels, stride in BOTTLENECKS:
        parts.append(TorchInverted(in_channels, expand, out_channels, stride))
        in_channels = out_channels
    head = [
        nn.Conv2d(in_channels, 32, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ]
    return nn.Sequential(*parts, *head)


def keras_mobilenetv2() -> Any:
    def norm(x: Any, act: bool = True) -> Any:
        x = layers.BatchNormalization()(x)
        return layers.ReLU(6.0)(x) if act else x

    inputs = image_input()
    x, in_channels = norm(layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs)), 8
    for expand, out_channels, stride in BOTTLENECKS:
        before = x
        x = norm(layers.Conv2D(in_channels * expand, 1, use_bias=False)(x)) if expand > 1 else x
        x = norm(layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x))
        x = norm(layers.Conv2D(out_channels, 1, use_bias=False)(x), act=False)
        x = layers.Add()([before, x]) if stride == 1 and in_channels == out_channels else x
        in_channels = out_channels
    x = layers.GlobalAveragePooling2D()(norm(layers.Conv2D(32, 1, use_bias=False)(x)))
    return keras.Model(inputs, layers.Dense(10)(x))


# --- DenseNet: everything before is concatenated


class TorchDenseLayer(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, 16, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 4, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def torch_densenet() -> nn.Module:
    transition = [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1, bias=False), nn.AvgPool2d(2)]
    parts = [
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        TorchDenseLayer(8),
        TorchDenseLayer(12),
        *transition,
        TorchDenseLayer(8),
        TorchDenseLayer(12),
    ]
    return nn.Sequential(
        *parts, nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def keras_densenet() -> Any:
    def conv(x: Any, width: int, kernel: int) -> Any:
        x = layers.ReLU()(layers.BatchNormalization()(x))
        return layers.Conv2D(width, kernel, padding="same", use_bias=False)(x)

    inputs = image_input()
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    for stage in range(2):
        for _ in range(2):
            x = layers.Concatenate()([x, conv(conv(x, 16, 1), 4, 3)])
        x = layers.AveragePooling2D(2)(conv(x, 8, 1)) if stage == 0 else layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


# --- squeeze and excitation: a gate per channel, SiLU


class TorchSqueeze(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(width, width, 3, padding=1, groups=2), nn.BatchNorm2d(width)
        self.down, self.up = nn.Linear(width, width // 4), nn.Linear(width // 4, width)

    def forward(self, x: Tensor) -> Tensor:
        out = F.silu(self.bn(self.conv(x)))
        gate = torch.sigmoid(self.up(F.relu(self.down(out.mean((2, 3))))))
        return x + out * gate[:, :, None, None]


def torch_squeeze() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        TorchSqueeze(16),
        TorchSqueeze(16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def keras_squeeze() -> Any:
    inputs = image_input()
    x = layers.Conv2D(16, 3, padding="same")(inputs)
    for _ in range(2):
        out = layers.Activation("swish")(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", groups=2)(x)))
        gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(out))
        gate = layers.Reshape((1, 1, 16))(layers.Dense(16, activation="sigmoid")(gate))
        x = x + layers.Multiply()([out, gate])
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


# --- Inception: branches of different kernels


class TorchInception(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.one = self.conv(in_channels, 8, 1)
        self.three = nn.Sequential(self.conv(in_channels, 4, 1), self.conv(4, 8, 3))
        self.five = nn.Sequential(self.conv(in_channels, 4, 1), self.conv(4, 8, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), self.conv(in_channels, 8, 1))

    def conv(self, in_channels: int, out_channels: int, kernel: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def torch_inception() -> nn.Module:
    return nn.Sequential(
        TorchInception(3), TorchInception(32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )


def keras_inception() -> Any:
    def conv(x: Any, width: int, kernel: int) -> Any:
        return layers.ReLU()(
            layers.BatchNormalization()(layers.Conv2D(width, kernel, padding="same", use_bias=False)(x))
        )

    inputs = x = image_input()
    for _ in range(2):
        pooled = layers.MaxPooling2D(3, 1, padding="same")(x)
        x = ops.concatenate(
            [conv(x, 8, 1), conv(conv(x, 4, 1), 8, 3), conv(conv(x, 4, 1), 8, 5), conv(pooled, 8, 1)], axis=-1
        )
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


# --- U-Net: transposed convolutions and skip connections


class TorchUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = self.double(3, 8), self.double(8, 16), self.double(16, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.merge2, self.merge1 = self.double(32, 16), self.double(16, 8)
        self.head = nn.Conv2d(8, 1, 1)

    def double(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.bottom(F.max_pool2d(second, 2))
        x = self.merge2(torch.cat([second, self.up2(x)], 1))
        return torch.sigmoid(self.head(self.merge1(torch.cat([first, self.up1(x)], 1))))


def keras_unet() -> Any:
    def double(x: Any, width: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        return x

    inputs = image_input()
    first = double(inputs, 8)
    second = double(layers.MaxPooling2D()(first), 16)
    x = double(layers.MaxPooling2D()(second), 32)
    x = double(layers.Concatenate()([second, layers.Conv2DTranspose(16, 2, 2)(x)]), 16)
    x = double(layers.Concatenate()([first, layers.Conv2DTranspose(8, 2, 2, padding="same")(x)]), 8)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))


# --- ConvNeXt: channels last for the norm and the linear layers, in both frameworks


class TorchNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(16, 16, 7, padding=3, groups=16), nn.LayerNorm(16)
        self.wide, self.narrow, self.scale = nn.Linear(16, 64), nn.Linear(64, 16), nn.Parameter(torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))) * self.scale
        return x + y.permute(0, 3, 1, 2)


def torch_convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 4),
        TorchNext(),
        TorchNext(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 10),
    )


class Scale(layers.Layer):
    """A learned factor per channel."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="scale")

    def call(self, x: Any) -> Any:
        return x * self.scale


def keras_convnext() -> Any:
    inputs = image_input()
    x = layers.Conv2D(16, 4, 4)(inputs)
    for _ in range(2):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(7, padding="same")(x))
        x = x + Scale()(layers.Dense(16)(layers.Dense(64, activation="gelu")(y)))
    return keras.Model(inputs, layers.Dense(10)(layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))))


PAIRS: dict[str, Pair] = {
    "vgg": Pair(torch_vgg, keras_vgg, image),
    "resnet18": Pair(torch_resnet18, keras_resnet18, image),
    "mobilenetv2": Pair(torch_mobilenetv2, keras_mobilenetv2, image),
    "densenet": Pair(torch_densenet, keras_densenet, image),
    "squeeze-excite": Pair(torch_squeeze, keras_squeeze, image),
    "inception": Pair(torch_inception, keras_inception, image),
    "vit-packed": Pair(lambda: TorchViT(TorchPacked), keras_vit, image),
    "vit-separate": Pair(lambda: TorchViT(TorchSeparate), keras_vit, image),
    "lstm": Pair(lambda: TorchRecurrent(nn.LSTM, False), lambda: keras_recurrent(layers.LSTM, False), tokens),
    "gru": Pair(lambda: TorchRecurrent(nn.GRU, True), lambda: keras_recurrent(layers.GRU, True), tokens),
    "unet": Pair(TorchUNet, keras_unet, image),
    "convnext": Pair(torch_convnext, keras_convnext, image),
}
