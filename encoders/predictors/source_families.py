"""What labelled source families taught, and what it makes of a pool of unlabelled graphs: prior scores of a target.

Notation, of G graphs of the target:

    s   (G, q)  prior scores: log FLOPs, log parameters, log bytes of activations, entropy of convolutions, the
                multi-task GP on features, and on features relative to their family, hints (`scores`)
    w   (q,)    their weights in normal scores of labels, w ~ N(w0, W) (`TargetContext.prior`)

Without labels graphs are ranked by s w0; labels make the weights certain (`GaussianProcess`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cgir.typing import FloatArray
from encoders.features.graph_features import ACTIVATIONS, FLOPS, PARAMS, GraphFeatures
from encoders.features.scalers import Scaler
from encoders.gaussian_process.model_averaging import Candidate
from encoders.gaussian_process.regression import LinearPrior
from encoders.models.encoder import Encoder

from .blend_config import BlendConfig
from .estimators import SourceData
from .hints import WEIGHT, Hint, SmoothedHints, smooth
from .multitask_process import MultitaskGP, SourceSample, sampled_rows, size_consistency
from .serialization import State, scaler_from, scaler_state

SIZES = [FLOPS, PARAMS, ACTIVATIONS]
ENTROPY = len(SIZES)  # columns of prior scores
PROCESSES = slice(ENTROPY + 1, ENTROPY + 3)
NUM_SCORES = PROCESSES.stop  # without hints
RELATIVE = (False, True)  # of both multi-task GPs
PRIOR_FAMILIES = 2.0  # families that `typical_transfer` counts as


class TargetContext(NamedTuple):
    """What unlabelled graphs of a target, and hints, tell before there are labels.

    Attributes:
        scaler: of all q prior scores, by the pool.
        multitask: both multi-task GPs for the family; none: nothing was learned from other families.
        hints: smoothed, with H columns together.
        prior: of the weights of the prior scores.
    """

    scaler: Scaler
    multitask: tuple[MultitaskGP, ...]
    hints: tuple[SmoothedHints, ...]
    prior: LinearPrior

    def scores(self, features: GraphFeatures, task: int) -> FloatArray:
        """(G, q): prior scores, scaled.

        Args:
            features: of G graphs.
            task: which labels of source families.
        """
        return self.scaler(_raw_scores(features, self.multitask, self.hints, task))

    def expected(self, features: GraphFeatures, task: int) -> tuple[FloatArray, FloatArray]:
        """Normal scores of labels as expected without labels, and their standard deviations: (G,), (G,).

        Args:
            features: of G graphs.
            task: which labels of source families.
        """
        scores = self.scores(features, task)
        mean = scores @ self.prior.mean
        by_weights = ((scores @ self.prior.covariance) * scores).sum(axis=1)
        return mean, np.sqrt(max(1 - float(self.prior.mean @ self.prior.mean), 0.1) + by_weights)

    def candidates(self, count: int, config: BlendConfig) -> list[Candidate]:
        """What `count` labels decide between: the prior and its opposite; hints count as a whole, alone, or not at all.

        Args:
            count: of labels.
            config: constants.
        """
        common = Candidate(self.prior, config.kernel_prior)
        if count > config.max_labels_of_candidates:
            return [common]
        mean, covariance = self.prior
        known = np.arange(len(mean)) < NUM_SCORES
        opposite = LinearPrior(np.where(known, -mean, mean), covariance)
        found = [common, Candidate(opposite, config.kernel_prior, config.opposite_probability)]
        num_hints = len(mean) - NUM_SCORES
        if num_hints:
            without = LinearPrior(np.where(known, mean, 0), np.where(np.outer(known, known), covariance, 0))
            found.append(Candidate(without, config.kernel_prior))
        small = config.followed_variance * np.eye(len(mean))
        for unit in np.eye(len(mean))[NUM_SCORES:]:
            alone = LinearPrior(config.followed_weight * unit, small)
            found.append(Candidate(alone, config.followed_prior, 1 / num_hints))
        return found

    def to_state(self) -> State:
        """All of it."""
        state = State.of_arrays(prior_mean=self.prior.mean, prior_covariance=self.prior.covariance)
        state.add("scaler", scaler_state(self.scaler))
        for index, process in enumerate(self.multitask):
            state.add(f"multitask.{index}", process.to_state())
        for index, hints in enumerate(self.hints):
            state.add(f"hints.{index}", hints.to_state())
        return state

    @classmethod
    def from_state(cls, state: State, sample: SourceSample | None, config: BlendConfig) -> TargetContext:
        """What `to_state` gave.

        Args:
            state: of a context.
            sample: networks of the source families; None: there are none.
            config: the constants that it was made with.
        """
        parts = list(state.parts("multitask"))
        if len(parts) not in (0, len(RELATIVE)) or (parts and sample is None):
            raise ValueError(f"multitask: {len(parts)} processes of {len(RELATIVE)}")
        multitask: tuple[MultitaskGP, ...] = ()
        if sample is not None and parts:
            pairs = zip(parts, RELATIVE, strict=True)
            multitask = tuple(MultitaskGP.from_state(part, sample, relative, config) for part, relative in pairs)
        hints = tuple(map(SmoothedHints.from_state, state.parts("hints")))
        q = NUM_SCORES + sum(len(group.weights) for group in hints)
        prior = LinearPrior(state.array("prior_mean", q), state.array("prior_covariance", q, q))
        return cls(scaler_from(state.required("scaler"), q), multitask, hints, prior)


class SourceModel(NamedTuple):
    """What labelled families taught.

    Attributes:
        sample: some of the labelled networks.
        transfer: (F,) for each family: correlation of its labels with what the others expect of it; of three or more.
        size_consistency: (F,) of each family.
    """

    sample: SourceSample
    transfer: FloatArray
    size_consistency: FloatArray

    @classmethod
    def fit(cls, sources: SourceData, seed: int, config: BlendConfig) -> SourceModel:
        """Learn from several families, and find how far what is learned carries over to each when it is left out.

        Args:
            sources: labelled families.
            seed: of samples.
            config: constants.
        """
        features, families = sources.features, sources.families
        rows = sampled_rows(families, seed, config)
        sample = SourceSample.of(features, sources.labels, families, rows, len(sources.tasks), config)
        first = np.unique(sample.family_index, return_index=True)[1]
        starts = [parts[0].start for parts in families]
        transfer = [
            _transfer(sample, family, features.select(starts[family] + rows[family]), config)
            for family in range(_measured(len(families)))
        ]
        return cls(sample, np.asarray(transfer), sample.size_consistency[first])

    def trust(self, consistency: float, config: BlendConfig) -> float:
        """How far the multi-task GPs count in a family of this size consistency: 1 at `typical_transfer`.

        Families of like size consistency say most of it.
        """
        nearness = np.exp(-((self.size_consistency[: len(self.transfer)] - consistency) ** 2))
        total = nearness @ self.transfer + PRIOR_FAMILIES * config.typical_transfer
        # families that turn each other round are no reason to turn another one round
        return max(float(total / (nearness.sum() + PRIOR_FAMILIES) / config.typical_transfer), 0.0)

    def to_state(self) -> State:
        """All of it."""
        state = State.of_arrays(transfer=self.transfer, size_consistency=self.size_consistency)
        state.add("sample", self.sample.to_state())
        return state

    @classmethod
    def from_state(cls, state: State) -> SourceModel:
        """What `to_state` gave."""
        sample = SourceSample.from_state(state.required("sample"))
        families = len(np.unique(sample.family_index))
        return cls(sample, state.array("transfer", _measured(families)), state.array("size_consistency", families))


class PretrainedEncoder(Encoder):
    """An encoder that comes with what labelled families taught.

    Attributes: `source_model`; `tasks`, names of its tasks; `blend_config`, the constants that it was made with.
    """

    source_model: SourceModel
    tasks: tuple[str, ...]
    blend_config: BlendConfig

    @classmethod
    def of(
        cls, encoder: Encoder, source_model: SourceModel, tasks: tuple[str, ...], blend_config: BlendConfig
    ) -> PretrainedEncoder:
        """One with the weights of an encoder.

        Args:
            encoder: the weights, which are copied.
            source_model: what families taught.
            tasks: names of its tasks.
            blend_config: the constants that the model was made with.
        """
        pretrained = cls(encoder.config)
        pretrained.load_state_dict(encoder.state_dict())
        pretrained.source_model, pretrained.tasks, pretrained.blend_config = source_model, tasks, blend_config
        return pretrained.train(encoder.training)

    def without_sources(self) -> Encoder:
        """The encoder alone, with the same weights."""
        encoder = Encoder(self.config)
        encoder.load_state_dict(self.state_dict())
        return encoder.train(self.training)


def target_context(
    pool: GraphFeatures,
    model: SourceModel | None,
    hints: Mapping[str, Hint],
    task: int,
    config: BlendConfig,
    seed: int = 0,
) -> TargetContext:
    """The context of a family with unlabelled graphs.

    Args:
        pool: graphs of the family.
        model: what labelled families taught; None: nothing did.
        hints: by name.
        task: which labels of source families.
        config: constants.
        seed: see `SmoothedHints.fit`.
    """
    consistency = size_consistency(pool.properties, config.max_correlation)
    multitask = () if model is None else tuple(model.sample.posterior_for(pool, each, config) for each in RELATIVE)
    smoothed = tuple(smooth(hints, pool, seed))
    raw = _raw_scores(pool, multitask, smoothed, task)
    min_stds = np.where(np.arange(raw.shape[1]) <= ENTROPY, config.min_size_std, 0.0)
    scaler = Scaler.fit(raw, min_stds)
    scaler.scale[NUM_SCORES:] = 1  # a hint that says little of the pool's graphs is not scaled up
    if np.ptp(pool.input_sizes) > 0:
        scaler.scale[[SIZES.index(PARAMS), ENTROPY]] = 0  # where sizes of inputs vary, so does what weights are worth
    mean = np.asarray(_mean_weights(consistency, config))
    if model is None:
        mean[PROCESSES] = 0
    else:
        share = raw[:, PROCESSES].std(axis=0) / [max(process.prior_std(pool), 1e-12) for process in multitask]
        mean[PROCESSES] *= np.minimum(share / config.full_trust, 1) * model.trust(consistency, config)
    prior = _linear_prior(scaler(raw), mean, smoothed, config)
    return TargetContext(scaler, multitask, smoothed, prior)


def _measured(families: int) -> int:
    """Of how many families it is found how far the others carry over to them: others must be two or more."""
    return families if families > 2 else 0


def _mean_weights(consistency: float, config: BlendConfig) -> FloatArray:
    span = config.operations_from - config.sizes_to
    share = float(np.clip((consistency - config.sizes_to) / span, 0, 1))
    mixed: FloatArray = share * np.asarray(config.weights_of_operations) + (1 - share) * np.asarray(
        config.weights_of_sizes
    )
    return mixed


def _linear_prior(
    scores: FloatArray, mean: FloatArray, hints: tuple[SmoothedHints, ...], config: BlendConfig
) -> LinearPrior:
    """Of the weights of all prior scores.

    A hint that contradicts the other prior scores is believed the less, and the means together explain at most
    `max_explained` of the variance of labels.
    """
    weights = np.concatenate([group.weights for group in hints]) if hints else np.zeros(0)
    known, hinted = scores[:, :NUM_SCORES] @ mean, scores[:, NUM_SCORES:]
    std = max(float(known.std()), 1e-12)
    agreement = ((known - known.mean())[:, None] * (hinted - hinted.mean(axis=0))).mean(axis=0) / std
    count = max(len(weights), 1)
    believed = weights / count * np.clip(1 + agreement, 0, 1)
    # hints that correlate so with labels leave the less to the others, whose constants go with hints of `WEIGHT`
    left = np.sqrt(max(1 - float(believed.sum()) ** 2, 0) / (1 - WEIGHT**2))
    means = np.concatenate([mean * min(left, 1.0), believed])
    explained = float((scores @ means).var())
    means *= min(1.0, np.sqrt(config.max_explained / max(explained, 1e-12)))
    variances = [config.weight_variance] * NUM_SCORES + [config.hint_variance / count] * len(weights)
    return LinearPrior(means, np.diag(variances))


def _raw_scores(
    features: GraphFeatures, multitask: tuple[MultitaskGP, ...], hints: tuple[SmoothedHints, ...], task: int
) -> FloatArray:
    expected = [process.predict(features, task) for process in multitask] or [np.zeros((len(features), len(RELATIVE)))]
    sizes, entropy = features.properties[:, SIZES], features.convolution_entropy
    return np.column_stack([sizes, entropy, *expected, *(group.predict(features) for group in hints)])


def _transfer(sample: SourceSample, family: int, graphs: GraphFeatures, config: BlendConfig) -> float:
    """Mean correlation over tasks of a family's labels with what the other families expect of it."""
    process = sample.without(family).posterior_for(graphs, False, config)
    labels = sample.scores[sample.family_index == family]
    found = []
    for task in range(labels.shape[1]):
        expected = process.predict(graphs, task)
        if min(expected.std(), labels[:, task].std()) > 1e-12:
            found.append(float(np.corrcoef(expected, labels[:, task])[0, 1]))
    return float(np.mean(found)) if found else 0.0
