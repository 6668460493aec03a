"""How well selection rules know what an operation of a supernet is worth, where that can be measured.

    # four to five minutes a seed; finished seeds are not run again
    python -m examples.papers.one_shot_truth

The truth is leave-one-out retraining ("Influential Magnitude", section 1): take one operation away, train all weights
to convergence, and see how much the validation loss rises.
"""

from __future__ import annotations

import argparse
import json
from copy import copy, deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from benchmarks.report import publish
from cgir.atomic_files import atomic_path
from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.training.seeding import seeded
from examples.papers.one_shot_truth_table import ABOUT, SHOWN, tables
from frontends import spaces
from search.one_shot import RULES, Images, Supernet, Trained, load_images, train
from search.one_shot.choices import Choice, Picks
from search.one_shot.mixed_cell import (
    MixedCell,
    OperationMaker,
    OutgoingEdges,
    ReluConvNorm,
    Repeated,
    ScaledNorm,
    cell_edges,
)

OPERATIONS: dict[str, OperationMaker] = {
    "skip_connect": lambda place: Repeated(place, None, normalize=False),
    "nor_conv_1x1": partial(ReluConvNorm, kernel=1),
    "nor_conv_3x3": partial(ReluConvNorm, kernel=3),
    "avg_pool_3x3": lambda place: Repeated(place, nn.AvgPool2d(3, 1, 1, count_include_pad=False), normalize=False),
}
CHANNELS, SIZE, SEEDS, TRAINING, STEPS = 3, 4, 5, 200, 100
DECAY = 3e-2  # of the L2 regularisation, without which there would be no minimum to converge to
ITERATIONS = 150  # of L-BFGS without an operation; before that six times as many
DAMPINGS = (0.1, 1.0, 10.0, 100.0)  # of conjugate gradients, the first with which the Hessian is positive definite
IN_TURN = ("perturbation", "zero_cost", "influence")  # rules whose later scores depend on earlier decisions
Row = dict[str, Any]


