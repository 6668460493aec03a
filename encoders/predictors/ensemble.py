"""Ensembles of neural ranking models: whole networks (encoder and head), or heads on frozen vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import GraphTensors
from encoders.engine.devices import on_device
from encoders.engine.streaming import embed
from encoders.features.graph_features import GraphFeatures
from encoders.features.scalers import Scaler
from encoders.models.carl import CARL, CarlConfig
from encoders.models.checkpoints import build_encoder, check_claim, config_from, encoder_meta, load_weights
from encoders.models.encoder import EncoderConfig
from encoders.models.heads import MLPHead, Scorer
from encoders.models.registry import GraphEncoder, GraphEncoderConfig, build
from encoders.training.loop import Group, TrainConfig, balanced, epochs, optimise, steps_per_epoch
from encoders.training.losses import LOSSES

from .estimators import DEFAULT_TASK, SourceData
from .serialization import State, scaler_from, scaler_state


class Vectors:
    """Frozen vectors (G, D) on a device, that hand out mini-batches as `GraphTensors` does."""

    def __init__(self, values: FloatArray, device: torch.device) -> None:
        self.values = torch.from_numpy(values).float().to(device)

    def minibatch(self, indices: IntArray, device: torch.device) -> Tensor:
        """The rows at `indices`, on the device where all are."""
        return self.values.index_select(0, torch.from_numpy(indices).to(device))


Inputs = GraphTensors | Vectors
EncoderInit = GraphEncoder | GraphEncoderConfig | None  # weights to start from, or what to build anew for every member
Groups = Sequence[Group]  # of one step, family by family


@dataclass
class Member:
    """One network of an ensemble.

    Attributes: `net`, on the CPU unless it is in training; `mean` and `std` (T,) of each of its T outputs, inside
    families, over the graphs it was fitted on.
    """

    net: nn.Module
    mean: FloatArray
    std: FloatArray

    def outputs(self, inputs: Inputs, device: torch.device, task: int = 0) -> FloatArray:
        """Standardised outputs (G,) for all graphs.

        Args:
            inputs: of the graphs.
            device: where the network computes.
            task: the output.
        """
        outputs: FloatArray = (_outputs(self.net, inputs, device)[:, task] - self.mean[task]) / self.std[task]
        return outputs


class FittedMembers(NamedTuple):
    """Trained members, and what scales frozen vectors for them."""

    members: list[Member]
    scaler: Scaler | None


class Ensemble:
    """`size` networks that differ in their seed.

    Args:
        init: weights that all members start from, or the configuration of an encoder, or None, by which each has
            random weights of its own.
        loss: a name in LOSSES or "carl"; all but "mse" give outputs without a scale, which are standardised before
            averaging.
        size: how many members there are.
        frozen: a member is a head on scaled vectors of `GraphFeatures`; else an encoder with a head, or with CARL's
            parts.
        train: how members are trained.
        carl: CARL's options.

    Attributes:
        tasks: names of the outputs.
        source: members that labelled families taught, which `fit` starts from, once `fit_sources` ran.
        target: members that labels of the target taught, once `fit` ran.
    """

    def __init__(
        self,
        init: EncoderInit,
        loss: str,
        size: int,
        frozen: bool,
        train: TrainConfig,
        carl: CarlConfig | None = None,
    ) -> None:
        self.init, self.loss, self.size, self.frozen, self.train, self.carl = init, loss, size, frozen, train, carl
        self.tasks: tuple[str, ...] = (DEFAULT_TASK,)
        self.source: FittedMembers | None = None
        self.target: FittedMembers | None = None

    def unfitted(self) -> Ensemble:
        """One that is made and trained as this one."""
        return Ensemble(self.init, self.loss, self.size, self.frozen, self.train, self.carl)

    @property
    def fitted(self) -> FittedMembers | None:
        """What predicts; None if nothing was fitted."""
        return self.target if self.target is not None else self.source

    @property
    def members(self) -> list[Member]:
        """The members that predict."""
        return [] if self.fitted is None else self.fitted.members

    def fit_sources(self, sources: SourceData, seed: int) -> None:
        """Train on several families at once.

        A step sees equally many graphs of each, and the loss stays inside each family, and each part.
        """
        tasks, families, train = sources.tasks, sources.families, self.train
        if len(tasks) > 1 and not self.frozen:
            raise CgirError(
                f"fit_sources: labels of {len(tasks)} tasks ({', '.join(tasks)}) need a frozen head; "
                "whole networks learn one task"
            )
        self.tasks = tuple(tasks)
        source = self._new_members(sources.features, seed)
        sizes = [part.size for family in families for part in family]
        self._train(
            source,
            sources.features,
            sources.labels,
            seed,
            train.source_steps,
            lambda rng: balanced(families, train.batch, train.source_steps, rng),
            sizes,
        )
        self.source, self.target = source, None

    def fit(
        self, features: GraphFeatures, labels: FloatArray, reference: GraphFeatures, seed: int, task: int = 0
    ) -> None:
        """Train on one family, from the members that `fit_sources` left if it ran.

        Args:
            features: of n graphs.
            labels: (n,) higher is better.
            reference: graphs that give the scale of frozen vectors, if `fit_sources` did not.
            seed: of weights and batches.
            task: the output that learns them.
        """
        target = self._new_members(reference, seed) if self.source is None else deepcopy(self.source)
        size, train = len(features), self.train
        self._train(
            target,
            features,
            labels,
            seed,
            train.epochs * steps_per_epoch(size, train.batch),
            lambda rng: ([(rows, task)] for rows in epochs(size, train.batch, train.epochs, rng)),
            [size],
        )
        self.target = target

    def predict(self, features: GraphFeatures, task: int = 0) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation over the members' outputs for a task: (G,), (G,)."""
        fitted = self._required()
        inputs = self.inputs(features, fitted)
        outputs = np.stack([member.outputs(inputs, features.device, task) for member in fitted.members])
        return outputs.mean(axis=0), outputs.std(axis=0)

    def masks(self, graphs: GraphTensors) -> tuple[FloatArray, FloatArray]:
        """CARL's causal shares of all nodes and of all edges, averaged over the members: (N,), (E,)."""
        fitted = self._required()
        ready = _prepared(graphs, fitted.members[0].net)
        batch = ready.minibatch(np.arange(len(ready)))
        with torch.no_grad():
            masks = [member.net.masks(batch) for member in fitted.members if isinstance(member.net, CARL)]
        nodes, edges = (torch.stack(parts).double().mean(dim=0).numpy() for parts in zip(*masks, strict=True))
        return nodes, edges

    def inputs(self, features: GraphFeatures, fitted: FittedMembers | None = None) -> Inputs:
        """What members read: scaled vectors, or the graphs prepared to the encoder's depth."""
        fitted = fitted or self._required()
        if fitted.scaler is not None:
            return Vectors(fitted.scaler(features.vectors()), features.device)
        return _prepared(features.graphs, fitted.members[0].net)

    def new_net(self, dim: int, seed: int) -> nn.Module:
        """An unfitted network: a head on `dim` frozen values, or an encoder with a head."""
        if self.frozen:
            return MLPHead(dim, self.train.hidden, self.train.dropout, seed, len(self.tasks))
        init = self.init
        encoder = deepcopy(init) if isinstance(init, nn.Module) else build(init or EncoderConfig(), seed)
        if self.loss == "carl":
            return CARL(encoder, self.carl, seed)
        return Scorer(encoder, MLPHead(encoder.dim, self.train.hidden, seed=seed))

    def _required(self) -> FittedMembers:
        if self.fitted is None:
            raise CgirError("ensemble: nothing was fitted")
        return self.fitted

    def _new_members(self, reference: GraphFeatures, seed: int) -> FittedMembers:
        scaler = Scaler.fit(reference.vectors()) if self.frozen else None
        dim = 0 if scaler is None else len(scaler.mean)
        nets = [self.new_net(dim, _member_seed(seed, index)) for index in range(self.size)]
        count = len(self.tasks)
        return FittedMembers([Member(net, np.zeros(count), np.ones(count)) for net in nets], scaler)

    def _train(
        self,
        fitted: FittedMembers,
        features: GraphFeatures,
        labels: FloatArray,
        seed: int,
        steps: int,
        sample_groups: Callable[[np.random.Generator], Iterable[Groups]],
        sizes: Sequence[int],
    ) -> None:
        """`sizes`: how many graphs stand one after the other that may be compared."""
        device = features.device
        inputs, y = self.inputs(features, fitted), torch.from_numpy(labels).float().to(device)
        numbers = _written(inputs, self.train.batch, fitted.members[0].net)
        for index, member in enumerate(fitted.members):
            groups = sample_groups(np.random.default_rng([seed, index]))
            member.net.to(device)
            losses = (partial(_loss, self.loss, member.net, inputs, y, group) for group in groups)
            optimise([member.net], losses, steps, self.train, _member_seed(seed, index), numbers)
            if self.loss != "mse":
                member.mean, member.std = _moments(_outputs(member.net, inputs, device), sizes)
            member.net.cpu()

    def to_state(self) -> State:
        """Options, and the members of both kinds."""
        state = State(
            {
                "size": self.size,
                "frozen": self.frozen,
                "train": asdict(self.train),
                "carl": asdict(self.carl) if self.carl else None,
                "tasks": self.tasks,
            }
        )
        for name, fitted in (("source", self.source), ("target", self.target)):
            if fitted is not None:
                state.meta[name] = {"members": len(fitted.members)}
                state.tensors |= {f"{name}.{key}": x for key, x in _members_state(fitted).tensors.items()}
                net = fitted.members[0].net
                if isinstance(net, Scorer | CARL):
                    state.meta["member_encoder"] = encoder_meta(net.encoder)
        return state

    @classmethod
    def from_state(cls, state: State, init: EncoderInit, loss: str) -> Ensemble:
        """What `to_state` gave.

        Args:
            state: of an ensemble.
            init: what it starts from, which the state does not have.
            loss: its loss.
        """
        meta = state.meta
        carl = config_from(CarlConfig, meta["carl"]) if meta["carl"] else None
        train, frozen, tasks = config_from(TrainConfig, meta["train"]), meta["frozen"], meta["tasks"]
        if type(frozen) is not bool or not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
            raise TypeError(
                f"ensemble: frozen={frozen!r:.60}, tasks={tasks!r:.60}, expected a bool and a list of texts"
            )
        if (size := state.count("size")) < 1 or not tasks:
            raise ValueError(f"ensemble of {size} networks with {len(tasks)} outputs")
        ensemble = cls(init, loss, size, frozen, train, carl)
        ensemble.tasks = tuple(tasks)
        source, target = state.part("source"), state.part("target")
        ensemble.source = None if source is None else ensemble._members_from(source, meta)
        ensemble.target = None if target is None else ensemble._members_from(target, meta)
        return ensemble

    def _members_from(self, state: State, meta: dict[str, object]) -> FittedMembers:
        members = []
        if state.count("members") < 1:
            raise ValueError("no members")
        for index in range(state.count("members")):
            part = state.required(str(index))
            moments = part.required("moments")
            mean, std = (moments.array(name, len(self.tasks)) for name in ("mean", "std"))
            members.append(Member(self._net_from(part.required("net"), meta), mean, std))
        if not self.frozen:
            return FittedMembers(members, None)
        dim = state.tensors["0.net.layers.0.weight"].shape[1]
        return FittedMembers(members, scaler_from(state.required("scaler"), dim))

    def _net_from(self, state: State, meta: dict[str, object]) -> nn.Module:
        if self.frozen:
            dim = state.tensors["layers.0.weight"].shape[1]
            check_claim((dim + len(self.tasks)) * self.train.hidden, state.tensors)
            net: nn.Module = MLPHead(dim, self.train.hidden, self.train.dropout, tasks=len(self.tasks))
            load_weights(net, state.tensors)
            return net.eval()
        description = meta["member_encoder"]
        if not isinstance(description, dict):
            raise TypeError("member_encoder: expected a description of an encoder")
        encoder = build_encoder(state.required("encoder").tensors, description, state.path)
        if self.loss == "carl" and self.carl is not None:
            check_claim(self.carl.layers * self.carl.width**2, state.tensors)
        else:
            check_claim(encoder.dim * self.train.hidden, state.tensors)
        head = MLPHead(encoder.dim, self.train.hidden)
        net = CARL(encoder, self.carl) if self.loss == "carl" else Scorer(encoder, head)
        # the encoder has its weights already, its operators by their names
        loaded = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
        load_weights(net, {**state.tensors, **loaded})
        return net.eval()


