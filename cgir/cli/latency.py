"""`cgir latency`: how long networks take on this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from cgir.errors import CgirError, TraceError, printable
from cgir.limits import Limits
from cgir.package_check import check_packages

from .options import MODEL, add_limits_option, parse_seed, parse_shape, positive_int
from .output import say
from .trainable_models import Examples, build_model, model_names

if TYPE_CHECKING:
    from search import Latency

EPILOG = """examples:
  cgir latency net.py:build --input-shape 1,3,224,224              build() in net.py returns a PyTorch module
  cgir latency net.onnx --threads 2                                files know their shapes
  cgir latency net.py:small net.py:wide --input-shape 1,3,224,224  a table, fastest first
  cgir space ofa_mbv3 --sample 20 -o pool && cgir latency pool     networks of a search space, each at its own size

One run is one pass of the batch in --input-shape, in evaluation mode. Runs that warm up are not counted; several
networks take turns, so that what disturbs the machine for a while disturbs all of them alike. Where others use the
machine, the processor time (cpu ms) is what one thread would take without them. Other machines, other runtimes and
other numbers of threads have other times.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir latency`."""
    parser.description = (
        "Measure how long one pass of a network takes on this machine's processor, with ONNX Runtime (PyTorch modules "
        "are exported to ONNX in memory): the median of many runs, and how far they spread."
    )
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.fromfile_prefix_chars = "@"
    parser.add_argument(
        "models", nargs="+", metavar="MODEL",
        help=f"{MODEL}; of these, PyTorch modules and .onnx files are measured. Or SPACE:NETWORK, a network of a "
        "search space in the benchmark's own form; or a data set that `cgir space` wrote. @FILE reads a list from a "
        "file, one a line",
    )  # fmt: skip
    parser.add_argument(
        "--input-shape", type=parse_shape, action="append", metavar="N,C,...",
        help="shape of a floating-point input, batch included, such as 1,3,224,224; repeatable, one per input; not "
        "needed for ONNX files that declare it, and for networks of search spaces",
    )  # fmt: skip
    parser.add_argument(
        "--runs", type=positive_int, default=50, help="runs of each network that count (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive_int, default=1, help="threads that compute (default: %(default)s)")
    parser.add_argument("--seed", type=parse_seed, default=0, help="of random weights (default: %(default)s)")
    add_limits_option(parser)
    parser.add_argument("--json", action="store_true", help="print a list of objects for other programs instead")


def run(args: argparse.Namespace) -> int:
    """Print the networks with their latencies, fastest first."""
    check_packages("frontends", "search")
    rows = sorted(measure(model_names(args.models), args), key=lambda row: row.latency.median_ms)
    if args.json:
        say(json.dumps([row.as_json() for row in rows], indent=1))
    else:
        say(format_latencies(rows))
    return 0


class Row(NamedTuple):
    """A network: its name, latency, FLOPs of one example, and number of parameters; None where it cannot be traced."""

    name: str
    latency: Latency
    flops: int | None
    params: int | None

    def as_json(self) -> dict[str, Any]:
        """All values by name."""
        return {"model": self.name} | asdict(self.latency) | {"flops": self.flops, "params": self.params}


def measure(names: Sequence[str], args: argparse.Namespace) -> list[Row]:
    """Measure networks in turns.

    Args:
        names: as of `model_names`.
        args: with input_shape, runs, threads and seed.

    Raises:
        CgirError: one of them cannot be measured; the message names it.
    """
    from search import latencies

    shape = args.input_shape and (args.input_shape[0] if len(args.input_shape) == 1 else tuple(args.input_shape))
    inputs = [None if shape else _published_inputs(name) for name in names]
    costs: list[tuple[int | None, int | None]] = []

    def models() -> Iterator[Any]:  # one is built at a time
        for name, example in zip(names, inputs, strict=True):
            costs.append((None, None))
            model = _build(name, args)
            yield model
            costs[-1] = _costs(model, example, shape, args.limits)  # of what can be measured

    options = {"runs": args.runs, "threads": args.threads, "progress": len(names) > 1}
    try:
        found = latencies(models(), shape, inputs=inputs, **options)
    except CgirError as error:
        name = names[len(costs) - 1]
        raise error if name in str(error) else type(error)(f"{name}: {error}") from error
    return [Row(name, latency, *cost) for name, latency, cost in zip(names, found, costs, strict=True)]


def format_latencies(rows: Sequence[Row]) -> str:
    """One line, or a table in the order of the rows."""
    from search.measured_latency import format_ms

    if len(rows) == 1:
        return f"{printable(rows[0].name)}: {rows[0].latency}"
    lines = [["ms", "10 %", "90 %", "cpu ms", "MFLOPs", "M params", "network"]]
    for name, latency, flops, params in rows:
        times = map(format_ms, (latency.median_ms, latency.p10_ms, latency.p90_ms, latency.cpu_ms))
        lines.append([*times, _millions(flops), _millions(params), printable(name)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    table = ["  ".join([*(f"{c:>{w}}" for c, w in zip(line[:-1], widths, strict=True)), line[-1]]) for line in lines]
    one = rows[0].latency
    threads = "1 thread" if one.threads == 1 else f"{one.threads} threads"
    about = (
        f"ms: median of {one.runs} passes of the batch; 10 %, 90 %: a tenth of them took less, a tenth took longer; "
        f"cpu ms: processor time; {threads}, {one.runtime}"
    )
    return "\n".join([*table, "", f"{about}. MFLOPs: of one example"])


def _published_inputs(name: str) -> Any:
    """What a network of a search space takes at its published size; None of other models."""
    from frontends import spaces

    space, _, text = name.partition(":")
    return spaces.get(space).inputs(spaces.get(space).parse(text)) if space in spaces.SPACES else None


def _build(name: str, args: argparse.Namespace) -> Any:
    """The model of a name, with weights; of a file, its path.

    Raises:
        CgirError: there is none, or it does not know its shape.
    """
    import torch

    from encoders.training.seeding import seeded
    from frontends import build, spaces

    space, _, text = name.partition(":")
    if space in spaces.SPACES:
        if args.input_shape:
            return build_model(name, Examples(tuple(map(torch.empty, args.input_shape))), args.seed)
        with seeded(args.seed):
            return spaces.get(space).module(spaces.get(space).parse(text))
    with seeded(args.seed):
        model = build(name, weights=True)
    if isinstance(model, torch.nn.Module) and not args.input_shape:
        raise TraceError(
            f"{name}: the model does not know the shape of its input; say it, such as --input-shape 1,3,224,224"
        )
    return model


def _costs(model: Any, inputs: Any, shape: Any, limits: Limits) -> tuple[int | None, int | None]:
    """FLOPs of one example and number of parameters, None where the model cannot be traced."""
    import frontends

    try:
        graph = frontends.trace(model, inputs, input_shape=None if inputs is not None else shape, limits=limits)
    except TraceError:
        return None, None
    return graph.flops, graph.num_params


def _millions(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:,.3f}"
