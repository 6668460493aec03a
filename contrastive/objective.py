"""The network and the loss of pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from cgir.errors import CgirError
from cgir.properties import properties
from encoders.batching import TensorBatch
from encoders.descriptors import Scaler
from encoders.encoder import Encoder, EncoderConfig
from encoders.seeding import seeded

from .batches import Pairs
from .losses import simclr, spectral_supcon, supcon
from .pool import Pool

LOSSES = ("spectral", "supcon", "simclr", "none")


@dataclass(frozen=True)
class PretrainConfig:
    """Recipe of a pretraining run; the defaults follow the paper, and fix what it leaves open.

    `loss`: "spectral" (eq. 4.5), "supcon" (4.3), "simclr" (4.2) or "none"; `sign` of sigma_S in eq. 4.5 (see `losses.spectral_weights`);
    `neighbours`: positives come from so many nearest graphs; `property_weight` of an extra regression of `cgir.properties`, which the paper
    has not: it makes frozen embeddings better.
    """

    loss: str = "spectral"
    steps: int = 1000
    batch: int = 256
    temperature: float = 0.1
    sign: int = -1
    neighbours: int = 8
    projection: int = 64
    property_weight: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise CgirError(f"pretrain: unknown loss {self.loss!r}; expected one of {', '.join(LOSSES)}")
        if self.loss == "none" and self.property_weight <= 0:
            raise CgirError("pretrain: loss='none' leaves nothing to learn; give property_weight > 0")
        if self.sign not in (-1, 1):
            raise CgirError(f"pretrain: sign={self.sign}; expected -1 (near graphs weigh most) or 1 (as printed in the paper)")
        if min(self.steps, self.projection) < 1 or min(self.temperature, self.lr) <= 0 or min(self.property_weight, self.weight_decay) < 0:
            raise CgirError(f"pretrain: steps, projection, temperature and lr must be positive, the weights not negative; found {self}")
        if self.projection > 2 * self.encoder.width:
            raise CgirError(f"pretrain: projection={self.projection}; expected at most the embedding's {2 * self.encoder.width}")


class Objective(nn.Module):
    """Encoder, projection head and, if wanted, property head; `loss` of one batch."""

    def __init__(self, config: PretrainConfig, pool: Pool) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder, config.seed)
        self.families, self.spectra = torch.from_numpy(pool.families), torch.from_numpy(pool.spectra)
        dim = self.encoder.dim
        with seeded(config.seed, 1):
            self.projection = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.projection)) if config.loss != "none" else None
            if config.property_weight:
                values = np.asarray(properties(pool.batch), np.float64)
                self.targets = torch.from_numpy(Scaler.fit(values)(values)).float()
                self.property_head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, values.shape[1]))

    def loss(self, arrays: TensorBatch, pairs: Pairs) -> Tensor:
        """Contrastive loss of the batch plus the weighted property loss."""
        vectors = self.encoder(arrays)
        rows = torch.from_numpy(pairs.indices)
        total = vectors.new_zeros(())
        if self.projection is not None:
            total = self._contrast(normalize(self.projection(vectors)), rows, torch.from_numpy(pairs.partners))
        if self.config.property_weight:
            total = total + self.config.property_weight * mse_loss(self.property_head(vectors), self.targets.index_select(0, rows))
        return total

    def _contrast(self, z: Tensor, rows: Tensor, partners: Tensor) -> Tensor:
        config = self.config
        if config.loss == "simclr":
            return simclr(z, partners, config.temperature)
        families = self.families.index_select(0, rows)
        if config.loss == "supcon":
            return supcon(z, families, config.temperature)
        return spectral_supcon(z, families, self.spectra.index_select(0, rows), config.temperature, config.sign)
