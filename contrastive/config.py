"""Hyperparameters of pretraining: weights of the loss terms, sampling, optimisation and the encoder's architecture."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, Self

from cgir.errors import CgirError
from encoders.models.encoder import EncoderConfig

CONTRASTS = ("spectral", "wl", "wl_shares", "supcon", "simclr")
WEIGHTS = ("contrast_weight", "property_weight", "path_weight", "mask_weight", "behaviour_weight")
MOST_HELD_OUT = 0.5


@dataclass(frozen=True)
class PretrainConfig:
    """Hyperparameters of a pretraining run; the defaults are what the shipped encoder was made with.

    The loss is a weighted sum of five terms, of which the paper has only the first (`PretrainConfig.paper`); the others
    improve frozen embeddings.

    Args:
        contrast: how much each pair of graphs of a family counts in the contrastive term: by distance of their
            Laplacian spectra ("spectral", eq. 4.5), by distance of their counts of Weisfeiler-Lehman subtrees ("wl") or
            of the relative frequencies, which do not depend on size ("wl_shares"), equally ("supcon", eq. 4.3), or only
            the sampled pairs ("simclr", eq. 4.2).
        contrast_weight: weight of the contrastive term.
        property_weight: weight of the regression of `cgir.properties`.
        path_weight: weight of the regression of `cgir.analysis.path_features`.
        mask_weight: weight of the prediction of masked nodes.
        behaviour_weight: weight of the regression of behaviours, which the pool must have.
        steps: optimiser steps.
        batch: graphs in a batch, anchors and positives together; even.
        temperature: tau of eq. 4.1.
        sign: of distances in eq. 4.5: -1 gives near graphs the largest weight, +1 far ones, as printed (see
            `objectives.contrastive_losses.distance_weights`).
        neighbours: positives are sampled from that many nearest neighbours by spectrum.
        projection: dimension of the contrastive projection, at most that of the embedding.
        lr: peak learning rate; a cosine schedule takes it to 0.
        weight_decay: of AdamW.
        seed: of weights, batches, masks and dropout.
        autocast: compute the encoder in bfloat16 where PyTorch's autocast does; losses stay in single precision.
        encoder: the architecture. By default it sums half of its channels over nodes ("mixed"): how much there is of
            an operator is lost in a mean.
        held_out: share of each family's graphs that nothing is learned from; their loss tells what was learned from
            what was remembered.

    Raises:
        CgirError: a value is out of its range, or all weights are 0.
    """

    contrast: str = "wl"
    contrast_weight: float = 1.0
    property_weight: float = 1.0
    path_weight: float = 0.5
    mask_weight: float = 0.0
    behaviour_weight: float = 0.0
    steps: int = 1200
    batch: int = 256
    temperature: float = 0.1
    sign: int = -1
    neighbours: int = 8
    projection: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    autocast: bool = False
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(pool="mixed"))
    held_out: float = 0.0

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """What "A General-Purpose Transferable Predictor for NAS" states, and our values where it states none.

        The contrast by Laplacian spectra alone (eq. 4.5), on an encoder that takes means over nodes. The wiring of the
        graphs of a family has to differ: see `warn_if_little_to_learn`.

        Args:
            changes: fields that differ from it.
        """
        stated: dict[str, Any] = {"contrast": "spectral", "property_weight": 0.0, "path_weight": 0.0, "steps": 1000}
        return cls(**{**stated, "encoder": EncoderConfig(), **changes})

    def __post_init__(self) -> None:
        if self.contrast not in CONTRASTS:
            raise CgirError(f"pretrain: unknown contrast {self.contrast!r}; expected one of {', '.join(CONTRASTS)}")
        weights = {name: getattr(self, name) for name in WEIGHTS}
        if invalid := {name: weight for name, weight in weights.items() if not (isfinite(weight) and weight >= 0)}:
            values = ", ".join(f"{name}={weight}" for name, weight in invalid.items())
            raise CgirError(f"pretrain: {values}; expected a finite number of at least 0")
        if not any(weights.values()):
            raise CgirError(f"pretrain: all weights are 0, so no loss is left; set one of {', '.join(WEIGHTS)}")
        if self.sign not in (-1, 1):
            raise CgirError(
                f"pretrain: sign={self.sign}; expected -1 (near graphs get the largest weight) or 1 (as in the paper)"
            )
        for name in ("steps", "projection"):
            if (value := getattr(self, name)) < 1:
                raise CgirError(f"pretrain: {name}={value}; expected at least 1")
        for name in ("temperature", "lr"):
            if not 0 < (value := getattr(self, name)) < inf:
                raise CgirError(f"pretrain: {name}={value}; expected a number above 0")
        if not 0 <= self.weight_decay < inf:
            raise CgirError(f"pretrain: weight_decay={self.weight_decay}; expected a number of at least 0")
        if not 0 <= self.held_out <= MOST_HELD_OUT:
            raise CgirError(f"pretrain: held_out={self.held_out}; expected a share from 0 to {MOST_HELD_OUT}")
        if self.projection > 2 * self.encoder.width:
            raise CgirError(
                f"pretrain: projection={self.projection}; expected at most the embedding's {2 * self.encoder.width}"
            )
