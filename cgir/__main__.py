"""The command line: `cgir trace | show | diff | space | tables | pretrain | finetune | predict | explain | demo`. It alone imports upward, lazily."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import CgirError, LabelError, SpecError, TraceError
from .features import GraphBatch

if TYPE_CHECKING:
    from .graph import Graph
    from .store import GraphStore

ENCODER = "encoder.safetensors"
HEADS = ("blend", "gp", "carl", "rank", "logistic", "listmle", "warp", "mse")  # of encoders.Predictor, which is not imported for a --help

EPILOG = """examples:
  cgir demo                                              the whole line on networks and labels that come with the package
  cgir trace frontends.reference:resnet50 --input-shape 1,3,224,224 --html resnet50.html
  cgir trace net.py:build --input-shape 1,3,224,224 -o net.json    your own function that builds a model
  cgir trace net.onnx -o exported.json && cgir diff net.json exported.json
  cgir space ofa_mbv3 --sample 5000 -o pool              networks of a search space, for `cgir pretrain pool`
"""
TRACE_EPILOG = """examples:
  cgir trace net.py:build --input-shape 1,3,224,224 --svg net.svg      build() in net.py returns a PyTorch or Keras model, or an ONNX one
  cgir trace net.onnx --dim batch=1 --dim time=128 -o net.json         files know their shapes; sizes for dimensions they leave open
"""
SPACE_EPILOG = """examples:
  cgir space                                                  all search spaces
  cgir space transnas_macro                                   what its strings look like
  cgir space transnas_macro 64-433241-basic --svg net.svg     a network of it
  cgir space ofa_mbv3 --sample 5000 -o pool                   a data set of random networks, for `cgir pretrain pool`
  cgir space nasbench201 --all -o nb201                       a data set of all of them
"""
TABLES_EPILOG = """formats, and the files that users have:
  nasbench101       nasbench_only108.tfrecord, nasbench_full.tfrecord
  nasbench201       NATS-tss-*-simple or -full (folder or .tar), NATS-tss-*.pickle.pbz2, NAS-Bench-201-*.pth
  nasbench301       nb_301_v13 (folder or .zip)
  transnas_micro    transnas-bench_v10141024.pth
  transnas_macro    the same
  nasbench_nlp      logs of the release (folder or .zip)
  csv, parquet      any table with a column of architectures: --space NAME --spec COLUMN
examples:
  cgir tables import nasbench201 NATS-tss-v1_0-3ffb9-simple -o nb201.parquet
  cgir tables import csv mine.csv --space darts --spec genotype
  cgir tables graphs nb201.parquet -o labelled         the networks with their labels, for `cgir finetune`
