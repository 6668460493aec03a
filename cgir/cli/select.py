"""`cgir select`: train a supernet, and select a network of its search space by a rule."""

from __future__ import annotations

import argparse
import sys
from ast import literal_eval
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgir.errors import CgirError, LabelError, printable
from cgir.package_check import check_packages

from .options import add_device_option, add_image_options, parse_seed, positive_int
from .output import say
from .output_files import check_file

if TYPE_CHECKING:
    from search.one_shot import Images, Selected, Supernet, Trained

SPACES = ("nasbench201", "nasbench1shot1", "darts")
RULES = {
    "argmax": "the largest architecture weights, as DARTS does",
    "perturbation": "the operations without which validation accuracy falls most (DARTS-PT)",
    "zero_cost": "the operations without which a zero-cost proxy falls most (Zero-Cost-PT); also --untrained",
    "influence": "the operations without which the loss would rise most, by influence functions",
    "influential_magnitude": "Influential Magnitude: what the trained weights owe to each operation (DARTS-IM)",
    "causal": "accuracy of each operation alone, untrained, its value drawn from a trained supernet's (Causal-ZNAS)",
    "random": "chance, which every rule has to beat",
}
OWN = ("seed", "exclude", "device", "progress", "train", "statistics")  # arguments of rules that are no --option
NOT_UNTRAINED = "argmax"  # compares weights that are all equal then
LAYERS = {"darts": "layers"}  # space -> what its skeleton calls the cells, if not so
MEASURED = {"nasbench201": "cifar10_test_200ep_mean"}  # of all networks of a space, in percent
EPILOG = f"""rules:
{chr(10).join(f"  {name:22} {line}" for name, line in RULES.items())}

examples:
  cgir select                                            NAS-Bench-201 on digits, in about a minute
  cgir select --rule influential_magnitude --exclude none -o selected.svg
  cgir select --space darts --cells 3 --data images.npz --checkpoint darts.safetensors
  cgir select --untrained --rule zero_cost --option proxy=naswot
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir select`."""
    parser.description = (
        "Train a supernet: all operations of a space at once, mixed by architecture weights that are trained with "
        "the others. Then score every operation by a rule, and select the network of the best ones."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--space", choices=SPACES, default=SPACES[0], help="search space (default: %(default)s)")
    parser.add_argument("--rule", choices=RULES, default="argmax", help="see below (default: %(default)s)")
    parser.add_argument(
        "--option", type=parse_option, action="append", default=[], metavar="KEY=VALUE",
        help="argument of the rule, such as batches=10; repeatable; a wrong one is answered with all of them",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="OPERATION", help="never select it, such as none; repeatable"
    )
    add_image_options(parser, "digits")
    _add_network_options(parser.add_argument_group("the supernet"))
    _add_training_options(parser.add_argument_group("its training"))
    parser.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")
    add_device_option(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.svg", help="draw the network and all scores")


def _add_network_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--subspace", type=int, choices=(1, 2, 3), help="of nasbench1shot1 (default: 1)")
    group.add_argument("--channels", type=positive_int, default=8, help="of the first cells (default: %(default)s)")
    group.add_argument(
        "--cells", type=positive_int, help="in each of three stages (default: 1); of darts in all (default: 3)"
    )
    group.add_argument(
        "--partial", type=positive_int, default=1, metavar="K",
        help="only a K-th of the channels goes through the operations, as in PC-DARTS (default: %(default)s, all)",
    )  # fmt: skip


def _add_training_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--steps", type=positive_int, default=300, help="default: %(default)s")
    group.add_argument("--batch", type=positive_int, default=64, help="images in a step (default: %(default)s)")
    group.add_argument(
        "--order", type=int, choices=(1, 2), default=1,
        help="of the architecture's gradient; 2 is DARTS' unrolled step, slower (default: %(default)s)",
    )  # fmt: skip
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--checkpoint", type=Path, metavar="FILE",
        help="keep the training here, every 100 steps or once a minute: the same command goes on from there, and "
        "other rules start from its end",
    )  # fmt: skip
    start.add_argument("--untrained", action="store_true", help="select from random weights, without training")


def run(args: argparse.Namespace) -> int:
    """Train, select, and print the specification and the score of every operation."""
    check_packages("search")
    from search.one_shot import load_images

    check_arguments(args)  # before anything takes time
    images = load_images(args.data, args.size)
    weights_images, valid = images.split(args.seed)
    network = build_supernet(args, images)
    check_rule(network, args)
    trained = train(network, weights_images, valid, args)
    selected = apply_rule(network, trained, weights_images, valid, args)
    if args.output:
        selected.save(args.output)
    say(report(selected, trained, args))
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """CgirError where options do not go together."""
    if args.untrained and args.rule == NOT_UNTRAINED:
        raise CgirError(
            f"--untrained: all weights are equal, and {NOT_UNTRAINED} compares nothing else; choose another --rule"
        )
    if args.subspace and args.space != "nasbench1shot1":
        raise CgirError(f"--subspace {args.subspace}: {args.space} has none; they are those of nasbench1shot1")
    check_file(args.output, ".svg")
    check_file(args.checkpoint)


def build_supernet(args: argparse.Namespace, images: Images) -> Supernet:
    """The supernet that the options describe, for the images' shape and classes."""
    from search.one_shot import supernet

    layers = LAYERS.get(args.space, "cells")
    skeleton: dict[str, Any] = {layers: args.cells or (1 if layers == "cells" else 3), "channels": args.channels}
    if args.subspace:
        skeleton["subspace"] = args.subspace
    return supernet(
        args.space, partial=args.partial, seed=args.seed, image=images.shape, classes=images.classes, **skeleton
    )


def check_rule(network: Supernet, args: argparse.Namespace) -> None:
    """CgirError unless the rule takes the options, and the supernet has the operations that are excluded."""
    from search.one_shot import RULES as FUNCTIONS
    from search.one_shot import causal
    from search.one_shot.inverse_hessian import METHODS
    from search.one_shot.perturbation import CRITERIA
    from search.one_shot.selection import check_options, checked_exclude
    from search.zero_cost import NAMES

    options = dict(args.option)
    for name in OWN:
        if name in options:
            raise CgirError(f"--option {name}: is no option of a rule here; the command gives it")
    functions: dict[str, Callable[..., Any]] = {**FUNCTIONS, "causal": causal}
    check_options(args.rule, functions[args.rule], options)
    for name, known in {"proxy": NAMES, "criterion": CRITERIA, "inverse": METHODS}.items():
        if name in options and options[name] not in known:
            raise CgirError(f"--option {name}={options[name]}: there are {', '.join(known)}")
    checked_exclude(network, args.exclude)


def train(network: Supernet, train_images: Images, valid: Images, args: argparse.Namespace) -> Trained:
    """The supernet after its training, or as it is.

    Args:
        network: newly initialised.
        train_images: for the weights.
        valid: for the architecture.
        args: with the options of the training.
    """
    from search import one_shot

    if args.untrained:
        return one_shot.untrained(network)
    names = ("steps", "batch", "order", "seed", "device")
    options = {name: getattr(args, name) for name in names} | {"progress": sys.stderr.isatty()}
    return one_shot.train(network, train_images, valid, path=args.checkpoint, **options)


def apply_rule(
    network: Supernet, trained: Trained, train_images: Images, valid: Images, args: argparse.Namespace
) -> Selected:
    """What the rule selects.

    Args:
        network: newly initialised.
        trained: the same after its training, or as it is.
        train_images: on which a rule may tune weights.
        valid: images that rules look at.
        args: with the rule and its options.
    """
    from search import one_shot

    settings = {"seed": args.seed, "exclude": args.exclude, "device": args.device, "progress": sys.stderr.isatty()}
    settings |= dict(args.option)
    if args.rule == "causal":
        draw = {name: settings[name] for name in ("count", "batch", "seed", "device", "progress") if name in settings}
        statistics = None if args.untrained else one_shot.one_shot_statistics(trained, valid, **draw)
        return one_shot.causal(network, valid, statistics=statistics, **settings)
    if settings.get("tune_steps"):
        settings["train"] = train_images
    return one_shot.select(trained, valid, args.rule, **settings)


def report(selected: Selected, trained: Trained, args: argparse.Namespace) -> str:
    """What was selected, all scores, and how good it is where that was measured.

    Args:
        selected: by the rule.
        trained: from which.
        args: of the command.
    """
    how = "untrained"
    if trained.history:
        accuracies = [record["valid_accuracy"] for record in trained.history[-10:]]
        mean = sum(accuracies) / len(accuracies)
        how = f"after {args.steps} steps, accuracy {mean:.2f} on its last validation batches"
    lines = [
        f"supernet of {args.space}, {how}; {args.rule} took {selected.seconds:.1f} s",
        "",
        selected.table(),
        "",
        f"scores: higher is better, and comparable in a line only; * is selected{left_out(selected, args.exclude)}",
        *measured(selected),
    ]
    return "\n".join([*lines, *([f"wrote {printable(args.output)}"] if args.output else [])])


def left_out(selected: Selected, exclude: Sequence[str]) -> str:
    """Which operations could not be selected, whatever their scores; empty where all could."""
    names = dict.fromkeys([*exclude, *(name for choice in selected.choices for name in choice.never)])
    return f", never {' or '.join(names)}" if names else ""


def measured(selected: Selected) -> list[str]:
    """The accuracy of the selected network and its rank in the space, if CGIR_DATA has a table of all its networks."""
    from frontends import tables

    name = selected.space.name
    try:
        table = tables.load(name) if name in MEASURED else None
    except LabelError:  # there is no such folder, or not this file
        return []
    if table is None or selected.spec_string not in table.spec_strings:
        return []
    values = table[MEASURED[name]]
    value = values[table.spec_strings.index(selected.spec_string)]
    rank = 1 + int((values > value).sum())
    return [f"trained by the benchmark's authors: {value:.2f} % on CIFAR-10, rank {rank:,} of {len(values):,}"]


def parse_option(text: str) -> tuple[str, Any]:
    """The name and value in a text such as batches=10, published=True or inverse=neumann."""
    name, found, value = text.partition("=")
    if not name.isidentifier() or not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no option of a rule; expected KEY=VALUE, such as batches=10")
    try:
        return name, literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
