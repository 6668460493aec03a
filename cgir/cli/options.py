"""Options that several commands share, and the parsers of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from math import inf, prod
from pathlib import Path
from typing import Any

from cgir.errors import CgirError, TraceError
from cgir.executors import FORMS
from cgir.limits import DEFAULT

MODEL = (
    "package.module:name or path/file.py:name, what builds the model (called without arguments) or the model itself; "
    "or a file: .onnx, .pt2, .keras, .h5, .hdf5, .pb, .pbtxt, a SavedModel folder"
)
NETWORKS = (
    f"a graph (.json), a data set (a folder, or .parquet), or a model: {MODEL}. "
    "@FILE reads a list from a file, one a line"
)

SIGNED = ("--objective", "--hint")  # options whose values may begin with a sign
LARGEST, ELEMENTS = 2**31 - 1, 2**63 - 1  # of a count, and of the elements of a tensor
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
BYTES = re.compile(r"(\d+\.?\d*|\.\d+)([kMGT]?)")


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    """Declare what tracing a model may need: shapes of inputs, sizes of open dimensions, the level of the graph."""
    parser.add_argument(
        "--input-shape",
        type=parse_shape,
        action="append",
        metavar="N,C,...",
        help="shape of a floating-point input, batch included, such as 1,3,224,224; repeatable, one per input; "
        "not needed where the model declares its shapes",
    )
    parser.add_argument(
        "--dim",
        type=parse_dim,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size of a dimension that the model leaves open; repeatable",
    )
    parser.add_argument(
        "--batch",
        type=parse_batch,
        action="append",
        metavar="AXIS | NAME=AXIS | none",
        help="axis of the inputs that holds the batch, by which costs are divided (default: 0); NAME=AXIS of one "
        "input, repeatable; none: there is no batch",
    )
    parser.add_argument(
        "--level",
        choices=("module", "inference"),
        default="module",
        help="inference also folds BatchNorm into convolutions",
    )
    parser.add_argument("--strict", action="store_true", help="an operator that is not in the vocabulary is an error")
    parser.set_defaults(default_shape=None)  # of models that know none, where a predictor remembers one
    add_limits_option(parser)


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """Declare how many processes trace models."""
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes that trace models, which pay from some dozens on (default: %(default)s)",
    )


def add_device_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare where networks compute."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="WHERE",
        help="where networks compute: auto, the GPU where there is one, cpu, cuda or cuda:1 (default: %(default)s)",
    )


def add_limits_option(parser: argparse.ArgumentParser) -> None:
    """Declare what a file may take."""
    parser.add_argument(
        "--limits",
        action=ChangeLimits,
        default=DEFAULT,
        metavar="NAME=NUMBER,...",
        help="allow more to a file that you trust, such as nodes=5e6,bytes=16e9,depth=500,seconds=300: nodes of its "
        "graph, bytes of memory beyond its own size, depth of nesting, seconds of a step whose effort nobody knows "
        f"(default: nodes={DEFAULT.nodes}, bytes={DEFAULT.bytes}, depth={DEFAULT.depth}, "
        f"seconds={DEFAULT.seconds:.0f})",
    )


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """Declare the files to which a graph is drawn."""
    parser.add_argument("--svg", type=Path, help="draw to this SVG file")
    parser.add_argument("--png", type=Path, help="draw to this PNG file (needs matplotlib)")
    parser.add_argument("--dot", type=Path, help="write Graphviz source")
    parser.add_argument(
        "--html", type=Path, help="write one self-contained page: blocks open in place, search, details"
    )
    add_detail_options(parser)


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Declare who writes a data set, and whether it may replace another."""
    parser.add_argument(
        "--executor",
        metavar="NAME",
        help=f"who does the work: {FORMS} (default: this process, one job after the other)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the data set that is at the output")


def add_detail_options(parser: argparse.ArgumentParser) -> None:
    """Declare how much of a graph a drawing shows."""
    detail = parser.add_mutually_exclusive_group()
    detail.add_argument(
        "--depth", type=positive_int, help="open this many levels of modules (default: as many as can be read)"
    )
    detail.add_argument("--full", action="store_true", help="every node instead of blocks")


