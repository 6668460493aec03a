"""Batches in which positives are near graphs instead of augmentations (section 4.2 of the paper: a small change to a
network may break it).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray

log = logging.getLogger(__name__)


class Pairs(NamedTuple):
    """`indices` (B,) of graphs, the anchors and then their positives; `partners` (B,) is the row of each one's other
    half.
    """

    indices: IntArray
    partners: IntArray


class NearestNeighbourPairs:
    """Draws anchors, equally often from each family, and for each another graph among its `neighbours` nearest by
    spectrum within its family.

    Batch t depends on (seed, t) alone, so a run can be taken up at any step. Families of a single graph have no pairs
    and are left out.
    """

    def __init__(self, families: IntArray, spectra: FloatArray, batch: int, neighbours: int = 8, seed: int = 0) -> None:
        if batch < 4 or batch % 2:
            raise CgirError(f"contrastive batches: batch={batch}; expected an even number of at least 4 graphs")
        if neighbours < 1:
            raise CgirError(f"contrastive batches: neighbours={neighbours}; expected at least 1")
        names, sizes = np.unique(families, return_counts=True)
        if len(names[sizes < 2]):
            log.warning(
                "contrastive batches: left out %d families of a single graph, which have no positives",
                (sizes < 2).sum(),
            )
        self.groups = [np.flatnonzero(families == name) for name in names[sizes >= 2]]
        if not self.groups:
            raise CgirError(
                f"contrastive batches: {len(families)} graphs in {len(names)} families; expected a family of at least 2 graphs"
            )
        self.anchors, self.neighbours, self.seed = batch // 2, neighbours, seed
        rng = np.random.default_rng([seed, len(families)])
        # many graphs share a spectrum: a tiny extra coordinate puts ties in random order, and a graph itself before its
        # ties
        extra = 1e-9 * rng.random((len(spectra), 1))
        self.points = np.concatenate([spectra, extra], axis=1)
        self.trees = [KDTree(self.points[group]) for group in self.groups]

    def draw(self, step: int) -> Pairs:
        """The batch of this step."""
        rng = np.random.default_rng([self.seed, step])
        shares = self._shares(rng)
        anchors, positives = [], []
        for group, tree, share in zip(self.groups, self.trees, shares, strict=True):
            chosen = rng.choice(len(group), share, replace=share > len(group))
            anchors.append(group[chosen])
            positives.append(group[self._near(tree, group, chosen, rng)])
        first = np.arange(self.anchors)
        return Pairs(np.concatenate(anchors + positives), np.concatenate([first + self.anchors, first]))

    def _shares(self, rng: np.random.Generator) -> IntArray:
        """Anchors per family: equal, with the remainder given to random families."""
        shares = np.full(len(self.groups), self.anchors // len(self.groups))
        shares[rng.permutation(len(shares))[: self.anchors % len(shares)]] += 1
        return shares

    def _near(self, tree: KDTree, group: IntArray, chosen: IntArray, rng: np.random.Generator) -> IntArray:
        count = min(self.neighbours, len(group) - 1)
        found = tree.query(self.points[group[chosen]], k=count + 1)[1].reshape(len(chosen), count + 1)
        # the graph itself is nearest to itself, but may come second if another point is exactly equal
        order = np.argsort(found == chosen[:, None], axis=1, kind="stable")
        others = np.take_along_axis(found, order, axis=1)[:, :count]
        near: IntArray = others[np.arange(len(chosen)), rng.integers(count, size=len(chosen))]
        return near
