"""The command line: `cgir trace | show | diff | space | tables | pretrain | finetune | predict | explain | demo`. It
alone imports upward, lazily.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from .cli.parser import parser
from .errors import CgirError, SpecError, TraceError

if TYPE_CHECKING:
    from .graph import Graph

ENCODER = "encoder.safetensors"


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
        graph = frontends.trace(
            model,
            input_shape=shapes,
            dims=dict(args.dim),
            raw=raw,
            level=args.level,
            strict=args.strict,
            name=Path(target).name,
        )
    except TraceError as error:
        if shapes is None and "needs example inputs" in str(error):
            raise TraceError(
                f"{target}: the model does not know the shape of its input; say it, such as --input-shape 1,3,224,224"
            ) from error
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
    print(
        f"traced {args.model} in {seconds:.1f} s: {len(recorded):,} operators recorded, {len(graph):,} nodes in the graph\n"
    )
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
    from .drawing.export import summary

    graph = load(args.graph)
    print(graph.report() if args.report else graph if args.full else summary(graph, args.depth))
    _draw(graph, args)
    return 0


def _draw(graph: Graph, args: argparse.Namespace) -> None:
    from .atomic_files import atomic_path
    from .drawing.export import to_svg

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

    from .cli import space as command

    if args.sample or args.all:
        if args.name is None or args.architecture or not args.output:
            raise SpecError(
                "a data set needs a search space and a place: cgir space NAME --sample N -o PATH, without a single network"
            )
        print(command.write(args.name, args.sample, args.seed, args.output))
    elif args.architecture is None:
        print(command.about(args.name, args.seed) if args.name else command.listing())
    else:
        space = spaces.get(args.name)
        _finish(space.graph(space.parse(args.architecture)), args)
    return 0


def _tables(args: argparse.Namespace) -> int:
    from .cli import tables as command

    if args.action == "list":
        print(command.listing(args.data))
    elif args.action == "import":
        print(command.imported(args.format, args.file, args.output, args.space, args.spec))
    else:
        print(command.graphs(args.name, args.data, args.output))
    return 0


def _pretrain(args: argparse.Namespace) -> int:
    import contrastive

    from . import GraphStore

    store = GraphStore.merge([GraphStore.open(path) for path in args.store])
    names = ("contrast", "steps", "batch", "seed", *contrastive.WEIGHTS)
    contrastive.pretrain(
        store, contrastive.PretrainConfig(**{name: getattr(args, name) for name in names}), run_dir=args.output
    )
    print(f"encoder: {args.output / ENCODER} ({len(store):,} graphs of {len(set(store.families))} families)")
    return 0


def _finetune(args: argparse.Namespace) -> int:
    import encoders

    from .cli import finetune as finetune_command
    from .cli import label_csv as measurements
    from .cli import predict as predict_command
    from .cli import score_table as score_table
    from .cli import targets as named

    # what is small is read first, so that a mistake shows before models are followed
    measured = measurements.read(args.labels, args.metric) if args.labels else None
    predictor = encoders.Predictor(finetune_command.encoder(args.encoder), head=args.head, ensemble=args.ensemble)
    networks = named.listed(args.networks)
    metric, values = finetune_command.labels(networks, measured, args.metric)
    sign = -1 if args.lower_is_better else 1
    sources = [finetune_command.source(path, metric) for path in args.sources]
    graphs = named.graphs(networks.parts, partial(_graph, args=args))
    if sources:
        predictor.fit_sources([(others, sign * y) for others, y in sources], seed=args.seed)
    used = finetune_command.fit(predictor, graphs, sign * values, args.limit, args.seed)
    predictor.save(args.output)
    print(score_table.table(networks.names, *predict_command.scores(predictor, graphs), args.top, (metric, values)))
    print(f"predictor: {args.output} ({used} labels)")
    return 0


def _predict(args: argparse.Namespace) -> int:
    import encoders

    from .cli import predict as predict_command
    from .cli import score_table as score_table
    from .cli import targets as named

    if not args.networks and not args.predictor and not args.task:
        print(predict_command.tasks())
        return 0
    if not args.networks:
        raise CgirError("which networks? `cgir predict --help` says what can be named")
    score_table.check_output(args.output)  # before models are followed, as are predictor and task
    how = encoders.Predictor.load(args.predictor) if args.predictor else predict_command.check_task(args.task)
    networks = named.listed(args.networks)
    graphs = named.graphs(networks.parts, partial(_graph, args=args))
    print(predict_command.predicted(how, networks.names, graphs, args.top, args.output))
    return 0


def _explain(args: argparse.Namespace) -> int:
    from .cli.explain import check_output, explained

    check_output(args.output)  # before a model is followed
    print(
        explained(_graph(args.model, args), args.predictor, args.method, args.top, args.output, args.depth, args.full)
    )
    return 0


def _demo(args: argparse.Namespace) -> int:
    from .cli.demo import run

    run(args.output, seed=args.seed)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "trace": _trace, "show": _show, "diff": _diff, "space": _space, "tables": _tables, "pretrain": _pretrain,
    "finetune": _finetune, "predict": _predict, "explain": _explain, "demo": _demo,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an error is one line on standard error and exit status 2, an interruption 130."""
    args = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return COMMANDS[args.command](args)
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
