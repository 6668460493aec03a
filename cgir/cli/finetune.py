"""`cgir finetune`: learn a ranking from few labels, save the predictor, and rank all networks that were given."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cgir.errors import LabelError, printable
from cgir.graph_batch import GraphBatch
from cgir.package_check import check_packages
from cgir.store import GraphStore
from cgir.typing import FloatArray

from . import finetune_report
from .hint_values import hints_of, read_hints
from .label_csv import LabelColumn, read_labels
from .options import NETWORKS, add_device_option, add_trace_options, add_workers_option, parse_seed, positive_int
from .output import say
from .output_files import check_folder
from .predict import SHIPPED_ENCODER, describe, score_networks
from .pretrain import ENCODER
from .score_table import format_table
from .targets import Targets, load_or_trace, open_targets, read_graphs

if TYPE_CHECKING:
    from encoders import Metric, Predictor
    from encoders.models.registry import GraphEncoder

log = logging.getLogger(__name__)
REPORT = "report.html"  # beside the predictor
HEADS = ("blend", "gp", "carl", "rank", "logistic", "listmle", "warp", "mse")  # of encoders.Predictor
EPILOG = """measurements:
  A table with commas and a first line of names: `model`, and a column for each metric.
      model,accuracy
      net.py:small,71.3
      net.py:wide,74.9
  A model is named as on the command line, or by its file or function alone where one model only is called so; \
a network of a data set by its string.
  Networks without a value are ranked too, and help to say what is usual. Several values of one model are averaged.
hints:
  Cheap values of many networks, where the metric is known of few: accuracy after three epochs or on another data set, \
a proxy, the latency on other devices.
  The measurements decide how far they are believed. Same files, one column a hint; - in front where lower is better.
examples:
  cgir finetune net.py:small net.py:wide net.py:deep net.onnx --labels measured.csv --input-shape 1,3,224,224 -o ranker
  cgir finetune @models.txt --labels measured.csv --metric latency --lower-is-better -o ranker
  cgir finetune @models.txt --labels measured.csv --hint accuracy_3_epochs=early.csv --hint -loss=early.csv -o ranker
  cgir finetune @models.txt --labels phone.csv --lower-is-better --hint -laptop=others.csv --hint -server=others.csv \