Pickles in these files are read without running them: what is not an array, a tensor or a plain value is refused by name.
"""
MODEL = (
    "package.module:name or path/file.py:name, what builds the model (called without arguments) or the model itself; "
    "or a file: .onnx, .pt2, .keras, .h5, .pb, a SavedModel folder"
)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(
        prog="cgir",
        description="Networks as computation graphs; graphs as vectors; vectors as a ranking learned from few labels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_trace, _add_show, _add_diff, _add_space, _add_tables, _add_pretrain, _add_finetune, _add_predict, _add_explain, _add_demo):
        add(commands)
    return root


def _add_trace(commands: Any) -> None:
    sub = commands.add_parser(
        "trace",
        help="turn a PyTorch, Keras, TensorFlow or ONNX model into a graph",
        description="Turn a model into a graph without running it on data, and report what is in it.",
        epilog=TRACE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("model", help=MODEL)
    _add_request(sub)
    sub.add_argument("-o", "--output", type=Path, help="write the graph here (JSON)")
    sub.add_argument("--raw", action="store_true", help="as recorded, not canonical")
    _add_pictures(sub)
    sub.set_defaults(run=_trace)


def _add_request(sub: argparse.ArgumentParser) -> None:
    """What a model may need to be told before it can be followed."""
    sub.add_argument(
        "--input-shape", type=_shape, action="append", metavar="N,C,...", help="with the batch, such as 1,3,224,224; once per input, if the model does not know"
    )
    sub.add_argument("--dim", type=_dim, action="append", default=[], metavar="NAME=SIZE", help="size of a dimension that the model leaves open; repeatable")
    sub.add_argument("--level", choices=("module", "inference"), default="module", help="inference also folds BatchNorm into convolutions")
    sub.add_argument("--strict", action="store_true", help="an operator that is not in the vocabulary is an error")


def _add_show(commands: Any) -> None:
    sub = commands.add_parser(
        "show",
        help="print or draw a saved graph",
        description="Print a saved graph as a table of blocks, equal blocks in a row as one; draw it with --svg, --dot or --html.",
    )
    sub.add_argument("graph", type=Path, help="a graph written by `cgir trace -o`")
    sub.add_argument("--report", action="store_true", help="totals, operators and what they cost instead of blocks")
    _add_pictures(sub)
    sub.set_defaults(run=_show)


def _add_pictures(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--svg", type=Path, help="draw to this SVG file")
    sub.add_argument("--dot", type=Path, help="write Graphviz source")
    sub.add_argument("--html", type=Path, help="write one self-contained page, where blocks open when clicked")
    _add_detail(sub)


def _add_detail(sub: argparse.ArgumentParser) -> None:
    detail = sub.add_mutually_exclusive_group()
    detail.add_argument("--depth", type=_positive, help="open this many levels of modules (default: as many as can be read)")
    detail.add_argument("--full", action="store_true", help="every node instead of blocks")


def _add_diff(commands: Any) -> None:
    sub = commands.add_parser(
        "diff",
        help="say where two graphs part",
        description="Compare two graphs or models up to names and order. Exit status 1: they differ.",
        epilog="example:\n  cgir diff net.py:build net.onnx --input-shape 1,3,224,224 --level inference",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("a", help="a graph written by `cgir trace -o`, or any model that `cgir trace` takes")
    sub.add_argument("b", help="the same")
    _add_request(sub)
    sub.set_defaults(run=_diff)


def _add_space(commands: Any) -> None:
    sub = commands.add_parser(
        "space",
        help="a search space: one of its networks as a graph, or many as a data set",
        description="List the search spaces, describe one, turn one of its networks into a graph, or write a data set of many.",
        epilog=SPACE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("name", nargs="?", help="the space (default: list all)")
    sub.add_argument("architecture", nargs="?", help="a network, in the benchmark's own form")
    many = sub.add_mutually_exclusive_group()
    many.add_argument("--sample", type=_positive, metavar="N", help="a data set of N networks drawn at random")
    many.add_argument("--all", action="store_true", help="a data set of all networks")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("-o", "--output", type=Path, help="write the graph (JSON) or the data set (a folder, or a .parquet file) here")
    _add_pictures(sub)
    sub.set_defaults(run=_space)


def _add_tables(commands: Any) -> None:
    sub = commands.add_parser(
        "tables", help="label tables: list them, make one of a benchmark's official file, or a data set of one", description="Networks and their labels."
    )
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="which tables there are, their rows, and where they lie", description="List the label tables.")
    listing.add_argument("--data", type=Path, help="the folder with the published tables (default: the environment variable CGIR_DATA)")
    listing.set_defaults(run=_tables_list)
    reading = actions.add_parser(
        "import",
        help="make a table of a benchmark's official file",
        description="Read what a benchmark's authors published and write a Parquet table.",
        epilog=TABLES_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reading.add_argument("format", metavar="FORMAT", help="which benchmark, see below")
    reading.add_argument("file", type=Path, metavar="FILE", help="its file, folder or archive")
    reading.add_argument("-o", "--output", type=Path, help="write this .parquet file (default: named like FILE, in the working directory)")
    reading.add_argument("--space", help="csv and parquet: the search space")
    reading.add_argument("--spec", metavar="COLUMN", help="csv and parquet: the column of architectures, in the space's text form")
    reading.set_defaults(run=_tables_import)
    joining = actions.add_parser(
        "graphs", help="a data set of a table's networks and labels", description="Write a table's networks as graphs, with all its metrics as labels."
    )
    joining.add_argument("name", help="a table of `cgir tables list`, or a file that `cgir tables import` wrote")
    joining.add_argument("--data", type=Path, help="the folder with the published tables (default: the environment variable CGIR_DATA)")
    joining.add_argument("-o", "--output", type=Path, required=True, help="a folder, or a .parquet file, for `cgir finetune` and `cgir pretrain`")
    joining.set_defaults(run=_tables_graphs)


def _add_pretrain(commands: Any) -> None:
    description = "Pretraining on stores of graphs, shared by processes under torchrun. Interrupt it when you like: the same command goes on where it stopped."
    sub = commands.add_parser("pretrain", help="train an encoder on unlabelled graphs", description=description)
    sub.add_argument("store", type=Path, nargs="+", help="Parquet stores written by cgir.GraphStore")
    sub.add_argument("-o", "--output", type=Path, required=True, help="folder for encoder.safetensors and the state of an unfinished run")
    sub.add_argument("--steps", type=int, default=300, help="optimiser steps (default: %(default)s)")
    sub.add_argument("--batch", type=int, default=256, help="graphs in a batch (default: %(default)s)")
    contrasts = ("spectral", "wl", "wl_shares", "supcon", "simclr")
    sub.add_argument("--contrast", choices=contrasts, default="spectral", help="how the contrast weighs pairs (default: %(default)s, the paper's eq. 4.5)")
    parts = {"contrast": "of the contrast", "property": "of a regression of graph properties", "path": "of one of path features", "mask": "of masked nodes"}
    for part, what in parts.items():
        sub.add_argument(f"--{part}-weight", type=float, default=float(part == "contrast"), help=f"weight in the loss {what} (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.set_defaults(run=_pretrain)


def _add_finetune(commands: Any) -> None:
    sub = commands.add_parser("finetune", help="learn a ranking from few labels", description="Fit a predictor on the labelled graphs of a store.")
    sub.add_argument("store", type=Path, help="Parquet store with labels")
    sub.add_argument("--label", required=True, help="name of the label column; higher is better")
    sub.add_argument("--encoder", type=Path, help="encoder.safetensors, or the folder `cgir pretrain` wrote; without it only hand-made features are read")
    sub.add_argument("--head", choices=HEADS, default="blend", help="default: %(default)s, ranking heads plus a Gaussian process")
    sub.add_argument("--ensemble", type=_positive, help="networks to average (default: 3 in a blend, else 1)")
    sub.add_argument("--sources", type=Path, nargs="+", default=[], help="stores of other families with the same label, learned from first")
    sub.add_argument("--limit", type=int, help="use this many labels, drawn at random")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("-o", "--output", type=Path, required=True, help="folder for the predictor")
    sub.set_defaults(run=_finetune)


def _add_predict(commands: Any) -> None:
    sub = commands.add_parser("predict", help="rank networks with a predictor", description="Rank saved graphs, or all graphs of a store, best first.")
    sub.add_argument("predictor", type=Path, help="folder written by `cgir finetune`")
    sub.add_argument("graphs", type=Path, nargs="+", help="graphs (.json) or stores (.parquet)")
    sub.add_argument("--top", type=int, default=20, help="how many to print (default: %(default)s)")
    sub.set_defaults(run=_predict)


def _add_explain(commands: Any) -> None:
    sub = commands.add_parser(
        "explain",
        help="why a network got its score: what each operator is worth to a predictor",
        description="Print the operators that a network's score hangs on, and draw the network shaded by them: darker is more important.",
        epilog="example: cgir explain net.py:build --predictor predictor --input-shape 1,3,224,224 -o why.html",
    )
    sub.add_argument("model", help="a graph written by `cgir trace -o` or `cgir space -o`, or any model that `cgir trace` takes")
    sub.add_argument("--predictor", type=Path, required=True, help="folder written by `cgir finetune`")
    sub.add_argument("--method", choices=("masks", "occlusion"), help="masks: CARL's own; occlusion: the score without each part (default: masks, if any)")
    sub.add_argument("--top", type=_positive, default=10, help="how many to print (default: %(default)s)")
    sub.add_argument("-o", "--output", type=Path, help="draw to this .svg or .html file")
    _add_detail(sub)
    _add_request(sub)
    sub.set_defaults(run=_explain)


def _add_demo(commands: Any) -> None:
    sub = commands.add_parser(
        "demo", help="the whole line in a few minutes", description="Trace, draw, pretrain, fine-tune on 20 labels, compare. No data, no network."
    )
    sub.add_argument("-o", "--output", type=Path, default=Path("runs/demo"), help="folder for pictures and the report (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.set_defaults(run=_demo)


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; expected integers such as 1,3,224,224") from None
    if min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape: every size must be at least 1")
    return shape


def _dim(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    if not name or not size.isdecimal() or int(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a dimension; expected NAME=SIZE such as batch=1")
    return name, int(size)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; expected 1 or more")
    return int(text)


def _traced(target: str, args: argparse.Namespace, raw: bool = False) -> tuple[Graph, float]:
    """The graph of a model that the command line names, and the seconds that tracing took."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports on its own start otherwise
    import frontends

    shapes = args.input_shape
    if shapes is not None:
        shapes = shapes[0] if len(shapes) == 1 else tuple(shapes)
    model = frontends.build(target)
    start = perf_counter()
    try:
        graph = frontends.trace(model, input_shape=shapes, dims=dict(args.dim), raw=raw, level=args.level, strict=args.strict, name=Path(target).name)
    except TraceError as error:
        if shapes is None and "needs example inputs" in str(error):
            raise TraceError(f"{target}: the model does not know the shape of its input; say it, such as --input-shape 1,3,224,224") from error
        raise
    return graph, perf_counter() - start


