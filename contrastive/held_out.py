"""Graphs of a pool that nothing is learned from, and the losses on them: what was learned, and not remembered."""

from __future__ import annotations

import numpy as np
import torch

from cgir.errors import CgirError
from cgir.typing import IntArray
from encoders.engine.batching import GraphTensors

from . import distributed
from .config import PretrainConfig
from .objectives.weighted_sum import Objective
from .pair_sampler import NearestNeighbourPairs
from .pretraining_set import Pool

EVERY = 50  # steps between two looks at the graphs that are held out


def split(families: IntArray, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Indices of the graphs to learn from, and of those that are held out, the same share of each family.

    Both have pairs: a family keeps two graphs to learn from, and holds out none or two and more.

    Args:
        families: (G,) index of each graph's family.
        share: that is held out.
        seed: of the choice.

    Raises:
        CgirError: every family is too small.
    """
    rng, held = np.random.default_rng([seed, 4]), np.zeros(len(families), bool)
    for family in np.unique(families):
        members = np.flatnonzero(families == family)
        count = min(round(share * len(members)), len(members) - 2)
        if count >= 2:
            held[rng.choice(members, count, replace=False)] = True
    if share and not held.any():
        raise CgirError(
            f"pretrain: held_out={share} of {len(families)} graphs is not two of any family; give more graphs, or 0"
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


class HeldOut:
    """One batch of pairs of graphs that are held out, and an objective's losses on it.

    It is smaller than a batch of the training where there are fewer graphs, and then its contrast is smaller, too:
    ln(B - 1) for equal vectors.
    """

    def __init__(self, pool: Pool, config: PretrainConfig, members: IntArray, graphs: GraphTensors) -> None:
        """Draw the batch.

        Args:
            pool: all graphs.
            config: of the run.
            members: indices of the graphs that are held out.
            graphs: the pool's, for the depth of the encoder.
        """
        sampler = NearestNeighbourPairs(
            pool.families, pool.spectra, config.batch, config.neighbours, config.seed, members
        )
        self.pairs, self.graphs = sampler.draw(0), graphs

    @torch.no_grad()
    def losses(self, objective: Objective) -> dict[str, float]:
        """Losses over all processes: "held_out", the weighted sum, and every term's as "held_out_NAME"."""
        rows = distributed.local_rows(len(self.pairs.indices))
        objective.eval()
        batch = self.graphs.minibatch(self.pairs.indices[rows], objective.device)
        shares = objective.losses(batch, self.pairs, 0, rows)
        objective.train()
        sums = distributed.all_reduce_sums(shares)
        return {"held_out": sums.pop("loss")} | {f"held_out_{name}": value for name, value in sums.items()}
