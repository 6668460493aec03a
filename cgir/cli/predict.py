"""`cgir predict`: rank networks with a saved predictor, or for a known task without any label."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgir.errors import CgirError, printable
from cgir.graph_batch import GraphBatch
from cgir.limits import Limits
from cgir.package_check import check_packages

from .options import NETWORKS, add_device_option, add_trace_options, add_workers_option, positive_int
from .output import say
from .output_files import check_file
from .score_table import Scored, format_table, write_csv
from .targets import default_shape, load_or_trace, open_targets, read_graphs

if TYPE_CHECKING:
    from encoders import Predictor

SHIPPED_ENCODER = "universal"
EPILOG = """examples:
  cgir predict                                                         \
the tasks that need no label, and what their scores are worth
  cgir predict net.py:build --task imagenet_top1 --input-shape 1,3,224,224
  cgir predict @models.txt --predictor ranker -o scores.csv
  cgir predict pool --predictor universal                              \
networks of one family, compared with each other without a label
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir predict`."""
    parser.description = (
        "Rank networks, best first: with a predictor that `cgir finetune` wrote, or with none of your own "
        "measurements, for a known task or compared with each other. Alone it lists the tasks."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.fromfile_prefix_chars = "@"
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=NETWORKS)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--predictor", type=Path, metavar="FOLDER | universal",
        help="written by `cgir finetune`; or the one that comes with the package: it knows labels of other families, "
        "takes the networks for one more, and scores each by how it differs from the others, without a unit",
    )  # fmt: skip
    how.add_argument("--task", metavar="NAME", help="without a predictor: what to guess, such as imagenet_top1")
    parser.add_argument(
        "--top", type=positive_int, metavar="N", default=20, help="how many to print (default: %(default)s)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.csv",
        help="write all scores here: rank, model, score, deviation, and why a network is unlike those known",
    )
    add_device_option(parser)
    add_trace_options(parser)
    add_workers_option(parser)


def run(args: argparse.Namespace) -> int:
    """Print a ranking of the networks; without any, the tasks that need no label."""
    check_packages("frontends", "encoders")
    if not args.networks and not args.predictor and not args.task:
        say(list_tasks())
        return 0
    if not args.networks:
        raise CgirError("which networks? `cgir predict --help` says what can be named")
    check_file(args.output, ".csv")  # before models are traced, as are predictor and task
    model = load_predictor(args.predictor, args.limits, args.device) if args.predictor else check_task(args.task)
    args.default_shape = None if isinstance(model, str) else default_shape(model)
    targets = open_targets(args.networks)
    graphs = read_graphs(targets.sources, partial(load_or_trace, args=args), args.workers)
    say(rank_networks(model, targets.names, graphs, args.top, args.output))
    return 0


def load_predictor(path: Path, limits: Limits, device: str) -> Predictor:
    """The predictor in a folder; by its name the shipped one, whose pool are the graphs that it is given.

    Args:
        path: the folder, or the name.
        limits: what its file may take.
        device: where its networks compute.
    """
    import encoders

    if str(path) != SHIPPED_ENCODER:
        return encoders.Predictor.load(path, limits, device)
    from encoders.predictors.pretrained import load_pretrained

    return encoders.Predictor(load_pretrained(SHIPPED_ENCODER), device=device)


def list_tasks() -> str:
    """What can be predicted without a label, and the rank correlations with families that were left out of training."""
    lines = ["Scores that need no label of yours: cgir predict NETWORK... --task NAME", ""]
    for name, task in _tasks().items():
        lines += [f"{name} ({task['unit']}): {task['about']}", f"  learned from {', '.join(task['families'])}"]
        worth = ", ".join(f"{family} {value:.2f}" for family, value in task["worth"].items())
        lines += [f"  rank correlation (Spearman) on a family that was left out: {worth}", ""]
    return "\n".join(lines).rstrip()


def check_task(task: str | None) -> str:
    """The task that was named, or the only one.

    Raises:
        CgirError: there is no such task, or there are several to choose from.
    """
    names = list(_tasks())
    if task is None and len(names) == 1:
        return names[0]
    if task is None:
        raise CgirError(
            f"what shall be predicted? Say --predictor FOLDER, or --task with one of {', '.join(names)} "
            "(`cgir predict` alone describes them)"
        )
    if task not in names:
        raise CgirError(
            f"no task {task!r}; there are {', '.join(names)} (`cgir predict` alone describes them); "
            "others need labels: `cgir finetune`"
        )
    return task


def score_networks(predictor: Predictor, names: Sequence[str], graphs: GraphBatch) -> Scored:
    """Scores of networks by a fitted predictor.

    Args:
        predictor: fitted.
        names: of the G networks.
        graphs: theirs.
    """
    outside = predictor.outside(graphs)  # first: what is said here is not logged
    if predictor.has_std:
        scores, stds = predictor.predict(graphs, return_std=True)
    else:
        scores, stds = predictor.predict(graphs), None
    metric = predictor.metric
    title = metric.name if metric and predictor.has_unit else "score"
    return Scored(names, scores, stds, title, predictor.sign < 0, outside)


def describe(predictor: Predictor) -> str:
    """What the scores of a predictor are."""
    metric = predictor.metric
    if predictor.has_unit:
        return "" if metric is None else str(metric)
    what = "" if metric is None else f" of {metric}"
    return f"scores{what}: without labels, or from this head, they have no unit and only rank these networks"


def rank_networks(
    model: Predictor | str, names: Sequence[str], graphs: GraphBatch, top: int, output: Path | None
) -> str:
    """A ranking, and what its scores are; where it was guessed for a task, also how reliable it is.

    Args:
        model: a fitted predictor; or the name of a task, for the weights that come with the package.
        names: of the G networks.
        graphs: theirs.
        top: lines of the ranking.
        output: write all scores to this CSV file, if any.
    """
    if not isinstance(model, str):
        text = _ranking(score_networks(model, names, graphs), top, output)
        return "\n".join(filter(None, [describe(model), text]))
    from encoders.predictors.zero_shot import zero_shot

    estimate = zero_shot(graphs, model)
    scored = Scored(names, estimate.scores, estimate.stds, outside=estimate.outside)
    ranking = _ranking(scored, top, output)
    return f"{model} in {estimate.unit}, without a label\n{ranking}\n\n{estimate.reliability}"


def _ranking(scored: Scored, top: int, output: Path | None) -> str:
    text = format_table(scored, top)
    if output:
        write_csv(output, scored)
        text += f"\n\nwrote {printable(output)}"
    return text


def _tasks() -> Mapping[str, Any]:
    from encoders.predictors.pretrained import card

    tasks: Mapping[str, Any] = card(SHIPPED_ENCODER)["tasks"]
    return tasks
