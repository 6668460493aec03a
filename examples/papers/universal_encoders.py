"""Pretrains the encoders of `examples.papers.universal` on the corpus, by the default config and by the paper's.

python -m contrastive.corpus runs/corpus                                # once, about a quarter of an hour
python -m examples.papers.universal_encoders runs/corpus --seeds 0 1 2 3 4   # some five minutes an encoder on one core
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import contrastive
from cgir import GraphStore
from encoders import Encoder, EncoderConfig, load_encoder

# The encoder sums half of its channels over nodes: how much there is of an operator is lost in a mean.
RECIPES = {
    "universal": contrastive.PretrainConfig(
        contrast="wl", property_weight=1.0, path_weight=0.5, steps=1200, encoder=EncoderConfig(pool="mixed")
    ),
    "paper": contrastive.PretrainConfig(steps=1200),
}


def place(folder: Path, recipe: str, seed: int) -> Path:
    """The folder of one pretraining run.

    Args:
        folder: of all runs.
        recipe: one of `RECIPES`.
        seed: of the run.
    """
    return folder / f"encoder-{recipe}-{seed}"


def encoder(folder: Path, recipe: str, seed: int) -> Encoder:
    """A pretrained encoder that `main` left.

    Args:
        folder: of all runs.
        recipe: one of `RECIPES`.
        seed: of the run.
    """
    found = load_encoder(place(folder, recipe, seed) / "encoder.safetensors")
    assert isinstance(found, Encoder)
    return found


def main() -> None:
    """Pretrain the missing encoders; an interrupted run resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folder", type=Path, default=Path("runs/universal"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    pool = contrastive.as_pool(GraphStore.open(args.corpus))
    for seed in args.seeds:
        for recipe in args.recipes:
            contrastive.pretrain(pool, replace(RECIPES[recipe], seed=seed), run_dir=place(args.folder, recipe, seed))


if __name__ == "__main__":
    main()
