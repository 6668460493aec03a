"""Networks on sequences written twice, in PyTorch and in Keras: a vision transformer and recurrent layers."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers, ops

# --- ViT: a class token, learned positions, attention in three ways of writing it


class TorchPacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class TorchSeparate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (4, 4)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TorchBlock(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(16), attention, nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TorchViT(nn.Module):
    def __init__(self, attention: type[nn.Module]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 17, 16))
        self.blocks = nn.Sequential(TorchBlock(attention()), TorchBlock(attention()))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Tokens(layers.Layer):
    """A class token in front, learned positions on top."""

    def build(self, input_shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="token")
        self.position = self.add_weight(
            shape=(1, input_shape[1] + 1, input_shape[-1]), initializer="zeros", name="position"
        )

    def call(self, x: Any) -> Any:
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1) + self.position


def keras_vit() -> Any:
    inputs = keras.Input((32, 32, 3), batch_size=1)
    x = Tokens()(layers.Reshape((16, 16))(layers.Conv2D(16, 8, 8)(inputs)))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(4, 4)(y, y)
        x = x + layers.Dense(16)(layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x)))
    return keras.Model(inputs, layers.Dense(10)(layers.LayerNormalization()(x)[:, 0]))


# --- recurrent networks


class TorchRecurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], bias: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.first, self.second = kind(8, 16, batch_first=True, bias=bias), kind(16, 16, batch_first=True, bias=bias)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.table(x))[0])[0][:, -1])


def keras_recurrent(kind: Any, bias: bool) -> Any:
    inputs = keras.Input((12,), batch_size=1, dtype="int32")
    x = layers.Embedding(50, 8)(inputs)
    x = kind(16, use_bias=bias)(kind(16, return_sequences=True, use_bias=bias)(x))
    return keras.Model(inputs, layers.Dense(4)(x))
