"""The blend: Gaussian processes whose prior means come from FLOPs and source families, averaged, beside GNNs.

Without labels it ranks by source heads, FLOPs and a multi-task GP. Labels of the target then decide between prior means
(`BayesianModelAverage`), and from 40 labels on GNNs trained from scratch have a share.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np

from cgir.errors import LabelError
from cgir.typing import FloatArray
from encoders.features.graph_features import GPInputTransform, GraphFeatures
from encoders.features.scalers import Scaler

from .blend_config import BlendConfig
from .ensemble import Ensemble
from .estimators import SourceData, in_label_units
from .estimators_gp import GraphGP
from .gnn_member import GnnMember
from .multitask_process import SourceSample
from .serialization import State
from .source_families import SourceModel, TargetContext, log_costs

HEAD_LOSS = "hinge"


class BlendEstimator:
    """Source model, Gaussian process and GNNs as one; with labels it predicts in their unit.

    Args:
        heads: how source heads are made and trained, not fitted itself.
        source_model: what labelled families taught; None: nothing did.
        config: constants; None: the default ones.

    Attributes:
        context: what unlabelled graphs of the target tell about their family.
        gp: what labels of the target taught; None before there are some.
        gnn: GNNs that learned these labels, where they are enough.
    """

    has_std = True
    reads_vectors = True

    def __init__(self, heads: Ensemble, source_model: SourceModel | None = None, config: BlendConfig | None = None):
        self.heads, self.source_model, self.config = heads, source_model, config or BlendConfig()
        self.context = self._no_context()
        self.gp: GraphGP | None = None
        self.gnn: GnnMember | None = None
        self._last_context: tuple[tuple[object, ...], TargetContext] | None = None

    @property
    def tasks(self) -> Sequence[str]:
        """Tasks of the source heads."""
        return (self.heads if self.source_model is None else self.source_model.ensemble).tasks

    @property
    def is_fitted(self) -> bool:
        """Whether it can predict."""
        return self.gp is not None or self.source_model is not None

    def copy(self) -> Self:
        """See `Estimator.copy`."""
        return copy.copy(self)

    def fit_sources(self, sources: SourceData, seed: int) -> None:
        """See `Estimator.fit_sources`."""
        self.source_model = SourceModel.fit(self.heads, sources, seed, self.config)
        self.gp = self.gnn = None
        self.context = self._no_context()

    def adapt(self, pool: GraphFeatures, task: int) -> None:
        """Learn from unlabelled graphs of the target alone; labels of a target are forgotten."""
        if self.source_model is None:
            raise LabelError("adapt: without source families unlabelled graphs teach nothing; use fit_sources first")
        self.gp = self.gnn = None
        self.context = self._context_of(self.source_model, pool, task)

    def fit(
        self, features: GraphFeatures, labels: FloatArray, pool: GraphFeatures | None, task: int, seed: int
    ) -> None:
        """See `Estimator.fit`.

        Args:
            features: of n graphs.
            labels: (n,) higher is better.
            pool: graphs of the family, by which views and prior scores are scaled, and which decide how far
                source families apply; None: the labelled ones scale.
            task: output of the source heads.
            seed: of weights, and see `GaussianProcess`.
        """
        self.gp = self.gnn = None
        reference = features if pool is None else pool
        if self.source_model is not None and pool is None:
            multitask = self.source_model.sample.posterior_for(features, self.config)
            self.context = TargetContext(self.config.flops_weight, multitask)
        elif self.source_model is not None:
            self.context = self._context_of(self.source_model, reference, task)
        # embeddings enter through the prior means; as a view of their own they would need more labels
        transform = GPInputTransform.fit(features, reference, embedding=False)
        reference_scores = self.prior_scores(reference, task)
        min_stds = np.asarray(self.config.min_prior_stds)[: reference_scores.shape[1]]
        scaler = Scaler.fit(reference_scores, min_stds)
        prior_scores = self.prior_scores(features, task)
        gp = GraphGP.fit(features, prior_scores, labels, transform, scaler, seed, self.config.averaging)
        if self.config.gnn_min_labels <= len(labels) <= self.config.gnn_max_labels:
            self.gnn = self._fit_gnn(gp, features, labels, reference, task, seed)
        self.gp = gp

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
        process_scores, _ = gp.predict(some, self.prior_scores(some, task))
        return GnnMember.fit(features, gp.labels.forward(labels), some, process_scores, seed, self.config)

    def predict(self, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Labels, or scores where there were none, of G graphs, and their standard deviations: (G,), (G,)."""
        if self.gp is not None:
            return in_label_units(self.gp.labels, *self.predict_normal_scores(self.gp, features, task))
        if self.source_model is None:
            raise LabelError("predict: neither labels nor source families were fitted")
        return self.source_model.predict(features, self.context, task, self.config.multitask_weight)

    def predict_normal_scores(self, gp: GraphGP, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Normal scores of labels, by the process and the GNNs, and their standard deviations: (G,), (G,).

        Args:
            gp: the process.
            features: of G graphs.
            task: output of the source heads.
        """
        scores, stds = gp.predict(features, self.prior_scores(features, task))
        return scores if self.gnn is None else self.gnn.blend(features, scores), stds

    def prior_scores(self, features: GraphFeatures, task: int = 0) -> FloatArray:
        """(G, q) scores that need no label: two costs, and with source families two scores by these."""
        if self.source_model is None:
            return log_costs(features)
        return self.source_model.prior_scores(features, self.context, task)

    def _context_of(self, source_model: SourceModel, pool: GraphFeatures, task: int) -> TargetContext:
        """What the pool tells; computed once for fits with the same one, as a search makes them."""
        key = (source_model, pool, task, self.config)
        if self._last_context is None or any(a is not b for a, b in zip(self._last_context[0], key, strict=True)):
            self._last_context = key, source_model.context(pool, task, self.config)
        return self._last_context[1]

    def _no_context(self) -> TargetContext:
        return TargetContext(self.config.flops_weight)

    def to_state(self) -> State:
        """All of it, with the constants."""
        state, model = State({"blend": self.config.to_json()}), self.source_model
        state.add("ensemble", (self.heads if model is None else model.ensemble).to_state())
        if model is not None:
            state.meta["flops_moments"] = model.flops_moments
            state.add("sample", model.sample.to_state())
            state.add("context", self.context.to_state())
        state.add("gp", None if self.gp is None else self.gp.to_state())
        state.add("gnn", None if self.gnn is None else self.gnn.to_state())
        return state

    @classmethod
    def from_state(cls, state: State) -> BlendEstimator:
        """What `to_state` gave; a state of format 1 has no constants, for which the default ones stand."""
        config = BlendConfig.from_json(state.meta["blend"]) if "blend" in state.meta else BlendConfig()
        ensemble = Ensemble.from_state(state.required("ensemble"), None, HEAD_LOSS)
        estimator = cls(ensemble.unfitted(), config=config)
        if "flops_moments" in state.meta:
            mean, std = state.meta["flops_moments"]
            if not all(type(value) in (int, float) for value in (mean, std)):
                raise TypeError(f"flops_moments: found {mean!r:.60} and {std!r:.60}, expected two numbers")
            sample = SourceSample.from_state(state.required("sample"))
            estimator.source_model = SourceModel(ensemble, (float(mean), float(std)), sample)
            estimator.context = TargetContext.from_state(state.required("context"), sample, config)
        gp, gnn = state.part("gp"), state.part("gnn")
        estimator.gp = None if gp is None else GraphGP.from_state(gp, 2 if estimator.source_model is None else 4)
        estimator.gnn = None if gnn is None else GnnMember.from_state(gnn, config)
        return estimator
