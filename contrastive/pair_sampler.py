"""Batches of positive pairs: a graph and one of its nearest neighbours by Laplacian spectrum.

Neighbours take the place of augmentations, as a small change to a network may break it ("A General-Purpose
Transferable Predictor for Neural Architecture Search", section 4.2).
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
    """A batch of B / 2 positive pairs.

    indices: (B,) of graphs, the anchors and then their positives.
    partners: (B,) the row of the other graph of the same pair.
    """

    indices: IntArray
    partners: IntArray


class NearestNeighbourPairs:
    """Samples anchors, equally often from each family, each with one of its nearest neighbours by spectrum.

    Batch t depends on (seed, t) alone, so a run can resume at any step. Neighbours are of the same family; families of
    a single graph have no pairs and are left out.
    """

    def __init__(
        self,
        families: IntArray,
        spectra: FloatArray,
        batch: int,
        neighbours: int = 8,
        seed: int = 0,
        members: IntArray | None = None,
    ) -> None:
        """Index the spectra of each family.

        Args:
            families: (G,) index of each graph's family.
            spectra: (G, k) of the graphs.
            batch: graphs in a batch, an even number; of few graphs fewer, so that none is an anchor twice.
            neighbours: the positive is sampled from that many nearest neighbours.
            seed: of all batches.
            members: indices of the graphs that are sampled, in order; default all G.

        Raises:
            CgirError: `batch` or `neighbours` is out of range, or no family has two graphs.
        """
        if batch < 4 or batch % 2:
            raise CgirError(f"contrastive batches: batch={batch}; expected an even number of at least 4 graphs")
        if neighbours < 1:
            raise CgirError(f"contrastive batches: neighbours={neighbours}; expected at least 1")
        members = np.arange(len(families)) if members is None else members
        names, sizes = np.unique(families[members], return_counts=True)
        if len(names[sizes < 2]):
            log.warning(
                "contrastive batches: left out %d families of a single graph, which have no positives",
                (sizes < 2).sum(),
            )
        self.groups = [members[families[members] == name] for name in names[sizes >= 2]]
        if not self.groups:
            raise CgirError(
                f"contrastive batches: {len(members)} graphs in {len(names)} families; "
                "expected a family of at least 2 graphs"
            )
        self.num_anchors = min(batch // 2, sum(map(len, self.groups)))
        self.neighbours, self.seed = neighbours, seed
        rng = np.random.default_rng([seed, len(families)])
        # many graphs share a spectrum: a tiny extra coordinate puts ties in random order, and a graph itself before its
        # ties
        tie_breaker = 1e-9 * rng.random((len(spectra), 1))
        self.points = np.concatenate([spectra, tie_breaker], axis=1)
        self.trees = [KDTree(self.points[group]) for group in self.groups]

    @property
    def batch(self) -> int:
        """B, graphs in a batch."""
        return 2 * self.num_anchors

    def draw(self, step: int) -> Pairs:
        """The batch of this step."""
        rng = np.random.default_rng([self.seed, step])
        counts = self._anchors_per_family(rng)
        anchors, positives = [], []
        for group, tree, count in zip(self.groups, self.trees, counts, strict=True):
            sampled = rng.choice(len(group), count, replace=count > len(group))
            anchors.append(group[sampled])
            positives.append(group[self._sample_neighbours(tree, group, sampled, rng)])
        rows = np.arange(self.num_anchors)
        return Pairs(np.concatenate(anchors + positives), np.concatenate([rows + self.num_anchors, rows]))

    def _anchors_per_family(self, rng: np.random.Generator) -> IntArray:
        """Equal numbers, with the remainder given to random families."""
        counts = np.full(len(self.groups), self.num_anchors // len(self.groups))
        counts[rng.permutation(len(counts))[: self.num_anchors % len(counts)]] += 1
        return counts

    def _sample_neighbours(
        self, tree: KDTree, group: IntArray, anchors: IntArray, rng: np.random.Generator
    ) -> IntArray:
        """One neighbour of each anchor; anchors and result are positions in the group."""
        count = min(self.neighbours, len(group) - 1)
        nearest = tree.query(self.points[group[anchors]], k=count + 1)[1].reshape(len(anchors), count + 1)
        # the graph itself is nearest to itself, but may come second if another point is exactly equal
        order = np.argsort(nearest == anchors[:, None], axis=1, kind="stable")
        others = np.take_along_axis(nearest, order, axis=1)[:, :count]
        sampled: IntArray = others[np.arange(len(anchors)), rng.integers(count, size=len(anchors))]
        return sampled
