"""Latency of networks as measured here, on the CPU of this machine by ONNX Runtime."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
from torch import nn
from tqdm import tqdm

from cgir.errors import CgirError, one_line
from frontends.common.trace_request import InputShape, import_optional
from frontends.registry import frontend_name

from . import onnx_export

PROVIDER = "CPUExecutionProvider"
ROUNDS = 5  # in which the models take turns
GROUP, GROUPS = 3, 20  # runs of a group in warming up, and groups at most
STEADY = 0.95  # a group whose median is above this share of the one before is as fast as it gets
BUSY = 1.5  # 90th percentile over median, or median over processor time, above which the machine is busy
SOURCE_LINE = re.compile(r"/onnxruntime_src/\S+:\d+ \S+\(.*?\) ")  # in the runtime's messages
Run = Callable[[], object]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latency:
    """Time of one pass of a network.

    Attributes:
        median_ms: milliseconds; half of the runs took less.
        p10_ms: a tenth of the runs took less.
        p90_ms: a tenth of the runs took longer.
        cpu_ms: processor time of all threads, median; with one thread, what the network would take if nobody else
            used the machine.
        runs: how many were timed.
        threads: that computed.
        runtime: name, version and device.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    cpu_ms: float
    runs: int
    threads: int
    runtime: str

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{format_ms(self.median_ms)} ms (median of {self.runs} runs; 10th to 90th percentile "
            f"{format_ms(self.p10_ms)} to {format_ms(self.p90_ms)} ms; processor time {format_ms(self.cpu_ms)} ms; "
            f"{threads}, {self.runtime})"
        )

    @property
    def disturbed(self) -> bool:
        """Whether the machine was busy: one run in ten took over 1.5 times the median, or half of them waited."""
        waited = self.threads == 1 and self.median_ms > BUSY * self.cpu_ms
        return waited or self.p90_ms > BUSY * self.median_ms


def format_ms(milliseconds: float) -> str:
    """Three digits, or all before the point where there are more."""
    return f"{milliseconds:,.0f}" if milliseconds >= 99.95 else f"{milliseconds:#.3g}"


def latency(
    model: Any, input_shape: InputShape | None = None, *, inputs: Any = None, runs: int = 50, threads: int = 1
) -> Latency:
    """Measure how long one pass of a network takes, in evaluation mode.

    Before runs count, groups of three warm up until one is not 5 % faster than the one before (20 groups at most).
    Where one run in ten takes over 1.5 times the median, or the median of one thread is over 1.5 times its processor
    time, a warning is logged: the machine is busy.

    Args:
        model: a `torch.nn.Module` with weights, random ones as well; an ONNX file, `ModelProto` or bytes. It is left as
            it is.
        input_shape: of the input, batch included, such as (1, 3, 224, 224), or a tuple of shapes; not needed where an
            ONNX model declares it.
        inputs: instead, real inputs as `frontends.trace` takes them; needed where they are integers.
        runs: how many count.
        threads: that compute; they do not spin while they wait.

    Raises:
        CgirError: the model is of another kind, ONNX cannot express it, or the inputs do not fit.
    """
    if inputs is not None and input_shape is not None:
        raise CgirError("latency: found inputs and input_shape; give one of them")
    return latencies([model], input_shape, inputs=[inputs], runs=runs, threads=threads)[0]


