"""`cgir search`: find the best networks of a search space with few queries."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from cgir.errors import CgirError, printable
from cgir.executors import FORMS, open_executor
from cgir.package_check import check_packages

from .options import (
    add_device_option,
    add_limits_option,
    parse_bytes,
    parse_seed,
    parse_skeleton,
    positive_float,
    positive_int,
)
from .oracles import METRIC, PLACE, Question, command_question, function_question, table_question
from .output import say
from .output_files import check_file

if TYPE_CHECKING:
    from encoders import Predictor
    from search import History, Method

log = logging.getLogger(__name__)
METHODS = {
    "evolve": "children of the best networks, of which a predictor chooses what to ask",
    "random": "networks drawn at random",
    "aging": "regularised evolution",
    "local": "the neighbours of the best network",
}
ACQUISITIONS = ("mean", "ucb", "thompson")
SHIPPED, WITHOUT = "universal", "none"
FAMILIES = (  # whose labels the shipped predictor has seen
    "nasbench201", "nasbench101", "ofa_mbv3", "nasbench_macro", "transnas_micro", "transnas_macro", "darts",
    "nasbench_nlp", "timm_imagenet", "naap440", "metaqnn", "cifar_resnet", "nasbench_graph", "graphgym", "gpt",
    "face_landmarks", "lstm_ptb",
)  # fmt: skip
TOP = 10  # networks of a front that are printed
EPILOG = f"""who answers:
  --table    a label table: a name of `cgir tables list`, or a .parquet file of `cgir tables import`.
             Only its networks are asked.
  --oracle   your function, called with a network's specification; space.module(specification) is its
             PyTorch module. It returns a number, or a dict with one for each objective, NaN where the
             network failed.
  --command  your program, run for every network with its string in the place of {PLACE}, without a
             shell. The last line that it prints is a number, or a JSON object such as
             {{"accuracy": 71.3, "latency_ms": 4.2}}; with another exit status than 0 the network failed.
  Every answer is in the log at once: after Ctrl-C or a power cut the same command goes on, also with
  more --queries. Five networks in a row that fail end the search.
methods:
{chr(10).join(f"  {name:10} {line}" for name, line in METHODS.items())}
predictor:
  universal, the default, comes with the package. It has seen labels of
{fill(", ".join(FAMILIES), 96, initial_indent="    ", subsequent_indent="    ")}.
  A search of these is no fair comparison with other methods.
