"""What the constants of scores without labels change, over the targets of `examples.papers.universal`.

python -m examples.papers.universal_constants     # minutes, once predictors are there (`make universal`)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from tqdm import tqdm

from benchmarks.report import Table, publish
from cgir.typing import FloatArray
from encoders.features.graph_features import FLOPS, compute_features
from encoders.metrics import spearman
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators import DEFAULT_TASK
from encoders.predictors.estimators_blend import BlendEstimator
from examples.papers.universal import SEEDS
from examples.papers.universal_families import METRICS, family
from examples.papers.universal_methods import features_of, universal

# `flops_per_disagreement`, None for `flops_weight` everywhere, and `multitask_weight`
Setting = tuple[float | None, float]

CONFIG = BlendConfig()
OURS: Setting = (CONFIG.flops_per_disagreement, CONFIG.multitask_weight)
SETTINGS: list[Setting] = list(product((None, 1.0, 3.0, OURS[0], 10.0), (0.0, 1.0, OURS[1], 6.0)))
ABOUT = """\
How far FLOPs count beside the heads, flops_per_disagreement times their squared disagreement, at most 4, or .75
everywhere, and how far a process across families does, multitask_weight, are constants of
`encoders/predictors/blend_config.py`. Here is what others would have made of the rows *cgir* at 0 labels: Spearman's
rho, means over the targets (without the paper's cells, which are those of NAS-Bench-201 again) and five encoders. They
were chosen with these very targets in view, before this table was made, and not again after it; the last column is what
a choice by all other targets would have brought each of them."""


def parts(
    name: str, seed: int, folder: Path
) -> Iterator[tuple[str, FloatArray, FloatArray, FloatArray, float, FloatArray]]:
    """Yield, for each target, what the prior mean is made of.

    Labels, scores of the heads, standardised log FLOPs, squared disagreement of the heads, and the mean of the
    multi-task Gaussian process.

    Args:
        name: of the family that is left out.
        seed: of the encoder.
        folder: of encoders and predictors.
    """
    predictor = universal(name, seed, folder)
    assert isinstance(predictor.estimator, BlendEstimator)
    model, config = predictor.estimator.source_model, predictor.estimator.config
    assert model is not None
    for target, rows in family(name).targets.items():
        features = compute_features(features_of(name), predictor.encoder).select(rows)
        scores, stds = model.ensemble.predict(features)
        mean, std = model.flops_moments
        disagreement = (float(stds.mean()) / max(float(scores.std()), 1e-9)) ** 2
        multitask = model.sample.posterior_for(features, config).predict(features)
        yield (
            target,
            family(name).labels[DEFAULT_TASK][rows],
            scores,
            (features.properties[:, FLOPS] - mean) / std,
            disagreement,
            multitask,
        )


def measured(folder: Path) -> dict[str, dict[Setting, float]]:
    """Target -> setting -> mean Spearman's rho over encoders."""
    found: dict[str, dict[Setting, list[float]]] = {}
    targets = [name for name in METRICS if any(family(name).targets)]
    for name, seed in tqdm(list(product(targets, SEEDS)), desc="predictors"):
        for target, labels, heads, size, disagreement, multitask in parts(name, seed, folder):
            for per_disagreement, share in SETTINGS:
                flops = (
                    CONFIG.flops_weight
                    if per_disagreement is None
                    else min(per_disagreement * disagreement, CONFIG.max_flops_weight)
                )
                value = spearman(heads + flops * size + share * multitask, labels)
                found.setdefault(target, {}).setdefault((per_disagreement, share), []).append(value)
    return {
        target: {setting: mean(values) for setting, values in settings.items()} for target, settings in found.items()
    }


def tables(found: dict[str, dict[Setting, float]]) -> list[Table]:
    """Mean scores by setting, and for each target ours, the best setting, and the one that all other targets choose."""
    shares = sorted({share for _, share in SETTINGS})
    lines = []
    for rate in dict.fromkeys(rate for rate, _ in SETTINGS):
        means = [mean(settings[rate, share] for settings in found.values()) for share in shares]
        lines.append((".75 everywhere" if rate is None else f"{rate:g}", *(f"{value:.3f}" for value in means)))
    grid = Table(
        "Mean over targets, by flops_per_disagreement (rows) and multitask_weight (columns)",
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
