"""`Predictor`: labelled graphs in, a ranking of other graphs out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from cgir.errors import CgirError, LabelError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import Graphs, GraphTensors, as_tensors
from encoders.features.graph_features import GPInputTransform, GraphFeatures, Scaler, compute_features
from encoders.features.label_transforms import RankGauss, Standardise, check_labels
from encoders.gaussian_process.model_averaging import ENOUGH, LEAST_SPREAD, BayesianModelAverage
from encoders.models.carl import CarlConfig
from encoders.training.loop import Part, TrainConfig
from encoders.training.losses import LOSSES

from .ensemble import DEFAULT_TASK, Ensemble, Start
from .gnn_member import FEWEST, POOL, GnnMember
from .serialization import load, save
from .source_families import Scores, SourceModel, TargetContext, log_costs

if TYPE_CHECKING:
    from encoders.explain import Explanation

Read = GraphFeatures | GraphTensors
Some = Graphs | GraphFeatures  # what describes graphs was made by `compute_features` with the same encoder
HEADS = ("blend", "gp", "carl", "rank", *(name for name in LOSSES if name not in ("hinge", "mse")), "mse")
WITH_UNIT = ("blend", "gp", "mse")
BLEND_ENSEMBLE = 3


class Predictor:
    """Learns from few labelled graphs to score others; a higher label is better.

    `head`: "rank" learns the order of pairs by a hinge loss, "logistic", "listmle" and "warp" by others (see `losses`),
    "carl" by separating what is causal (see `carl.CARL`, whose options `carl` are); all give scores without a unit.
    "mse" regresses the labels, "gp" is a Gaussian process on several views of a graph (see `gp`); these two predict in
    label units. "blend", the best known choice for 0 to 100 labels, is a "gp" that starts from what is expected without
    labels (see `priors`): by FLOPs, parameters, and frozen "rank" heads, if labelled families were given or come with
    the encoder. `encoder`: weights to start from, which are never changed, or a configuration: every network then
    starts from random weights of its own. `frozen=False` trains the whole network (from scratch for None),
    `frozen=True` only a head on the embedding beside `cgir.properties` (None: on these alone); "gp" and "blend" are
    always frozen. `ensemble`: networks to average, by default 3 in a blend, else 1. `task`: which of the tasks that
    labelled families were given for is asked, by default the first one.
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
        task: str | None = None,
    ) -> None:
        members = ensemble if ensemble is not None else BLEND_ENSEMBLE if head == "blend" else 1
        frozen = frozen or head in ("blend", "gp")
        if head not in HEADS:
            raise CgirError(f"predictor: unknown head {head!r}; expected one of {', '.join(HEADS)}")
        if members < 1:
            raise CgirError(f"predictor: ensemble={ensemble}; expected at least one member")
        if frozen and (head == "carl" or not (encoder is None or isinstance(encoder, nn.Module))):
            raise CgirError(
                f"predictor: head {head!r} on a frozen encoder needs trained weights and a head on vectors; found {type(encoder).__name__}"
            )
        self.encoder = encoder if isinstance(encoder, nn.Module) else None
        self.head, self.task = head, task
        loss = {"rank": "hinge", "blend": "hinge"}.get(head, head)
        self.networks = Ensemble(encoder, loss, members, frozen, train or TrainConfig(), carl) if head != "gp" else None
        self.sources: SourceModel | None = getattr(encoder, "sources", None) if head == "blend" else None
        self.process: BayesianModelAverage | None = None
        self.whole: GnnMember | None = None
        self.views: GPInputTransform | None = None
        self.expected: Scaler | None = None
        self.family = TargetContext()
        self.labels: Standardise | RankGauss | None = None
        if self.sources is not None:
            self._column()

    @property
    def has_std(self) -> bool:
        """Whether `predict` can give deviations: a Gaussian process or several networks."""
        return self.networks is None or self.networks.ensemble > 1 or self.head == "blend"

    def fit_sources(
        self, sources: Iterable[tuple[Some, ArrayLike]], seed: int = 0, tasks: Sequence[str] | None = None
    ) -> Predictor:
        """Train on labelled families other than the target, so that `fit` needs fewer labels, or none.

        Args:
            sources: a pair (graphs, labels) for each family, or for each task of a family; labels are compared only
                within a pair. Pairs with the same graphs (the same object) are one family, which counts as much as
                another.
            seed: of weights and batches.
            tasks: what the labels of each pair measure. Frozen heads learn each task by an output of its own; None: all
                measure the same.

        Raises:
            LabelError: if a family's labels are unusable, or the head cannot learn from other families.
        """
        if self.networks is None:
            raise LabelError(
                "fit_sources: a Gaussian process learns only from the target's labels; use head='blend', 'rank' or 'mse'"
            )
        found = list(sources)
        pairs = [_labelled(graphs, y) for graphs, y in found]
        if not pairs:
            raise LabelError("fit_sources: no family given; expected pairs (graphs, labels)")
        names = [DEFAULT_TASK] * len(pairs) if tasks is None else list(tasks)
        if len(names) != len(pairs):
            raise LabelError(f"fit_sources: {len(pairs)} pairs but {len(names)} tasks; expected one for each pair")
        # families differ in unit and spread: for a regression each is standardised by itself
        labels = np.concatenate(
            [Standardise.fit(y).forward(y) if self.head in ("mse", "carl") else y for _, y in pairs]
        )
        together = _together([self._read(graphs) for graphs, _ in pairs])
        different = list(dict.fromkeys(names))
        _place(self.task, different)
        families = _families(
            [id(graphs) for graphs, _ in found], [len(y) for _, y in pairs], [different.index(name) for name in names]
        )
        if self.head == "blend":
            self.sources = SourceModel.fit(self.networks, _vectors(together), labels, families, different, seed)
        else:
            self.networks.fit_sources(_raw(together), labels, families, different, seed)
        self._forget()
        self.family = TargetContext()
        return self

    def fit(self, graphs: Some, y: ArrayLike, seed: int = 0, pool: Some | None = None) -> Predictor:
        """Learn from labels of the target family, starting anew from the sources, if there were any.

        Args:
            graphs: n graphs.
            y: n labels, higher is better. None at all are enough for a blend that knows other families, given a pool.
            seed: of weights and batches.
            pool: unlabelled graphs of the family, by which frozen vectors are scaled instead of by the few labelled
                ones; they also say how far heads that other families taught agree about this one, so how far FLOPs are
                to be asked instead, and how like those families it is.

        Raises:
            LabelError: labels missing, not finite or all equal.
        """
        column = self._column()
        reference = None if pool is None else self._read(pool)
        if self.sources is not None and reference is not None and not np.size(y):
            self._forget()
            self.family = self.sources.family(_vectors(reference), column)
            return self
        graphs, labels = _labelled(graphs, y)
        read = self._read(graphs)
        if self.sources is not None:
            self.family = (
                TargetContext(across=self.sources.labelled.posterior_for(_vectors(read)))
                if reference is None
                else self.sources.family(_vectors(reference), column)
            )
        if self.head in ("gp", "blend"):
            self._fit_process(_vectors(read), _vectors(read if reference is None else reference), labels, seed)
        else:
            assert self.networks is not None
            self.labels = Standardise.fit(labels)
            self.networks.fit(
                _raw(read), self.labels.forward(labels), seed, _raw(read if reference is None else reference), column
            )
        return self

    @overload
    def predict(self, graphs: Some, return_std: Literal[False] = False) -> FloatArray: ...
    @overload
    def predict(self, graphs: Some, return_std: Literal[True]) -> tuple[FloatArray, FloatArray]: ...
    def predict(self, graphs: Some, return_std: bool = False) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Scores as float64 (G,), higher is better; each graph's score does not depend on the others.

        Args:
            graphs: G graphs.
            return_std: also give the standard deviation (G,) in the unit of the scores: of a label under the Gaussian
                process, or of the members of an ensemble.

        Raises:
            CgirError: nothing was fitted, or a deviation is asked of a single network.
        """
        if self.process is None and self.sources is None and not (self.networks and self.networks.members):
            raise CgirError(
                "predict: nothing was fitted; call fit(graphs, labels) or fit_sources first, or take load_pretrained('universal')"
            )
        if return_std and not self.has_std:
            raise CgirError(
                f"predict: a single network with head {self.head!r} has no spread; use ensemble=5, head='gp' or head='blend'"
            )
        scores, deviations = self._scores(self._read(graphs))
        if self.head in WITH_UNIT and self.labels is not None:
            low, high = (self.labels.inverse(scores + side * deviations) for side in (-1, 1))
            scores, deviations = self.labels.inverse(scores), (high - low) / 2
        return (scores, deviations) if return_std else scores

    def explain(self, graph: Graph | GraphBatch, method: str | None = None) -> Explanation:
        """How much each node and edge of one graph matters for its score; see `explain.explain`.

        Args:
            graph: a graph, or a batch of one.
            method: "masks", the causal shares of a CARL head, or "occlusion", for any head; None: masks where there are
                some.

        Raises:
            CgirError: nothing was fitted, or masks are asked of another head.
        """
        from encoders.explain import explain

        return explain(self, graph, method)

    def masks(self, graph: Graph | GraphBatch) -> tuple[FloatArray, FloatArray]:
        """CARL's causal shares in [0, 1] of the nodes (V,) and edges (E,) of a graph, averaged over the ensemble.
        CgirError for another head.
        """
        if self.head != "carl" or self.networks is None or not self.networks.members:
            raise CgirError(
                f"masks: only a fitted predictor with head='carl' has them; found head {self.head!r}; use explain(graph, method='occlusion')"
            )
        return self.networks.masks(as_tensors(graph))

    def _read(self, graphs: Some) -> Read:
        """What heads and process work on: vectors, computed once for both, or the graphs themselves where whole
        networks are trained.
        """
        if self.networks is not None and not self.networks.frozen:
            return graphs.graphs if isinstance(graphs, GraphFeatures) else as_tensors(graphs)
        return graphs if isinstance(graphs, GraphFeatures) else compute_features(graphs, self.encoder)

    def _fit_process(self, seen: GraphFeatures, pool: GraphFeatures, labels: FloatArray, seed: int) -> None:
        """`labels` (n,) of the graphs that were seen; where a blend has enough of them, whole networks learn them too."""
        self._forget()
        self.labels = RankGauss.fit(labels)
        targets = self.labels.forward(labels)
        # a blend has what embeddings say of a family in what it expects; a view of their own asks for more labels
        self.views, free = GPInputTransform.fit(seen, pool, embedding=self.head == "gp"), self._free(pool)
        self.expected = Scaler.fit(free, LEAST_SPREAD[: free.shape[1]])
        self.process = BayesianModelAverage.fit(self.views(seen), self.expected(self._free(seen)), targets, seed)
        if self.head == "blend" and FEWEST <= len(labels) <= ENOUGH:
            some = pool.select(np.sort(np.random.default_rng(seed).permutation(len(pool))[:POOL]))
            self.whole = GnnMember.fit(seen.graphs, targets, some.graphs, self._scores(some)[0], seed)

    def _forget(self) -> None:
        """What labels of a target taught."""
        self.labels = self.process = self.whole = None

    def _scores(self, read: Read) -> Scores:
        if self.process is not None:
            assert self.views is not None
            assert self.expected is not None
            described = _vectors(read)
            scores, deviations = self.process.predict(self.views(described), self.expected(self._free(described)))
            return scores if self.whole is None else self.whole.blend(described.graphs, scores), deviations
        if self.sources is not None:
            return self.sources.predict(_vectors(read), self.family, self._column())
        assert self.networks is not None
        return self.networks.predict(_raw(read), self._column())

    def _free(self, read: GraphFeatures) -> FloatArray:
        """(G, q): what says something of a graph before there are labels, none for a plain "gp"."""
        if self.head == "gp":
            return np.zeros((len(read), 0))
        return log_costs(read) if self.sources is None else self.sources.free(read, self.family, self._column())

    def _column(self) -> int:
        """Which of the heads' outputs is asked. CgirError if they learned no such task."""
        networks = self.sources.networks if self.sources is not None else self.networks
        return _place(self.task, networks.tasks if networks is not None else (DEFAULT_TASK,))

    def rank(self, graphs: Graphs) -> IntArray:
        """Indices of the graphs, best first; equal scores keep their order."""
        return np.argsort(-self.predict(graphs), kind="stable")

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the fitted predictor to `folder`; an existing one there is replaced as a whole."""
        save(self, folder)

    @staticmethod
    def load(folder: str | PathLike[str]) -> Predictor:
        """Read back what `save` wrote; predictions are equal. FileFormatError if it is damaged or something else."""
        return load(folder)


def _vectors(read: Read) -> GraphFeatures:
    assert isinstance(read, GraphFeatures)  # as is all that frozen predictors read
    return read


def _raw(read: Read) -> GraphTensors | FloatArray:
    return read.vectors() if isinstance(read, GraphFeatures) else read


def _place(task: str | None, tasks: Sequence[str]) -> int:
    if task is not None and task not in tasks:
        raise CgirError(f"predictor: task {task!r} was not learned; there are {', '.join(tasks)}")
    return 0 if task is None else tasks.index(task)


def _labelled(graphs: Some, y: ArrayLike) -> tuple[Some, FloatArray]:
    ready = graphs if isinstance(graphs, GraphFeatures) else as_tensors(graphs)
    return ready, check_labels(y, len(ready))


def _together(parts: Sequence[Read]) -> Read:
    """All families' graphs, one family's after the other's."""
    described = [part for part in parts if isinstance(part, GraphFeatures)]
    graphs = [part.graphs if isinstance(part, GraphFeatures) else part for part in parts]
    batch = GraphTensors(GraphBatch.concatenate([each.batch for each in graphs]))
    if not described:
        return batch
    embeddings = [part.embedding for part in described if part.embedding is not None]
    return GraphFeatures(
        np.concatenate(embeddings) if embeddings else None,
        np.concatenate([part.properties for part in described]),
        batch,
    )


def _families(owners: Sequence[int], sizes: Sequence[int], columns: Sequence[int]) -> list[list[Part]]:
    """The parts of each family, in order of appearance; parts with the same owner are one family's."""
    parts = [
        Part(int(start), size, column)
        for start, size, column in zip(np.cumsum([0, *sizes]), sizes, columns, strict=False)
    ]
    return [
        [part for part, other in zip(parts, owners, strict=True) if other == owner] for owner in dict.fromkeys(owners)
    ]