examples:
  cgir search nasbench201 --table digits --queries 40                  a table that comes with the package
  cgir search nasbench201 --table nasbench201 --metric cifar10_test_200ep_mean --queries 60 --report found.html
  cgir search ofa_mbv3 --oracle measure.py:accuracy --queries 100 --limit "flops<300M" --workers 4
  cgir search darts --command "python train.py --cell {PLACE}" --queries 30 --timeout 7200 --memory 16G
  cgir search mnasnet --command "python measure.py {PLACE}" --objective accuracy --objective -latency_ms --queries 80
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir search`."""
    parser.description = (
        "Ask what networks of a search space are worth, one after the other, each time those that a predictor expects "
        "most of after all answers so far; print the best one, and how to build it."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("space", metavar="SPACE", help="a name of `cgir space`")
    asked = parser.add_argument_group("who answers, one of these, see below").add_mutually_exclusive_group(
        required=True
    )
    asked.add_argument("--table", metavar="NAME | FILE.parquet", help="a label table")
    asked.add_argument("--oracle", metavar="WHICH", help="a function, package.module:function or path/file.py:function")
    asked.add_argument("--command", metavar=f"'PROGRAM {PLACE}'", dest="program", help="a program")
    parser.add_argument("--metric", metavar="COLUMN", help=f"of the table, what the objective {METRIC} is")
    parser.add_argument(
        "--skeleton", type=parse_skeleton, action="append", default=[], metavar="NAME=NUMBER",
        help="of the space, as your oracle or program trains it, such as channels=4 or image=3,8,8; repeatable "
        "(default: as published). Costs, limits and drawings are those of such networks; a table has its own",
    )  # fmt: skip
    _add_search_options(parser.add_argument_group("the search"))
    _add_machine_options(parser.add_argument_group("the machine"))
    parser.add_argument(
        "--log", type=Path, metavar="FILE.jsonl",
        help="what was asked and answered, from which the search goes on (default: SPACE-search.jsonl)",
    )  # fmt: skip
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="a page with pictures (default: beside the log)"
    )
    add_limits_option(parser)


def _add_search_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--queries", type=positive_int, default=50, help="budget, of answers (default: %(default)s)")
    group.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")
    group.add_argument("--method", choices=METHODS, default="evolve", help="see below (default: %(default)s)")
    group.add_argument(
        "--predictor", metavar="universal | none | FOLDER",
        help="what guides `evolve`: the one that comes with the package (default), one that learns from the answers "
        "alone, or one that `cgir finetune` wrote; of several objectives that are asked it guides the first one",
    )  # fmt: skip
    group.add_argument(
        "--acquisition", choices=ACQUISITIONS,
        help="`evolve` asks for what it expects most of (mean, default), for what may be best (ucb, a standard "
        "deviation more), or draws (thompson)",
    )  # fmt: skip
    group.add_argument(
        "--objective", action="append", metavar="[-]NAME",
        help=f"what is sought, with - in front where lower is better; repeatable, then for the best trade-offs. flops, "
        f"params and memory come from the graph and are never asked (default: {METRIC})",
    )  # fmt: skip
    group.add_argument(
        "--limit", action="append", default=[], metavar="'NAME<NUMBER'",
        help="such as 'flops<300M' or 'latency_ms<=20', of objectives and of others; repeatable",
    )  # fmt: skip


def _add_machine_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--workers", type=positive_int, metavar="N",
        help="networks that are evaluated at a time (default: 1, or as many as processes)",
    )  # fmt: skip
    group.add_argument("--executor", metavar="NAME", help=f"where: {FORMS} (default: processes here if N is above 1)")
    group.add_argument("--timeout", type=positive_float, metavar="SECONDS", help="that a network may take")
    group.add_argument("--memory", type=parse_bytes, metavar="BYTES", help="that a network may take, such as 4G")
    add_device_option(group)


def run(args: argparse.Namespace) -> int:
    """Search, and print what was found."""
    check_packages("frontends", "encoders", "search")
    from search.query_loop import run_method

    check_arguments(args)  # before anything takes time
    predictor = load_predictor(args) if args.method == "evolve" else None
    args.objective = args.objective or [default_objective(args.metric, predictor)]
    warn_of_directions(args.objective, predictor)
    question = ask_whom(args)
    path = args.log or Path(f"{args.space}-search.jsonl")
    workers = count_workers(args)
    method = build_method(args, question, predictor)
    opened = open_executor(args.executor, workers) if args.executor else nullcontext()
    with opened as executor:
        history = run_method(
            question.space, method, question.oracle, args.queries, args.seed,
            objectives=args.objective, limits=[*args.limit, *question.rules], path=path,
            executor=executor, workers=workers, timeout=args.timeout, memory=args.memory,
            progress=sys.stderr.isatty(),
        )  # fmt: skip
    say(summary(history))
    page = args.report or path.with_suffix(".html")
    history.report(page)
    say(f"\nreport: {printable(page)}", end="")
    say(f"\nlog: {printable(path)}; the same command goes on from it, also with more --queries")
    return 0


def load_predictor(args: argparse.Namespace) -> Predictor:
    """What guides `evolve`, at least in the first objective that is asked."""
    from encoders import Predictor
    from encoders.predictors.pretrained import load_pretrained

    which = args.predictor or SHIPPED
    if which == SHIPPED:
        return Predictor(load_pretrained(which), device=args.device)
    if which == WITHOUT:
        return Predictor(device=args.device)
    return Predictor.load(Path(which), args.limits, device=args.device)


def default_objective(column: str | None, predictor: Predictor | None) -> str:
    """What is sought where nothing is said: `METRIC`, or what a column or a predictor calls better when it is lower.

    Args:
        column: of the table.
        predictor: one of the user's knows its metric.
    """
    from encoders import Metric

    known = predictor.metric if predictor else None
    metric = known if column is None or (known and known.name == column) else Metric.guess(column)
    if metric is None or not metric.lower_is_better:
        return METRIC
    log.info("searching for a low %s; --objective says otherwise", metric.name)
    return f"-{metric.name}"


def warn_of_directions(objectives: Sequence[str], predictor: Predictor | None) -> None:
    """Log objectives that are made large though lower is better, by their name or by what the predictor remembers."""
    from encoders import Metric
    from search.objectives import parse_objectives

    known = predictor.metric if predictor else None
    for item in parse_objectives(objectives):
        metric = known if known and known.name == item.name else Metric.guess(item.name)
        if metric.lower_is_better and item.maximise:
            log.warning("--objective %s: is made large; where lower is better say -%s", item.name, item.name)


def ask_whom(args: argparse.Namespace) -> Question:
    """Who answers, as the arguments say. CgirError where there is nobody."""
    from search.objectives import asked, parse_limits, parse_objectives

    names = asked(parse_objectives(args.objective), parse_limits(args.limit)[0])
    if args.table is None and args.metric is not None:
        raise CgirError(f"--metric {args.metric}: is a column of a --table")
    if args.table is not None and args.skeleton:
        raise CgirError("--skeleton: a label table has its own; leave it out, or answer by --oracle or --command")
    skeleton = dict(args.skeleton)
    if args.table is not None:
        return table_question(args.space, args.table, args.metric, names)
    if args.oracle is not None:
        return function_question(args.space, args.oracle, skeleton)
    return command_question(args.space, args.program, skeleton)


def check_arguments(args: argparse.Namespace) -> None:
    """CgirError where options do not go together, or a file cannot be written."""
    for name in ("predictor", "acquisition"):
        if getattr(args, name) is not None and args.method != "evolve":
            raise CgirError(f"--{name}: belongs to --method evolve, found --method {args.method}")
    check_file(args.report, ".html", ".htm")
    check_file(args.log)


def count_workers(args: argparse.Namespace) -> int:
    """How many networks are evaluated at a time, on which the search depends. CgirError where an executor leaves it."""
    if args.executor and args.executor.partition(":")[0] not in ("processes", "dask"):
        raise CgirError(f"--executor {args.executor}: is no executor; expected {FORMS}")
    count = (args.executor or "").removeprefix("processes:")
    if args.workers or not args.executor:
        return args.workers or 1
    if not count.isdecimal() or not int(count):
        raise CgirError(f"--executor {args.executor}: say with --workers how many networks are evaluated at a time")
    return int(count)


def build_method(args: argparse.Namespace, question: Question, predictor: Predictor | None) -> Method:
    """How networks are proposed; its settings, in the log, tell also who answers.

    Args:
        args: of the command.
        question: what is asked.
        predictor: what guides `evolve`; None: another method.
    """
    from dataclasses import replace

    import search

    space = question.space
    if predictor is not None:
        guides = build_predictors(args, predictor)
        method = search.evolution_method(space, guides, acquisition=args.acquisition or "mean", seed=args.seed)
        settings = {"predictor": args.predictor or SHIPPED}
    else:
        others: dict[str, Callable[[Any], Method]] = {
            "random": search.random_method,
            "aging": search.aging_method,
            "local": search.local_method,
        }
        method, settings = others[args.method](space), {}
    return replace(method, config={**method.config, **settings, "answers": question.source})


def build_predictors(args: argparse.Namespace, first: Predictor) -> Predictor | Mapping[str, Predictor]:
    """The predictor of the first objective that is asked, and of others, if there are, one that knows nothing yet."""
    from encoders import Predictor
    from search.objectives import asked, parse_objectives

    names = asked(parse_objectives(args.objective))
    others = {name: Predictor(device=args.device) for name in names[1:]}
    return {names[0]: first} | others if others else first


def summary(history: History) -> str:
    """The best network, the front of several objectives, and how to build the best one."""
    from search.report import build_lines

    failed = sum(error is not None for error in history.errors)
    how_many = f"{history.num_queries} queries" + (f", {failed} failed" if failed else "")
    if not (best := history.top(1)):
        return f"{how_many}; none has a value within the limits"
    names = [item.text for item in history.objectives]
    text = history.spec_strings[best[0]]
    lines = [f"best of {how_many}: {text}", f"{_values(history, best[0])} in query {best[0] + 1}"]
    if len(names) > 1:
        front = sorted(history.front(), key=lambda row: -history.scores[row])
        lines += ["", f"best trade-offs of {' and '.join(names)}: {len(front)}"]
        lines += [f"  {_values(history, row)}  {history.spec_strings[row]}" for row in front[:TOP]]
        lines += [f"  and {len(front) - TOP} more"] if len(front) > TOP else []
    return "\n".join([*lines, "", "to build it:", *(f"  {line}" for line in build_lines(history.space, text))])


def _values(history: History, row: int) -> str:
    from cgir.pages.charts import number

    names = [item.name for item in history.objectives]
    texts = [number(value) if abs(value) >= 1e6 else f"{value:.6g}" for value in history.objective_values[row]]
    return ", ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
