"""Builds the shipped weights: an encoder of `examples.papers.universal_encoders`, trained on all labelled families.

A model card is written beside it.

python -m examples.papers.universal_weights     # a minute, once the encoders and the scores of
`examples.papers.universal` are there (`make universal`)
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from cgir.atomic_files import atomic_path
from cgir.checksums import sealed_json
from cgir.typing import FloatArray
from encoders import Predictor
from encoders.features.graph_features import compute_features
from encoders.features.label_transforms import interpolate
from encoders.metrics import spearman
from encoders.predictors.estimators import DEFAULT_TASK
from encoders.predictors.pretrained import CARD, WEIGHTS
from examples.papers.universal_encoders import RECIPES, encoder
from examples.papers.universal_families import METRICS, family, trace_timm
from examples.papers.universal_methods import features_of, taught, universal

Row = dict[str, Any]
SEED = 0
REFERENCE = "timm_imagenet"
IMAGENET = {REFERENCE: "timm", "ofa_mbv3": "Once-for-All MobileNetV3 at mixed sizes"}
KNOTS = np.linspace(0, 1, 41)


def ranked(predictor: Predictor, name: str) -> FloatArray:
    """Scores of a family's networks, each by itself, without a pool."""
    return predictor.predict(compute_features(features_of(name), predictor.encoder))


def task(shipped: Predictor, folder: Path) -> dict[str, Any]:
    """Quantile map from scores to top-1 accuracies of timm's networks, and its error on families left out."""
    labels = family(REFERENCE).labels[DEFAULT_TASK]
    left_out = {name: ranked(universal(name, SEED, folder), name) for name in IMAGENET}
    values = np.quantile(labels, KNOTS)
    guesses = interpolate(left_out[REFERENCE], np.quantile(left_out[REFERENCE], KNOTS), values)
    return {
        "unit": "% top-1",
        "about": "ImageNet validation accuracy of an image classifier",
        "families": list(METRICS),
        "reference": f"{len(labels)} networks of timm, whose recipes differ",
        "worth": {
            title: round(spearman(left_out[name], family(name).labels[DEFAULT_TASK]), 3)
            for name, title in IMAGENET.items()
        },
        "scores": np.quantile(ranked(shipped, REFERENCE), KNOTS).tolist(),
        "values": values.tolist(),
        "deviation": float(np.sqrt(np.mean((guesses - labels) ** 2))),
    }


def table(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Spearman's rho of the default read-out on families left out: target, number of labels -> mean and deviation."""
    rows: list[Row] = [
        row for path in sorted((folder / "scores").glob("cgir-*.json")) for row in json.loads(path.read_text())
    ]
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["target"], {}).setdefault(str(row["labels"]), []).append(row["spearman"])
    return {
        target: {
            k: (round(mean(values), 3), round(stdev(values), 3))
            for k, values in sorted(counts.items(), key=lambda pair: int(pair[0]))
        }
        for target, counts in found.items()
    }


def main() -> None:
    """Write the weights and their card into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", default=Path("runs/corpus"))
    parser.add_argument("--folder", type=Path, default=Path("runs/universal"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trace_timm()
    shipped = taught(encoder(args.folder, "universal", SEED), METRICS, SEED)
    card = {
        "corpus": json.loads((args.corpus / "corpus.json").read_text()),
        "pretraining": asdict(RECIPES["universal"]) | {"seed": SEED},
        "labels": {name: METRICS[name] for name in METRICS},
        "networks": {name: len(family(name).graphs) for name in METRICS},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "scores": {
            "what": "Spearman's rho by number of labels on families left out, mean and deviation; see RESULTS.md",
            **table(args.folder),
        },
        "tasks": {"imagenet_top1": task(shipped, args.folder)},
    }
    shipped.save(WEIGHTS / "universal")
    with atomic_path(WEIGHTS / "universal" / CARD) as path:
        path.write_bytes(sealed_json(card, indent=1))


if __name__ == "__main__":
    main()
