"""Multi-task Gaussian process over families of networks: transfer from labelled families to one without labels.

Notation, of n sampled networks of labelled families, m graphs of the new one, T tasks:

    y    (n, T)  normal scores of the labels, inside each family (`SourceSample.scores`)
    f           family of a graph (`SourceSample.family_index`)
    t    (n,)   how far FLOPs and parameters go together in a graph's family (`SourceSample.size_consistency`)
    k(x, x')    sum over properties and path features of an RBF and a linear kernel on graphs
    B(t, t')    what two families have in common (`family_covariance`)
    K    (n, n) k (B + family_variance [f = f']) + offset_variance [f = f'] + noise_variance I
    A    (n, T) B(t_new, t) K^-1 y (`MultitaskGP.weights`)
    mean (m, T) k(x_new, x) A
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from cgir.typing import FloatArray, IntArray
from encoders.features.graph_features import FLOPS, PARAMS, GraphFeatures
from encoders.features.label_transforms import normal_scores
from encoders.features.scalers import Scaler
from encoders.gaussian_process.regression import (
    CHUNK_GRAPHS,
    kernel_scales,
    sq_dists_and_gram,
)
from encoders.training.loop import Part

from .blend_config import BlendConfig
from .serialization import State, add_scalers, scalers_from, views_from

PRIOR_GRAPHS = 300  # of a pool, by which the spread before labels is measured


class SourceSample(NamedTuple):
    """n graphs of several labelled families, without their labels.

    Attributes:
        views: properties and path features, (n, D) each.
        family_index: (n,) the family of each graph.
        size_consistency: (n,) of the family of each graph, see the function of that name.
        scores: (n, T) for each task: normal scores of the bin of its family's labels that a label is in.
    """

    views: list[FloatArray]
    family_index: IntArray
    size_consistency: FloatArray
    scores: FloatArray

    @classmethod
    def of(
        cls,
        features: GraphFeatures,
        labels: FloatArray,
        families: Sequence[Sequence[Part]],
        rows: Sequence[IntArray],
        num_tasks: int,
        config: BlendConfig,
    ) -> SourceSample:
        """Some networks of each family.

        Args:
            features: all families' graphs.
            labels: theirs, higher is better.
            families: the parts of each, which have the same graphs. Where a family has no labels of a task its first
                ones stand for them.
            rows: of each family, see `sampled_rows`.
            num_tasks: how many there are.
            config: constants.
        """
        family_index = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
        consistency = np.asarray(
            [
                size_consistency(features.properties[first.start : first.start + first.size], config.max_correlation)
                for first, *_ in families
            ]
        )[family_index]
        scores = np.concatenate(
            [
                _binned_scores(labels, parts, some, num_tasks, config.label_bins)
                for parts, some in zip(families, rows, strict=True)
            ]
        )
        graphs = features.select(
            np.concatenate([parts[0].start + some for parts, some in zip(families, rows, strict=True)])
        )
        # the precision that is kept on disk
        views = [view.astype(np.float32).astype(np.float64) for view in graphs.dense_views(embedding=False)]
        return cls(views, family_index, consistency, scores)

    def without(self, family: int) -> SourceSample:
        """The networks of all other families."""
        rows = np.flatnonzero(self.family_index != family)
        return SourceSample(
            [view[rows] for view in self.views],
            self.family_index[rows],
            self.size_consistency[rows],
            self.scores[rows],
        )

    def posterior_for(self, pool: GraphFeatures, relative: bool, config: BlendConfig) -> MultitaskGP:
        """The posterior for the family that the pool is from, given these networks and their labels.

        Args:
            pool: graphs of the family.
            relative: whether features are standardised inside each family.
            config: constants.
        """
        pool_views = pool.dense_views(embedding=False)
        if relative:
            scalers = [Scaler.fit(view) for view in pool_views]
        else:
            scalers = [Scaler.between(view, other) for view, other in zip(self.views, pool_views, strict=True)]
        views = self.scaled_views(scalers, relative)
        scales = np.asarray([kernel_scales(*sq_dists_and_gram(view, view)) for view in views])
        same_family = self.family_index[:, None] == self.family_index
        shared = family_covariance(self.size_consistency[:, None], self.size_consistency, config)
        covariance = (
            _graph_kernel(views, views, scales, _constants(relative, config))
            * (shared + config.family_variance * same_family)
            + config.offset_variance * same_family
            + config.noise_variance * np.eye(len(self.family_index))
        )
        solved = cho_solve(cho_factor(covariance), self.scores)
        consistency = size_consistency(pool.properties, config.max_correlation)
        weights = family_covariance(consistency, self.size_consistency, config)[:, None] * solved
        own_variance = float(family_covariance(consistency, np.asarray([consistency]), config)[0])
        return MultitaskGP(self, relative, scalers, scales, weights, config, own_variance)

    def scaled_views(self, scalers: Sequence[Scaler], relative: bool) -> list[FloatArray]:
        """Views as kernels read them.

        Args:
            scalers: of all networks.
            relative: whether each family is standardised by its own networks instead.
        """
        if not relative:
            return [scaler(view) for scaler, view in zip(scalers, self.views, strict=True)]
        scaled = [np.zeros_like(view) for view in self.views]
        for family in np.unique(self.family_index):
            rows = self.family_index == family
            for view, result in zip(self.views, scaled, strict=True):
                result[rows] = Scaler.fit(view[rows])(view[rows])
        return scaled

    def to_state(self) -> State:
        """All of it; dense views in single precision, to which they are rounded."""
        return State.of_arrays(
            family_index=self.family_index,
            size_consistency=self.size_consistency,
            scores=self.scores,
            **{f"views.{index}": view.astype(np.float32) for index, view in enumerate(self.views)},
        )

    @classmethod
    def from_state(cls, state: State) -> SourceSample:
        """What `to_state` gave."""
        views = views_from(state)
        n = len(views[0])
        state.check_matrix(n, CHUNK_GRAPHS)
        return cls(
            views, state.array("family_index", n), state.array("size_consistency", n), state.array("scores", n, None)
        )


class MultitaskGP(NamedTuple):
    """y_f(x) = offset_f + shared_f(x) + own_f(x) + noise for a graph x of family f, all Gaussian; y: `SourceSample`.

    Bonilla, Chai & Williams, "Multi-task Gaussian Process Prediction" (2007), eq. 1: two graphs' covariance is a kernel
    of families times one of graphs. That of families f, f' is `family_covariance` + family_variance [f = f']; that of
    graphs is the sum over views of an RBF and a linear kernel, as in `GaussianProcess`. Frozen heads see much the same
    graphs, but not how far these are from all they learned from: this expects nothing there.

    If `relative`, features are standardised inside each family, by its own networks: what is more than in the others of
    the family is compared, not how much it is.

    Attributes:
        sample: of the labelled families.
        relative: see above.
        scalers: of dense views, by the labelled families and the new one alike; if `relative`, by the new one.
        kernel_scales: (V, 2) mean squared distance and mean squared length of each view.
        weights: (n, T) of the sampled networks.
        config: constants.
        shared_variance: of each kernel, in what the new family has in common with others.
    """

    sample: SourceSample
    relative: bool
    scalers: list[Scaler]
    kernel_scales: FloatArray
    weights: FloatArray
    config: BlendConfig
    shared_variance: float

    def predict(self, features: GraphFeatures, task: int = 0) -> FloatArray:
        """(G,): expected normal scores of graphs of the new family.

        They go towards 0 for graphs, or a family, unlike all in the sample.
        """
        sample_views = self.sample.scaled_views(self.scalers, self.relative)
        views, constants = self._views(features), _constants(self.relative, self.config)
        spans = [slice(start, start + CHUNK_GRAPHS) for start in range(0, max(len(features), 1), CHUNK_GRAPHS)]
        kernels = (
            _graph_kernel([view[span] for view in views], sample_views, self.kernel_scales, constants) for span in spans
        )
        return np.concatenate([kernel @ self.weights[:, task] for kernel in kernels])

    def prior_std(self, pool: GraphFeatures) -> float:
        """Standard deviation over a pool, or a part of a large one, of what may be expected before labels are seen."""
        rows = np.random.default_rng(0).permutation(len(pool))[:PRIOR_GRAPHS]
        views = self._views(pool.select(np.sort(rows)))
        kernel = _graph_kernel(views, views, self.kernel_scales, _constants(self.relative, self.config))
        return float(np.sqrt(max(self.shared_variance * (kernel.diagonal().mean() - kernel.mean()), 0.0)))

    def _views(self, features: GraphFeatures) -> list[FloatArray]:
        views = features.dense_views(embedding=False)
        return [scaler(view) for scaler, view in zip(self.scalers, views, strict=True)]

    def to_state(self) -> State:
        """What the sample and the constants of the blend do not have."""
        state = State.of_arrays(kernel_scales=self.kernel_scales, weights=self.weights)
        state.meta["shared_variance"] = self.shared_variance
        add_scalers(state, self.scalers)
        return state

    @classmethod
    def from_state(cls, state: State, sample: SourceSample, relative: bool, config: BlendConfig) -> MultitaskGP:
        """What `to_state` gave.

        Args:
            state: of a process.
            sample: the networks that it was conditioned on.
            relative: whether features are standardised inside each family.
            config: the constants that it was made with.
        """
        scales = state.array("kernel_scales", len(sample.views), 2)
        weights = state.array("weights", *sample.scores.shape)
        scalers = scalers_from(state, sample.views)
        return cls(sample, relative, scalers, scales, weights, config, state.number("shared_variance"))


def sampled_rows(families: Sequence[Sequence[Part]], seed: int, config: BlendConfig) -> list[IntArray]:
    """At most `sampled_networks` rows of each family, counted from its first.

    Args:
        families: the parts of each.
        seed: of the draw.
        config: constants.
    """
    rng = np.random.default_rng(seed)
    return [np.sort(rng.permutation(first.size)[: config.sampled_networks]) for first, *_ in families]


def family_covariance(one: FloatArray | float, other: FloatArray, config: BlendConfig) -> FloatArray:
    """What families have in common: shared_variance (t / T) (t' / T) exp(-(t - t')^2).

    Networks of different sizes have their size in common.

    Args:
        one: size consistency t of a family, or of several.
        other: t' of others; both are broadcast.
        config: constants; T is the largest size consistency.
    """
    largest = np.arctanh(config.max_correlation)
    covariance: FloatArray = config.shared_variance * one * other / largest**2 * np.exp(-((one - other) ** 2))
    return covariance


def size_consistency(properties: FloatArray, max_correlation: float) -> float:
    """The correlation of log FLOPs and log parameters of a family's networks, at least 0, on Fisher's scale.

    Where only operations are chosen the two go together; where depths, widths and resolutions are, they do not, and
    size predicts accuracy better.
    """
    flops, params = properties[:, FLOPS], properties[:, PARAMS]
    if min(flops.std(), params.std()) < 1e-9:
        return 0.0
    return float(np.arctanh(np.clip(np.corrcoef(flops, params)[0, 1], 0, max_correlation)))


def _binned_scores(
    labels: FloatArray, parts: Sequence[Part], rows: IntArray, num_tasks: int, num_bins: int
) -> FloatArray:
    """(n, T): of the sampled rows of a family."""
    by_task = {part.column: part for part in reversed(parts)}
    starts = [by_task.get(task, parts[0]).start for task in range(num_tasks)]
    return np.stack([normal_scores(_bins(labels[start + rows], num_bins)) for start in starts], axis=1)


def _bins(y: FloatArray, num_bins: int) -> FloatArray:
    """Which of equal parts of all labels each belongs to."""
    from scipy.stats import rankdata  # takes longer to import than predictions take

    bins: FloatArray = np.floor(num_bins * (rankdata(y) - 0.5) / len(y))
    return bins


class _KernelConstants(NamedTuple):
    """`rbf_rate` and `linear_weights`, see `BlendConfig`."""

    rbf_rate: float
    linear_weights: Sequence[float]


def _constants(relative: bool, config: BlendConfig) -> _KernelConstants:
    if relative:
        return _KernelConstants(config.relative_rbf_rate, (0, 0))
    return _KernelConstants(config.rbf_rate, config.linear_weights)


def _graph_kernel(
    views: Sequence[FloatArray], others: Sequence[FloatArray], scales: FloatArray, constants: _KernelConstants
) -> FloatArray:
    """(m, n): sum over views of both kernels."""
    total = np.zeros((len(views[0]), len(others[0])))
    for view, other, (distance, sq_length), linear in zip(views, others, scales, constants.linear_weights, strict=True):
        if sq_length > 0:  # a view that is all zero carries no information
            sq_dists, gram = sq_dists_and_gram(view, other)
            total += np.exp(-constants.rbf_rate * sq_dists / distance) + linear * gram / sq_length
    return total
