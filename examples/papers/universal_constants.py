"""What the weights of scores without labels change, over the targets of `examples.papers.universal`.

python -m examples.papers.universal_constants     # minutes, once predictors are there (`make universal`)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import Table, publish
from encoders.metrics import spearman
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators import task_index
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.source_families import NUM_SCORES, target_context
from examples.papers.universal import SEEDS
from examples.papers.universal_families import METRICS, family
from examples.papers.universal_methods import features_of, universal

Setting = tuple[str, float]  # one of `WEIGHTS`, and how much the multi-task GP counts, as a share of its weight

CONFIG = BlendConfig()
BY_CONSISTENCY = "by size consistency"
WEIGHTS = {
    BY_CONSISTENCY: CONFIG,
    "of operations everywhere": replace(CONFIG, weights_of_sizes=CONFIG.weights_of_operations),
    "of sizes everywhere": replace(CONFIG, weights_of_operations=CONFIG.weights_of_sizes),
}
OURS: Setting = (BY_CONSISTENCY, 1.0)
SETTINGS: list[Setting] = list(product(WEIGHTS, (0.0, 0.5, 1.0, 2.0, 4.0)))
ABOUT = """\
Without labels a network is worth the sum of its prior scores, the logarithms of its FLOPs, parameters and activations,
and what a multi-task Gaussian process expects, times expected weights. These are constants of
`encoders/predictors/blend_config.py`, for families where operations alone are chosen and for families where sizes are.
Here is what others would have made of the rows *cgir* at 0 labels: Spearman's rho, means over the targets (without the
paper's cells, which are those of NAS-Bench-201 again) and five draws of the networks that teach. They were chosen with
these very targets in view; the last column is what a choice by all other targets would have brought each of them."""


def settings_of(name: str, seed: int, folder: Path) -> Iterator[tuple[str, Setting, float]]:
    """Yield each target of a family, a setting, and Spearman's rho without labels.

    Args:
        name: of the family that is left out.
        seed: of the networks that teach.
        folder: of predictors.
    """
    predictor = universal(name, seed, folder)
    assert isinstance(predictor.estimator, BlendEstimator)
    task = task_index(predictor.task, predictor.estimator.tasks)
    for target, rows in family(name).targets.items():
        features = features_of(name).select(rows)
        labels = next(iter(family(name).labels.values()))[rows]
        for weights, config in WEIGHTS.items():
            context = target_context(features, predictor.estimator.source_model, {}, task, config)
            scores = context.scores(features, task)
            for share in dict.fromkeys(share for _, share in SETTINGS):
                factors = np.where(np.arange(NUM_SCORES) == NUM_SCORES - 1, share, 1.0)
                yield target, (weights, share), spearman(scores @ (factors * context.prior.mean), labels)


def measured(folder: Path) -> dict[str, dict[Setting, float]]:
    """Target -> setting -> mean Spearman's rho over draws."""
    found: dict[str, dict[Setting, list[float]]] = {}
    targets = [name for name in METRICS if any(family(name).targets)]
    for name, seed in tqdm(list(product(targets, SEEDS)), desc="predictors"):
        for target, setting, value in settings_of(name, seed, folder):
            found.setdefault(target, {}).setdefault(setting, []).append(value)
    return {
        target: {setting: mean(values) for setting, values in settings.items()} for target, settings in found.items()
    }


def tables(found: dict[str, dict[Setting, float]]) -> list[Table]:
    """Mean scores by setting, and for each target ours, the best setting, and the one that all other targets choose."""
    shares = sorted({share for _, share in SETTINGS})
    lines = []
    for weights in WEIGHTS:
        means = [mean(settings[weights, share] for settings in found.values()) for share in shares]
        lines.append((weights, *(f"{value:.3f}" for value in means)))
    grid = Table(
        "Mean over targets, by expected weights (rows) and the share of the multi-task GP's that counts (columns)",
        ("", *(f"{share:g}" for share in shares)),
        tuple(lines),
    )
    rows = []
    for target, settings in found.items():
        others = {setting: mean(found[name][setting] for name in found if name != target) for setting in SETTINGS}
        chosen = max(others, key=others.__getitem__)
        rows.append(
            (
                target,
                f"{settings[OURS]:.3f}",
                f"{max(settings.values()):.3f}",
                f"{settings[chosen]:.3f}",
            )
        )
    return [
        grid,
        Table("Targets one by one", ("target", "ours", "best setting", "setting that the others choose"), tuple(rows)),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/universal"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    publish(
        "universal-constants",
        "Constants of scores without labels",
        ABOUT,
        "python -m examples.papers.universal_constants",
        tables(measured(args.folder)),
    )


if __name__ == "__main__":
    main()
