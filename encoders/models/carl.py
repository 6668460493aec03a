"""CARL: scores from what is causal in a graph, learned beside what is redundant (Ji et al. 2025, ICCV,
https://arxiv.org/abs/2506.04001, section 4).

No code of the authors was found. Where the paper leaves a choice, `CarlConfig` has a field for it; CAL (Sui et al.
2022, KDD, https://arxiv.org/abs/2112.15089), whose scheme CARL takes from classification to ranking, decides where it
can.
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

from .carl_layers import DIRECTIONS, BranchLayer, EdgeShares, ways
from .encoder import Encoder
from .nn_former import SiblingTransformer
from .pooling import POOLS

CHOICES = {
    "features": ("hidden", "raw"), "pairing": ("add", "concat"), "heads": ("own", "shared"), "loss": tuple(LOSSES), "pool": tuple(POOLS),
    "direction": DIRECTIONS, "level": ("both", "node", "edge"),
}  # fmt: skip


@dataclass(frozen=True)
class CarlConfig:
    """What the paper says, and what it leaves open, with the reason for each default.

    Args:
        features: what node masks weigh: "hidden", the encoder's states, as in CAL; "raw", the embedding of the operator
            alone, nearer to the text's O.
        pairing: Z_C and another graph's Z_R make Z_I by "add", as in CAL, or "concat".
        heads: "own": Z_I has a head of its own, as in CAL; "shared": that of Z_C ("a regressor" in the text). Z_R
            always has its own.
        loss: of eq. (3) and (5), a name in LOSSES: "hinge", as the paper. It is the mean over pairs where the paper
            writes the sum, so that the lambdas mean the same for every batch size; pairs of equal labels, which add a
            constant to the paper's, are left out.
        margin: m of the losses that have one; the paper gives no value. 0.1 on labels of deviation 1, as in GATES (Ning
            et al. 2020), from which the loss is.
        pool: node states to Z, a name in POOLS: "mean", which does not grow with the graph; CAL sums.
        layers, width: of g_c and g_r, unsaid in the paper; 2 x 64.
        direction: of messages in g_c and g_r: "both", so that a node hears what follows it too; "along" the arrows;
            "against" them, which is what A H means where A_ij is the edge from i to j. Each direction has weights of
            its own.
        literal: eq. (1) as it is printed, h <- relu(A h W). By default a node hears itself too and rows are divided by
            their size, as Kipf and Welling, whom the paper cites for it; between layers states are normalised.
        level: what is masked: "both", or "node" or "edge" alone, the other's shares being 1/2 (section 5.4).
        redundancy, intervention: lambda_1 and lambda_2 of eq. (6); 0.5 are the best of table 9. 0 leaves the term out,
            and with both the redundant branch.
        dropout: in g_c, g_r and heads, while training; unsaid in the paper. 0.15 as in the authors' CAP.

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
                "carl: heads='shared' with pairing='concat': one head cannot read Z_C and the twice as long Z_I; use pairing='add' or heads='own'"
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
    """Causal shares in [0, 1] of every node (N,) and of every edge (E,), edges in the order of `TensorBatch.in_neighbours`; the
    rest is the redundant share.
    """

    nodes: Tensor
    edges: Tensor


class Outputs(NamedTuple):
    """Scores (G,) from Z_C, from Z_R, and from Z_C paired with another graph's Z_R."""

    causal: Tensor
    redundant: Tensor
    intervened: Tensor


