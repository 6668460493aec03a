"""Encoder architectures by name, as predictors build and checkpoints store them."""

from __future__ import annotations

from .encoder import Encoder, EncoderConfig
from .nn_former import SiblingConfig, SiblingTransformer

GraphEncoder = Encoder | SiblingTransformer
GraphEncoderConfig = EncoderConfig | SiblingConfig

ARCHITECTURES: dict[str, tuple[type[GraphEncoderConfig], type[GraphEncoder]]] = {
    "message passing": (EncoderConfig, Encoder),
    "siblings": (SiblingConfig, SiblingTransformer),
}


def build(config: GraphEncoderConfig, seed: int = 0) -> GraphEncoder:
    """A new encoder with this configuration."""
    return SiblingTransformer(config, seed) if isinstance(config, SiblingConfig) else Encoder(config, seed)


def architecture(encoder: GraphEncoder) -> str:
    """The name of the encoder's architecture in ARCHITECTURES."""
    return next(name for name, (_, kind) in ARCHITECTURES.items() if isinstance(encoder, kind))
