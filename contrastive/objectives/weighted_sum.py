"""The pretraining objective: an encoder and a weighted sum of loss terms on its embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from contrastive.config import PretrainConfig
from contrastive.pair_sampler import Pairs
from contrastive.pretraining_set import Pool
from encoders.engine.batching import TensorBatch
from encoders.engine.devices import CPU, in_bfloat16
from encoders.models.encoder import Encoder
from encoders.training.seeding import seeded

from .behaviour_regression import BehaviourRegression
from .graph_contrast import GraphContrast
from .masked_nodes import MaskedNodePrediction
from .property_regression import PropertyRegression
from .step_context import SignedLog, StepContext

SUMS = ("sum", "mixed")  # pools whose embeddings grow with the graph


def head_inputs(config: PretrainConfig) -> str:
    """What heads make of embeddings first; a state is resumed by a run with the same alone."""
    return "signed log" if config.encoder.pool in SUMS else "as they are"


class Objective(nn.Module):
    """The encoder and the loss terms whose weight is not 0, on a device; the initial weights do not depend on it."""

    def __init__(self, config: PretrainConfig, pool: Pool, device: torch.device = CPU) -> None:
        """Create encoder and heads.

        Args:
            config: weights of the terms, and the encoder's shape.
            pool: the graphs that batches are sampled from.
            device: where to compute.
        """
        super().__init__()
        self.device, self.autocast = device, config.autocast
        self.encoder = Encoder(config.encoder, config.seed)
        # heads that read sums of hundreds start with losses of thousands
        self.scale = SignedLog() if head_inputs(config) == "signed log" else nn.Identity()
        dim = self.encoder.dim
        terms: dict[str, tuple[float, Callable[[], nn.Module]]] = {
            "contrast": (config.contrast_weight, lambda: GraphContrast(config, pool, dim, device)),
            "property": (config.property_weight, lambda: PropertyRegression(pool.properties, dim, device)),
            "path": (config.path_weight, lambda: PropertyRegression(pool.paths, dim, device)),
            "mask": (
                config.mask_weight,
                lambda: MaskedNodePrediction(pool, self.encoder, config.seed, device, config.autocast),
            ),
            "behaviour": (config.behaviour_weight, lambda: BehaviourRegression(pool, dim, device)),
        }
        self.weights = {name: weight for name, (weight, _) in terms.items() if weight}
        with seeded(config.seed, 1):
            self.terms = nn.ModuleDict({name: terms[name][1]() for name in self.weights})
        self.to(device)

    def losses(self, batch: TensorBatch, pairs: Pairs, step: int = 0, rows: slice = slice(None)) -> dict[str, Tensor]:
        """This process's shares: of every term by its name, without its weight, and of their weighted sum, "loss".

        Args:
            batch: the graphs at `rows` of `pairs`.
            pairs: the whole batch.
            step: number of the optimiser step; masks differ from step to step.
            rows: this process's rows of `pairs`; default all.
        """
        with in_bfloat16(self.device, self.autocast):
            embeddings = self.encoder(batch)
        embeddings = self.scale(embeddings.to(self.encoder.embedding.op.weight.dtype))
        context = StepContext(step, pairs, rows, embeddings, self.encoder)
        shares = {name: self.terms[name](context) for name in self.weights}
        total = embeddings.new_zeros(())
        for name, weight in self.weights.items():
            total = total + weight * shares[name]
        return {"loss": total, **shares}