def add_image_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Declare the images that networks are shown.

    Args:
        parser: of the command.
        default: name of the images where none are named; None: the command does without.
    """
    parser.add_argument(
        "--data",
        default=default,
        metavar="NAME | FILE.npz",
        help="digits (8x8, in scikit-learn), cifar10 (CGIR_DATA/cifar10/train.parquet; needs pillow), or a file of "
        "yours with the arrays images (N, channels, height, width) and labels (N), from 0"
        + (" (default: %(default)s)" if default else ""),
    )
    parser.add_argument(
        "--size",
        type=positive_int,
        metavar="PIXELS",
        help="average the images to this height and width, a divisor of theirs",
    )


def parse_shape(text: str) -> tuple[int, ...]:
    """The shape in a text such as 1,3,224,224, batch included."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; expected integers such as 1,3,224,224") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape: every size must be at least 1")
    if prod(sizes) > ELEMENTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape: no tensor has more than 2^63 elements")
    return sizes


def parse_dim(text: str) -> tuple[str, int]:
    """The name and size of a dimension in a text such as batch=1."""
    name, _, size = text.rpartition("=")
    if not name or not size.isdecimal() or not 1 <= int(size) <= ELEMENTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a dimension; expected NAME=SIZE such as batch=1")
    return name, int(size)


def parse_batch(text: str) -> tuple[str, int | None]:
    """The name of an input, empty for all of them, and its batch axis in a text such as 1, none or tokens=1."""
    name, _, axis = text.rpartition("=")
    if axis != "none" and not (axis.isdecimal() and int(axis) <= LARGEST):
        raise argparse.ArgumentTypeError(f"{text!r} is no batch axis; expected 0, 1, ..., none, or NAME=AXIS")
    return name, None if axis == "none" else int(axis)


def batch_axis(given: list[tuple[str, int | None]] | None) -> int | dict[str, int | None] | None:
    """The argument `batch` of `frontends.trace` from all options `--batch`.

    Raises:
        TraceError: there are several, and one of them names no input.
    """
    if not given:
        return 0
    if len(given) == 1 and not given[0][0]:
        return given[0][1]
    if not all(name for name, _ in given):
        raise TraceError("--batch: several axes need the names of their inputs, such as --batch tokens=1")
    return dict(given)


class ChangeLimits(argparse.Action):
    """Changes the limits by each text such as nodes=5e6,seconds=300."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        """Store the changed limits."""
        try:
            setattr(namespace, self.dest, getattr(namespace, self.dest).changed(values))
        except CgirError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def parse_seed(text: str) -> int:
    """The seed in a text, as PyTorch, NumPy and Python take one."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; expected a whole number from 0 to {2**32 - 1}")
    return int(text)


def positive_int(text: str) -> int:
    """The integer in a text, at least 1, and no more than any count is."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    if int(text) > LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is too large; expected at most {LARGEST}")
    return int(text)


def positive_float(text: str) -> float:
    """The number in a text, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def parse_bytes(text: str) -> int:
    """The number of bytes in a text such as 800M or 1.5G."""
    match = BYTES.fullmatch(text)
    number = int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")) if match else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected a number with k, M, G or T, such as 4G")
    return number


def join_signed(words: Sequence[str]) -> list[str]:
    """Words of a command line, with `--objective -flops` as `--objective=-flops`, which argparse would not take."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in SIGNED and word.startswith("-") and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def parse_skeleton(text: str) -> tuple[str, float | tuple[float, ...] | str]:
    """A field of a search space's skeleton and its value, in a text such as channels=4, image=3,8,8 or task=jigsaw."""
    name, _, value = text.partition("=")
    if not name.isidentifier() or not value:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no part of a skeleton; expected such as channels=4 or image=3,8,8"
        )
    parts = value.split(",")
    if not all(NUMBER.fullmatch(part) for part in parts):
        return name, value
    numbers = tuple(float(part) if "." in part else int(part) for part in parts)
    return name, numbers[0] if len(numbers) == 1 else numbers
