"""Transfer from labelled source families: ranking heads on frozen vectors, log FLOPs and a multi-task GP."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cgir.typing import FloatArray
from encoders.features.graph_features import FLOPS, PARAMS, GraphFeatures
from encoders.models.encoder import Encoder

from .blend_config import BlendConfig
from .ensemble import Ensemble
from .estimators import SourceData
from .multitask_process import MultitaskGP, SourceSample
from .serialization import State

Scores = tuple[FloatArray, FloatArray]  # mean and standard deviation of G graphs


class TargetContext(NamedTuple):
    """How the source model applies to a target family, derived from unlabelled graphs of it.

    Attributes: `flops_weight` of log FLOPs beside the heads; `multitask`: the multi-task GP for the family, None where
    no graph of the family is given.
    """

    flops_weight: float
    multitask: MultitaskGP | None = None

    def to_state(self) -> State:
        """All of it."""
        state = State({"flops_weight": self.flops_weight})
        state.add("multitask", None if self.multitask is None else self.multitask.to_state())
        return state

    @classmethod
    def from_state(cls, state: State, sample: SourceSample, config: BlendConfig) -> TargetContext:
        """What `to_state` gave.

        Args:
            state: of a context.
            sample: networks of the source families.
            config: the constants that it was made with.
        """
        part = state.part("multitask")
        multitask = None if part is None else MultitaskGP.from_state(part, sample, config)
        return cls(state.number("flops_weight"), multitask)


class SourceModel(NamedTuple):
    """What labelled families taught.

    Attributes:
        ensemble: ranking heads on frozen vectors.
        flops_moments: mean, and standard deviation inside families, of log FLOPs.
        sample: some of the labelled networks.
    """

    ensemble: Ensemble
    flops_moments: tuple[float, float]
    sample: SourceSample

    @classmethod
    def fit(cls, ensemble: Ensemble, sources: SourceData, seed: int, config: BlendConfig) -> SourceModel:
        """Train heads on several families; see `Ensemble.fit_sources`.

        Args:
            ensemble: how heads are made and trained; it stays as it is.
            sources: labelled families.
            seed: of weights, batches and samples.
            config: constants.
        """
        features, families = sources.features, sources.families
        heads = ensemble.unfitted()
        heads.fit_sources(sources, seed)
        variances = [features.properties[first.start : first.start + first.size, FLOPS].var() for first, *_ in families]
        std = float(np.sqrt(np.mean(variances)))
        sample = SourceSample.sample(features, sources.labels, families, len(sources.tasks), seed, config)
        return cls(heads, (float(features.properties[:, FLOPS].mean()), max(std, 1e-6)), sample)

    def context(self, pool: GraphFeatures, task: int, config: BlendConfig) -> TargetContext:
        """The context of a family with unlabelled graphs: the less the heads agree about them, the more FLOPs count.

        Args:
            pool: graphs of the family.
            task: output of the heads.
            config: constants.
        """
        scores, stds = self.ensemble.predict(pool, task)
        disagreement = float(stds.mean()) / max(float(scores.std()), 1e-9)
        weight = min(config.flops_per_disagreement * disagreement**2, config.max_flops_weight)
        return TargetContext(weight, self.sample.posterior_for(pool, config))

    def predict(self, features: GraphFeatures, context: TargetContext, task: int, multitask_weight: float) -> Scores:
        """Scores of G graphs, and how far the heads disagree: (G,), (G,).

        Args:
            features: of the graphs.
            context: of their family.
            task: output of the heads.
            multitask_weight: see `BlendConfig`.
        """
        scores, stds = self.head_scores(features, context, task)
        return scores + multitask_weight * self.multitask_scores(features, context, task), stds

    def prior_scores(self, features: GraphFeatures, context: TargetContext, task: int = 0) -> FloatArray:
        """(G, 4): log FLOPs, log parameters, source heads, multi-task GP; in the order of `PRIOR_MEANS`.

        Args:
            features: of G graphs.
            context: of their family.
            task: output of the heads.
        """
        heads, _ = self.head_scores(features, context, task)
        return np.column_stack([log_costs(features), heads, self.multitask_scores(features, context, task)])

    def head_scores(self, features: GraphFeatures, context: TargetContext, task: int) -> Scores:
        """Scores of the heads with their share of log FLOPs, and how far the heads disagree: (G,), (G,).

        Args:
            features: of G graphs.
            context: of their family.
            task: output of the heads.
        """
        scores, stds = self.ensemble.predict(features, task)
        mean, std = self.flops_moments
        return scores + context.flops_weight * (features.properties[:, FLOPS] - mean) / std, stds

    @staticmethod
    def multitask_scores(features: GraphFeatures, context: TargetContext, task: int) -> FloatArray:
        """(G,): what the multi-task GP expects; 0 without one in the context.

        Args:
            features: of G graphs.
            context: of their family.
            task: which labels.
        """
        return np.zeros(len(features)) if context.multitask is None else context.multitask.predict(features, task)


class PretrainedEncoder(Encoder):
    """An encoder that comes with what labelled families taught on its embeddings.

    Attributes: `source_model`; `blend_config`, the constants that it was made with.
    """

    source_model: SourceModel
    blend_config: BlendConfig

    @classmethod
    def of(cls, encoder: Encoder, source_model: SourceModel, blend_config: BlendConfig) -> PretrainedEncoder:
        """One with the weights of an encoder.

        Args:
            encoder: the weights, which are copied.
            source_model: what families taught on its embeddings.
            blend_config: the constants that the model was made with.
        """
        pretrained = cls(encoder.config)
        pretrained.load_state_dict(encoder.state_dict())
        pretrained.source_model, pretrained.blend_config = source_model, blend_config
        return pretrained.train(encoder.training)

    def without_sources(self) -> Encoder:
        """The encoder alone, with the same weights."""
        encoder = Encoder(self.config)
        encoder.load_state_dict(self.state_dict())
        return encoder.train(self.training)


def log_costs(features: GraphFeatures) -> FloatArray:
    """(G, 2): log FLOPs and log parameters."""
    return features.properties[:, [FLOPS, PARAMS]]
