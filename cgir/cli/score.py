"""`cgir score`: zero-cost proxies of untrained networks, as a table."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError, printable
from cgir.package_check import check_packages

from .options import (
    add_device_option,
    add_image_options,
    add_limits_option,
    parse_seed,
    parse_shape,
    positive_int,
)
from .output import say
from .output_files import check_file
from .trainable_models import model_names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .trainable_models import Examples

PROXIES = {
    "params": "number of parameters",
    "flops": "FLOPs of one example",
    "grad_norm": "norm of the gradient",
    "snip": "weight times gradient, as pruning does",
    "grasp": "what pruning would do to the gradient's norm",
    "fisher": "feature map times its gradient",
    "synflow": "product of weights along all paths, summed; sees no data",
    "jacob_cov": "how different the gradients of images are",
    "naswot": "how different the ReLUs are that images switch on",
    "swap": "number of different patterns of ReLUs",
    "zen": "how much the features move with the image",
    "zico": "gradients, large and alike from batch to batch",
    "meco": "independence of the channels of feature maps; sees one random image",
}
RANKS = {"az_nas": "four ranks among the networks named, so it needs several, of two blocks or more"}
TRAININGS = {"dense_regression": "minus the loss of 20 steps on 16 of the images; networks of a few cells, a second"}
DEFAULT = "naswot,synflow"
COSTS = ("params", "flops")  # always beside the others
EPILOG = f"""proxies, higher is better:
{chr(10).join(f"  {name:10} {line}" for name, line in (PROXIES | RANKS | TRAININGS).items())}
Number of parameters and FLOPs stand beside every score: in many spaces they rank networks as well.

