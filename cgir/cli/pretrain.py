"""`cgir pretrain`: train an encoder on stores of unlabelled graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from cgir.errors import printable
from cgir.package_check import check_packages
from cgir.store import GraphStore

from .options import add_device_option, parse_seed, positive_int
from .output import say

ENCODER = "encoder.safetensors"  # in the folder that `contrastive.pretrain` writes
CONTRASTS = ("spectral", "wl", "wl_shares", "supcon", "simclr")
LOSS_PARTS = {
    "contrast": "of the contrast",
    "property": "of a regression of graph properties",
    "path": "of one of path features",
    "mask": "of masked nodes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir pretrain`."""
    parser.description = (
        "Pretraining on stores of graphs, shared by processes under torchrun. "
        "Interrupt it when you like: the same command goes on where it stopped, also with more --steps."
    )
    parser.add_argument("store", type=Path, nargs="+", help="Parquet stores written by cgir.GraphStore")
    parser.add_argument(
        "-o", "--output", type=Path, required=True,
        help="folder for encoder.safetensors and the state of an unfinished run",
    )  # fmt: skip
    parser.add_argument("--steps", type=positive_int, default=300, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--batch", type=positive_int, default=256, help="graphs in a batch (default: %(default)s)")
    parser.add_argument(
        "--contrast", choices=CONTRASTS, default="spectral",
        help="how the contrast weighs pairs (default: %(default)s, the paper's eq. 4.5)",
    )  # fmt: skip
    for part, meaning in LOSS_PARTS.items():
        parser.add_argument(
            f"--{part}-weight", type=float, default=float(part == "contrast"),
            help=f"weight in the loss {meaning} (default: %(default)s)",
        )  # fmt: skip
    parser.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument("--autocast", action="store_true", help="compute in bfloat16 where PyTorch's autocast does")
    add_device_option(parser)


def run(args: argparse.Namespace) -> int:
    """Pretrain on all stores together, resuming an unfinished run in `args.output`."""
    check_packages("contrastive")
    import contrastive

    store = GraphStore.merge([GraphStore.open(path) for path in args.store])
    weights = (name for name in contrastive.WEIGHTS if name != "behaviour_weight")  # which stores do not hold
    names = ("contrast", "steps", "batch", "seed", "autocast", *weights)
    config = contrastive.PretrainConfig(**{name: getattr(args, name) for name in names})
    contrastive.pretrain(store, config, run_dir=args.output, device=args.device)
    say(f"encoder: {printable(args.output / ENCODER)} ({len(store):,} graphs of {len(set(store.families))} families)")
    return 0
