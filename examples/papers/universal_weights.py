"""The weights that the package ships: one encoder of `examples.papers.universal_encoders`, taught by all labelled families, with a model card.

python -m examples.papers.universal_weights     # a minute, once the encoders and the scores of `examples.papers.universal` are there (`make universal`)
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgir.files import atomic_path
from encoders import Predictor
from encoders.descriptors import describe
from encoders.labels import interpolate
from encoders.metrics import spearman
from encoders.networks import TASK
from encoders.pretrained import CARD, WEIGHTS
from examples.papers.universal_encoders import RECIPES, encoder
from examples.papers.universal_families import METRICS, family, trace_timm
from examples.papers.universal_methods import described, taught, universal

Array = NDArray[np.float64]
Row = dict[str, Any]
SEED = 0
REFERENCE = "timm_imagenet"
KNOTS = np.linspace(0, 1, 41)


def scores_of(predictor: Predictor) -> Array:
    """Zero-shot scores of the reference family."""
    return predictor.predict(describe(described(REFERENCE), predictor.encoder))


def task(shipped: Predictor, without: Predictor, table: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How scores become top-1 accuracies, quantile by quantile of timm's networks, and how far off that was without having seen their labels."""
    labels = family(REFERENCE).labels[TASK]
    values, left_out = np.quantile(labels, KNOTS), scores_of(without)
    guesses = interpolate(left_out, np.quantile(left_out, KNOTS), values)
    worth = {REFERENCE: spearman(left_out, labels)} | {name: row["0"][0] for name, row in table.items() if name.startswith("OFA")}
    return {
        "unit": "% top-1", "about": "ImageNet validation accuracy of an image classifier", "families": list(METRICS),
        "reference": f"{len(labels)} networks of timm, whose recipes differ", "worth": {name: round(value, 3) for name, value in worth.items()},
        "scores": np.quantile(scores_of(shipped), KNOTS).tolist(), "values": values.tolist(), "deviation": float(np.sqrt(np.mean((guesses - labels) ** 2))),
    }  # fmt: skip


def table(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Spearman's rho of the default read-out on families left out: target, number of labels -> mean and deviation."""
    rows: list[Row] = [row for path in sorted((folder / "scores").glob("cgir-*.json")) for row in json.loads(path.read_text())]
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["target"], {}).setdefault(str(row["labels"]), []).append(row["spearman"])
    return {
        target: {k: (round(mean(values), 3), round(stdev(values), 3)) for k, values in sorted(counts.items(), key=lambda pair: int(pair[0]))}
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
    known = table(args.folder)
    card = {
        "corpus": json.loads((args.corpus / "corpus.json").read_text()), "pretraining": asdict(RECIPES["universal"]) | {"seed": SEED},
        "labels": {name: METRICS[name] for name in METRICS}, "networks": {name: len(family(name).graphs) for name in METRICS},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "scores": {"what": "Spearman's rho by number of labels on families whose labels were left out, mean and deviation; see RESULTS.md", **known},
        "tasks": {"imagenet_top1": task(shipped, universal(REFERENCE, SEED, args.folder), known)},
    }  # fmt: skip
    shipped.save(WEIGHTS / "universal")
    with atomic_path(WEIGHTS / "universal" / CARD) as path:
        path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
