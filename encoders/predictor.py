"""`Predictor`: labelled graphs in, a ranking of other graphs out."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgir.errors import CgirError, LabelError
from cgir.features import GraphBatch

from .batching import Graphs, GraphTensors, as_tensors
from .blend import Blend
from .descriptors import Scaler, describe
from .encoder import Encoder
from .gp import GaussianProcess
from .labels import RankGauss, Standardise, check_labels
from .networks import Networks, Raw
from .saving import load, save
from .training import TrainConfig

Array = NDArray[np.float64]
HEADS = ("blend", "gp", "rank", "mse")
BLEND_ENSEMBLE = 3


class Predictor:
    """Learns from few labelled graphs to score others; a higher label is better.

    `head`: "rank" learns the order of pairs (scores without a unit), "mse" regresses the labels, "gp" is a Gaussian process on frozen vectors; the
    last two predict in label units. "blend" adds up frozen "rank" heads and a "gp" (see `blend`), and is the best known choice for 0 to 50 labels.
    `frozen=False` trains the whole network from `encoder` (None: from scratch), `frozen=True` only a head on the embedding beside
    `cgir.properties` (None: on these alone); "gp" and "blend" are always frozen. `ensemble`: networks to average, by default 3 in a blend, else 1.
    The encoder given is never changed.
    """

    def __init__(
        self, encoder: Encoder | None = None, head: str = "blend", *, ensemble: int | None = None, frozen: bool = False, train: TrainConfig | None = None
    ) -> None:
        if head not in HEADS:
            raise CgirError(f"predictor: unknown head {head!r}; expected one of {', '.join(HEADS)}")
        members = ensemble if ensemble is not None else BLEND_ENSEMBLE if head == "blend" else 1
        if members < 1:
            raise CgirError(f"predictor: ensemble={ensemble}; expected at least one member")
        self.encoder, self.head = encoder, head
        loss = "mse" if head == "mse" else "rank"
        self.networks = Networks(encoder, loss, members, frozen or head == "blend", train or TrainConfig()) if head != "gp" else None
        self.process: GaussianProcess | None = None
        self.scaler: Scaler | None = None
        self.labels: Standardise | RankGauss | None = None
        self.blend: Blend | None = None

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
        labels = np.concatenate([Standardise.fit(y).forward(y) if self.head == "mse" else y for _, y in pairs])
        together = GraphTensors(GraphBatch.concatenate([graphs.batch for graphs, _ in pairs]))
        self.networks.fit_sources(self._read(together), labels, [len(y) for _, y in pairs], seed)
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
            self.networks.fit(graphs_read, targets, seed, reference)
        if with_process:
            assert isinstance(graphs_read, np.ndarray)
            assert isinstance(reference, np.ndarray)
            self.scaler = Scaler.fit(reference)
            self.process = GaussianProcess(self.scaler(graphs_read), targets, seed=seed)
        if self.head == "blend":
            self.blend = Blend.fit(self._heads(reference), self._process(reference), len(labels))
        return self

    def predict(self, graphs: Graphs) -> Array:
        """Scores as float64 (G,), higher is better; each graph's score does not depend on the others."""
        if self.process is None and not (self.networks and self.networks.members):
            raise CgirError("predict: nothing was fitted; call fit(graphs, labels) or fit_sources first")
        read = self._read(as_tensors(graphs))
        if self.blend is not None:
            return self.blend(self._heads(read), self._process(read))
        scores = self._process(read) if self.process is not None else self._heads(read)
        return scores if self.head in ("rank", "blend") or self.labels is None else self.labels.inverse(scores)

    def _read(self, graphs: GraphTensors) -> Raw:
        """What heads and process work on: vectors, computed once for both, or the graphs themselves where whole networks are trained."""
        whole = self.networks is not None and not self.networks.frozen
        return graphs if whole else describe(graphs, self.encoder)

    def _heads(self, read: Raw) -> Array:
        assert self.networks is not None
        return self.networks.predict(read)

    def _process(self, read: Raw) -> Array:
        assert self.process is not None
        assert self.scaler is not None
        assert isinstance(read, np.ndarray)
        return self.process.predict(self.scaler(read))

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


def _labelled(graphs: Graphs, y: ArrayLike) -> tuple[GraphTensors, Array]:
    tensors = as_tensors(graphs)
    return tensors, check_labels(y, len(tensors))
