"""A library's C++ code in a process of its own: some files make it end the process that it runs in.

One process is started when it is first needed and serves all threads one after the other. It ends with this process,
and is started again after a file has ended it. Processes made by `os.fork` start their own.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from cgir import TraceError
from cgir.errors import LimitError, printable
from cgir.limits import Limits

WORKER = Path(__file__).with_name("worker.py")
CHUNK = 1 << 20


class _Ended(Exception):
    """The process has ended, or was ended because it took too long."""


class WorkerProcess:
    """The process of one library, once it is started."""

    def __init__(self, library: str, commands: Path, *arguments: str) -> None:
        """Nothing is started yet.

        Args:
            library: its name, for messages.
            commands: file of a module that `worker` loads: `load(*arguments)` makes its commands.
            arguments: for it.
        """
        self._name, self._arguments = library, (str(commands), *arguments)
        self._forget()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._drop)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def start(self) -> None:
        """Start the process unless it runs; it loads the library while this process goes on.

        Raises:
            TraceError: it cannot be started.
        """
        with self._lock:
            self._start()

    def call(self, command: str, head: Mapping[str, Any], parts: Sequence[bytes], limits: Limits) -> list[bytes]:
        """The answer to a request; its first part is the library's error message, empty if there is none.

        Args:
            command: of those that the module loads.
            head: its settings.
            parts: serialised messages.
            limits: memory and seconds that it may take.

        Raises:
            TraceError: the request has ended the process, or the process cannot be started.
            LimitError: it took too long.
        """
        own = {"command": command, "memory": limits.bytes, "seconds": limits.seconds}
        settings = json.dumps({**head, **own}).encode()
        with self._lock:
            self._start()
            try:
                self._wait_until_ready(limits)
                self._write([settings, *parts])
                return self._read(limits.seconds)
            except (_Ended, OSError) as error:
                raise TraceError(f"{self._name}'s own code {self._end()} on it; no valid model does that") from error
            except BaseException:  # such as KeyboardInterrupt: the answer would be taken for the next one's
                self._end()
                raise

    def _drop(self) -> None:
        """After a fork: leave the process to the one that started it."""
        if self._process is not None:
            self._close_pipes()
            self._process.returncode = 0  # it is no child of this process
        self._forget()  # with a lock that nobody holds

    def close(self) -> None:
        """End the process; one that another thread still waits for ends with this one."""
        if self._lock.acquire(timeout=1):
            try:
                self._end()
            finally:
                self._lock.release()

    # --- all below: with the lock held

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end()  # of one that somebody else has ended
        command = [_executable(), "-I", "-S", str(WORKER), *self._arguments]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                process_group=0,  # Ctrl-C is for this process
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise self._start_error(command[0], error) from error
        self._ready = False

    def _wait_until_ready(self, limits: Limits) -> None:
        if self._ready:
            return
        assert self._process is not None
        executable = _executable()
        try:
            message = self._read(max(limits.seconds, 60.0))[0].decode(errors="replace")
        except (_Ended, LimitError, OSError, struct.error, MemoryError) as error:
            raise self._start_error(executable, f"it {self._end()}") from error
        if message:
            self._end()
            raise self._start_error(executable, message)
        self._ready = True

    def _write(self, parts: Sequence[bytes]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        lengths = struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts))
        view = memoryview(b"".join((lengths, *parts)))
        while view:
            view = view[self._process.stdin.write(view) or 0 :]

    def _read(self, seconds: float) -> list[bytes]:
        until = time.monotonic() + seconds
        count = struct.unpack("<Q", self._read_exactly(8, until, seconds))[0]
        lengths = struct.unpack(f"<{count}Q", self._read_exactly(8 * count, until, seconds))
        content = self._read_exactly(sum(lengths), until, seconds)
        parts, begin = [], 0
        for length in lengths:
            parts.append(content[begin : begin + length])
            begin += length
        return parts

    def _read_exactly(self, count: int, until: float, seconds: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, data = self._process.stdout.fileno(), bytearray()
        while len(data) < count:
            if not _readable(descriptor, until - time.monotonic()):
                raise LimitError(
                    f"{self._name}'s own code takes more than {seconds:g} seconds for it; if you trust the file, "
                    "allow more (limits=Limits(seconds=...), or --limits seconds=... on the command line)"
                )
            chunk = os.read(descriptor, min(count - len(data), CHUNK))
            if not chunk:
                raise _Ended
            data += chunk
        return bytes(data)

    def _end(self) -> str:
        """End the process if it runs, and say how it ended."""
        process, self._process = self._process, None
        if process is None:
            return "ended"
        self._close_pipes(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
        code = process.wait()
        if code >= 0:
            return f"ended with status {code}"
        return f"ended with {signal.Signals(-code).name if -code in list(signal.Signals) else f'signal {-code}'}"

    def _start_error(self, executable: str, reason: object) -> TraceError:
        return TraceError(
            f"{self._name}'s own code runs in a process of its own, which cannot be started with {executable!r}: "
            f"{printable(reason, 200)}; multiprocessing.set_executable() says which Python to use"
        )

    def _close_pipes(self, process: subprocess.Popen[bytes] | None = None) -> None:
        process = process or self._process
        for pipe in (process.stdin, process.stdout) if process else ():
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read within some seconds; where a system cannot say, reading waits."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))


def _executable() -> str:
    return os.fsdecode(spawn.get_executable() or b"")
