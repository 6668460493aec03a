"""`Predictor`: labelled graphs in, a ranking of other graphs out."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from cgir.errors import CgirError, LabelError
from cgir.features import GraphBatch
from cgir.graph import Graph

from .batching import Graphs, GraphTensors, as_tensors
from .blend import Blend, Scores
from .carl import CarlConfig
from .descriptors import Described, Views, describe
from .gp import GaussianProcess
from .labels import RankGauss, Standardise, check_labels
from .losses import LOSSES
from .networks import Networks, Start
from .saving import load, save
from .training import TrainConfig

if TYPE_CHECKING:
    from .explain import Explanation

Array = NDArray[np.float64]
Read = Described | GraphTensors
HEADS = ("blend", "gp", "carl", "rank", *(name for name in LOSSES if name not in ("hinge", "mse")), "mse")
WITH_UNIT = ("gp", "mse")
BLEND_ENSEMBLE = 3


class Predictor:
    """Learns from few labelled graphs to score others; a higher label is better.

    `head`: "rank" learns the order of pairs by a hinge loss, "logistic", "listmle" and "warp" by others (see `losses`), "carl" by separating what is causal
    (see `carl.CARL`, whose options `carl` are); all give scores without a unit. "mse" regresses the labels, "gp" is a Gaussian process on several views of a
    graph (see `gp`); these two predict in label units. "blend" adds up frozen "rank" heads and a "gp" (see `blend`), and is the best known choice for 0 to
    50 labels.
    `encoder`: weights to start from, which are never changed, or a configuration: every network then starts from random weights of its own.
    `frozen=False` trains the whole network (from scratch for None), `frozen=True` only a head on the embedding beside `cgir.properties` (None: on these
    alone); "gp" and "blend" are always frozen. `ensemble`: networks to average, by default 3 in a blend, else 1.
    """

    def __init__(
        self,
        encoder: Start = None,
        head: str = "blend",
        *,
        ensemble: int | None = None,
        frozen: bool = False,
        train: TrainConfig | None = None,
        carl: CarlConfig | None = None,
    ) -> None:
        members = ensemble if ensemble is not None else BLEND_ENSEMBLE if head == "blend" else 1
        frozen = frozen or head in ("blend", "gp")
        if head not in HEADS:
            raise CgirError(f"predictor: unknown head {head!r}; expected one of {', '.join(HEADS)}")
        if members < 1:
            raise CgirError(f"predictor: ensemble={ensemble}; expected at least one member")
        if frozen and (head == "carl" or not (encoder is None or isinstance(encoder, nn.Module))):
            raise CgirError(f"predictor: head {head!r} on a frozen encoder needs trained weights and a head on vectors; found {type(encoder).__name__}")
        self.encoder = encoder if isinstance(encoder, nn.Module) else None
        self.head = head
        loss = {"rank": "hinge", "blend": "hinge"}.get(head, head)
        self.networks = Networks(encoder, loss, members, frozen, train or TrainConfig(), carl) if head != "gp" else None
        self.process: GaussianProcess | None = None
        self.views: Views | None = None
        self.labels: Standardise | RankGauss | None = None
        self.blend: Blend | None = None

    @property
    def has_spread(self) -> bool:
        """Whether `predict` can give deviations: a Gaussian process or several networks."""
        return self.networks is None or self.networks.ensemble > 1 or self.head == "blend"

    def fit_sources(self, sources: Iterable[tuple[Graphs, ArrayLike]], seed: int = 0) -> Predictor:
        """Train on labelled families other than the target, so that `fit` needs fewer labels, or none.

        Args:
            sources: a pair (graphs, labels) for each family; labels are compared only within a family.
            seed: of weights and batches.

        Raises:
            LabelError: if a family's labels are unusable, or the head cannot learn from other families.
        """
        if self.networks is None:
            raise LabelError("fit_sources: a Gaussian process learns only from the target's labels; use head='blend', 'rank' or 'mse'")
        pairs = [_labelled(graphs, y) for graphs, y in sources]
        if not pairs:
            raise LabelError("fit_sources: no family given; expected pairs (graphs, labels)")
        # families differ in unit and spread: for a regression each is standardised by itself
        labels = np.concatenate([Standardise.fit(y).forward(y) if self.head in ("mse", "carl") else y for _, y in pairs])
        together = GraphTensors(GraphBatch.concatenate([graphs.batch for graphs, _ in pairs]))
        self.networks.fit_sources(_raw(self._read(together)), labels, [len(y) for _, y in pairs], seed)
        self.labels = self.process = self.blend = None
        return self

    def fit(self, graphs: Graphs, y: ArrayLike, seed: int = 0, pool: Graphs | None = None) -> Predictor:
        """Learn from labels of the target family, starting anew from the sources, if there were any.

        Args:
            graphs: n graphs.
            y: n labels, higher is better.
            seed: of weights and batches.
            pool: unlabelled graphs of the family, by which frozen vectors are scaled instead of by the few labelled ones.

        Raises:
            LabelError: labels missing, not finite or all equal.
        """
        tensors, labels = _labelled(graphs, y)
        graphs_read = self._read(tensors)
        reference = graphs_read if pool is None else self._read(as_tensors(pool))
        with_process = self.head in ("gp", "blend")
        self.labels = RankGauss.fit(labels) if with_process else Standardise.fit(labels)
        targets = self.labels.forward(labels)
        if self.networks is not None:
            self.networks.fit(_raw(graphs_read), targets, seed, _raw(reference))
        if with_process:
            assert isinstance(graphs_read, Described)
            assert isinstance(reference, Described)
            self.views = Views.fit(graphs_read, reference)
            self.process = GaussianProcess(self.views(graphs_read), targets, seed=seed)
        if self.head == "blend":
            self.blend = Blend.fit(self._heads(reference)[0], self._process(reference)[0], len(labels))
        return self

    @overload
    def predict(self, graphs: Graphs, return_std: Literal[False] = False) -> Array: ...
    @overload
    def predict(self, graphs: Graphs, return_std: Literal[True]) -> tuple[Array, Array]: ...
    def predict(self, graphs: Graphs, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Scores as float64 (G,), higher is better; each graph's score does not depend on the others.

        Args:
            graphs: G graphs.
            return_std: also give the standard deviation (G,) in the unit of the scores: of a label under the Gaussian process, of the members of an
                ensemble, or in a blend the weighted sum of both.

        Raises:
            CgirError: nothing was fitted, or a deviation is asked of a single network.
        """
        if self.process is None and not (self.networks and self.networks.members):
            raise CgirError("predict: nothing was fitted; call fit(graphs, labels) or fit_sources first")
        if return_std and not self.has_spread:
            raise CgirError(f"predict: a single network with head {self.head!r} has no spread; use ensemble=5, head='gp' or head='blend'")
        scores, deviations = self._scores(self._read(as_tensors(graphs)))
        if self.head in WITH_UNIT and self.labels is not None:
            low, high = (self.labels.inverse(scores + side * deviations) for side in (-1, 1))
            scores, deviations = self.labels.inverse(scores), (high - low) / 2
        return (scores, deviations) if return_std else scores

    def explain(self, graph: Graph | GraphBatch, method: str | None = None) -> Explanation:
        """How much each node and edge of one graph matters for its score; see `explain.explain`.

        Args:
            graph: a graph, or a batch of one.
            method: "masks", the causal shares of a CARL head, or "occlusion", for any head; None: masks where there are some.

        Raises:
            CgirError: nothing was fitted, or masks are asked of another head.
        """
        from .explain import explain

        return explain(self, graph, method)

    def masks(self, graph: Graph | GraphBatch) -> tuple[Array, Array]:
        """CARL's causal shares in [0, 1] of the nodes (V,) and edges (E,) of a graph, averaged over the ensemble. CgirError for another head."""
        if self.head != "carl" or self.networks is None or not self.networks.members:
            raise CgirError(f"masks: only a fitted predictor with head='carl' has them; found head {self.head!r}; use explain(graph, method='occlusion')")
        return self.networks.masks(as_tensors(graph))

    def _read(self, graphs: GraphTensors) -> Read:
        """What heads and process work on: vectors, computed once for both, or the graphs themselves where whole networks are trained."""
        whole = self.networks is not None and not self.networks.frozen
        return graphs if whole else describe(graphs, self.encoder)

    def _scores(self, read: Read) -> Scores:
        if self.blend is not None:
            return self.blend(self._heads(read), self._process(read))
        return self._process(read) if self.process is not None else self._heads(read)

    def _heads(self, read: Read) -> Scores:
        assert self.networks is not None
        return self.networks.predict(_raw(read))

    def _process(self, read: Read) -> Scores:
        assert self.process is not None
        assert self.views is not None
        assert isinstance(read, Described)
        return self.process.predict(self.views(read))

    def rank(self, graphs: Graphs) -> NDArray[np.int64]:
        """Indices of the graphs, best first; equal scores keep their order."""
        return np.argsort(-self.predict(graphs), kind="stable")

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the fitted predictor to `folder`; an existing one there is replaced as a whole."""
        save(self, folder)

    @staticmethod
    def load(folder: str | PathLike[str]) -> Predictor:
        """Read back what `save` wrote; predictions are equal. FileFormatError if it is damaged or something else."""
        return load(folder)


def _raw(read: Read) -> GraphTensors | Array:
    return read.vectors() if isinstance(read, Described) else read


def _labelled(graphs: Graphs, y: ArrayLike) -> tuple[GraphTensors, Array]:
    tensors = as_tensors(graphs)
    return tensors, check_labels(y, len(tensors))
