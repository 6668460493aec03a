"""Neural models behind `Predictor`: an ensemble of whole networks (encoder and head), or of heads on frozen vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .batching import GraphTensors
from .descriptors import Scaler
from .encoder import Encoder, EncoderConfig
from .heads import MLPHead, Scorer
from .losses import LOSSES, Loss
from .streaming import embed
from .training import TrainConfig, balanced, epochs, optimise, steps_per_epoch

Array = NDArray[np.float64]


class Vectors:
    """Frozen vectors (G, D) that hand out mini-batches as `GraphTensors` does."""

    def __init__(self, values: Array) -> None:
        self.values = torch.from_numpy(values).float()

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """The rows at `indices`."""
        return self.values.index_select(0, torch.from_numpy(indices))


Inputs = GraphTensors | Vectors
Raw = GraphTensors | Array  # graphs for whole networks, unscaled vectors (G, D) of `descriptors.describe` for frozen ones
Groups = Sequence[NDArray[np.int64]]  # indices of one step, family by family


@dataclass
class Member:
    """One network of an ensemble; its outputs are brought to zero mean and unit deviation over the graphs it was fitted on."""

    net: nn.Module
    mean: float = 0.0
    deviation: float = 1.0

    def outputs(self, inputs: Inputs) -> Array:
        """Standardised outputs (G,) for all graphs."""
        return (_outputs(self.net, inputs) - self.mean) / self.deviation


class Networks:
    """`ensemble` networks that differ in their seed.

    `frozen`: a network is a head on the scaled vectors of `descriptors.describe`; else it is an encoder, started from `encoder`, with a head.
    `loss`: "rank", whose outputs have no scale of their own and are standardised before averaging, or "mse".
    """

    def __init__(self, encoder: Encoder | None, loss: str, ensemble: int, frozen: bool, config: TrainConfig) -> None:
        self.encoder, self.loss, self.ensemble, self.frozen, self.config = encoder, loss, ensemble, frozen, config
        self.members: list[Member] = []
        self.scaler: Scaler | None = None
        self.sources: tuple[list[Member], Scaler | None] | None = None  # where `fit` starts from, once `fit_sources` ran

    def fit_sources(self, graphs: Raw, labels: Array, sizes: Sequence[int], seed: int) -> None:
        """Train on several families at once, of `sizes` graphs each: a step sees equally many of each, and the loss stays inside each family."""
        steps = self.config.source_steps
        self._start(graphs, seed)
        self._train(graphs, labels, seed, steps, lambda rng: balanced(sizes, self.config.batch, steps, rng))
        self.sources = (self.members, self.scaler)

    def fit(self, graphs: Raw, labels: Array, seed: int, reference: Raw) -> None:
        """Train on one family, from the networks that `fit_sources` left if it ran; else `reference` gives the scale of frozen vectors."""
        if self.sources is None:
            self._start(reference, seed)
        else:
            self.members, self.scaler = deepcopy(self.sources)
        size, config = len(graphs), self.config
        steps = config.epochs * steps_per_epoch(size, config.batch)
        self._train(graphs, labels, seed, steps, lambda rng: ([draw] for draw in epochs(size, config.batch, config.epochs, rng)))

    def predict(self, graphs: Raw) -> Array:
        """Mean of the members' outputs (G,)."""
        inputs = self.inputs(graphs)
        mean: Array = np.mean([member.outputs(inputs) for member in self.members], axis=0)
        return mean

    def inputs(self, graphs: Raw) -> Inputs:
        """What a member reads: the graphs prepared to the encoder's depth, or scaled vectors."""
        if isinstance(graphs, GraphTensors):
            return graphs.at((self.encoder.config if self.encoder else EncoderConfig()).layers)
        assert self.scaler is not None
        return Vectors(self.scaler(graphs))

    def new_net(self, dim: int, seed: int) -> nn.Module:
        """An unfitted network: a head on `dim` frozen values, or an encoder with a head."""
        if self.frozen:
            return MLPHead(dim, self.config.hidden, self.config.dropout, seed)
        encoder = Encoder(seed=seed) if self.encoder is None else deepcopy(self.encoder)
        return Scorer(encoder, MLPHead(encoder.dim, self.config.hidden, seed=seed))

    def _start(self, reference: Raw, seed: int) -> None:
        self.scaler = None if isinstance(reference, GraphTensors) else Scaler.fit(reference)
        dim = 0 if isinstance(reference, GraphTensors) else reference.shape[1]
        self.members = [Member(self.new_net(dim, _seed(seed, index))) for index in range(self.ensemble)]

    def _train(self, graphs: Raw, labels: Array, seed: int, steps: int, draws: Callable[[np.random.Generator], Iterable[Groups]]) -> None:
        inputs, y = self.inputs(graphs), torch.from_numpy(labels).float()
        for index, member in enumerate(self.members):
            groups = draws(np.random.default_rng([seed, index]))
            losses = (partial(_loss, LOSSES[self.loss], member.net, inputs, y, group) for group in groups)
            optimise([member.net], losses, steps, self.config, _seed(seed, index))
            if self.loss == "rank":
                outputs = _outputs(member.net, inputs)
                member.mean, member.deviation = float(outputs.mean()), max(float(outputs.std()), 1e-6)


def _loss(loss: Loss, net: nn.Module, inputs: Inputs, labels: Tensor, groups: Groups) -> Tensor:
    """Mean over groups of the loss inside each; one pass of the network for all."""
    indices = np.concatenate(groups)
    sizes = [len(group) for group in groups]
    scores = net(inputs.take(indices)).split(sizes)
    targets = labels.index_select(0, torch.from_numpy(indices)).split(sizes)
    return torch.stack([loss(s, t) for s, t in zip(scores, targets, strict=True)]).mean()


def _outputs(net: nn.Module, inputs: Inputs) -> Array:
    if isinstance(inputs, GraphTensors):
        return embed(net, inputs, inputs.depth).astype(np.float64)
    net.eval()
    with torch.no_grad():
        values: Array = net(inputs.values).numpy().astype(np.float64)
    return values


def _seed(seed: int, member: int) -> int:
    return seed * 1000 + member