def _members_state(fitted: FittedMembers) -> State:
    state = State()
    for index, member in enumerate(fitted.members):
        state.add(f"{index}.net", State(tensors=member.net.state_dict()))
        state.add(f"{index}.moments", State.of_arrays(mean=member.mean, std=member.std))
    state.add("scaler", None if fitted.scaler is None else scaler_state(fitted.scaler))
    return state


def _prepared(graphs: GraphTensors, net: nn.Module) -> GraphTensors:
    """Graphs for as many layers as the network's encoder has, node by node where it looks at nodes."""
    assert isinstance(net, Scorer | CARL)
    if (isinstance(net, CARL) or net.encoder.plain) and graphs.engine != "plain":
        graphs = GraphTensors(graphs.batch, graphs.depth, "plain")
    return graphs.with_depth(net.encoder.config.layers)


def _moments(outputs: FloatArray, sizes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Means of outputs (G, T), and their standard deviations inside families: (T,), (T,).

    Between families differences of outputs mean nothing.
    """
    families = np.split(outputs, np.cumsum(sizes)[:-1])
    variance = np.mean([family.var(axis=0) for family in families], axis=0)
    return outputs.mean(axis=0), np.maximum(np.sqrt(variance), 1e-6)


def _written(inputs: Inputs, batch: int, net: nn.Module) -> int:
    """Numbers that a layer writes for a mini-batch, about."""
    if not isinstance(inputs, GraphTensors):
        return 0  # few
    assert isinstance(net, Scorer | CARL)
    nodes = batch * inputs.batch.num_nodes // max(1, len(inputs))
    rows = nodes if inputs.engine == "plain" else nodes // 4  # as of cells, most of which are equal
    return rows * net.encoder.config.width


def _loss(name: str, net: nn.Module, inputs: Inputs, labels: Tensor, groups: Groups) -> Tensor:
    """Mean over groups of the loss inside each, of the output that learns it; one pass of the network for all."""
    indices = np.concatenate([group for group, _ in groups])
    sizes = [len(group) for group, _ in groups]
    batch = inputs.minibatch(indices, labels.device)
    targets = labels.index_select(0, torch.from_numpy(indices).to(labels.device))
    if isinstance(net, CARL):
        return net.loss(batch, targets, sizes)  # type: ignore[arg-type]  # no head on vectors is a CARL
    outputs = net(batch)
    columns = outputs.reshape(len(outputs), -1)
    parts = zip(torch.split(columns, sizes), torch.split(targets, sizes), groups, strict=True)
    return torch.stack([LOSSES[name](scores[:, task], y) for scores, y, (_, task) in parts]).mean()


def _outputs(net: nn.Module, inputs: Inputs, device: torch.device) -> FloatArray:
    """(G, T), T = 1 for whole networks."""
    if isinstance(inputs, GraphTensors):
        return embed(net, inputs, inputs.depth, device=device).astype(np.float64)[:, None]
    net = on_device(net, device).eval()
    with torch.no_grad():
        values: FloatArray = net(inputs.values).cpu().numpy().astype(np.float64)
    return values


def _member_seed(seed: int, member: int) -> int:
    return seed * 1000 + member
