"""Pretrains encoders on the corpus, by our recipe and by the paper's; the shipped one then learns behaviours, too.

python -m contrastive.corpus runs/corpus                                # once, about a quarter of an hour
python -m examples.papers.behaviour_table                               # once, half an hour
python -m examples.papers.universal_encoders runs/corpus --seeds 0 1 2 3 4   # some five minutes an encoder on one core
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import contrastive
from cgir import GraphStore
from contrastive.episodes import pretrain_by_episodes
from encoders import Encoder, load_encoder, save_encoder
from examples.papers import behaviour

RECIPES = {"universal": contrastive.PretrainConfig(), "paper": contrastive.PretrainConfig.paper(steps=1200)}
SHIPPED = "behaviours"  # what "universal" becomes by episodes of behaviours
EPISODES = replace(behaviour.EPISODES, steps=3000, lr=1e-3)


def place(folder: Path, recipe: str, seed: int) -> Path:
    """The folder of one pretraining run.

    Args:
        folder: of all runs.
        recipe: one of `RECIPES`, or `SHIPPED`.
        seed: of the run.
    """
    return folder / f"encoder-{recipe}-{seed}"


def encoder(folder: Path, recipe: str, seed: int) -> Encoder:
    """A pretrained encoder that `main` left.

    Args:
        folder: of all runs.
        recipe: one of `RECIPES`, or `SHIPPED`.
        seed: of the run.
    """
    found = load_encoder(place(folder, recipe, seed) / "encoder.safetensors")
    assert isinstance(found, Encoder)
    return found


def teach_behaviours(folder: Path, behaviours: Path, seed: int) -> None:
    """Go on with an encoder of the recipe "universal", by `pretrain_by_episodes`; nothing if that was done.

    Args:
        folder: of all runs.
        behaviours: the folder of `examples.papers.behaviour`.
        seed: of the run.
    """
    target = place(folder, SHIPPED, seed) / "encoder.safetensors"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        pool = behaviour.pool(behaviours, behaviour.Design(EPISODES, episodes=True), [])
        config = replace(EPISODES, seed=seed)
        save_encoder(pretrain_by_episodes(pool, config, start=encoder(folder, "universal", seed)), target)


def main() -> None:
    """Pretrain the missing encoders; an interrupted run resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folder", type=Path, default=Path("runs/universal"))
    parser.add_argument("--behaviours", type=Path, default=Path("runs/behaviour"), help="of examples.papers.behaviour")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pool = contrastive.as_pool(GraphStore.open(args.corpus))
    for seed in args.seeds:
        for recipe in args.recipes:
            contrastive.pretrain(pool, replace(RECIPES[recipe], seed=seed), run_dir=place(args.folder, recipe, seed))
    teach_behaviours(args.folder, args.behaviours, args.seeds[0])


if __name__ == "__main__":
    main()
