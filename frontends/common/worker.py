"""The process in which a library's C++ code runs; `worker_process` starts it, with the file of a module of commands.

It reads requests from its standard input and ends with it. Messages are a number of parts, the length of each, and
the parts; the first part is JSON, the others are what protobuf serialises. Nothing but the standard library is imported
here, so that it starts quickly.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import BinaryIO

MORE_SECONDS, MOST_SECONDS = 5, 1 << 30


def _module(path: str) -> ModuleType:
    """The module of commands."""
    spec = spec_from_file_location("worker_commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limit_memory(num_bytes: int) -> None:
    """Let allocations beyond this fail; where the system has no such limit, nothing."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes if hard < 0 else min(num_bytes, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core files of the user's memory
    except (ImportError, OSError, ValueError, AttributeError):
        return


def _limit_time(seconds: float) -> None:
    """Let the system end this process some seconds after the starting one should have done so, in C++ code too.

    Else one whose starting process was killed would run for ever. 0: no limit.
    """
    if hasattr(signal, "alarm"):
        signal.alarm(int(min(seconds + MORE_SECONDS, MOST_SECONDS)) if seconds else 0)


def _read(stream: BinaryIO) -> list[bytes]:
    """The parts of a message; none at the end."""
    start = stream.read(8)
    if len(start) < 8:
        return []
    count = struct.unpack("<Q", start)[0]
    return [stream.read(length) for length in struct.unpack(f"<{count}Q", stream.read(8 * count))]


def _write(stream: BinaryIO, error: str, parts: Sequence[bytes]) -> None:
    parts = [error.encode(errors="backslashreplace"), *parts]
    stream.write(struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts)) + b"".join(parts))
    stream.flush()


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the starting process decides when to end
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what C++ code prints would be taken for an answer
    os.dup2(nowhere, 2)
    try:
        module = _module(sys.argv[1])
        commands = module.load(*sys.argv[2:])
    except Exception as error:
        _write(answers, f"{type(error).__name__}: {error}", ())
        return
    _write(answers, "", ())
    memory = 0
    while message := _read(requests):
        head = json.loads(message[0])
        if memory != head["memory"]:
            memory = head["memory"]
            _limit_memory(module.OWN_BYTES + memory)
        _limit_time(head["seconds"])
        try:
            parts = commands[head["command"]](head, message[1:])
        except Exception as error:
            _write(answers, (str(error) or type(error).__name__)[:2000], ())
        else:
            _write(answers, "", parts)
        _limit_time(0)


if __name__ == "__main__":
    main()
