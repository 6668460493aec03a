"""Errors of a forward, with the module and the lines where it stopped in front."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

import torch
from torch import nn

import cgir
from cgir import CgirError, TraceError
from cgir.errors import one_line

from .call_arguments import WHAT_TO_DO, ValueDependenceError

FRONTENDS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# frames of code in these folders are not shown: ours and PyTorch's
LIBRARIES = tuple(
    folder + os.sep
    for folder in (
        FRONTENDS,
        os.path.dirname(os.path.abspath(cgir.__file__)),
        os.path.dirname(os.path.abspath(torch.__file__)),
    )
)
STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Frame(NamedTuple):
    """One line of a traceback; `package` is the installed package that it belongs to, "" for the user's own code."""

    line: str
    function: str
    package: str


def located(error: Exception, model: nn.Module, name: str, path: str) -> TraceError:
    """An error of the forward with the module, the user's own line and the line that failed in front.

    Args:
        error: raised by the forward.
        model: that was traced.
        name: of the model.
        path: of the module whose forward was running.
    """
    line = _lines(list(_frames(error.__traceback__)), type(model).__module__.partition(".")[0])
    location = f"{name}{f' ({line})' if line else ''}{f', module {path!r}' if path else ''}"
    no_values = any(buffer.is_meta for buffer in model.buffers())
    hint = "; buffers on the meta device have no values either: build the model on the CPU" if no_values else ""
    if isinstance(error, CgirError):
        kind = type(error) if isinstance(error, TraceError) else TraceError
        return kind(f"{location}: {error}{hint if kind is ValueDependenceError else ''}")
    text = one_line(error)
    if "TraceError: " in text:  # compiled code reports the refusal as its own failure
        return TraceError(f"{location}: {text.partition('TraceError: ')[2].partition(' At: ')[0]}")
    if "meta tensor" in text and "item()" in text:
        return ValueDependenceError(
            f"{location}: the forward needs the value of a tensor, and tracing knows shapes only; {WHAT_TO_DO}{hint}"
        )
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ())[:1])
    if "scalar types: Long" in text:
        notes += "; input_shape= makes floating-point tensors: where integers are read, pass example inputs"
    return TraceError(f"{location}: the forward failed: {one_line(error, named=True)}{notes}")


def _lines(frames: list[Frame], package: str) -> str:
    """The user's innermost line, or the first forward of the model's `package`, and the line of a library inside it."""
    if not frames:
        return ""
    users = [frame for frame in frames if not frame.package]
    forwards = [frame for frame in frames if frame.package == package and frame.function == "forward"]
    first = users[-1] if users else (forwards or frames)[0]
    return first.line if first is frames[-1] else f"{first.line}, inside {frames[-1].line}"


def _frames(traceback: TracebackType | None) -> Iterator[Frame]:
    """Frames that are neither PyTorch's, nor Python's, nor ours, outermost first."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file, line = code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
        package = _package(file)
        if not file.startswith((*LIBRARIES, "<")) and (package or not file.startswith(STANDARD_LIBRARY)):
            yield Frame(f"{file}:{line}", code.co_name, package)


def _package(file: str) -> str:
    """The installed package that a file belongs to, "" if none."""
    for folder in INSTALLED:
        if folder in file:
            return file.rpartition(folder)[2].partition(os.sep)[0].removesuffix(".py")
    return ""
