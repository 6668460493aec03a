"""Heads on frozen vectors for `examples.papers.behaviour`: one taught by other families, one by a few labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import softmax
from scipy.stats import spearmanr
from torch import Tensor

from cgir.typing import FloatArray, IntArray
from encoders.features.label_transforms import normal_scores
from encoders.features.scalers import Scaler
from encoders.gaussian_process.regression import GaussianProcess
from encoders.training.loop import decay_learning_rate

DRAWS, LABELS = 5, (5, 10, 20)
RIDGE = 30.0
HIDDEN, MEMBERS, STEPS, COMPARED, LEARNING_RATE, DROPOUT = 32, 2, 200, 24, 3e-3, 0.15


def perceptrons(
    vectors: Mapping[str, FloatArray], labels: Mapping[str, FloatArray], seed: int
) -> dict[str, FloatArray]:
    """Scores (G,) of each family by perceptrons that a hinge loss on all others' labels taught.

    Vectors are standardised inside families, where alone they are compared. The perceptrons of all families left out
    are trained at once, as one tensor.

    Args:
        vectors: (G, D) of each family.
        labels: (G,) of each, higher is better.
        seed: of weights and batches.
    """
    names = list(labels)
    inputs = [torch.from_numpy(Scaler.fit(vectors[name])(vectors[name])).float() for name in names]
    scores = [torch.from_numpy(normal_scores(labels[name])).float() for name in names]
    copies, dim = len(names) * MEMBERS, inputs[0].shape[1]
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    first = torch.randn(copies, dim, HIDDEN, generator=generator) / dim**0.5
    second = torch.randn(copies, HIDDEN, 1, generator=generator) / HIDDEN**0.5
    weights = [first, torch.zeros(copies, 1, HIDDEN), second]
    for weight in weights:
        weight.requires_grad_()
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=1e-2)
    taught = ~torch.eye(len(names), dtype=torch.bool).repeat(MEMBERS, 1)  # (copies, families)
    for step in range(STEPS):
        decay_learning_rate(optimizer, LEARNING_RATE, step, STEPS)
        rows = [torch.from_numpy(rng.choice(len(x), COMPARED, replace=False)) for x in inputs]
        x = torch.cat([x[row] for x, row in zip(inputs, rows, strict=True)])
        x = x * (torch.rand(x.shape, generator=generator) > DROPOUT) / (1 - DROPOUT)
        outputs = _forward(weights, x).reshape(copies, len(names), COMPARED)
        y = torch.stack([y[row] for y, row in zip(scores, rows, strict=True)])
        loss = (_hinge(outputs, y) * taught).sum() / taught.sum() * copies
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return {name: _ranked(weights, inputs[index], index, len(names)) for index, name in enumerate(names)}


def ridge(vectors: Mapping[str, FloatArray], labels: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Scores (G,) of each family by a ridge regression of normal scores of all others' labels.

    Args:
        vectors: (G, D) of each family.
        labels: (G,) of each, higher is better.
    """
    inputs = {name: Scaler.fit(vectors[name])(vectors[name]) for name in labels}
    squares = {name: x.T @ x / len(x) for name, x in inputs.items()}
    products = {name: x.T @ normal_scores(labels[name]) / len(x) for name, x in inputs.items()}
    found = {}
    for left_out, x in inputs.items():
        square = np.sum([square for name, square in squares.items() if name != left_out], axis=0)
        product = np.sum([product for name, product in products.items() if name != left_out], axis=0)
        weights = np.linalg.solve(square + RIDGE * np.eye(len(product)), product)
        found[left_out] = x @ weights
    return found


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    """(N, D) -> (copies, N)."""
    first, bias, second = weights
    return (torch.relu(x @ first + bias) @ second).squeeze(2)


def _hinge(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean over pairs of networks of max(0, 1 - difference), (copies, families)."""
    better = (y[:, :, None] > y[:, None, :]).float()
    losses = torch.relu(1 - (outputs[..., :, None] - outputs[..., None, :])) * better
    return losses.sum((-1, -2)) / better.sum((-1, -2)).clamp(min=1)


def _ranked(weights: list[Tensor], x: Tensor, index: int, families: int) -> FloatArray:
    """Normal scores of the family's networks by the copies that have not seen it, averaged."""
    with torch.no_grad():
        outputs = _forward(weights, x)[index::families].numpy()
    mean: FloatArray = np.mean([normal_scores(output) for output in outputs], axis=0)
    return mean


def with_labels(views: list[FloatArray], labels: FloatArray, count: int, expected: FloatArray | None = None) -> float:
    """Spearman's rho, a mean over draws, of a Gaussian process with this many labels on all other networks.

    Args:
        views: matrices (G, D) of a family.
        labels: (G,), higher is better.
        count: how many are shown.
        expected: (G,) scores that need no label: prior means, weighted by evidence, are 0, .4 and .8 of them.
    """
    scaled = [Scaler.fit(view)(view) for view in views]
    means = [np.zeros(len(labels))]
    if expected is not None:
        means += [weight * normal_scores(expected) for weight in (0.4, 0.8)]
    return float(np.mean([_draw(scaled, labels, rows, means) for rows in draws(len(labels), count)]))


def draws(networks: int, count: int) -> list[IntArray]:
    """Which networks are shown, the same to all methods."""
    return [np.random.default_rng([draw, count]).choice(networks, count, replace=False) for draw in range(DRAWS)]


def _draw(views: list[FloatArray], labels: FloatArray, rows: IntArray, means: list[FloatArray]) -> float:
    shown, y = [view[rows] for view in views], normal_scores(labels[rows])
    rest = np.setdiff1d(np.arange(len(labels)), rows)
    processes = [GaussianProcess(shown, y - mean[rows]) for mean in means]
    shares = softmax([process.log_evidence for process in processes]) if len(means) > 1 else np.ones(1)
    others = [view[rest] for view in views]
    predicted = [process.predict(others)[0] + mean[rest] for process, mean in zip(processes, means, strict=True)]
    return rho(shares @ np.stack(predicted), labels[rest])


def rho(scores: FloatArray, labels: FloatArray) -> float:
    """Spearman's; 0 where all scores are equal."""
    return 0.0 if np.ptp(scores) < 1e-12 else float(spearmanr(scores, labels)[0])