def _graph(target: str, args: argparse.Namespace) -> Graph:
    """A saved graph, or that of a model."""
    from . import load

    return load(Path(target)) if target.endswith(".json") else _traced(target, args)[0]


def _trace(args: argparse.Namespace) -> int:
    from . import canonicalize

    recorded, seconds = _traced(args.model, args, raw=True)
    graph = recorded if args.raw else canonicalize(recorded, level=args.level)
    print(f"traced {args.model} in {seconds:.1f} s: {len(recorded):,} operators recorded, {len(graph):,} nodes in the graph\n")
    _finish(graph, args)
    return 0


def _finish(graph: Graph, args: argparse.Namespace) -> None:
    print(graph.report())
    if args.output:
        graph.save(args.output)
        print(f"\nwrote {args.output}")
    _draw(graph, args)


def _show(args: argparse.Namespace) -> int:
    from . import load
    from .draw import summary

    graph = load(args.graph)
    print(graph.report() if args.report else graph if args.full else summary(graph, args.depth))
    _draw(graph, args)
    return 0


def _draw(graph: Graph, args: argparse.Namespace) -> None:
    from .draw import to_svg
    from .files import atomic_path

    if args.svg:
        to_svg(graph, args.svg, args.depth, args.full)
    if args.dot:
        with atomic_path(args.dot) as path:
            path.write_text(graph.to_dot(args.depth, args.full), encoding="utf-8")
    if args.html:
        graph.to_html(args.html, args.depth, args.full)
    for path in (args.svg, args.dot, args.html):
        if path:
            print(f"wrote {path}")


