"""Hostile inputs in a watched process: what became of each, also where the process died of it.

A process forks for some hundred inputs. It may take `SECONDS` of processor time and `BYTES` of memory for each; an
audit hook notes what no file may cause: a process, a connection, code, a file outside of the input's folder.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import resource
import select
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np

from cgir.errors import MESSAGE_LIMIT, CgirError, one_line, printable

from .target import Target

SECONDS, BYTES = 10, 2 << 30
PATIENCE = 120.0  # seconds on the clock, after which a process that says nothing is killed
CANARY = "canary"  # what inputs try to make or read; beside their folder
OUTCOMES = ("refused", "accepted", "other class", "bad message", "crash", "hang", "memory", "executed")
FINDINGS = (*OUTCOMES[2:], "not made")  # the last: the generator failed
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "socket.bind",
             "pickle.find_class", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "webbrowser.open")  # fmt: skip


class Outcome(NamedTuple):
    """What became of one input; seconds of processor time, and megabytes above what the process had before."""

    number: int
    name: str
    message: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


def outcomes(target: Target, seeds: Any, seed: int, indices: range, folder: Path) -> Iterator[Outcome]:
    """What becomes of the inputs with these numbers, in their order; each is made from `(seed, number)` alone.

    Args:
        target: the kind of input.
        seeds: what its `prepare` made.
        seed: of the campaign.
        indices: numbers of the inputs.
        folder: for files; emptied before each input.
    """
    left = indices
    while left:
        last = None
        for outcome in _of_one_process(target, seeds, seed, left, folder):
            last = outcome
            yield outcome
        assert last is not None  # a process that dies gives an outcome to the input it died of
        left = left[last.number - left.start + 1 :]


def _of_one_process(target: Target, seeds: Any, seed: int, indices: range, folder: Path) -> Iterator[Outcome]:
    """Outcomes until the process has done all inputs, or died of one."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        try:
            _run(target, seeds, seed, indices, folder, writing)
        finally:
            os._exit(0)
    os.close(writing)
    begun, done, status = indices.start, True, 0
    try:
        for line in _lines(reading, child):
            said = json.loads(line)
            done = not isinstance(said, int)
            if isinstance(said, int):
                begun = said
            else:
                yield Outcome(*said)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # also what it started
        status = os.waitpid(child, 0)[1]
    if not done:
        yield _death(begun, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _lines(pipe: int, child: int) -> Iterator[bytes]:
    """What a process says, until it has ended or has been silent for too long; others may hold its pipe open."""
    rest, silent = b"", 0.0
    while silent < PATIENCE:
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not select.select([pipe], [], [], 0 if ended else 0.5)[0]:
            if ended:
                return
            silent += 0.5
            continue
        silent = 0.0
        if not (data := os.read(pipe, 1 << 16)):
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _death(index: int, number: int) -> Outcome:
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return Outcome(index, "hang", f"more than {SECONDS} s", float(SECONDS))
    return Outcome(index, "crash", signal.Signals(number).name if number else "the process ended")


def _run(target: Target, seeds: Any, seed: int, indices: range, folder: Path, pipe: int) -> None:
    """In the process: all inputs, one line when each begins and one when it has ended."""
    os.setpgid(0, 0)
    faulthandler.disable()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    noted = watch(folder)
    for index in indices:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            given = target.write(np.random.default_rng([seed, index]), seeds, folder)
        except Exception as error:
            outcome = Outcome(index, "not made", one_line(error, 300, named=True))
        else:
            os.write(pipe, b"%d\n" % index)
            noted.clear()
            outcome = one_outcome(target, given, index, noted)
        os.write(pipe, json.dumps(outcome).encode() + b"\n")


def one_outcome(target: Target, given: Any, index: int, noted: list[str]) -> Outcome:
    """Read one input, within limits of memory and processor time that its process does not survive.

    Args:
        target: the kind of input.
        given: the input.
        index: its number.
        noted: what the audit hook noted, as `watch` returns it.
    """
    before = _limit()
    start = process_time()
    name, message = "accepted", ""
    try:
        target.read(given)
    except (CgirError, OSError) as error:
        name, message = "refused", str(error)
        bad = len(message) > MESSAGE_LIMIT or printable(message) != message
        if bad and isinstance(error, CgirError):
            name = "bad message"
    except MemoryError:
        name, message = "memory", "MemoryError"
    except BaseException as error:
        name, message = "other class", one_line(error, 300, named=True)
    seconds, megabytes = process_time() - start, _status("VmHWM") - before
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if megabytes > BYTES >> 20:
        name = "memory"
    if seconds > SECONDS:
        name = "hang"
    if noted:
        name, message = "executed", "; ".join(noted)
    return Outcome(index, name, printable(message, 300), round(seconds, 3), round(megabytes, 1))


def _limit() -> float:
    """Limit what the next input may take; returns the megabytes that the process has now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime) + SECONDS + 2
    resource.setrlimit(resource.RLIMIT_CPU, (processor, resource.RLIM_INFINITY))
    virtual = int(_status("VmSize") * 2**20) + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (virtual, resource.RLIM_INFINITY))
    return _status("VmRSS")


def _status(field: str) -> float:
    """A size of this process, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def watch(folder: Path) -> list[str]:
    """Note from now on what an input must not cause, in the list that is returned; the hook stays for ever."""
    noted: list[str] = []
    inside, canary = f"{folder.resolve()}{os.sep}", str(folder.resolve().parent / CANARY)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(args[0]))
            writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            # libraries keep compiled files and fonts elsewhere; a hostile name leads beside the folder, or to /etc
            hostile = path.startswith((canary, "/etc/passwd", "/etc/shadow"))
            if hostile or (writes and not path.startswith((inside, "/dev/", "/proc/", "/tmp/"))):
                noted.append(f"open {path}")
        elif event in FORBIDDEN and not _is_ours(event, args, inside):
            noted.append(f"{event} {args!r}"[:200])

    sys.addaudithook(hook)
    return noted


def _is_ours(event: str, args: tuple[Any, ...], inside: str) -> bool:
    """What the library does itself: temporary files in the folder, and the processes of other libraries' own code."""
    if event == "subprocess.Popen":
        return any(str(word).endswith("frontends/common/worker.py") for word in args[1])
    if event in ("os.remove", "os.rename", "os.rmdir", "shutil.rmtree"):
        return os.path.abspath(os.fsdecode(args[0])).startswith((inside.rstrip(os.sep), "/tmp/"))
    return False
