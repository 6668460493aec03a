"""Arguments of the commands that learn and use what was learned: pretrain, finetune, predict, explain, demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import MODEL, add_detail, add_request, positive

# of encoders.Predictor, which is not imported for a --help
HEADS = ("blend", "gp", "carl", "rank", "logistic", "listmle", "warp", "mse")
NETWORKS = f"a graph (.json), a data set (a folder, or .parquet), or a model: {MODEL}. @FILE reads a list from a file, one a line"
FINETUNE_EPILOG = """measurements:
  A table with commas and a first line of names: `model`, and a column for each metric.
      model,accuracy
      net.py:small,71.3
      net.py:wide,74.9
  A model is named as on the command line, or by its file or function alone where one model only is called so; a network of a data set by its string.
  Networks without a value are ranked too, and help to say what is usual. Several values of one model are averaged.
examples:
  cgir finetune net.py:small net.py:wide net.py:deep net.onnx --labels measured.csv --input-shape 1,3,224,224 -o ranker
  cgir finetune @models.txt --labels measured.csv --metric latency --lower-is-better -o ranker
  cgir finetune labelled --metric accuracy --limit 50 -o ranker        a data set, as `cgir tables graphs` writes it
"""
PREDICT_EPILOG = """examples:
  cgir predict                                                         the tasks that need no label, and what their scores are worth
  cgir predict net.py:build --task imagenet_top1 --input-shape 1,3,224,224
  cgir predict @models.txt --predictor ranker -o scores.csv
"""


def add_pretrain(commands: Any) -> None:
    """`cgir pretrain`."""
    description = "Pretraining on stores of graphs, shared by processes under torchrun. Interrupt it when you like: the same command goes on where it stopped."
    sub = commands.add_parser("pretrain", help="train an encoder on unlabelled graphs", description=description)
    sub.add_argument("store", type=Path, nargs="+", help="Parquet stores written by cgir.GraphStore")
    sub.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="folder for encoder.safetensors and the state of an unfinished run",
    )
    sub.add_argument("--steps", type=int, default=300, help="optimiser steps (default: %(default)s)")
    sub.add_argument("--batch", type=int, default=256, help="graphs in a batch (default: %(default)s)")
    contrasts = ("spectral", "wl", "wl_shares", "supcon", "simclr")
    sub.add_argument(
        "--contrast",
        choices=contrasts,
        default="spectral",
        help="how the contrast weighs pairs (default: %(default)s, the paper's eq. 4.5)",
    )
    parts = {
        "contrast": "of the contrast",
        "property": "of a regression of graph properties",
        "path": "of one of path features",
        "mask": "of masked nodes",
    }
    for part, what in parts.items():
        sub.add_argument(
            f"--{part}-weight",
            type=float,
            default=float(part == "contrast"),
            help=f"weight in the loss {what} (default: %(default)s)",
        )
    sub.add_argument("--seed", type=int, default=0)


def add_finetune(commands: Any) -> None:
    """`cgir finetune`."""
    sub = commands.add_parser(
        "finetune",
        help="learn a ranking from few labels: of your own models, or of a data set",
        description="Learn from a few measured networks, save the predictor for `cgir predict` and `cgir explain`, and rank all networks that were given.",
        epilog=FINETUNE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    sub.add_argument("networks", nargs="+", metavar="NETWORK", help=NETWORKS)
    sub.add_argument(
        "--labels",
        type=Path,
        metavar="FILE.csv",
        help="your measurements, see below (default: the labels that data sets bring along)",
    )
    sub.add_argument(
        "--metric",
        "--label",
        metavar="NAME",
        help="which column of FILE.csv, or which label of the data sets (default: the only one)",
    )
    sub.add_argument(
        "--lower-is-better",
        action="store_true",
        help="the metric is a loss, an error or a time: it is learned with its sign turned",
    )
    sub.add_argument(
        "--encoder",
        default="universal",
        metavar="WHICH",
        help="universal: the one that comes with the package (default); what `cgir pretrain` wrote; none: hand-made features only",
    )
    sub.add_argument(
        "--head",
        choices=HEADS,
        default="blend",
        help="default: %(default)s, a Gaussian process that starts from what needs no label",
    )
    sub.add_argument("--ensemble", type=positive, metavar="N", help="heads to average (default: 3 in a blend, else 1)")
    sub.add_argument(
        "--sources",
        type=Path,
        nargs="+",
        default=[],
        metavar="STORE",
        help="data sets of other families with the same label, learned from first",
    )
    sub.add_argument("--limit", type=positive, metavar="N", help="use this many labels, drawn at random")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--top", type=positive, metavar="N", default=20, help="how many to print (default: %(default)s)")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="for the predictor")
    add_request(sub)


def add_predict(commands: Any) -> None:
    """`cgir predict`."""
    sub = commands.add_parser(
        "predict",
        help="rank networks, with a predictor of yours or without any label",
        description="Rank networks, best first: with a predictor that `cgir finetune` wrote, or, for a known task, with none of your own measurements. "
        "Alone it lists the tasks.",
        epilog=PREDICT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    sub.add_argument("networks", nargs="*", metavar="NETWORK", help=NETWORKS)
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--predictor", type=Path, metavar="FOLDER", help="written by `cgir finetune`")
    how.add_argument("--task", metavar="NAME", help="without a predictor: what to guess, such as imagenet_top1")
    sub.add_argument("--top", type=positive, metavar="N", default=20, help="how many to print (default: %(default)s)")
    sub.add_argument(
        "-o", "--output", type=Path, metavar="FILE.csv", help="write all scores here: rank, model, score, deviation"
    )
    add_request(sub)


def add_explain(commands: Any) -> None:
    """`cgir explain`."""
    sub = commands.add_parser(
        "explain",
        help="why a network got its score: what each operator is worth to a predictor",
        description="Print the operators that a network's score hangs on, and draw the network shaded by them: darker is more important.",
        epilog="example: cgir explain net.py:build --predictor predictor --input-shape 1,3,224,224 -o why.html",
    )
    sub.add_argument(
        "model", help="a graph written by `cgir trace -o` or `cgir space -o`, or any model that `cgir trace` takes"
    )
    sub.add_argument("--predictor", type=Path, required=True, help="folder written by `cgir finetune`")
    sub.add_argument(
        "--method",
        choices=("masks", "occlusion"),
        help="masks: CARL's own; occlusion: the score without each part (default: masks, if any)",
    )
    sub.add_argument("--top", type=positive, default=10, help="how many to print (default: %(default)s)")
    sub.add_argument("-o", "--output", type=Path, help="draw to this .svg or .html file")
    add_detail(sub)
    add_request(sub)


def add_demo(commands: Any) -> None:
    """`cgir demo`."""
    sub = commands.add_parser(
        "demo",
        help="the whole line in a few minutes",
        description="Trace, draw, pretrain, fine-tune on 20 labels, compare. No data, no network.",
    )
    sub.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/demo"),
        help="folder for pictures and the report (default: %(default)s)",
    )
    sub.add_argument("--seed", type=int, default=0)