def _diff(args: argparse.Namespace) -> int:
    from . import diff

    a, b = (_graph(target, args) for target in (args.a, args.b))
    text = diff(a, b)
    print(text or "the graphs are isomorphic")
    return 1 if text else 0


def _space(args: argparse.Namespace) -> int:
    from frontends import spaces
    from frontends.spaces import command

    if args.sample or args.all:
        if args.name is None or args.architecture or not args.output:
            raise SpecError("a data set needs a search space and a place: cgir space NAME --sample N -o PATH, without a single network")
        print(command.write(args.name, args.sample, args.seed, args.output))
    elif args.architecture is None:
        print(command.about(args.name, args.seed) if args.name else command.listing())
    else:
        space = spaces.get(args.name)
        _finish(space.graph(space.parse(args.architecture)), args)
    return 0


def _tables_list(args: argparse.Namespace) -> int:
    from frontends.tables.command import listing

    print(listing(args.data))
    return 0


def _tables_import(args: argparse.Namespace) -> int:
    from frontends.tables.command import imported

    print(imported(args.format, args.file, args.output, args.space, args.spec))
    return 0


def _tables_graphs(args: argparse.Namespace) -> int:
    from frontends.tables.command import graphs

    print(graphs(args.name, args.data, args.output))
    return 0


