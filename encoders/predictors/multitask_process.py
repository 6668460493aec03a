"""What labelled families say about another one by what their graphs have in common: a Gaussian process over all of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from scipy.stats import rankdata

from cgir.typing import FloatArray, IntArray
from encoders.features.graph_features import FLOPS, PARAMS, GPInputTransform, GraphFeatures, Scaler
from encoders.features.label_transforms import normal_scores
from encoders.gaussian_process.regression import CHUNK, FeatureMatrix, norms, products, units
from encoders.training.loop import Part

# Variances of normal scores: of each kernel of each view in what families have in common and in what is their own, of
# levels, of noise.
COMMON, OWN, LEVEL, NOISE = 0.15, 0.1, 10.0, 0.2
NEARNESS = 3.0  # an RBF falls by e with each third of the mean squared distance
DRAWN = 100  # networks of a family: the process costs the cube of all
GROUPS = 10  # of labels that are told apart: weights that are given away should not hold labels
ALIKE = 0.99  # correlation from which on all are the same


class SourceSample(NamedTuple):
    """n graphs of several families: `dense` views (n, D) and roots of counts of `subtrees` (n, columns + 1), of which
    `columns` are the hashes.

    `owner` (n,): the family of each; `traits` (n,) of these; `scores` (n, T) for each task: normal scores of the tenth
    of its family that a label is in.
    """

    dense: list[FloatArray]
    subtrees: csr_array
    columns: IntArray
    owner: IntArray
    traits: FloatArray
    scores: FloatArray

    @classmethod
    def draw(
        cls, read: GraphFeatures, labels: FloatArray, families: Sequence[Sequence[Part]], tasks: int, seed: int
    ) -> SourceSample:
        """`DRAWN` networks of each family, at most.

        Args:
            read: all families' graphs.
            labels: theirs, higher is better.
            families: the parts of each, which have the same graphs. A family without labels of a task says its first
                ones instead.
            tasks: how many there are.
            seed: of which networks are drawn.
        """
        rng = np.random.default_rng(seed)
        drawn = [np.sort(rng.permutation(first.size)[:DRAWN]) for first, *_ in families]
        owner = np.repeat(np.arange(len(drawn)), [len(some) for some in drawn])
        traits = np.asarray([trait(read.properties[first.start : first.start + first.size]) for first, *_ in families])[
            owner
        ]
        scores = np.concatenate(
            [_scores(labels, parts, some, tasks) for parts, some in zip(families, drawn, strict=True)]
        )
        graphs = read.select(
            np.concatenate([parts[0].start + some for parts, some in zip(families, drawn, strict=True)])
        )
        reader = GPInputTransform.fit(graphs, graphs)
        # the precision that is kept on disk
        dense = [view.astype(np.float32).astype(np.float64) for view in graphs.dense]
        return cls(dense, reader.subtrees(graphs.subtrees), reader.columns, owner, traits, scores)

    def posterior_for(self, pool: GraphFeatures) -> MultitaskGP:
        """What these say about the family that the pool is of."""
        scalers = [Scaler.between(view, other) for view, other in zip(self.dense, pool.dense, strict=True)]
        views = _views([scaler(view) for scaler, view in zip(scalers, self.dense, strict=True)], self.subtrees)
        scales = np.asarray([units(*products(view, view)) for view in views])
        same = self.owner[:, None] == self.owner
        covariance = (
            _kernel(views, views, scales) * (common(self.traits[:, None], self.traits) + OWN * same)
            + LEVEL * same
            + NOISE * np.eye(len(self.owner))
        )
        weights = cho_solve(cho_factor(covariance), self.scores)
        return MultitaskGP(self, scalers, scales, common(trait(pool.properties), self.traits)[:, None] * weights)


class MultitaskGP(NamedTuple):
    """y_f(x) = level_f + common_f(x) + own_f(x) + noise for a graph x of family f, all Gaussian; y are as in
    `SourceSample`.

    Bonilla, Chai & Williams, "Multi-task Gaussian Process Prediction" (2007), eq. 1: two graphs' covariance is a kernel
    of families times one of graphs. That of families f, f' is `common(t, t')` + OWN [f = f'], t being a family's
    `trait`; that of graphs is the sum over views of an RBF and a linear kernel, as in `gp.GaussianProcess`. Frozen
    heads see much the same graphs, but not how far these are from all they learned from: this expects nothing there.

    `scalers` of dense views, by the labelled families and the new one alike; `scales` (V, 2): mean squared distances
    and lengths; `weights` (n, T).
    """

    labelled: SourceSample
    scalers: list[Scaler]
    scales: FloatArray
    weights: FloatArray

    def predict(self, read: GraphFeatures, task: int = 0) -> FloatArray:
        """(G,): expected normal scores of graphs of the new family; towards 0 for graphs, or a family, unlike all that
        is known.
        """
        known = _views(
            [scaler(view) for scaler, view in zip(self.scalers, self.labelled.dense, strict=True)],
            self.labelled.subtrees,
        )
        *dense, subtrees = GPInputTransform(self.scalers, self.labelled.columns)(read)
        views = _views(dense, subtrees)
        spans = [slice(start, start + CHUNK) for start in range(0, max(len(read), 1), CHUNK)]
        return np.concatenate(
            [_kernel([view[span] for view in views], known, self.scales) @ self.weights[:, task] for span in spans]
        )


def common(one: FloatArray | float, other: FloatArray) -> FloatArray:
    """COMMON (t / T) (t' / T) exp(-(t - t')^2) for traits t and t', T being the largest: what networks of different
    sizes have in common is their size.
    """
    covariance: FloatArray = COMMON * one * other / np.arctanh(ALIKE) ** 2 * np.exp(-((one - other) ** 2))
    return covariance


def trait(hand: FloatArray) -> float:
    """In what networks of a family (G, P) differ: the correlation of their log FLOPs and log parameters, at least 0, on
    Fisher's scale.

    Where only operations are chosen the two go together; where depths, widths and resolutions are, they do not, and
    size says more about accuracy.
    """
    flops, params = hand[:, FLOPS], hand[:, PARAMS]
    if min(flops.std(), params.std()) < 1e-9:
        return 0.0
    return float(np.arctanh(np.clip(np.corrcoef(flops, params)[0, 1], 0, ALIKE)))


def _scores(labels: FloatArray, parts: Sequence[Part], drawn: IntArray, tasks: int) -> FloatArray:
    """(n, T): of the graphs drawn from a family."""
    known = {part.column: part for part in reversed(parts)}
    return np.stack(
        [normal_scores(_groups(labels[known.get(task, parts[0]).start + drawn])) for task in range(tasks)], axis=1
    )


def _groups(y: FloatArray) -> FloatArray:
    """Which of `GROUPS` equal parts of all labels each belongs to."""
    return np.floor(GROUPS * (rankdata(y) - 0.5) / len(y))


def _views(dense: Sequence[FeatureMatrix], roots: FeatureMatrix) -> list[FeatureMatrix]:
    """Views with subtrees by their shares instead of counts: families differ in size."""
    assert isinstance(roots, csr_array)
    lengths = np.sqrt(np.maximum(norms(roots), 1))
    return [
        *dense,
        csr_array(
            (roots.data / np.repeat(lengths, np.diff(roots.indptr)), roots.indices, roots.indptr), shape=roots.shape
        ),
    ]


def _kernel(views: Sequence[FeatureMatrix], known: Sequence[FeatureMatrix], scales: FloatArray) -> FloatArray:
    """(m, n): sum over views of both kernels."""
    total = np.zeros((views[0].shape[0], known[0].shape[0]))
    for view, other, (distance, size) in zip(views, known, scales, strict=True):
        if size > 0:  # a view that is all zero says nothing
            near, gram = products(view, other)
            total += np.exp(-NEARNESS * near / distance) + gram / size
    return total