-o ranker
  cgir finetune labelled --metric accuracy --limit 50 -o ranker        a data set, as `cgir tables graphs` writes it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir finetune`."""
    parser.description = (
        "Learn from a few measured networks, save the predictor for `cgir predict` and `cgir explain`, "
        "and rank all networks that were given."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.fromfile_prefix_chars = "@"
    parser.add_argument("networks", nargs="+", metavar="NETWORK", help=NETWORKS)
    _add_label_options(parser)
    _add_model_options(parser)
    parser.add_argument("--limit", type=positive_int, metavar="N", help="use this many labels, drawn at random")
    parser.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument(
        "--top", type=positive_int, metavar="N", default=20, help="how many to print (default: %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="for the predictor and its report"
    )
    add_device_option(parser)
    add_trace_options(parser)
    add_workers_option(parser)


def _add_label_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels", type=Path, metavar="FILE.csv",
        help="your measurements, see below (default: the labels that data sets bring along)",
    )  # fmt: skip
    parser.add_argument(
        "--metric", "--label", metavar="NAME",
        help="which column of FILE.csv, or which label of the data sets (default: the only one)",
    )  # fmt: skip
    parser.add_argument("--unit", metavar="TEXT", help="of the metric, such as ms (default: what its name tells)")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--lower-is-better", action="store_true", default=None,
        help="the metric is a loss, an error or a time (default: what its name tells, which is printed)",
    )  # fmt: skip
    direction.add_argument("--higher-is-better", action="store_false", dest="lower_is_better", help="the opposite")
    parser.add_argument(
        "--hint", action="append", default=[], metavar="[-]NAME[=FILE.csv]",
        help="a column of FILE.csv, or another label of the data sets, that may go with the metric, see below; "
        "repeatable",
    )  # fmt: skip


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder", default=SHIPPED_ENCODER, metavar="WHICH",
        help="universal: the one that comes with the package (default); what `cgir pretrain` wrote; "
        "none: hand-made features only",
    )  # fmt: skip
    parser.add_argument(
        "--head", choices=HEADS, default="blend",
        help="default: %(default)s, a Gaussian process that starts from what needs no label: sizes, labels of other "
        "families, hints",
    )  # fmt: skip
    parser.add_argument(
        "--ensemble", type=positive_int, metavar="N", help="networks to average (default: 1); not of blend and gp"
    )
    parser.add_argument(
        "--sources", type=Path, nargs="+", default=[], metavar="STORE",
        help="data sets of other families with the same label, learned from first, in the place of those that the "
        "shipped encoder knows",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Fit a predictor on the networks that have a label, save it, and print the ranking of all."""
    check_packages("frontends", "encoders")
    import encoders

    check_folder(args.output)
    # small inputs first, so that mistakes are reported before models are traced
    if args.hint and args.head != "blend":
        raise LabelError(f"--hint: head {args.head} takes none; leave --head out")
    column = read_labels(args.labels, args.metric) if args.labels else None
    predictor = encoders.Predictor(load_start(args.encoder), head=args.head, ensemble=args.ensemble, device=args.device)
    targets = open_targets(args.networks)
    name, values = choose_labels(targets, column, args.metric)
    metric = choose_metric(name, args.unit, args.lower_is_better)
    hints = read_hints(args.hint, targets)
    families = [read_source(path, name) for path in args.sources]
    graphs = read_graphs(targets.sources, partial(load_or_trace, args=args), args.workers)
    if families:
        predictor.fit_sources([(others, metric.learned_sign * y) for others, y in families], seed=args.seed)
    learned = fit(predictor, graphs, values, metric, args.limit, args.seed, hints)
    predictor.save(args.output)
    scored = score_networks(predictor, targets.names, graphs)
    say(describe(predictor))
    say(format_table(scored, args.top, values))
    held_out = finetune_report.hold_out(predictor, graphs, learned, args.seed, hints_of(graphs, hints))
    page = args.output / REPORT
    finetune_report.write_report(page, predictor, scored, values, held_out, args.output)
    num_labels = int(np.isfinite(learned).sum())
    say(f"predictor: {printable(args.output)} ({num_labels} labels), report: {printable(page)}")
    return 0


def load_start(which: str) -> GraphEncoder | None:
    """The encoder to start from: the shipped one by its name, None for "none", else a file or a folder of a run."""
    if which == SHIPPED_ENCODER:
        from encoders.predictors.pretrained import load_pretrained

        return load_pretrained(which)
    if which == "none":
        return None
    from encoders.models.checkpoints import load_encoder

    path = Path(which)
    return load_encoder(path / ENCODER if path.is_dir() else path)


def choose_metric(name: str, unit: str | None, lower_is_better: bool | None) -> Metric:
    """The metric of that name; what is not given, its name tells, which is logged.

    Args:
        name: of the column or label.
        unit: as given; None: it was not.
        lower_is_better: likewise.
    """
    from encoders import Metric

    guess = Metric.guess(name)
    lower = guess.lower_is_better if lower_is_better is None else lower_is_better
    metric = Metric(name, guess.unit if unit is None else unit, lower)
    if metric != Metric(name) and (unit is None or lower_is_better is None):
        log.info("%s: as its name says; --unit, --higher-is-better and --lower-is-better say otherwise", metric)
    return metric


def choose_labels(targets: Targets, column: LabelColumn | None, metric: str | None) -> tuple[str, FloatArray]:
    """The labels to learn from: those in a CSV file, or else those of the data sets.

    Args:
        targets: G networks.
        column: of the CSV file, if there is one.
        metric: which label of the data sets; None for the only one.

    Returns:
        The metric's name and (G,) its values, NaN where unknown.

    Raises:
        LabelError: there are none, several to choose from, or too few to learn from.
    """
    from encoders.features.label_transforms import check_labels

    name = column.metric if column is not None else _choose_metric(list(targets.labels), metric)
    values = column.join(targets.names) if column is not None else targets.labels[name]
    labelled = values[np.isfinite(values)]
    if len(labelled) < 2:
        raise LabelError(
            f"{name} is known of {len(labelled)} of the {len(values)} networks; "
            "a ranking needs 2 or more (`cgir predict --task` needs none)"
        )
    check_labels(labelled, len(labelled))
    return name, values


def read_source(path: Path, metric: str) -> tuple[GraphBatch, FloatArray]:
    """The graphs of another family's data set that have the label, and its values.

    Raises:
        LabelError: the data set has no such label.
    """
    store = GraphStore.open(path)
    if metric not in store.labels:
        raise LabelError(f"{path}: no label {metric!r}; it has {', '.join(store.labels) or 'none'}")
    labelled = np.flatnonzero(np.isfinite(store.labels[metric]))
    return store.batch(labelled), store.labels[metric][labelled]


def fit(
    predictor: Predictor,
    graphs: GraphBatch,
    y: FloatArray,
    metric: Metric,
    limit: int | None,
    seed: int,
    hints: Mapping[str, FloatArray],
) -> FloatArray:
    """Fit on the graphs that have a label, with all of them as the pool.

    Args:
        predictor: not fitted, or on sources only.
        graphs: G of them.
        y: (G,) labels, NaN where unknown.
        metric: what they measure.
        limit: use this many, drawn at random; None for all.
        seed: of the drawing, of weights and of batches.
        hints: (G,) values of each, NaN where unknown.

    Returns:
        (G,) the labels that were used, NaN elsewhere.
    """
    labelled = np.flatnonzero(np.isfinite(y))
    chosen = labelled[np.random.default_rng(seed).permutation(len(labelled))[:limit]]
    predictor.fit(
        graphs.select(chosen), y[chosen], seed=seed, pool=graphs, hints=hints_of(graphs, hints), metric=metric
    )
    learned = np.full(len(y), np.nan)
    learned[chosen] = y[chosen]
    return learned


def _choose_metric(names: list[str], metric: str | None) -> str:
    if not names:
        raise LabelError(
            "nothing is known of these networks; give measurements with --labels FILE.csv, "
            "or a data set that has labels"
        )
    if metric is None and len(names) > 1:
        raise LabelError(
            f"{len(names)} labels to choose from, {', '.join(names)}; "
            f"say which with --metric, such as --metric {names[0]}"
        )
    if metric is not None and metric not in names:
        raise LabelError(f"the networks have no label {metric!r}; it has to be one of {', '.join(names)}")
    return metric or names[0]
