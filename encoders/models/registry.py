"""The encoders there are, by name: what predictors train and checkpoints write."""

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
    """A new encoder of the configuration's kind."""
    return SiblingTransformer(config, seed) if isinstance(config, SiblingConfig) else Encoder(config, seed)


def architecture(encoder: GraphEncoder) -> str:
    """Its name in ARCHITECTURES."""
    return next(name for name, (_, kind) in ARCHITECTURES.items() if isinstance(encoder, kind))