def latencies(
    models: Iterable[Any],
    input_shape: InputShape | None = None,
    *,
    inputs: Sequence[Any] | None = None,
    runs: int = 50,
    threads: int = 1,
    progress: bool = False,
) -> list[Latency]:
    """Measure several networks in turns, so that what disturbs the machine for a while disturbs all of them alike.

    The runs of a network are spread over five rounds; in each, one run that does not count fills the caches again.

    Args:
        models: as of `latency`; of a generator one is built at a time, but ONNX Runtime keeps the weights of all.
        input_shape: of all of them.
        inputs: of each model, in the same order; None for one that `input_shape` is meant for.
        runs: of each model.
        threads: that compute.
        progress: show a bar.

    Raises:
        CgirError: as of `latency`.
    """
    _check_count("runs", runs)
    _check_count("threads", threads)
    if inputs is not None and isinstance(models, Sized) and len(inputs) != len(models):
        raise CgirError(f"latency: inputs of {len(inputs)} networks for {len(models)} models; expected as many")
    bar = partial(tqdm, disable=None if progress else True, unit="")
    pairs = zip(models, repeat(None) if inputs is None else inputs, strict=inputs is not None)
    calls = [_prepared(model, given, input_shape, threads) for model, given in bar(pairs, desc="networks prepared")]
    times: list[list[tuple[int, int]]] = [[] for _ in calls]
    shares = [len(part) for part in np.array_split(np.arange(runs), min(ROUNDS, runs))]
    turns = [(share, index) for share in shares for index in range(len(calls))]
    for share, index in bar(turns, desc="turns measured"):
        calls[index]()
        times[index] += [_nanoseconds(calls[index]) for _ in range(share)]
    found = [_summary(spent, threads) for spent in times]
    if busy := sum(one.disturbed for one in found):
        which = "" if len(found) == 1 else f" (times of {busy} of {len(found)} networks)"
        _log.warning("latency: the machine is busy%s; the processor time, cpu_ms, minds that least", which)
    return found


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CgirError(f"latency: {name}={value!r}; expected a whole number of 1 or more")


def _prepared(model: Any, inputs: Any, input_shape: InputShape | None, threads: int) -> Run:
    """One pass of a network as a function, warmed up."""
    source = _as_onnx(model, inputs, None if inputs is not None else input_shape)
    runtime = import_optional("onnxruntime", "measuring latency", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised as well
    try:
        session = runtime.InferenceSession(source.model, options, [PROVIDER])
        read = {info.name for info in session.get_inputs()}  # an exporter drops inputs that nothing depends on
        run: Run = partial(session.run, None, {name: array for name, array in source.feeds.items() if name in read})
        _warm_up(run)
    except Exception as error:  # classes of their own, without a common one
        reason = SOURCE_LINE.sub("", one_line(error, named=True))[:300]
        raise CgirError(f"latency: ONNX Runtime cannot run {source.label} ({reason})") from error
    return run


def _as_onnx(model: Any, inputs: Any, input_shape: InputShape | None) -> onnx_export.OnnxModel:
    """The model as ONNX Runtime takes it.

    Raises:
        CgirError: it is of another kind, or needs a shape.
    """
    if isinstance(model, nn.Module):
        if inputs is None and input_shape is None:
            name = type(model).__name__
            raise CgirError(f"latency: {name} does not know its input; say input_shape=(1, 3, 224, 224) or inputs=")
        return onnx_export.export(model, inputs, input_shape)
    kind = frontend_name(model)
    if kind == "onnx.importer":
        import_optional("onnx", "an ONNX model", "onnx")
        from . import onnx_files

        return onnx_files.read(model, inputs, input_shape)
    name = str(model) if isinstance(model, str) or hasattr(model, "__fspath__") else f"a {type(model).__name__}"
    if kind.startswith("torch"):
        raise CgirError(f"latency: {name} is an exported program; give the torch.nn.Module, or an .onnx file of it")
    raise CgirError(
        f"latency: {name} is a TensorFlow or Keras model, and ONNX Runtime measures ONNX; write one with tf2onnx, by "
        'model.export("net.onnx", format="onnx") or python -m tf2onnx.convert, and give net.onnx'
    )


def _warm_up(run: Run) -> None:
    last = float("inf")
    for _ in range(GROUPS):
        median = float(np.median([_nanoseconds(run)[0] for _ in range(GROUP)]))
        if median > STEADY * last:
            return
        last = median


def _nanoseconds(run: Run) -> tuple[int, int]:
    """On the clock, and of processors."""
    cpu, start = process_time_ns(), perf_counter_ns()
    run()
    return perf_counter_ns() - start, process_time_ns() - cpu


def _summary(nanoseconds: Sequence[tuple[int, int]], threads: int) -> Latency:
    import onnxruntime

    clock, cpu = np.array(nanoseconds).T / 1e6
    p10, median, p90 = map(float, np.percentile(clock, (10, 50, 90)))
    runtime = f"onnxruntime {onnxruntime.__version__} {PROVIDER}"
    return Latency(median, p10, p90, float(np.median(cpu)), len(clock), threads, runtime)
