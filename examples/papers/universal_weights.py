"""Builds the shipped weights: an encoder of `examples.papers.universal_encoders`, and what labelled families taught.

They know the networks of timm as their pool, so that each network that `zero_shot` estimates is scored by itself. A
model card is written beside them. What was not made on this machine, the encoder, the corpus and the scores of
`examples.papers.universal`, stays as it is in the package.

python -m examples.papers.universal_weights     # minutes; `make universal` makes all the rest before
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
from tqdm import tqdm

from cgir.atomic_files import atomic_path
from cgir.checksums import sealed_json
from encoders import Encoder, Predictor, load_pretrained
from encoders.features.label_transforms import interpolate
from encoders.metrics import spearman
from encoders.predictors.estimators import DEFAULT_TASK
from encoders.predictors.pretrained import CARD, WEIGHTS, card
from examples.papers.universal_encoders import EPISODES, RECIPES, SHIPPED, encoder, place
from examples.papers.universal_families import METRICS, family, trace_timm
from examples.papers.universal_methods import features_of, taught, universal

Row = dict[str, Any]
SEED = 0
REFERENCE = "timm_imagenet"
IMAGENET = {REFERENCE: "timm", "ofa_mbv3": "Once-for-All MobileNetV3 at mixed sizes"}
KNOTS = np.linspace(0, 1, 41)
SCORES = "Spearman's rho by number of labels on families left out, mean and deviation; see RESULTS.md"


def in_reference(predictor: Predictor) -> Predictor:
    """A predictor that sees networks as `zero_shot` does: each by itself, among those of the reference family."""
    predictor.task = DEFAULT_TASK
    return predictor.fit([], [], pool=features_of(REFERENCE))


def task(shipped: Predictor, folder: Path) -> dict[str, Any]:
    """Quantile map from scores to top-1 accuracies of timm's networks, and its error on families left out.

    Args:
        shipped: the weights, in the reference family.
        folder: of predictors.
    """
    labels = family(REFERENCE).labels[DEFAULT_TASK]
    left_out = {name: in_reference(universal(name, SEED, folder)).predict(features_of(name)) for name in tqdm(IMAGENET)}
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
        "scores": np.quantile(shipped.predict(features_of(REFERENCE)), KNOTS).tolist(),
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


def described(corpus: Path, folder: Path) -> dict[str, Any]:
    """What the model card says of corpus, pretraining and scores on families left out: as made here, or as it was.

    Args:
        corpus: the folder of the corpus.
        folder: of encoders, predictors and scores.
    """
    made, scores, before = corpus / "corpus.json", table(folder), card()
    pretrained = place(folder, SHIPPED, SEED).exists()
    stages = {
        "pretraining": asdict(RECIPES["universal"]) | {"seed": SEED},
        "episodes_of_behaviours": asdict(EPISODES) | {"seed": SEED},
    }
    return {
        "corpus": json.loads(made.read_text()) if made.exists() else before["corpus"],
        **(stages if pretrained else {name: before[name] for name in stages}),
        "scores": {"what": SCORES, **scores} if scores else before["scores"],
    }


def start(folder: Path) -> Encoder:
    """The encoder of the folder, or else the one that is shipped."""
    if place(folder, SHIPPED, SEED).exists():
        return encoder(folder, SHIPPED, SEED)
    return load_pretrained().without_sources()


def main() -> None:
    """Write the weights and their card into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", default=Path("runs/corpus"))
    parser.add_argument("--folder", type=Path, default=Path("runs/universal"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trace_timm()
    shipped = in_reference(taught(start(args.folder), METRICS, SEED))
    about = {
        **described(args.corpus, args.folder),
        "labels": METRICS,
        "networks": {name: len(family(name).graphs) for name in METRICS},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "tasks": {"imagenet_top1": task(shipped, args.folder)},
    }
    shipped.save(WEIGHTS / "universal")
    with atomic_path(WEIGHTS / "universal" / CARD) as path:
        path.write_bytes(sealed_json(about, indent=1))


if __name__ == "__main__":
    main()