def _pretrain(args: argparse.Namespace) -> int:
    import contrastive

    from . import GraphStore

    store = GraphStore.merge([GraphStore.open(path) for path in args.store])
    names = ("contrast", "steps", "batch", "seed", *contrastive.WEIGHTS)
    contrastive.pretrain(store, contrastive.PretrainConfig(**{name: getattr(args, name) for name in names}), run_dir=args.output)
    print(f"encoder: {args.output / ENCODER} ({len(store):,} graphs of {len(set(store.families))} families)")
    return 0


def _labelled(store: GraphStore, path: Path, label: str) -> tuple[GraphBatch, NDArray[np.float64]]:
    """The graphs of a store that have the label, and its values."""
    if label not in store.labels:
        raise LabelError(f"{path}: no label {label!r}; it has {', '.join(store.labels) or 'none'}")
    y = store.labels[label]
    known = np.flatnonzero(np.isfinite(y))
    return store.batch(known), y[known]


def _finetune(args: argparse.Namespace) -> int:
    import encoders

    from . import GraphStore

    store = GraphStore.open(args.store)
    graphs, y = _labelled(store, args.store, args.label)
    chosen = np.random.default_rng(args.seed).permutation(len(y))[: args.limit]
    path = args.encoder / ENCODER if args.encoder and args.encoder.is_dir() else args.encoder
    predictor = encoders.Predictor(encoders.load_encoder(path) if path else None, head=args.head, ensemble=args.ensemble)
    if args.sources:
        predictor.fit_sources([_labelled(GraphStore.open(source), source, args.label) for source in args.sources], seed=args.seed)
    predictor.fit(graphs.select(chosen), y[chosen], seed=args.seed, pool=store.batch())
    predictor.save(args.output)
    print(f"predictor: {args.output} ({len(chosen)} labels)")
    return 0


def _predict(args: argparse.Namespace) -> int:
    import encoders

    from . import GraphStore, load

    names: list[str] = []
    batches = []
    for path in args.graphs:
        if path.suffix == ".json":
            batches.append(GraphBatch.from_graphs([load(path)]))
            names.append(str(path))
        else:
            store = GraphStore.open(path)
            batches.append(store.batch())
            names += [spec or f"{path}[{index}]" for index, spec in enumerate(store.specs)]
    batch = GraphBatch.concatenate(batches)
    predictor = encoders.Predictor.load(args.predictor)
    scores, spread = predictor.predict(batch, return_std=True) if predictor.has_spread else (predictor.predict(batch), None)
    print(f"{'rank':>5}  {'score':>9}  {'' if spread is None else '+- 1 std  '}network")
    for rank, index in enumerate(scores.argsort()[::-1][: args.top], 1):
        print(f"{rank:5d}  {scores[index]:9.4f}  {'' if spread is None else f'{spread[index]:8.4f}  '}{names[index]}")
    return 0


def _explain(args: argparse.Namespace) -> int:
    from encoders.explain_command import check_output, explained

    check_output(args.output)  # before a model is followed
    print(explained(_graph(args.model, args), args.predictor, args.method, args.top, args.output, args.depth, args.full))
    return 0


def _demo(args: argparse.Namespace) -> int:
    from contrastive.demo import run

    run(args.output, seed=args.seed)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an error is one line on standard error and exit status 2, an interruption 130."""
    args = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command: Callable[[argparse.Namespace], int] = args.run
    try:
        return command(args)
    except KeyboardInterrupt:
        print("cgir: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (CgirError, OSError) as error:
        if args.debug:
            raise
        print(f"cgir: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
