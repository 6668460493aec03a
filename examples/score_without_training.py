"""Zero-cost proxies of untrained networks, beside the accuracy that 60 of them reached once trained.

python examples/score_without_training.py
"""

from __future__ import annotations

import numpy as np
import torch

from encoders.metrics import spearman
from frontends import tables
from search import zero_cost
from search.one_shot import load_images

NAMES = ("naswot", "synflow", "snip", "meco", "flops", "params")


def main(networks: int = 60, family: str = "nasbench101", batch: int = 64) -> None:
    """Score networks of the embedded label set on one batch of the digits that they were trained on.

    Args:
        networks: how many.
        family: of "nasbench101", "nasbench201" and "nasbench_macro".
        batch: number of images.
    """
    table = tables.load("digits").family(family)
    assert table.space is not None
    chosen = table.select(np.random.default_rng(0).permutation(len(table))[:networks])
    digits = load_images("digits")
    rows = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))[:batch]
    images = digits.select(rows)
    scores = []
    for spec in chosen.specs:
        torch.manual_seed(0)
        module = table.space.module(spec)
        scores.append(zero_cost.score(module, images.pixels, images.labels, names=NAMES))

    print(f"Spearman with the accuracy after training, {networks} networks of {family}; undefined scores are the worst")
    for name in NAMES:
        values = np.array([score[name] for score in scores], dtype=float)  # None becomes NaN
        undefined = np.isnan(values)
        correlation = spearman(np.where(undefined, -np.inf, values), chosen["accuracy"])
        print(f"{name:8}  {correlation:6.2f}  {undefined.sum()} undefined")


if __name__ == "__main__":
    main()
