"""What the constants of scores without labels change, over the targets of `examples.papers.universal`.

python -m examples.papers.universal_constants     # minutes, once predictors are there (`make universal`)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import Table, publish
from cgir.typing import FloatArray
from encoders.metrics import spearman
from encoders.predictors.estimators import task_index
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.source_families import ENTROPY, PROCESSES, target_context
from examples.papers.universal import SEEDS
from examples.papers.universal_families import METRICS, family
from examples.papers.universal_methods import features_of, universal

SWEPT = {  # columns of prior scores, whose expected weights are multiplied
    "log parameters": 1,
    "entropy of convolutions": ENTROPY,
    "multi-task process": PROCESSES.start,
    "the same on relative features": PROCESSES.start + 1,
}
MULTIPLES = (0.0, 1.0, 2.0)
Setting = tuple[float, ...]  # a multiple for each of them

OURS: Setting = (1.0,) * len(SWEPT)
SETTINGS: list[Setting] = list(product(MULTIPLES, repeat=len(SWEPT)))
ABOUT = """\
Without labels networks are ranked by log FLOPs, log parameters, log bytes of activations, the entropy of convolutions
(Shen et al., DeepMAD) and what two multi-task processes expect, with weights of `encoders/predictors/blend_config.py`.
Here is what other weights would have made of the rows *cgir* at 0 labels: Spearman's rho, means over the targets
(without the paper's cells, which are those of NAS-Bench-201 again) and five samples of the sources' networks. Ours were
chosen with these very targets in view; the last column is what a choice by all other targets, of 81 settings, would
have brought each of them."""


def scores_and_weights(name: str, seed: int, folder: Path) -> Iterator[tuple[str, FloatArray, FloatArray, FloatArray]]:
    """Yield, for each target, its name and labels, the prior scores and their expected weights.

    Args:
        name: of the family that is left out.
        seed: of the sample.
        folder: of predictors.
    """
    predictor = universal(name, seed, folder)
    estimator = predictor.estimator
    assert isinstance(estimator, BlendEstimator)
    task = task_index(predictor.task, estimator.tasks)
    for target, rows in family(name).targets.items():
        features = features_of(name).select(rows)
        context = target_context(features, estimator.source_model, {}, task, estimator.config)
        labels = next(iter(family(name).labels.values()))[rows]
        yield target, labels, context.scores(features, task), context.prior.mean


def measured(folder: Path) -> dict[str, dict[Setting, float]]:
    """Target -> setting -> mean Spearman's rho over samples."""
    found: dict[str, dict[Setting, list[float]]] = {}
    targets = [name for name in METRICS if any(family(name).targets)]
    for name, seed in tqdm(list(product(targets, SEEDS)), desc="predictors"):
        for target, labels, scores, weights in scores_and_weights(name, seed, folder):
            for setting in SETTINGS:
                multiples = np.ones(len(weights))
                multiples[list(SWEPT.values())] = setting
                value = spearman(scores @ (weights * multiples), labels)
                found.setdefault(target, {}).setdefault(setting, []).append(value)
    return {
        target: {setting: mean(values) for setting, values in settings.items()} for target, settings in found.items()
    }


def tables(found: dict[str, dict[Setting, float]]) -> list[Table]:
    """Mean scores by setting, and for each target ours, the best setting, and the one that all other targets choose."""
    lines = []
    for index, name in enumerate(SWEPT):
        turned = [(*OURS[:index], multiple, *OURS[index + 1 :]) for multiple in MULTIPLES]
        lines.append((name, *(f"{mean(each[setting] for each in found.values()):.3f}" for setting in turned)))
    grid = Table(
        "Mean over targets, by multiples of our weight of one prior score, all others as they are",
        ("", *(f"x {multiple:g}" for multiple in MULTIPLES)),
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
