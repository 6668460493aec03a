"""Networks as the command line names them: saved graphs, data sets, and models that are traced."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from cgir.errors import CgirError, TraceError
from cgir.executors import Call, open_executor
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.package_check import check_packages
from cgir.passes import canonicalize
from cgir.serialize import load
from cgir.store import GraphStore
from cgir.typing import FloatArray

from .options import batch_axis

if TYPE_CHECKING:
    from encoders import Predictor

log = logging.getLogger(__name__)
IMAGE_AXES = 3  # channels, height, width: where a graph's order of axes is that of PyTorch


def trace_model(target: str, args: argparse.Namespace, raw: bool = False) -> tuple[Graph, float]:
    """Build the model that the command line names, and trace it.

    Args:
        target: what `frontends.build` takes.
        args: with the options of `options.add_trace_options`.
        raw: the graph as recorded, not canonical.

    Returns:
        The graph, and the seconds that tracing took.

    Raises:
        TraceError: the model cannot be traced.
    """
    if target.endswith(".json"):
        raise TraceError(f"{target}: expected a model, found a .json file; a saved graph is printed by `cgir show`")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports on its own start otherwise
    check_packages("frontends")
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
            batch=batch_axis(args.batch),
            raw=raw,
            level=args.level,
            strict=args.strict,
            name=Path(target).name,
            limits=args.limits,
        )
    except TraceError as error:
        if shapes is None and "needs example inputs" in str(error):
            if args.default_shape:
                return trace_model(target, _with_default_shape(target, args), raw)
            raise TraceError(
                f"{target}: the model does not know the shape of its input; say it, such as --input-shape 1,3,224,224"
            ) from error
        raise
    return graph, perf_counter() - start


def default_shape(predictor: Predictor) -> list[tuple[int, ...]] | None:
    """The shape of the images that most networks read that a predictor was taught with; None: they read others."""
    usual = predictor.record.inputs[0] if predictor.record and predictor.record.inputs else ()
    return [(1, *usual[0])] if len(usual) == 1 and len(usual[0]) == IMAGE_AXES else None


def load_or_trace(target: str, args: argparse.Namespace) -> Graph:
    """The graph in a .json file, or that of a model; a saved one is brought to level "inference" if that is asked for.

    Raises:
        InvalidGraphError: it cannot be brought there.
    """
    if not target.endswith(".json"):
        return trace_model(target, args)[0]
    graph = load(Path(target))
    return canonicalize(graph, level="inference") if args.level == "inference" else graph


class Targets(NamedTuple):
    """G networks that are yet to be read.

    `names`: one each; `labels`: (G,) values of each label of the data sets among them, NaN where unknown;
    `sources`: data sets, or single networks as the command line names them.
    """

    names: list[str]
    labels: dict[str, FloatArray]
    sources: list[GraphStore | str]


def open_targets(targets: Iterable[str]) -> Targets:
    """Open the data sets among targets, and name all networks; models are not built yet.

    A network of a data set (a folder or .parquet file) is called by its specification; anything else is one network,
    called as it is here. Order is kept; empty targets and repeated ones are left out.

    Raises:
        CgirError: there is no target, or one is no data set but looks like one.
    """
    sources = {target: open_target(target) for target in targets if target.strip()}
    if not sources:
        raise CgirError("the list of networks is empty; expected one a line")
    names = [_names(target, source) for target, source in sources.items()]
    label_sets = [source.labels if isinstance(source, GraphStore) else {} for source in sources.values()]
    labels = {
        label: np.concatenate(
            [values.get(label, np.full(len(part), np.nan)) for part, values in zip(names, label_sets, strict=True)]
        )
        for label in dict.fromkeys(label for values in label_sets for label in values)
    }
    return Targets([name for part in names for name in part], labels, list(sources.values()))


def read_graphs(
    sources: Sequence[GraphStore | str], load_network: Callable[[str], Graph], workers: int = 1
) -> GraphBatch:
    """The graphs of all networks, in the order of their names.

    Args:
        sources: data sets, and networks as the command line names them.
        load_network: reads one that is in no data set.
        workers: processes that do so, but for the first one, which says here what is assumed of all.

    Raises:
        CgirError: one of them cannot be read; the message names it.
    """
    names = [source for source in sources if isinstance(source, str)]
    with ExitStack() as stack:
        known: dict[str, GraphBatch] = {}
        calls: dict[str, Call] = {}
        if workers > 1 and len(names) > 2:
            known[names[0]] = _load(names[0], load_network)
            executor = stack.enter_context(open_executor(f"processes:{min(workers, len(names) - 1)}"))
            calls = {name: executor.submit(_load, name, load_network) for name in names[1:]}

        def read(source: GraphStore | str) -> GraphBatch:
            if isinstance(source, GraphStore):
                return source.batch()
            if source in known:
                return known[source]
            batch: GraphBatch = calls[source].result() if source in calls else _load(source, load_network)
            return batch

        batches = [read(source) for source in tqdm(sources, desc="networks read", unit="", disable=None)]
    return batches[0] if len(batches) == 1 else GraphBatch.concatenate(batches)


def open_target(target: str) -> GraphStore | str:
    """The data set in a folder or .parquet file; any other target, a model, as it is.

    Raises:
        CgirError: it is a predictor, or a damaged data set.
    """
    from encoders.predictors.serialization import FILE

    path = Path(target)
    if (path / FILE).is_file():
        raise CgirError(f"{target}: a predictor, not a network; to use it say --predictor {target}")
    is_store = path.suffix == ".parquet" or (path.is_dir() and not (path / "saved_model.pb").is_file())
    return GraphStore.open(path) if is_store else target


def _with_default_shape(target: str, args: argparse.Namespace) -> argparse.Namespace:
    """The arguments as if the default shape had been given, which is said of the first model."""
    if not getattr(args, "said_default", False):
        text = _text(args.default_shape)
        log.info("%s and others: traced with --input-shape %s, as the predictor's were", target, text)
        args.said_default = True
    return argparse.Namespace(**vars(args) | {"input_shape": args.default_shape})


def _text(shapes: Iterable[tuple[int, ...]]) -> str:
    return " ".join(",".join(map(str, shape)) for shape in shapes)


def _names(target: str, source: GraphStore | str) -> list[str]:
    if isinstance(source, GraphStore):
        return [spec or f"{target}[{index}]" for index, spec in enumerate(source.specs)]
    return [target]


def _load(name: str, load_network: Callable[[str], Graph]) -> GraphBatch:
    try:
        return GraphBatch.from_graphs([load_network(name)])
    except CgirError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error
