"""The blend: a Gaussian process that expects what sizes, source families and hints say, and learns from labels.

Without labels it ranks by what is expected (`TargetContext`). Labels of the target make the weights of these prior
scores certain, and what they do not explain is left to a process on graphs; GNNs trained from scratch may have a share.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from cgir.errors import LabelError
from cgir.typing import FloatArray
from encoders.features.graph_features import GPInputTransform, GraphFeatures
from encoders.metrics import spearman

from .blend_config import BlendConfig
from .estimators import DEFAULT_TASK, SourceData, in_label_units
from .estimators_gp import GraphGP, label_transform
from .gnn_member import GnnMember
from .hints import Hint, equal_hints
from .serialization import State
from .source_families import NUM_SCORES, SourceModel, TargetContext, target_context


class BlendEstimator:
    """Source model, Gaussian process and GNNs as one; with labels it predicts in their unit.

    Args:
        source_model: what labelled families taught; None: nothing did.
        tasks: names of its tasks.
        gnn: whether GNNs are trained where cross-validation prefers them.
        config: constants; None: the default ones.

    Attributes:
        context: what unlabelled graphs of the target, and hints, tell; None before there are some.
        target_task: which labels of source families the target is like.
        gp: what labels of the target taught; None before there are some.
        gnn_member: GNNs that learned these labels, where they are enough and worth it.
    """

    has_std = True
    reads_vectors = False

    def __init__(
        self,
        source_model: SourceModel | None = None,
        tasks: Sequence[str] = (DEFAULT_TASK,),
        gnn: bool = False,
        config: BlendConfig | None = None,
    ) -> None:
        self.source_model, self.tasks, self.gnn, self.config = source_model, tuple(tasks), gnn, config or BlendConfig()
        self.context: TargetContext | None = None
        self.target_task = 0
        self.gp: GraphGP | None = None
        self.gnn_member: GnnMember | None = None
        self._last_context: tuple[tuple[object, ...], list[Hint], TargetContext] | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it can predict."""
        return self.gp is not None or self.context is not None or self.source_model is not None

    def copy(self) -> Self:
        """See `Estimator.copy`."""
        return copy.copy(self)

    def fit_sources(self, sources: SourceData, seed: int) -> None:
        """See `Estimator.fit_sources`; LabelError for a family with two sets of labels of one task."""
        for family in sources.families:
            tasks = [part.column for part in family]
            if len(set(tasks)) < len(tasks):
                names = ", ".join(sorted({sources.tasks[task] for task in tasks}))
                raise LabelError(
                    f"fit_sources: {len(tasks)} sets of labels of the same graphs, for {names} alone; give each a task"
                )
        self.source_model, self.tasks = SourceModel.fit(sources, seed, self.config), tuple(sources.tasks)
        self.context, self.gp, self.gnn_member = None, None, None

    def adapt(self, pool: GraphFeatures, hints: Mapping[str, Hint], task: int, seed: int) -> None:
        """Learn from unlabelled graphs of the target, and hints, alone; labels of a target are forgotten.

        Args:
            pool: graphs of the family.
            hints: by name.
            task: which labels of source families.
            seed: see `GaussianProcess`.
        """
        self.gp = self.gnn_member = None
        self.context, self.target_task = self._context_of(pool, hints, task, seed), task

    def fit(
        self,
        features: GraphFeatures,
        labels: FloatArray,
        pool: GraphFeatures | None,
        task: int,
        seed: int,
        hints: Mapping[str, Hint] | None = None,
    ) -> None:
        """See `Estimator.fit`.

        Args:
            features: of n graphs.
            labels: (n,) higher is better.
            pool: graphs of the family, by which views and prior scores are scaled, and which decide how far
                source families apply; None: the labelled ones.
            task: which labels of source families.
            seed: of weights, and see `GaussianProcess`.
            hints: by name.
        """
        reference = features if pool is None else pool
        self.adapt(reference, hints or {}, task, seed)
        assert self.context is not None
        gp = self._fit_gp(features, labels, reference, task, seed)
        enough = self.config.gnn_min_labels <= len(labels) <= self.config.gnn_max_labels
        if self.gnn and enough and self._gnn_improves(features, labels, reference, task, seed):
            self.gnn_member = self._fit_gnn(gp, features, labels, reference, task, seed)
        self.gp = gp

    def _fit_gp(
        self, features: GraphFeatures, labels: FloatArray, reference: GraphFeatures, task: int, seed: int
    ) -> GraphGP:
        context = self._known_context()
        # embeddings would need more labels as a view of their own
        transform = GPInputTransform.fit(features, reference, embedding=False)
        scores = context.scores(features, task)
        scale = label_transform(labels, scores[:, NUM_SCORES:], self.config.followed_correlation)
        return GraphGP.fit(
            features, scores, labels, scale, transform, context.candidates(len(labels), self.config), seed
        )

    def _fit_gnn(
        self,
        gp: GraphGP,
        features: GraphFeatures,
        labels: FloatArray,
        reference: GraphFeatures,
        task: int,
        seed: int,
    ) -> GnnMember:
        order = np.random.default_rng(seed).permutation(len(reference))
        some = reference.select(np.sort(order[: self.config.gnn_calibration_graphs]))
        process_scores, _ = gp.predict(some, self._known_context().scores(some, task))
        return GnnMember.fit(features, gp.labels.forward(labels), some, process_scores, seed, self.config)

    def _gnn_improves(
        self, features: GraphFeatures, labels: FloatArray, reference: GraphFeatures, task: int, seed: int
    ) -> bool:
        """Whether the mean with GNNs ranks held-out labels better than the process alone."""
        fold = np.random.default_rng(seed).permutation(len(labels)) % self.config.gnn_folds
        alone, both = np.zeros(len(labels)), np.zeros(len(labels))
        for index in range(self.config.gnn_folds):
            train, held = np.flatnonzero(fold != index), np.flatnonzero(fold == index)
            if np.ptp(labels[train]) == 0:
                return False
            some, others = features.select(train), features.select(held)
            gp = self._fit_gp(some, labels[train], reference, task, seed)
            gnn = self._fit_gnn(gp, some, labels[train], reference, task, seed)
            alone[held], _ = gp.predict(others, self._known_context().scores(others, task))
            both[held] = gnn.blend(others, alone[held])
        return spearman(both, labels) > spearman(alone, labels)

    def predict(self, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Labels, or normal scores where there were none, of G graphs, and their standard deviations: (G,), (G,).

        Where nothing was learned of the target, the graphs themselves are its pool.
        """
        if self.gp is not None:
            return in_label_units(self.gp.labels, *self.predict_normal_scores(self.gp, features, task))
        context = self.context
        if context is None and self.source_model is None:
            raise LabelError("predict: neither labels, nor a pool, nor source families were fitted")
        if context is None:
            context = target_context(features, self.source_model, {}, task, self.config)
        return context.expected(features, task)

    def predict_normal_scores(self, gp: GraphGP, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Normal scores of labels, by the process and the GNNs, and their standard deviations: (G,), (G,).

        Args:
            gp: the process.
            features: of G graphs.
            task: which labels of source families.
        """
        scores, stds = gp.predict(features, self._known_context().scores(features, task))
        return scores if self.gnn_member is None else self.gnn_member.blend(features, scores), stds

    def _known_context(self) -> TargetContext:
        if self.context is None:
            raise LabelError("blend: a process needs the context that it was fitted in")
        return self.context

    def _context_of(self, pool: GraphFeatures, hints: Mapping[str, Hint], task: int, seed: int) -> TargetContext:
        """What the pool tells; computed once for fits with the same one, as a search makes them."""
        key = (self.source_model, pool, task, self.config, seed if hints else None)
        parts = list(hints.values())
        last = self._last_context
        if last is not None and all(a is b for a, b in zip(last[0], key, strict=True)) and equal_hints(last[1], parts):
            return last[2]
        context = target_context(pool, self.source_model, hints, task, self.config, seed)
        self._last_context = key, parts, context
        return context

    def to_state(self) -> State:
        """All of it, with the constants."""
        state = State({"blend": self.config.to_json(), "tasks": list(self.tasks), "wants_gnn": self.gnn})
        state.meta["target_task"] = self.target_task
        state.add("source_model", None if self.source_model is None else self.source_model.to_state())
        state.add("context", None if self.context is None else self.context.to_state())
        state.add("gp", None if self.gp is None else self.gp.to_state())
        state.add("gnn", None if self.gnn_member is None else self.gnn_member.to_state())
        return state

    @classmethod
    def from_state(cls, state: State) -> BlendEstimator:
        """What `to_state` gave."""
        config = BlendConfig.from_json(state.meta["blend"])
        tasks, wants_gnn = state.meta["tasks"], state.meta["wants_gnn"]
        if not (isinstance(tasks, list) and tasks and all(isinstance(name, str) for name in tasks)):
            raise TypeError(f"tasks: found {tasks!r:.60}, expected names")
        if not isinstance(wants_gnn, bool):
            raise TypeError(f"wants_gnn: found {wants_gnn!r:.60}, expected true or false")
        model = state.part("source_model")
        estimator = cls(None if model is None else SourceModel.from_state(model), tasks, wants_gnn, config)
        estimator.target_task = state.count("target_task")
        if estimator.target_task >= len(tasks):
            raise ValueError(f"target_task: {estimator.target_task} of {len(tasks)} tasks")
        context, gp, gnn = (state.part(name) for name in ("context", "gp", "gnn"))
        if context is not None:
            sample = None if estimator.source_model is None else estimator.source_model.sample
            estimator.context = TargetContext.from_state(context, sample, config)
        if gp is not None:
            estimator.gp = GraphGP.from_state(gp, len(estimator._known_context().prior.mean))
        estimator.gnn_member = None if gnn is None else GnnMember.from_state(gnn, config)
        return estimator
