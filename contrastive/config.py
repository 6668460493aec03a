"""The recipe of pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from cgir.errors import CgirError
from encoders.models.encoder import EncoderConfig

CONTRASTS = ("spectral", "wl", "wl_shares", "supcon", "simclr")
WEIGHTS = ("contrast_weight", "property_weight", "path_weight", "mask_weight")


@dataclass(frozen=True)
class PretrainConfig:
    """Recipe of a pretraining run: a sum of parts, each with its weight; the defaults follow the paper, and fix what it
    leaves open.

    `contrast_weight`: of the contrast of graphs, in which `contrast` says how much each pair counts: by distance of
    Laplacian spectra ("spectral", eq. 4.5) or of Weisfeiler-Lehman subtrees, counted ("wl") or as shares of a graph's,
    blind to size ("wl_shares"), all of a family alike ("supcon", 4.3) or the drawn pairs alone ("simclr", 4.2).
    `property_weight`, `path_weight`: of regressions of `cgir.properties` and of `cgir.paths.path_features`;
    `mask_weight`: of predicting masked nodes. The paper has only the contrast; the others make frozen embeddings
    better.

    `sign` of distances in eq. 4.5 (see `losses.distance_weights`); `neighbours`: pairs are drawn from so many graphs
    nearest by spectrum.
    """

    contrast: str = "spectral"
    contrast_weight: float = 1.0
    property_weight: float = 0.0
    path_weight: float = 0.0
    mask_weight: float = 0.0
    steps: int = 1000
    batch: int = 256
    temperature: float = 0.1
    sign: int = -1
    neighbours: int = 8
    projection: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        if self.contrast not in CONTRASTS:
            raise CgirError(f"pretrain: unknown contrast {self.contrast!r}; expected one of {', '.join(CONTRASTS)}")
        weights = {name: getattr(self, name) for name in WEIGHTS}
        if wrong := {name: weight for name, weight in weights.items() if not (isfinite(weight) and weight >= 0)}:
            raise CgirError(
                f"pretrain: {', '.join(f'{name}={weight}' for name, weight in wrong.items())}; expected a finite number of at least 0"
            )
        if not any(weights.values()):
            raise CgirError(
                f"pretrain: all weights are 0, which leaves nothing to learn; give one of {', '.join(WEIGHTS)} more"
            )
        if self.sign not in (-1, 1):
            raise CgirError(
                f"pretrain: sign={self.sign}; expected -1 (near graphs weigh most) or 1 (as printed in the paper)"
            )
        if min(self.steps, self.projection) < 1 or min(self.temperature, self.lr) <= 0 or self.weight_decay < 0:
            raise CgirError(
                f"pretrain: steps, projection, temperature and lr must be positive, weight_decay not negative; found {self}"
            )
        if self.projection > 2 * self.encoder.width:
            raise CgirError(
                f"pretrain: projection={self.projection}; expected at most the embedding's {2 * self.encoder.width}"
            )
