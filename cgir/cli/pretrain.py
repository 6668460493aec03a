"""`cgir pretrain`: train an encoder on stores of unlabelled graphs."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgir.errors import printable
from cgir.package_check import check_packages
from cgir.store import GraphStore

from .options import add_device_option, parse_seed, positive_int
from .output import say
from .output_files import check_folder

if TYPE_CHECKING:
    from contrastive import PretrainConfig

ENCODER = "encoder.safetensors"  # in the folder that `contrastive.pretrain` writes
CONTRASTS = {
    "wl": "Weisfeiler-Lehman subtrees, which see operators and shapes",
    "wl_shares": "the same, whatever the size",
    "spectral": "Laplacian spectra, which see the wiring alone (the paper's eq. 4.5)",
    "supcon": "families alone",
    "simclr": "sampled neighbours alone",
}
LOSS_PARTS = {
    "contrast": "of the contrast",
    "property": "of a regression of graph properties",
    "path": "of one of path features",
    "mask": "of masked nodes",
}
# field -> default of the recipes universal and paper
RECIPES: dict[str, tuple[object, object]] = {
    "steps": (1200, 1000),
    "batch": (256, 256),
    "contrast": ("wl", "spectral"),
    "contrast_weight": (1.0, 1.0),
    "property_weight": (1.0, 0.0),
    "path_weight": (0.5, 0.0),
    "mask_weight": (0.0, 0.0),
}
EPILOG = f"""contrasts, by which networks of a family are alike:
{chr(10).join(f"  {name:10} {line}" for name, line in CONTRASTS.items())}
examples:
  cgir space ofa_mbv3 --sample 2000 -o ofa && cgir space nasbench201 --sample 2000 -o nb201
  cgir pretrain ofa nb201 -o encoder --held-out 0.05
  cgir pretrain ofa nb201 -o as-published --recipe paper --tensorboard curves
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir pretrain`."""
    parser.description = (
        "Pretraining on stores of graphs, best of several families, shared by processes under torchrun. "
        "Interrupt it when you like: the same command goes on where it stopped, also with more --steps."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("store", type=Path, nargs="+", help="data sets, such as `cgir space` writes")
    parser.add_argument(
        "-o", "--output", type=Path, required=True,
        help="folder for encoder.safetensors and the state of an unfinished run",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", choices=("universal", "paper"), default="universal",
        help="universal: as the encoder that comes with the package (default); paper: the contrast of spectra alone; "
        "the options below change it",
    )  # fmt: skip
    parser.add_argument("--steps", type=positive_int, help=f"optimiser steps {_default('steps')}")
    parser.add_argument("--batch", type=positive_int, help=f"graphs in a batch {_default('batch')}")
    parser.add_argument(
        "--contrast", choices=CONTRASTS, help=f"how the contrast weighs pairs, see below {_default('contrast')}"
    )
    for part, meaning in LOSS_PARTS.items():
        parser.add_argument(
            f"--{part}-weight", type=float, help=f"weight in the loss {meaning} {_default(f'{part}_weight')}"
        )
    parser.add_argument(
        "--held-out", type=float, default=0.0, metavar="SHARE",
        help="of each family's graphs, such as 0.05: learn nothing from them, and show their loss (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--tensorboard", type=Path, metavar="FOLDER", help="write all losses there for TensorBoard, which is needed"
    )
    parser.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument("--autocast", action="store_true", help="compute in bfloat16 where PyTorch's autocast does")
    add_device_option(parser)


def _default(field: str) -> str:
    universal, paper = RECIPES[field]
    return f"(default: {universal}" + ("" if paper == universal else f", of paper {paper}") + ")"


def run(args: argparse.Namespace) -> int:
    """Pretrain on all stores together, resuming an unfinished run in `args.output`."""
    check_packages("contrastive")
    import contrastive

    check_folder(args.output)
    config = build_config(args)  # before anything is read
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow, if it is there, is loaded by TensorBoard
    logged = contrastive.tensorboard_log(args.tensorboard) if args.tensorboard else nullcontext()
    with logged as callback:
        store = GraphStore.merge([GraphStore.open(path) for path in args.store])
        contrastive.pretrain(store, config, run_dir=args.output, device=args.device, callback=callback)
    say(f"encoder: {printable(args.output / ENCODER)} ({len(store):,} graphs of {len(set(store.families))} families)")
    return 0


def build_config(args: argparse.Namespace) -> PretrainConfig:
    """The recipe with what the options change."""
    from contrastive import PretrainConfig

    changes: dict[str, Any] = {name: value for name in RECIPES if (value := getattr(args, name)) is not None}
    make = PretrainConfig.paper if args.recipe == "paper" else PretrainConfig
    return make(**changes, seed=args.seed, autocast=args.autocast, held_out=args.held_out)
