"""The process that forks one process for each network: `network_process` starts it, `worker` loads this file.

It has imported all that tracing needs, so that a fork costs milliseconds. The forked process takes limits and forbids
itself to write files, start programs and use a network, and only then parses and runs the source. All that it sends
back is read as JSON, and it ends with its answer.
"""

from __future__ import annotations

import builtins
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

OWN_BYTES = 0  # address space that the process takes without a network; measured once everything is imported
WAIT = 10  # times as many seconds may pass as a network may compute: the machine has other things to do
MOST_BYTES = 64 << 20  # of an answer
FORBIDDEN = (
    "socket.", "subprocess.", "shutil.", "ctypes.", "pty.", "urllib.", "http.", "ftplib.", "smtplib.", "sqlite3.",
    "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "os.kill", "os.remove",
    "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.putenv",
    "os.unsetenv", "os.utime", "os.mkfifo", "os.setxattr", "os.removexattr", "signal.pthread_kill", "gc.get_",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
UNSAFE = ("breakpoint", "compile", "eval", "exec", "exit", "help", "input", "open", "quit")


def trace_source(head: dict[str, Any], source: str) -> dict[str, Any]:
    """The canonical graph of a network as JSON values; runs the source in this process.

    Args:
        head: `name`, `shape` (channels, height, width), `classes` and `settings` of the network.
        source: of its module, checked here first.
    """
    from cgir import serialize
    from cgir.passes import canonicalize
    from frontends.common.trace_request import TraceRequest
    from frontends.tables.lemur.building import build
    from frontends.tables.lemur.source_checks import checked_tree
    from frontends.torch.module_tracer import trace

    name, shape = head["name"], tuple(head["shape"])
    code = compile(checked_tree(source, name), name, "exec")
    module = ModuleType("network")
    module.__dict__["__builtins__"] = _builtins()
    exec(code, module.__dict__)
    model = build(module.__dict__["Net"], (1, *shape), (head["classes"],), head["settings"])
    return serialize.encode(canonicalize(trace(model, TraceRequest(input_shape=(1, *shape), name=name))))


def _builtins() -> dict[str, Any]:
    """Those of Python but what opens files or runs code; imports and attributes by name are those that may be read."""
    from frontends.tables.lemur.source_checks import BY_NAME, MODULES, is_hidden

    def import_allowed(name: str, *rest: Any) -> Any:
        if name not in MODULES and name != "__future__":
            raise ImportError(f"networks may not import {name}")
        return builtins.__import__(name, *rest)

    def by_name(function: Callable[..., Any]) -> Callable[..., Any]:
        def allowed(value: object, name: str, *rest: Any) -> Any:
            if type(name) is not str or is_hidden(name):  # a subclass of str may be another name when it is read
                raise AttributeError(f"no network may call {function.__name__} with {name!r}")
            return function(value, name, *rest)

        return allowed

    safe = {name: value for name, value in vars(builtins).items() if name not in UNSAFE}
    return {**safe, **{name: by_name(safe[name]) for name in BY_NAME}, "__import__": import_allowed}


def _trace(head: dict[str, Any], parts: Sequence[bytes]) -> list[bytes]:
    """What a forked process answers: JSON with the graph, or with the reason why there is none."""
    answers, answer = os.pipe()
    child = os.fork()
    if not child:
        os.close(answers)
        _run(head, parts[0], answer)
    os.close(answer)
    try:
        return [_read(answers, time.monotonic() + WAIT * head["network_seconds"], child)]
    finally:
        os.close(answers)


def _key(head: dict[str, Any], parts: Sequence[bytes]) -> list[bytes]:
    """The digest of a source; it is parsed here, and not run."""
    from frontends.tables.lemur.source_checks import source_key

    return [source_key(parts[0].decode(), head["name"]).encode()]


def _run(head: dict[str, Any], source: bytes, answer: int) -> NoReturn:
    """In the forked process: answer, and end without running anything that is left over from the other process."""
    status = 1
    try:
        _restrict(head["network_seconds"], answer)
        try:
            reply: dict[str, Any] = {"graph": trace_source(head, source.decode())}
        except BaseException as error:
            reply = {"error": type(error).__name__, "message": _message(error)}
        data = json.dumps(reply).encode()
        while data:
            data = data[os.write(answer, data) :]
        status = 0
    finally:
        os._exit(status)


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except BaseException:
        return ""


def _restrict(seconds: float, answer: int) -> None:
    """From here on: some seconds of computing, no processes, no file that is written, and no pipe but the answer."""
    import resource

    os.setpgid(0, 0)
    computing = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (computing, computing + 1))  # a signal that tells; then the end
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))
    for number in (signal.SIGXCPU, signal.SIGXFSZ, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(math.ceil(WAIT * seconds))  # if the process that would end this one is killed
    os.close(0)
    os.closerange(3, answer)  # among them the pipe to the process that started the worker
    os.closerange(answer + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITING):
            raise PermissionError("networks may not write files")
    elif event.startswith(FORBIDDEN):
        raise PermissionError(f"networks may not do this: {event}")


def _read(descriptor: int, until: float, child: int) -> bytes:
    """All that a forked process sends until it ends; then nothing of it is left.

    Raises:
        ValueError: it took too long, sent too much, or ended without an answer.
    """
    data, late = bytearray(), False
    try:
        while len(data) <= MOST_BYTES:
            late = not select.select([descriptor], [], [], max(until - time.monotonic(), 0))[0]
            chunk = b"" if late else os.read(descriptor, 1 << 20)
            if not chunk:
                break
            data += chunk
    finally:
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if late or status == -signal.SIGXCPU:
        raise ValueError("it takes longer than allowed")
    if not data or len(data) > MOST_BYTES:
        reason = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise ValueError(f"no answer: {reason}" if not data else "its graph is too large")
    return bytes(data)


def load(paths: str) -> dict[str, Callable[[dict[str, Any], Sequence[bytes]], list[bytes]]]:
    """The command, after everything that a network needs has been imported.

    Args:
        paths: where modules are found, as JSON.
    """
    global OWN_BYTES  # which `worker` reads
    sys.path[:] = json.loads(paths)
    sys.dont_write_bytecode = True
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    torch.set_num_threads(1)
    from frontends.tables.lemur.building import warm_up

    warm_up()
    with open("/proc/self/statm", encoding="ascii") as file:
        OWN_BYTES = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return {"trace": _trace, "key": _key, "ready": lambda head, parts: []}