class OneCell(Supernet):
    """One cell of NAS-Bench-201, without `none` and without normalisation, between a convolution and a classifier.

    A normalised convolution has no best weights under L2 regularisation: smaller ones do the same at less cost. SiLU in
    place of ReLU makes the loss twice differentiable, as the paper's theorems assume; L-BFGS ends at no kink.
    """

    def __init__(self) -> None:
        super().__init__()
        self.space = spaces.get("nasbench201", channels=CHANNELS, image=(1, SIZE, SIZE))
        edges = cell_edges(1, 3)
        self.groups = (len(OPERATIONS),) * len(edges)
        self.choices = tuple(
            Choice(f"edge {target}<-{source}", tuple(OPERATIONS), tuple((4 * k + o,) for o in range(4)))
            for k, (target, source) in enumerate(edges)
        )
        self.stem = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.cell = MixedCell(OPERATIONS, 1, 3, CHANNELS)
        self.classifier = nn.Linear(4 * CHANNELS, 10)
        for module in self.cell.modules():
            if isinstance(module, ScaledNorm):
                module.norm = nn.Identity()
            elif isinstance(module, OutgoingEdges):
                module.add_module("relu", nn.SiLU())

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, 1, 4, 4) and mixture (24,) -> logits of classes (B, 10)."""
        last = nn.functional.silu(self.cell([self.stem(x)], mixture.view(6, 4))[-1])
        logits: Tensor = self.classifier(nn.functional.adaptive_avg_pool2d(last, 2).flatten(1))
        return logits

    def spec(self, picks: Picks) -> tuple[str, ...]:
        """The operations of the six edges."""
        return tuple(tuple(OPERATIONS)[options[0]] for options in picks)


def mean_loss(network: Supernet, images: Images, mixture: Tensor) -> Tensor:
    """Mean cross entropy over all images at once."""
    return cross_entropy(network(images.pixels.double(), mixture), images.labels)


def converge(network: Supernet, images: Images, mixture: Tensor, iterations: int) -> float:
    """Minimise the regularised training loss in the weights by L-BFGS; the norm of its gradient in the end."""
    weights = list(network.parameters())
    optimizer = torch.optim.LBFGS(
        weights,
        max_iter=iterations,
        max_eval=2 * iterations,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        squares = torch.stack([weight.square().sum() for weight in weights]).sum()
        loss = mean_loss(network, images, mixture) + DECAY / 2 * squares
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    closure()
    norm = torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None]).norm()
    optimizer.zero_grad()
    return float(norm)


def converged(seed: int, training: Images, validation: Images) -> tuple[Trained, float]:
    """A supernet after bilevel training, whose weights are then trained to convergence at the mixture found."""
    with seeded(seed):
        network = OneCell()
    found = train(network, training, validation, steps=STEPS, seed=seed, lr=0.1, alpha_lr=0.01, progress=False)
    trained = replace(found, supernet=found.supernet.double(), logits=found.logits.double())
    return trained, converge(trained.supernet, training, trained.mixture, 6 * ITERATIONS)


def leave_one_out(trained: Trained, training: Images, validation: Images) -> tuple[FloatArray, list[float]]:
    """For every choice and option (6, 4) how much the validation loss rises; norms of the gradients in the end."""
    network, mixture = trained.supernet, trained.mixture
    rises, norms = [], []
    with torch.no_grad():
        present = float(mean_loss(network, validation, mixture))
    pairs = [(choice, option) for choice in network.choices for option in range(len(choice.options))]
    for choice, option in tqdm(pairs, desc="leave one out", unit="option"):
        own, without = deepcopy(network), choice.without(mixture, option)
        norms.append(converge(own, training, without, ITERATIONS))
        with torch.no_grad():
            rises.append(float(mean_loss(own, validation, without)) - present)
    return np.array(rises).reshape(len(network.choices), -1), norms


def scores(trained: Trained, images: Images, rule: str, seed: int, options: Row) -> FloatArray:
    """Of every choice and option (6, 4), each in the supernet that has all others."""
    supernets = [trained.supernet]
    if rule in IN_TURN:
        supernets = [copy(trained.supernet) for _ in trained.supernet.choices]
        for network, choice in zip(supernets, trained.supernet.choices, strict=True):
            network.choices = (choice,)
    rankings = (
        RULES[rule](replace(trained, supernet=network), images, seed=seed, exclude=(), progress=False, **options)
        for network in supernets
    )
    return np.concatenate([np.stack(ranking.scores) for ranking in rankings])


def damped_scores(trained: Trained, images: Images, rule: str, seed: int, options: Row) -> tuple[FloatArray, float]:
    """With the smallest damping for which conjugate gradients are defined; and that."""
    for eta in DAMPINGS:
        try:
            return scores(trained, images, rule, seed, options | {"eta": eta}), eta
        except CgirError as error:
            if eta == DAMPINGS[-1] or "positive definite" not in str(error):
                raise
    raise AssertionError("no damping")


def run(seed: int) -> Row:
    """The truth and the scores of every rule on one supernet."""
    training, validation = load_images("digits", SIZE).split(seed, TRAINING / 1797)
    trained, norm = converged(seed, training, validation)
    with torch.no_grad():
        answers = trained.supernet(validation.pixels.double(), trained.mixture).argmax(1)
    start = perf_counter()
    truth, norms = leave_one_out(trained, training, validation)
    row: Row = {
        "seed": seed,
        "accuracy": float((answers == validation.labels).double().mean()),
        "gradient_norms": [norm, *norms],
        "mixture": trained.mixture.tolist(),
        "truth": truth.tolist(),
        "truth_seconds": perf_counter() - start,
        "rules": {},
    }
    for name, (rule, options) in SHOWN.items():
        start = perf_counter()
        if options.get("inverse") == "conjugate_gradients":
            found, eta = damped_scores(trained, validation, rule, seed, options)
        else:
            found, eta = scores(trained, validation, rule, seed, options), None
        row["rules"][name] = {"scores": found.tolist(), "eta": eta, "seconds": perf_counter() - start}
    return row


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=Path("runs/one_shot_truth.jsonl"), help="a line for every seed")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.file.parent.mkdir(parents=True, exist_ok=True)
    lines = args.file.read_text(encoding="utf-8").splitlines() if args.file.exists() else []
    rows: list[Row] = [json.loads(line) for line in lines]
    for seed in range(args.seeds):
        if all(row["seed"] != seed for row in rows):
            rows.append(run(seed))
            with atomic_path(args.file) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    title = "What selection rules know of a supernet's operations"
    publish("one_shot_truth", title, ABOUT, "python -m examples.papers.one_shot_truth", tables(rows))


if __name__ == "__main__":
    main()