class CARL(nn.Module):
    """An encoder whose states are split into a causal and a redundant part, of which the first gives the score.

    It reads plain batches only (`GraphTensors(graphs, encoder.config.layers, engine="plain")`): masks belong to nodes
    and edges, not to classes of them.
    """

    plain = True

    def __init__(self, encoder: Encoder | SiblingTransformer, config: CarlConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config or CarlConfig()
        config, width = self.config, self.config.width
        loss = LOSSES[config.loss]
        options: dict[str, Any] = {"margin": config.margin} if "margin" in signature(loss).parameters else {}
        self.rank: Loss = partial(loss, **options)
        read = encoder.dim if config.features == "hidden" else encoder.config.width
        with seeded(seed):
            self.node_mask = _mlp(encoder.dim, width, 2) if config.level != "edge" else None
            self.edge_mask = EdgeShares(encoder.dim, width) if config.level != "node" else None
            count = 2 if config.direction == "both" else 1
            self.layers = nn.ModuleList(
                BranchLayer(2, width if layer else read, width, count, config.literal) for layer in range(config.layers)
            )
            self.pools = nn.ModuleList(POOLS[config.pool](width) for _ in range(2))
            self.causal, self.redundant = (_mlp(width, width, 1, config.dropout) for _ in range(2))
            paired = width * (2 if config.pairing == "concat" else 1)
            self.intervened = _mlp(paired, width, 1, config.dropout) if config.heads == "own" else None

    def forward(self, arrays: TensorBatch) -> Tensor:
        """A plain batch of G graphs -> their scores (G,), from Z_C alone. CgirError for a compressed batch."""
        return _score(self.causal, self._parts(arrays, 1)[0])

    def outputs(self, arrays: TensorBatch, sizes: Sequence[int]) -> Outputs:
        """Scores from all three heads; partners of graphs are drawn with PyTorch's generator.

        Args:
            arrays: a plain batch of G graphs.
            sizes: graphs of each family, G in all; they stand one family after the other.

        Raises:
            CgirError: a compressed batch, or sizes that do not add up to G.
        """
        _check(sizes, arrays)
        causal, redundant = self._parts(arrays, 2)
        partner = redundant.index_select(0, derangement(sizes).to(redundant.device))
        paired = causal + partner if self.config.pairing == "add" else torch.cat([causal, partner], dim=1)
        head = self.causal if self.intervened is None else self.intervened
        return Outputs(_score(self.causal, causal), _score(self.redundant, redundant), _score(head, paired))

    def loss(self, arrays: TensorBatch, labels: Tensor, sizes: Sequence[int]) -> Tensor:
        """Mean over families of eq. (6) inside each: L_C + lambda_1 L_R + lambda_2 L_I.

        L_I of a family with a single graph, which has no partner, is 0.

        Args:
            arrays: a plain batch of G graphs.
            labels: (G,), standardised inside each family: their mean, to which eq. (4) draws redundant scores, is taken
                to be 0.
            sizes: graphs of each family, as in `outputs`.

        Raises:
            CgirError: as `outputs`.
        """
        _check(sizes, arrays)
        config = self.config
        found = self.outputs(arrays, sizes) if config.redundancy or config.intervention else (self(arrays),) * 3
        losses = []
        for causal, redundant, intervened, y in zip(
            *(values.split(list(sizes)) for values in (*found, labels)), strict=True
        ):
            loss = self.rank(causal, y)
            if config.redundancy:
                loss = loss + config.redundancy * redundant.square().mean()
            if config.intervention and len(y) > 1:
                loss = loss + config.intervention * self.rank(intervened, y)
            losses.append(loss)
        return torch.stack(losses).mean()

    def masks(self, arrays: TensorBatch) -> Masks:
        """A plain batch with N nodes and E edges -> their causal shares. CgirError for a compressed batch.

        They say what the score is read from, not whether it is raised or lowered; and as states know their
        surroundings, a network that learns the labels can also learn low shares where they are decided: look at several
        seeds, or beside occlusion.
        """
        nodes, edges = self._shares(self.encoder.nodes(arrays), arrays)
        return Masks(nodes[:, 0], edges[:, 0])

    def _shares(self, states: Tensor, arrays: TensorBatch) -> tuple[Tensor, Tensor]:
        """Eq. (2): causal and redundant shares of nodes (N, 2) and edges (E, 2) from the states of nodes (N, dim)."""
        reads = _reads(arrays)
        nodes = states.new_full((len(reads), 2), 0.5) if self.node_mask is None else self.node_mask(states).softmax(1)
        edges = (
            states.new_full((len(reads.pattern.columns), 2), 0.5)
            if self.edge_mask is None
            else self.edge_mask(states, reads)
        )
        return nodes, edges

    def _parts(self, arrays: TensorBatch, branches: int) -> list[Tensor]:
        """Z_C (G, width) and, with two branches, Z_R; both networks run as one."""
        config, reads = self.config, _reads(arrays)
        states = self.encoder.nodes(arrays)
        nodes, edges = self._shares(states, arrays)
        if config.features == "raw":
            states = arrays.forward_stream.blocks[0].self_rows(self.encoder.embedding(arrays.ops, arrays.features))
        x = states.unsqueeze(1) * nodes[:, :branches].unsqueeze(2)
        over = ways(reads, edges[:, :branches], config.direction, config.literal)
        for layer in self.layers:
            x = dropout(layer(x, over), config.dropout, self.training)
        return [
            pool(part, arrays.forward_stream.node_rows) for pool, part in zip(self.pools, x.unbind(1), strict=False)
        ]


def derangement(sizes: Sequence[int]) -> Tensor:
    """For each graph another one of its family (G,), every graph taken once; a family's only graph is given itself.

    A random circle through each family, from PyTorch's generator: a partner is each of the others with equal
    probability.
    """
    counts = torch.tensor(sizes)
    ends = counts.cumsum(0)
    family = torch.arange(len(sizes)).repeat_interleave(counts)
    # shuffled inside families, which stay where they are
    order = (family + torch.rand(len(family), dtype=torch.float64)).argsort()
    following = torch.arange(1, len(family) + 1)
    following[ends - 1] = ends - counts
    return torch.empty_like(order).scatter_(0, order, order[following])


def _check(sizes: Sequence[int], arrays: TensorBatch) -> None:
    if sum(sizes) != len(arrays) or min(sizes) < 1:
        raise CgirError(
            f"carl: families of {list(sizes)} graphs for a batch of {len(arrays)}; expected positive sizes that add up to it"
        )


def _reads(arrays: TensorBatch) -> Segments:
    if arrays.in_neighbours is None:
        raise CgirError(
            "carl: a compressed batch, whose rows stand for several nodes each; prepare graphs with GraphTensors(graphs, layers, engine='plain')"
        )
    return arrays.in_neighbours


def _mlp(inputs: int, width: int, outputs: int, rate: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(rate), nn.Linear(width, outputs))


def _score(head: nn.Module, z: Tensor) -> Tensor:
    out: Tensor = head(z).squeeze(1)
    return out
