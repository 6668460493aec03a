"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
from pathlib import Path

MODEL = (
    "package.module:name or path/file.py:name, what builds the model (called without arguments) or the model itself; "
    "or a file: .onnx, .pt2, .keras, .h5, .pb, a SavedModel folder"
)


def add_request(sub: argparse.ArgumentParser) -> None:
    """What a model may need to be told before it can be followed."""
    sub.add_argument(
        "--input-shape",
        type=shape,
        action="append",
        metavar="N,C,...",
        help="with the batch, such as 1,3,224,224; once per input, if the model does not know",
    )
    sub.add_argument(
        "--dim",
        type=dim,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size of a dimension that the model leaves open; repeatable",
    )
    sub.add_argument(
        "--level",
        choices=("module", "inference"),
        default="module",
        help="inference also folds BatchNorm into convolutions",
    )
    sub.add_argument("--strict", action="store_true", help="an operator that is not in the vocabulary is an error")


def add_pictures(sub: argparse.ArgumentParser) -> None:
    """Where a graph is drawn to."""
    sub.add_argument("--svg", type=Path, help="draw to this SVG file")
    sub.add_argument("--dot", type=Path, help="write Graphviz source")
    sub.add_argument("--html", type=Path, help="write one self-contained page, where blocks open when clicked")
    add_detail(sub)


def add_detail(sub: argparse.ArgumentParser) -> None:
    """How much of a graph a drawing shows."""
    detail = sub.add_mutually_exclusive_group()
    detail.add_argument(
        "--depth", type=positive, help="open this many levels of modules (default: as many as can be read)"
    )
    detail.add_argument("--full", action="store_true", help="every node instead of blocks")


def shape(text: str) -> tuple[int, ...]:
    """A shape with its batch, as in 1,3,224,224."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; expected integers such as 1,3,224,224") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape: every size must be at least 1")
    return sizes


def dim(text: str) -> tuple[str, int]:
    """A named dimension and its size, as in batch=1."""
    name, _, size = text.rpartition("=")
    if not name or not size.isdecimal() or int(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a dimension; expected NAME=SIZE such as batch=1")
    return name, int(size)


def positive(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; expected 1 or more")
    return int(text)
