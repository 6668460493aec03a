"""`pretrain_by_episodes`: a few networks of a family show a behaviour, and the encoder predicts it of the others.

What a Gaussian process does with a few labels is what is trained, after Bertinetto et al. (2019), "Meta-learning with
differentiable closed-form solvers", section 3 (https://arxiv.org/abs/1805.08136), and Patacchiola et al. (2020),
"Bayesian meta-learning for the few-shot setting via deep kernels" (https://arxiv.org/abs/1910.05199).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray
from encoders.engine.devices import Device, as_device
from encoders.features.scalers import Scaler
from encoders.gaussian_process.regression import DEFAULT_PRIOR
from encoders.models.encoder import Encoder
from encoders.training.loop import MAX_GRADIENT_NORM, decay_learning_rate
from encoders.training.seeding import seeded
from frontends.torch.surroundings import in_plain_surroundings

from .config import PretrainConfig
from .objectives.behaviour_regression import behaviour_targets
from .objectives.step_context import SignedLog
from .pretraining_set import Pool

FAMILIES = 3  # of a step
SHOWN, ASKED = 10, 20  # networks of each that show their behaviours, and that are asked


@in_plain_surroundings(grad=True)
def pretrain_by_episodes(
    pool: Pool,
    config: PretrainConfig,
    progress: bool = True,
    device: Device = "auto",
    start: Encoder | None = None,
) -> Encoder:
    """Pretrain an encoder whose embeddings, beside `cgir.properties`, tell behaviours of a family from ten networks.

    Behaviours are normal scores of ranks inside families. Families without 30 networks of known behaviour teach
    nothing.

    Args:
        pool: graphs with behaviours.
        config: `steps`, `lr`, `weight_decay`, `seed` and `encoder` are read.
        progress: show a progress bar.
        device: "auto", the GPU where there is one, "cpu", "cuda" or "cuda:1".
        start: an encoder whose architecture and weights training starts from, and which is not changed; None: random
            weights of `config.encoder`.

    Returns:
        The encoder, in evaluation mode and on the CPU.

    Raises:
        CgirError: no family of the pool has behaviours of 30 networks.
    """
    ranks, families = _tasks(pool)
    hand = pool.properties.astype(np.float64)
    encoder = Encoder(config.encoder, config.seed) if start is None else copy.deepcopy(start).train()
    where, graphs = as_device(device), pool.tensors.with_depth(encoder.config.layers)
    encoder = encoder.to(where)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    rng = np.random.default_rng(config.seed)
    for step in tqdm(range(config.steps), desc="pretrain", unit="step", disable=not progress):
        decay_learning_rate(optimizer, config.lr, step, config.steps)
        chosen = rng.choice(len(families), min(FAMILIES, len(families)), replace=False)
        drawn = [_draw(families[family], ranks, rng) for family in chosen]
        with seeded(config.seed, 2, step):  # dropout
            embeddings = SignedLog()(encoder(graphs.minibatch(np.concatenate(drawn), where)))
        parts = torch.split(embeddings, [len(part) for part in drawn])
        losses = [episode_loss(x, hand[part], ranks[part]) for x, part in zip(parts, drawn, strict=True)]
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(losses).mean())
        nn.utils.clip_grad_norm_(encoder.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
    return encoder.cpu().eval()


def _tasks(pool: Pool) -> tuple[FloatArray, list[IntArray]]:
    """Normal scores (G, B), NaN where unknown, and the graphs of each family that has behaviours of 30 networks."""
    if pool.behaviours is not None:
        ranks = behaviour_targets(pool.behaviours, pool.families)[:, pool.behaviours.shape[1] :]
        families = [np.flatnonzero(pool.families == family) for family in np.unique(pool.families)]
        if rich := [rows for rows in families if (~np.isnan(ranks[rows])).sum(0).max() >= SHOWN + ASKED]:
            return ranks, rich
    raise CgirError(f"pretrain: no family has a behaviour of {SHOWN + ASKED} networks; give more to as_pool")


def _draw(members: IntArray, ranks: FloatArray, rng: np.random.Generator) -> IntArray:
    """Networks of a family that all have one of its behaviours."""
    known = ~np.isnan(ranks[members])
    column = rng.choice(np.flatnonzero(known.sum(0) >= SHOWN + ASKED))
    drawn: IntArray = rng.choice(members[known[:, column]], SHOWN + ASKED, replace=False)
    return drawn


def episode_loss(embeddings: Tensor, hand: FloatArray, ranks: FloatArray) -> Tensor:
    """Squared error of what a Gaussian process expects of the networks after the first `SHOWN`, a mean.

    Args:
        embeddings: (n, dim) of networks of a family.
        hand: (n, P), their properties.
        ranks: (n, B), their behaviours; those that are unknown of one are left out.
    """
    y = torch.from_numpy(ranks[:, ~np.isnan(ranks).any(0)]).to(embeddings)
    y = (y - y[:SHOWN].mean(0)) / y.std(0).clamp(min=1e-3)
    standardised = (embeddings - embeddings.mean(0)) / (embeddings.std(0) + 1e-3)
    covariance = _kernel(standardised) + _kernel(torch.from_numpy(Scaler.fit(hand)(hand)).to(embeddings))
    noise = DEFAULT_PRIOR.noise_variance * torch.eye(SHOWN, dtype=y.dtype, device=y.device)
    weights = torch.linalg.solve(covariance[:SHOWN, :SHOWN] + noise, y[:SHOWN])
    loss: Tensor = (covariance[SHOWN:, :SHOWN] @ weights - y[SHOWN:]).square().mean()
    return loss


def _kernel(x: Tensor) -> Tensor:
    """An RBF of distances over their mean square and a linear kernel, where `encoders.gaussian_process` starts."""
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    products = x @ x.T
    rbf = torch.exp(-DEFAULT_PRIOR.rate * distances / distances.mean().clamp(min=1e-6))
    linear = products / products.diagonal().mean().clamp(min=1e-6)
    return DEFAULT_PRIOR.rbf_variance * rbf + DEFAULT_PRIOR.linear_variance * linear
