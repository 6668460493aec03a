"""Neural models behind `Predictor`: an ensemble of whole networks (encoder and head), or of heads on frozen vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import GraphTensors
from encoders.engine.streaming import embed
from encoders.features.graph_features import Scaler
from encoders.models.carl import CARL, CarlConfig
from encoders.models.encoder import EncoderConfig
from encoders.models.heads import MLPHead, Scorer
from encoders.models.registry import GraphEncoder, GraphEncoderConfig, build
from encoders.training.loop import Group, Part, TrainConfig, balanced, epochs, optimise, steps_per_epoch
from encoders.training.losses import LOSSES


class Vectors:
    """Frozen vectors (G, D) that hand out mini-batches as `GraphTensors` does."""

    def __init__(self, values: FloatArray) -> None:
        self.values = torch.from_numpy(values).float()

    def minibatch(self, indices: IntArray) -> Tensor:
        """The rows at `indices`."""
        return self.values.index_select(0, torch.from_numpy(indices))


Inputs = GraphTensors | Vectors
# graphs for whole networks, unscaled vectors (G, D) of `graph_features.GraphFeatures` for frozen ones
Raw = GraphTensors | FloatArray
Start = GraphEncoder | GraphEncoderConfig | None  # weights to start from, or what to build anew for every member
Groups = Sequence[Group]  # of one step, family by family
DEFAULT_TASK = "accuracy"  # what labels measure unless their name is given


@dataclass
class Member:
    """One network of an ensemble, and of each of its T outputs mean and deviation (T,), inside families, over the
    graphs it was fitted on.
    """

    net: nn.Module
    mean: FloatArray
    deviation: FloatArray

    def outputs(self, inputs: Inputs, task: int = 0) -> FloatArray:
        """Standardised outputs (G,) of one task for all graphs."""
        return (_outputs(self.net, inputs)[:, task] - self.mean[task]) / self.deviation[task]


class Ensemble:
    """`ensemble` networks that differ in their seed.

    `frozen`: a network is a head on the scaled vectors of `graph_features.GraphFeatures`; else it is an encoder with a head,
    or with CARL's parts. Where `start` is an encoder all begin with its weights, where it is a configuration, or None,
    each with its own. `loss`: a name in LOSSES or "carl"; all but "mse" give outputs without a scale, which are
    standardised before averaging.
    """

    def __init__(
        self, start: Start, loss: str, ensemble: int, frozen: bool, config: TrainConfig, carl: CarlConfig | None = None
    ) -> None:
        self.start, self.loss, self.ensemble, self.frozen, self.config, self.carl = (
            start,
            loss,
            ensemble,
            frozen,
            config,
            carl,
        )
        self.members: list[Member] = []
        self.scaler: Scaler | None = None
        # where `fit` starts from, once `fit_sources` ran
        self.sources: tuple[list[Member], Scaler | None] | None = None
        self.tasks: tuple[str, ...] = (DEFAULT_TASK,)

    def fit_sources(
        self, graphs: Raw, labels: FloatArray, families: Sequence[Sequence[Part]], tasks: Sequence[str], seed: int
    ) -> None:
        """Train on several families at once: a step sees equally many graphs of each, and the loss stays inside each
        family, and each part.

        `tasks`: what the outputs of heads are called that learn the parts' labels.
        """
        steps = self.config.source_steps
        if len(tasks) > 1 and not self.frozen:
            raise CgirError(
                f"fit_sources: labels of {len(tasks)} tasks ({', '.join(tasks)}) need a frozen head; whole networks learn one task"
            )
        self.tasks = tuple(tasks)
        self._start(graphs, seed)
        sizes = [part.size for family in families for part in family]
        self._train(graphs, labels, seed, steps, lambda rng: balanced(families, self.config.batch, steps, rng), sizes)
        self.sources = (self.members, self.scaler)

    def fit(self, graphs: Raw, labels: FloatArray, seed: int, reference: Raw, task: int = 0) -> None:
        """Train on one family, from the networks that `fit_sources` left if it ran; else `reference` gives the scale of
        frozen vectors.
        """
        if self.sources is None:
            self._start(reference, seed)
        else:
            self.members, self.scaler = deepcopy(self.sources)
        size, config = len(graphs), self.config
        steps = config.epochs * steps_per_epoch(size, config.batch)
        self._train(
            graphs,
            labels,
            seed,
            steps,
            lambda rng: ([(draw, task)] for draw in epochs(size, config.batch, config.epochs, rng)),
            [size],
        )

    def predict(self, graphs: Raw, task: int = 0) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation over the members' outputs for a task: (G,), (G,)."""
        inputs = self.inputs(graphs)
        outputs = np.stack([member.outputs(inputs, task) for member in self.members])
        return outputs.mean(axis=0), outputs.std(axis=0)

    def masks(self, graphs: GraphTensors) -> tuple[FloatArray, FloatArray]:
        """CARL's causal shares of all nodes and of all edges, averaged over the members: (N,), (E,)."""
        inputs = self.inputs(graphs)
        assert isinstance(inputs, GraphTensors)
        arrays = inputs.minibatch(np.arange(len(inputs)))
        with torch.no_grad():
            found = [member.net.masks(arrays) for member in self.members if isinstance(member.net, CARL)]
        nodes, edges = (torch.stack(parts).double().mean(dim=0).numpy() for parts in zip(*found, strict=True))
        return nodes, edges

    def inputs(self, graphs: Raw) -> Inputs:
        """What a member reads: the graphs prepared to the encoder's depth, node by node where it looks at nodes, or
        scaled vectors.
        """
        if isinstance(graphs, GraphTensors):
            net = self.members[0].net
            assert isinstance(net, Scorer | CARL)
            plain = isinstance(net, CARL) or net.encoder.plain
            ready = (
                graphs if not plain or graphs.engine == "plain" else GraphTensors(graphs.batch, graphs.depth, "plain")
            )
            return ready.with_depth(net.encoder.config.layers)
        assert self.scaler is not None
        return Vectors(self.scaler(graphs))

    def new_net(self, dim: int, seed: int) -> nn.Module:
        """An unfitted network: a head on `dim` frozen values, or an encoder with a head."""
        if self.frozen:
            return MLPHead(dim, self.config.hidden, self.config.dropout, seed, len(self.tasks))
        encoder = (
            deepcopy(self.start) if isinstance(self.start, nn.Module) else build(self.start or EncoderConfig(), seed)
        )
        if self.loss == "carl":
            return CARL(encoder, self.carl, seed)
        return Scorer(encoder, MLPHead(encoder.dim, self.config.hidden, seed=seed))

    def _start(self, reference: Raw, seed: int) -> None:
        self.scaler = None if isinstance(reference, GraphTensors) else Scaler.fit(reference)
        dim = 0 if isinstance(reference, GraphTensors) else reference.shape[1]
        unit = np.zeros(len(self.tasks)), np.ones(len(self.tasks))
        self.members = [Member(self.new_net(dim, _seed(seed, index)), *unit) for index in range(self.ensemble)]

    def _train(
        self,
        graphs: Raw,
        labels: FloatArray,
        seed: int,
        steps: int,
        draws: Callable[[np.random.Generator], Iterable[Groups]],
        sizes: Sequence[int],
    ) -> None:
        """`sizes`: how many graphs stand one after the other that may be compared."""
        inputs, y = self.inputs(graphs), torch.from_numpy(labels).float()
        for index, member in enumerate(self.members):
            groups = draws(np.random.default_rng([seed, index]))
            losses = (partial(_loss, self.loss, member.net, inputs, y, group) for group in groups)
            optimise([member.net], losses, steps, self.config, _seed(seed, index))
            if self.loss != "mse":
                member.mean, member.deviation = _moments(_outputs(member.net, inputs), sizes)


