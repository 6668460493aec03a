"""What zero-cost proxies and selection rules cost: `python -m benchmarks.one_shot_rules`, some five minutes of a core.

One thread, processor time, random images: the time does not depend on what is in them.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from functools import partial
from statistics import mean
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from frontends import spaces
from search.one_shot import RULES, Images, causal, select, supernet, untrained
from search.zero_cost import NAMES, dense_regression, rank_az_nas, score

from .report import Table, publish, show

CELLS, COMPARED, SWEEP = 30, 6, 300  # random cells; those on which proxies are timed by themselves; a usual sweep
SKELETON: dict[str, Any] = {"channels": 16, "cells": 5, "image": (3, 16, 16)}
SUPERNET: dict[str, Any] = {"channels": 8, "cells": 1, "image": (3, 16, 16)}
BATCH, IMAGES = 64, 2048
FORWARD, BACKWARD, SECOND = "forward", "forward, backward", "forward, double backward"
# What a proxy needs at least on the whole batch; those that need one image or none are compared with nothing.
REFERENCES = {
    "naswot": FORWARD,
    "swap": FORWARD,
    "zen": FORWARD,
    "jacob_cov": BACKWARD,
    "grad_norm": BACKWARD,
    "snip": BACKWARD,
    "fisher": BACKWARD,
    "zico": BACKWARD,
    "az_nas": BACKWARD,
    "grasp": SECOND,
}


def timed(run: Callable[[], object], repetitions: int = 1) -> float:
    """Least seconds of processor time of so many runs."""
    found = []
    for _ in range(repetitions):
        gc.collect()
        start = process_time()
        run()
        found.append(process_time() - start)
    return min(found)


def cells() -> list[nn.Module]:
    """Random cells of NAS-Bench-201, in its skeleton at 16 pixels."""
    space, rng = spaces.get("nasbench201", **SKELETON), np.random.default_rng(0)
    return [space.module(space.sample(rng)) for _ in range(CELLS)]


def references(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Seconds of plain passes of the batch in training mode."""
    weights = list(network.train().parameters())

    def gradients(create_graph: bool) -> tuple[Tensor, ...]:
        loss = cross_entropy(network(images), labels)
        found = torch.autograd.grad(loss, weights, create_graph=create_graph, allow_unused=True)
        return tuple(g for g in found if g is not None)

    def second() -> object:
        total = torch.stack([(g * g.detach()).sum() for g in gradients(True)]).sum()
        return torch.autograd.grad(total, weights, allow_unused=True)

    runs: dict[str, Callable[[], object]] = {
        FORWARD: lambda: network(images),
        BACKWARD: lambda: gradients(False),
        SECOND: second,
    }
    return {name: timed(run, 2) for name, run in runs.items()}


def proxy_rows(networks: list[nn.Module], images: Tensor, labels: Tensor) -> list[tuple[str, ...]]:
    """Each proxy by itself, beside the passes that it needs."""
    plain = [references(network, images, labels) for network in tqdm(networks, desc="passes")]
    passes = {name: mean(found[name] for found in plain) for name in (FORWARD, BACKWARD, SECOND)}
    lines: list[tuple[str, ...]] = [(f"*{name}*", f"{seconds:.3f}", "", "") for name, seconds in passes.items()]
    for name in tqdm((*NAMES, "az_nas"), desc="proxies"):
        seconds = mean(timed(_proxy(name, network, images, labels), 2) for network in networks)
        reference = REFERENCES.get(name)
        ratio = f"{seconds / passes[reference]:.2f}" if reference else ""
        lines.append((name, f"{seconds:.3f}", reference or "", ratio))
    return lines


def _proxy(name: str, network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], object]:
    if name == "az_nas":
        return lambda: rank_az_nas([network], images)
    return lambda: score(network, images, labels, names=(name,))


def sweep_rows(networks: list[nn.Module], images: Tensor, labels: Tensor) -> list[tuple[str, ...]]:
    """Scoring many cells."""
    ways: dict[str, Callable[[nn.Module], object]] = {
        f"all {len(NAMES)} names in one call": lambda network: score(network, images, labels, names=NAMES),
        "az_nas": lambda network: rank_az_nas([network], images),
        "dense_regression, 20 steps": lambda network: dense_regression(network, images),
    }
    found: list[tuple[str, ...]] = []
    for name, way in ways.items():
        seconds = [timed(partial(way, network)) for network in tqdm(networks, desc=name)]
        found.append((name, f"{mean(seconds):.2f}", f"{max(seconds):.2f}", f"{SWEEP * mean(seconds) / 60:.1f}"))
    return found


def rule_rows() -> list[tuple[str, ...]]:
    """Every selection rule at its defaults, and three of causal selection."""
    network = supernet("nasbench201", **SUPERNET)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn((IMAGES, *SUPERNET["image"]), generator=generator)
    images = Images(pixels, torch.randint(10, (IMAGES,), generator=generator), 10, name="random")
    trained = untrained(network)
    mixture = trained.mixture.detach()
    step = references(_Mixed(network, mixture), pixels[:BATCH], images.labels[:BATCH])[BACKWARD]
    runs: dict[str, Callable[[], object]] = {
        rule: partial(select, trained, images, rule, progress=False) for rule in RULES
    }
    runs["causal, observed"] = partial(causal, network, images, p=0.0, progress=False)
    runs["causal, observed, Shapley values"] = partial(causal, network, images, p=0.0, game=True, progress=False)
    runs["causal, prior of each operation"] = partial(causal, network, images, progress=False)
    seconds = {name: timed(rule) for name, rule in tqdm(runs.items(), desc="rules")}
    seconds["all"] = sum(seconds.values())
    lines = [("*forward, backward of 64 images*", f"{step:.3f}", "")]
    return lines + [(name, f"{value:.1f}", f"{value / step:.0f}") for name, value in seconds.items()]


class _Mixed(nn.Module):
    """A supernet at one mixture."""

    def __init__(self, network: nn.Module, mixture: Tensor) -> None:
        super().__init__()
        self.network, self.mixture = network, mixture

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.network(x, self.mixture)
        return logits


def main() -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((BATCH, *SKELETON["image"]), generator=generator)
    labels = torch.randint(10, (BATCH,), generator=generator)
    networks = cells()
    tables = [
        Table(
            f"a proxy by itself, beside the passes of the batch that it needs at least; mean over {COMPARED} cells",
            ("proxy", "seconds", "beside", "ratio"),
            tuple(proxy_rows(networks[:COMPARED], images, labels)),
        ),
        Table(
            f"many cells: measured on {CELLS}, the last column extrapolated to {SWEEP}",
            ("scores", "seconds a cell", "the slowest", f"minutes for {SWEEP} cells"),
            tuple(sweep_rows(networks, images, labels)),
        ),
        Table(
            "selection rules with their defaults, on a supernet of 8 channels and a cell a stage",
            ("rule", "seconds", "in forwards and backwards"),
            tuple(rule_rows()),
        ),
    ]
    show(tables)
    if options.write:
        about = (
            "NAS-Bench-201 at 16 x 16 pixels, batches of 64 random images: cells of 16 channels, five a stage, as in "
            "'Rankings without training: zero-cost proxies'; processor time of one thread. `score` copies the network "
            "before anything is computed, and leaves it as it is."
        )
        publish(
            "one_shot_rules",
            "Seconds of proxies and selection rules",
            about,
            "python -m benchmarks.one_shot_rules --write",
            tables,
        )


if __name__ == "__main__":
    main()
