"""The network and the loss of pretraining."""

from __future__ import annotations

from torch import Tensor, nn

from contrastive.config import PretrainConfig
from contrastive.pair_sampler import Pairs
from contrastive.pretraining_set import Pool
from encoders.engine.batching import TensorBatch
from encoders.models.encoder import Encoder
from encoders.training.seeding import seeded

from .graph_contrast import GraphContrast
from .masked_nodes import MaskedNodePrediction
from .property_regression import PropertyRegression
from .step_context import StepContext


class Objective(nn.Module):
    """Encoder and the `parts` whose weight is not 0; `loss` of one batch."""

    def __init__(self, config: PretrainConfig, pool: Pool) -> None:
        super().__init__()
        self.encoder = Encoder(config.encoder, config.seed)
        dim = self.encoder.dim
        parts = {
            "contrast": (config.contrast_weight, lambda: GraphContrast(config, pool, dim)),
            "property": (config.property_weight, lambda: PropertyRegression(pool.properties, dim)),
            "path": (config.path_weight, lambda: PropertyRegression(pool.paths, dim)),
            "mask": (config.mask_weight, lambda: MaskedNodePrediction(pool, self.encoder, config.seed)),
        }
        self.weights = {name: weight for name, (weight, _) in parts.items() if weight}
        with seeded(config.seed, 1):
            self.parts = nn.ModuleDict({name: parts[name][1]() for name in self.weights})

    def loss(self, arrays: TensorBatch, pairs: Pairs, step: int = 0, rows: slice = slice(None)) -> Tensor:
        """The weighted sum of the parts.

        Args:
            arrays: the graphs at `rows` of the batch.
            pairs: the whole batch.
            step: masks differ from step to step.
            rows: those of this process, whose share of the loss is returned (see `StepContext`).
        """
        view = StepContext(step, pairs, rows, self.encoder(arrays), self.encoder)
        total = view.vectors.new_zeros(())
        for name, weight in self.weights.items():
            total = total + weight * self.parts[name](view)
        return total