examples:
  cgir score frontends.reference:resnet50 frontends.reference:mobilenet_v3_small --input-shape 16,3,64,64
  cgir score net.py:small net.py:wide --data cifar10 --proxies zico,snip
  cgir space nasbench201 --sample 20 -o pool && cgir score pool --data digits -o scores.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir score`."""
    parser.description = (
        "Score untrained networks on one batch by zero-cost proxies, and print them best first. "
        "A score says little alone; it ranks networks of one kind."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.fromfile_prefix_chars = "@"
    parser.add_argument(
        "models", nargs="+", metavar="MODEL",
        help="package.module:name or path/file.py:name, what builds a PyTorch module (called without arguments) or "
        "the module itself; SPACE:NETWORK, a network of a search space in the benchmark's own form; or a data set that "
        "`cgir space` wrote. @FILE reads a list from a file, one a line",
    )  # fmt: skip
    parser.add_argument(
        "--proxies", type=parse_proxies, default=DEFAULT, metavar="NAME,...",
        help="see below; the first one sorts (default: %(default)s)",
    )  # fmt: skip
    add_image_options(parser, None)
    parser.add_argument(
        "--batch", type=positive_int, default=64, help="images of the data, drawn at random (default: %(default)s)"
    )
    parser.add_argument(
        "--input-shape", type=parse_shape, action="append", metavar="N,C,...",
        help="without --data: random numbers of this shape, batch included, such as 64,3,32,32, and random labels; "
        "repeatable, one per input",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=parse_seed, default=0, help="of weights, batch and proxies (default: %(default)s)"
    )
    add_device_option(parser)
    add_limits_option(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.csv", help="write the table here, too")


def run(args: argparse.Namespace) -> int:
    """Print the networks with their scores, best first."""
    check_packages("frontends", "search")
    from .trainable_models import read_examples

    check_file(args.output, ".csv")  # before anything takes time
    names = model_names(args.models)
    ranks = [proxy for proxy in args.proxies if proxy in RANKS]
    if ranks and len(names) < 2:
        raise CgirError(f"{ranks[0]} ranks networks among each other, and only {names[0]} is named; name several")
    rows = score_models(names, args.proxies, read_examples(args), args)
    say(format_scores(names, args.proxies, rows))
    if args.output:
        write_scores(args.output, names, args.proxies, rows)
        say(f"\nwrote {printable(args.output)}")
    return 0


def score_models(
    names: Sequence[str], proxies: Sequence[str], examples: Examples, args: argparse.Namespace
) -> list[dict[str, float | None]]:
    """Scores of every model by name, with number of parameters and FLOPs.

    Args:
        names: of the models.
        proxies: to compute.
        examples: that the models are shown.
        args: with seed and device.
    """
    from .trainable_models import build_model

    rows, modules = [], []
    for name in tqdm(names, desc="networks scored", unit="", disable=None):
        module = build_model(name, examples, args.seed)
        targets = examples.targets_of(module, name, args.seed)
        try:
            rows.append(_scores(module, targets, proxies, examples, args))
        except CgirError as error:
            raise type(error)(f"{name}: {error}") from error
        if any(proxy in RANKS for proxy in proxies):
            modules.append(module)
    return _with_ranks(rows, modules, examples, args)


def _scores(
    module: nn.Module, targets: Tensor | None, proxies: Sequence[str], examples: Examples, args: argparse.Namespace
) -> dict[str, float | None]:
    """All but ranks."""
    from search import zero_cost

    single = dict.fromkeys(proxy for proxy in (*proxies, *COSTS) if proxy in PROXIES)
    options = {"seed": args.seed, "device": args.device}
    row = zero_cost.score(module, examples.inputs, targets, names=tuple(single), limits=args.limits, **options)
    if any(proxy in TRAININGS for proxy in proxies):
        if len(examples.inputs) > 1:
            raise CgirError(f"dense_regression takes one input, a batch of images, and not {len(examples.inputs)}")
        row["dense_regression"] = zero_cost.dense_regression(module, examples.inputs[0], **options)
    return row


def _with_ranks(
    rows: list[dict[str, float | None]], modules: list[nn.Module], examples: Examples, args: argparse.Namespace
) -> list[dict[str, float | None]]:
    if not modules:
        return rows
    from search.zero_cost import rank_az_nas

    scores = rank_az_nas(modules, examples.inputs, args.seed, args.device)
    return [
        row | {"az_nas": None if math.isnan(score) else float(score)} for row, score in zip(rows, scores, strict=True)
    ]


def format_scores(names: Sequence[str], proxies: Sequence[str], rows: Sequence[dict[str, float | None]]) -> str:
    """The table for a reader, best first, `-` where a score is undefined.

    Args:
        names: of the models.
        proxies: the columns; the first one sorts.
        rows: scores of each model by name.
    """
    shown = [proxy for proxy in proxies if proxy not in COSTS]
    head = ["rank", *shown, "M params", "MFLOPs", "network"]
    lines = [head]
    for rank, index in enumerate(_best_first(proxies[0], rows), 1):
        row = rows[index]
        costs = [_millions(row[cost]) for cost in COSTS]
        lines.append([str(rank), *(_number(row[proxy], "{:#.5g}") for proxy in shown), *costs, printable(names[index])])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    table = ["  ".join([*(f"{c:>{w}}" for c, w in zip(line[:-1], widths, strict=True)), line[-1]]) for line in lines]
    undefined = any(value is None for row in rows for value in row.values())
    return "\n".join(table + (["", "-: undefined for this network"] if undefined else []))


def write_scores(
    path: Path, names: Sequence[str], proxies: Sequence[str], rows: Sequence[dict[str, float | None]]
) -> None:
    """Write the table as CSV: rank, model, the scores, params and flops; empty where a score is undefined.

    Args:
        path: the file.
        names: of the models.
        proxies: the columns; the first one sorts.
        rows: scores of each model by name.
    """
    columns = list(dict.fromkeys((*proxies, *COSTS)))
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rank", "model", *columns])
        for rank, index in enumerate(_best_first(proxies[0], rows), 1):
            values = [rows[index][column] for column in columns]
            writer.writerow([rank, names[index], *map(_whole, columns, values)])


def parse_proxies(text: str) -> tuple[str, ...]:
    """The names in a text such as naswot,synflow."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = PROXIES | RANKS | TRAININGS
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no proxy {', '.join(unknown) or repr(text)}; there are {', '.join(known)}")
    return names


def _best_first(proxy: str, rows: Sequence[dict[str, float | None]]) -> list[int]:
    def key(index: int) -> float:
        value = rows[index][proxy]
        return math.inf if value is None else -value

    return sorted(range(len(rows)), key=key)


def _whole(column: str, value: float | None) -> float | None:
    return int(value) if column in COSTS and value is not None else value


def _millions(value: float | None) -> str:
    tiny = value is not None and 0 < value < 1e3  # would be 0.000
    return _number(value, "{:.2g}" if tiny else "{:,.3f}", 1e6)


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "-" if value is None else form.format(value / unit).rstrip(".")
