"""CARL: scores from the causal part of a graph, learned together with its redundant part (Ji et al. 2025, ICCV).

https://arxiv.org/abs/2506.04001, section 4. No code of the authors was found. Where the paper leaves a choice,
`CarlConfig` has a field for it; CAL (Sui et al. 2022, KDD, https://arxiv.org/abs/2112.15089), whose scheme CARL takes
from classification to ranking, decides where it can.

Notation:
    G, N, E: graphs, nodes and edges of a batch.
    Z_C, Z_R: (G, width) vectors of the causal and of the redundant part.
    Z_I: Z_C paired with the Z_R of another graph (an intervention on the redundant part).
    g_c, g_r: the graph networks that compute Z_C and Z_R, the branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from cgir.errors import CgirError
from encoders.engine.batching import TensorBatch
from encoders.engine.segments import Segments
from encoders.training.losses import LOSSES, Loss
from encoders.training.seeding import seeded

from .carl_layers import DIRECTIONS, BranchConv, EdgeMask, message_directions
from .encoder import Encoder
from .nn_former import SiblingTransformer
from .pooling import POOLS

CHOICES = {
    "features": ("hidden", "raw"),
    "pairing": ("add", "concat"),
    "heads": ("own", "shared"),
    "loss": tuple(LOSSES),
    "pool": tuple(POOLS),
    "direction": DIRECTIONS,
    "level": ("both", "node", "edge"),
}


@dataclass(frozen=True)
class CarlConfig:
    """Hyperparameters of the paper and choices that it leaves open, with the reason for each default.

    Args:
        features: what node masks are multiplied with: "hidden", the encoder's states, as in CAL; "raw", the embedding
            of the operator alone, nearer to the text's O.
        pairing: Z_C and another graph's Z_R make Z_I by "add", as in CAL, or "concat".
        heads: "own": Z_I has a separate head, as in CAL; "shared": that of Z_C ("a regressor" in the text). Z_R
            always has a separate head.
        loss: of eq. (3) and (5), a name in LOSSES: "hinge", as the paper. It is the mean over pairs where the paper
            writes the sum, so that the lambdas mean the same for every batch size; pairs of equal labels, which add a
            constant to the paper's, are left out.
        margin: m of the losses that have one; the paper gives no value. 0.1 on labels of standard deviation 1, as in
            GATES (Ning et al. 2020), from which the loss is.
        pool: node states to Z, a name in POOLS: "mean", which does not grow with the graph; CAL sums.
        layers: of g_c and g_r, not stated in the paper.
        width: of the states in g_c and g_r, not stated in the paper.
        direction: of messages in g_c and g_r: "both", so that a node also receives from those that read it; "along" the
            edges; "against" them, which is what A H means where A_ij is the edge from i to j. Directions do not
            share weights.
        literal: eq. (1) as printed, h <- relu(A h W). By default a node also receives its own state and rows are
            divided by their size, as in Kipf and Welling, whom the paper cites for it; between layers states are
            normalised.
        level: what is masked: "both", or only "node" or "edge", with shares of 1/2 for the other (section 5.4).
        redundancy: lambda_1 of eq. (6); 0.5 is the best of table 9. 0 leaves the term out.
        intervention: lambda_2 of eq. (6); 0.5 is the best of table 9. 0 leaves the term out; if both lambdas are 0, the
            redundant branch is left out, too.
        dropout: in g_c, g_r and heads, while training; not stated in the paper. 0.15 as in the authors' CAP.

    Raises:
        CgirError: unknown names, or numbers out of range.
    """

    features: str = "hidden"
    pairing: str = "add"
    heads: str = "own"
    loss: str = "hinge"
    margin: float = 0.1
    pool: str = "mean"
    layers: int = 2
    width: int = 64
    direction: str = "both"
    literal: bool = False
    level: str = "both"
    redundancy: float = 0.5
    intervention: float = 0.5
    dropout: float = 0.15

    def __post_init__(self) -> None:
        for field, names in CHOICES.items():
            if (name := getattr(self, field)) not in names:
                raise CgirError(f"carl: unknown {field} {name!r}; expected one of {', '.join(names)}")
        if self.heads == "shared" and self.pairing == "concat":
            raise CgirError(
                "carl: heads='shared' with pairing='concat': one head cannot read Z_C and the twice as long Z_I; "
                "use pairing='add' or heads='own'"
            )
        for field in ("layers", "width"):
            if getattr(self, field) < 1:
                raise CgirError(f"carl: {field}={getattr(self, field)}; expected at least 1")
        for field in ("margin", "redundancy", "intervention"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise CgirError(f"carl: {field}={getattr(self, field)}; expected a finite number that is not negative")
        if not 0 <= self.dropout < 1:
            raise CgirError(f"carl: dropout={self.dropout}; expected 0 <= dropout < 1")


class Masks(NamedTuple):
    """Causal shares in [0, 1]; the rest is the redundant share.

    Attributes:
        nodes: (N,) share of every node.
        edges: (E,) share of every edge, in the order of `TensorBatch.in_neighbours`.
    """

    nodes: Tensor
    edges: Tensor


class Outputs(NamedTuple):
    """Scores of all three heads.

    Attributes:
        causal: (G,) from Z_C.
        redundant: (G,) from Z_R.
        intervened: (G,) from Z_I.
    """

    causal: Tensor
    redundant: Tensor
    intervened: Tensor


class CARL(nn.Module):
    """An encoder whose states are split into a causal and a redundant part, the first of which gives the score.

    It reads plain batches only (`GraphTensors(graphs, encoder.config.layers, engine="plain")`): masks belong to nodes
    and edges, not to classes of them.

    Args:
        encoder: computes the states of nodes; it is trained, too.
        config: default `CarlConfig()`.
        seed: of the initial weights.
    """

    plain = True

    def __init__(self, encoder: Encoder | SiblingTransformer, config: CarlConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config or CarlConfig()
        config, width = self.config, self.config.width
        loss = LOSSES[config.loss]
        options: dict[str, Any] = {"margin": config.margin} if "margin" in signature(loss).parameters else {}
        self.ranking_loss: Loss = partial(loss, **options)
        in_channels = encoder.dim if config.features == "hidden" else encoder.config.width
        num_directions = 2 if config.direction == "both" else 1
        with seeded(seed):
            self.node_mask = _mlp(encoder.dim, width, 2) if config.level != "edge" else None
            self.edge_mask = EdgeMask(encoder.dim, width) if config.level != "node" else None
            self.layers = nn.ModuleList(
                BranchConv(2, width if layer else in_channels, width, num_directions, config.literal)
                for layer in range(config.layers)
            )
            self.pools = nn.ModuleList(POOLS[config.pool](width) for _ in range(2))
            self.causal, self.redundant = (_mlp(width, width, 1, config.dropout) for _ in range(2))
            pair_width = width * (2 if config.pairing == "concat" else 1)
            self.intervened = _mlp(pair_width, width, 1, config.dropout) if config.heads == "own" else None

    def forward(self, arrays: TensorBatch) -> Tensor:
        """A plain batch of G graphs -> their scores (G,), from Z_C alone. CgirError for a compressed batch."""
        return _score(self.causal, self._branch_vectors(arrays, 1)[0])

    def outputs(self, arrays: TensorBatch, sizes: Sequence[int]) -> Outputs:
        """Scores from all three heads; partners of graphs are drawn with PyTorch's generator.

        Args:
            arrays: a plain batch of G graphs.
            sizes: graphs of each family, G in all; the batch has one family after the other.

        Raises:
            CgirError: a compressed batch, or sizes that do not add up to G.
        """
        _check_sizes(sizes, arrays)
        causal, redundant = self._branch_vectors(arrays, 2)
        partner = redundant.index_select(0, derangement(sizes).to(redundant.device))
        intervened = causal + partner if self.config.pairing == "add" else torch.cat([causal, partner], dim=1)
        head = self.causal if self.intervened is None else self.intervened
        return Outputs(_score(self.causal, causal), _score(self.redundant, redundant), _score(head, intervened))

    def loss(self, arrays: TensorBatch, labels: Tensor, sizes: Sequence[int]) -> Tensor:
        """Mean over families of eq. (6) inside each: L_C + lambda_1 L_R + lambda_2 L_I.

        L_I of a family with a single graph, which has no partner, is 0.

        Args:
            arrays: a plain batch of G graphs.
            labels: (G,), standardised inside each family: eq. (4) pulls redundant scores to their mean, which is
                assumed to be 0.
            sizes: graphs of each family, as in `outputs`.

        Raises:
            CgirError: as `outputs`.
        """
        _check_sizes(sizes, arrays)
        config = self.config
        scores = self.outputs(arrays, sizes) if config.redundancy or config.intervention else (self(arrays),) * 3
        by_family = zip(*(torch.split(values, list(sizes)) for values in (*scores, labels)), strict=True)
        losses = []
        for causal, redundant, intervened, y in by_family:
            loss = self.ranking_loss(causal, y)
            if config.redundancy:
                loss = loss + config.redundancy * redundant.square().mean()
            if config.intervention and len(y) > 1:
                loss = loss + config.intervention * self.ranking_loss(intervened, y)
            losses.append(loss)
        return torch.stack(losses).mean()

    def masks(self, arrays: TensorBatch) -> Masks:
        """A plain batch with N nodes and E edges -> their causal shares. CgirError for a compressed batch.

        They show which parts the score is computed from, not whether these raise or lower it. As the state of a node
        includes its neighbourhood, a network that fits the labels can also learn low shares for the nodes that decide
        them: compare several seeds, or occlusion.
        """
        nodes, edges = self._shares(self.encoder.nodes(arrays), arrays)
        return Masks(nodes[:, 0], edges[:, 0])

    def _shares(self, states: Tensor, arrays: TensorBatch) -> tuple[Tensor, Tensor]:
        """Eq. (2): causal and redundant shares of nodes (N, 2) and edges (E, 2) from the states of nodes (N, dim)."""
        edges = _in_neighbours(arrays)
        node_shares = states.new_full((len(edges), 2), 0.5)
        if self.node_mask is not None:
            node_shares = self.node_mask(states).softmax(1)
        edge_shares = states.new_full((len(edges.pattern.columns), 2), 0.5)
        if self.edge_mask is not None:
            edge_shares = self.edge_mask(states, edges)
        return node_shares, edge_shares

    def _branch_vectors(self, arrays: TensorBatch, branches: int) -> list[Tensor]:
        """Z_C (G, width) and, with two branches, Z_R; both networks run as one."""
        config, edges, stream = self.config, _in_neighbours(arrays), arrays.forward_stream
        states = self.encoder.nodes(arrays)
        node_shares, edge_shares = self._shares(states, arrays)
        if config.features == "raw":
            states = stream.blocks[0].self_rows(self.encoder.embedding(arrays.ops, arrays.features))
        x = states.unsqueeze(1) * node_shares[:, :branches].unsqueeze(2)
        directions = message_directions(edges, edge_shares[:, :branches], config.direction, config.literal)
        for layer in self.layers:
            x = dropout(layer(x, directions), config.dropout, self.training)
        return [pool(branch, stream.node_rows) for pool, branch in zip(self.pools, x.unbind(1), strict=False)]


def derangement(sizes: Sequence[int]) -> Tensor:
    """For each graph a partner from its family (G,), a permutation; a family's only graph is its own partner.

    A random cycle through each family, from PyTorch's generator: each of the other graphs is the partner with equal
    probability.
    """
    counts = torch.tensor(sizes)
    ends = counts.cumsum(0)
    family = torch.arange(len(sizes)).repeat_interleave(counts)
    # shuffled inside families; the order of families stays
    order = (family + torch.rand(len(family), dtype=torch.float64)).argsort()
    following = torch.arange(1, len(family) + 1)
    following[ends - 1] = ends - counts
    return torch.empty_like(order).scatter_(0, order, order[following])


def _check_sizes(sizes: Sequence[int], arrays: TensorBatch) -> None:
    if sum(sizes) != len(arrays) or min(sizes) < 1:
        raise CgirError(
            f"carl: families of {list(sizes)} graphs for a batch of {len(arrays)}; "
            "expected positive sizes that add up to it"
        )


def _in_neighbours(arrays: TensorBatch) -> Segments:
    if arrays.in_neighbours is None:
        raise CgirError(
            "carl: a compressed batch, whose rows stand for several nodes each; "
            "prepare graphs with GraphTensors(graphs, layers, engine='plain')"
        )
    return arrays.in_neighbours


def _mlp(in_channels: int, hidden: int, out_channels: int, rate: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_channels, hidden), nn.ReLU(), nn.Dropout(rate), nn.Linear(hidden, out_channels))


def _score(head: nn.Module, z: Tensor) -> Tensor:
    out: Tensor = head(z).squeeze(1)
    return out