def _moments(outputs: FloatArray, sizes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Means of outputs (G, T), and their deviations inside families, (T,) each: between families outputs mean nothing."""
    families = np.split(outputs, np.cumsum(sizes)[:-1])
    inside = np.mean([family.var(axis=0) for family in families], axis=0)
    return outputs.mean(axis=0), np.maximum(np.sqrt(inside), 1e-6)


def _loss(name: str, net: nn.Module, inputs: Inputs, labels: Tensor, groups: Groups) -> Tensor:
    """Mean over groups of the loss inside each, of the output that learns it; one pass of the network for all."""
    indices = np.concatenate([group for group, _ in groups])
    sizes = [len(group) for group, _ in groups]
    batch, chosen = inputs.minibatch(indices), labels.index_select(0, torch.from_numpy(indices))
    if isinstance(net, CARL):
        return net.loss(batch, chosen, sizes)  # type: ignore[arg-type]  # no head on vectors is a CARL
    outputs = net(batch)
    parts = zip(outputs.reshape(len(outputs), -1).split(sizes), chosen.split(sizes), groups, strict=True)
    return torch.stack([LOSSES[name](scores[:, column], targets) for scores, targets, (_, column) in parts]).mean()


def _outputs(net: nn.Module, inputs: Inputs) -> FloatArray:
    """(G, T), T = 1 for whole networks."""
    if isinstance(inputs, GraphTensors):
        return embed(net, inputs, inputs.depth).astype(np.float64)[:, None]
    net.eval()
    with torch.no_grad():
        values: FloatArray = net(inputs.values).numpy().astype(np.float64)
    return values


def _seed(seed: int, member: int) -> int:
    return seed * 1000 + member
