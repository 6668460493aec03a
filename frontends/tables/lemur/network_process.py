"""The graph of one network whose source is not trusted; see `network_worker`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgir import Graph, TraceError, verify
from cgir.errors import LimitError, printable
from cgir.limits import Limits
from cgir.serialize import decode
from cgir.strict_json import parse_object
from frontends.common.worker_process import WorkerProcess

from .network_worker import WAIT

_PROCESS = WorkerProcess(
    "a network", Path(__file__).with_name("network_worker.py"), json.dumps([path or "." for path in sys.path])
)
LIMITS = Limits(seconds=60, bytes=4 << 30)
MARGIN = 10.0  # seconds until the process that forks counts as lost, too
START_SECONDS = 600.0  # for its imports, on a busy machine


def start(limits: Limits = LIMITS) -> None:
    """Wait until the process that forks is ready; it starts when it is first needed, and again after it was killed.

    Raises:
        TraceError: it does not start.
    """
    _PROCESS.call("ready", {}, [], Limits(seconds=START_SECONDS, bytes=limits.bytes))


def source_key(source: str, name: str, limits: Limits = LIMITS) -> str:
    """A digest of what a network needs of its source; networks of equal digests have equal graphs.

    Args:
        source: of a module.
        name: of the network.
        limits: what the process may take that reads it.

    Raises:
        TraceError: the source is refused.
    """
    start(limits)
    message, *answers = _PROCESS.call("key", {"name": name}, [source.encode(errors="replace")], limits)
    if message:
        raise TraceError(message.decode(errors="replace"))
    return answers[0].decode()


def trace_network(
    source: str,
    name: str,
    shape: tuple[int, int, int],
    *,
    classes: int,
    settings: Mapping[str, Any],
    limits: Limits = LIMITS,
) -> Graph:
    """The canonical graph of the class `Net` in a source, built and traced in a process of its own.

    Args:
        source: of a module.
        name: of the network.
        shape: channels, height and width of an image.
        classes: which it distinguishes.
        settings: hyperparameters, as JSON writes them.
        limits: seconds of computing and bytes that it may take.

    Raises:
        TraceError: the source is refused, it fails, or what it does cannot be traced; one line.
        LimitError: it takes more than the limits allow.
    """
    head = {
        "name": name, "shape": shape, "classes": classes, "settings": dict(settings), "network_seconds": limits.seconds
    }  # fmt: skip
    start(limits)
    allowed = Limits(seconds=WAIT * limits.seconds + MARGIN, bytes=limits.bytes)
    message, *answers = _PROCESS.call("trace", head, [source.encode(errors="replace")], allowed)
    if message:
        text = message.decode(errors="replace")
        raise (LimitError if "longer" in text else TraceError)(f"{name}: {text} ({limits.seconds:g} s)")
    reply = parse_object(name, answers[0], "not JSON")
    if "graph" not in reply:
        text = printable(reply.get("message", ""), 300)
        kind = printable(reply.get("error", ""), 60)
        error = LimitError if kind == "MemoryError" or "can't allocate memory" in text else TraceError
        raise error(text if text.startswith(name) else f"{name}: {kind}: {text}")
    graph = decode(reply["graph"])
    verify(graph)
    return graph
