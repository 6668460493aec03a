"""Functions that other processes are asked to call; they import nothing, so that a child starts at once."""

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any


class NotPicklable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first}\nand\n{second}")
        self.opened = open(os.devnull)  # noqa: SIM115


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class Counter:
    """Keeps a state between calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        return self.calls


def double(number: float) -> float:
    return 2 * number


def process(_: object = None) -> int:
    return os.getpid()


def fails(message: str) -> None:
    raise KeyError(message)


def fails_not_picklable() -> None:
    raise NotPicklable(1, 2)


def fails_silently() -> None:
    raise Silent


def exits(code: int) -> None:
    sys.exit(code)


def exits_at_once(code: int) -> None:
    os._exit(code)


def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def spins(seconds: float) -> float:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def allocates(size: int) -> int:
    return len(bytearray(size))


def kills_itself(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


def kills_itself_once(mark: str, number: float) -> float:
    """Dies where the file does not exist."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def waits_once(mark: str, number: float) -> float:
    """Writes its process into the file and hangs; answers where the file exists."""
    if Path(mark).exists():
        return 2 * number
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)
    return 0.0


def answers_not_picklable() -> Any:
    return lambda: None


def prints(size: int) -> int:
    print("x" * size, flush=True)
    os.write(1, b"y" * size)
    os.write(2, b"z" * size)
    return size


def forks(mark: str) -> int:
    """The copy comes back from here too, and hangs before."""
    if (copy := os.fork()) == 0:
        time.sleep(0.2)
    Path(mark).write_text(str(copy))
    return 7


def starts_others(mark: str) -> None:
    """Starts a program and a copy of itself, writes both down and hangs with them."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    copy = os.fork()
    if copy:
        Path(mark).write_text(f"{os.getpid()} {program.pid} {copy}")
    time.sleep(600)


def modules() -> list[str]:
    return sorted(sys.modules)


class OnlyThere:
    """Pickles, and is read in its own process alone."""

    def __init__(self, process: int) -> None:
        if process != os.getpid():
            raise ValueError("only there")
        self.process = process

    def __reduce__(self) -> tuple[Any, ...]:
        return OnlyThere, (self.process,)


def answers_only_there() -> OnlyThere:
    return OnlyThere(os.getpid())


def answers_and_leaves_others(mark: str) -> None:
    """Starts a program, writes both processes down and comes back."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(mark).write_text(f"{os.getpid()} {program.pid}")


def meets(own: str, other: str) -> bool:
    """Comes back once another call did the same with the files swapped."""
    Path(own).touch()
    while not Path(other).exists():
        time.sleep(0.01)
    return True


def counts_and_kills_itself(log: str) -> None:
    with open(log, "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def counts_and_sleeps(log: str) -> None:
    with open(log, "a") as file:
        file.write("x")
    time.sleep(600)


def planted(spec: Any) -> float:
    """A value of a network that nothing but its text decides."""
    return zlib.crc32(repr(spec).encode()) % 1000 / 10


def planted_after_a_kill(mark: str, moment: int, who: str | int, spec: Any) -> float:
    """The same; the `moment`-th call of all kills a process.

    Args:
        mark: file with an x for each call.
        moment: from 1.
        who: "self", "parent" or a process's number.
        spec: the network.
    """
    with open(mark, "a") as file:
        file.write("x")
    if Path(mark).stat().st_size == moment:
        os.kill({"self": os.getpid(), "parent": os.getppid()}.get(who) or int(who), signal.SIGKILL)
        time.sleep(1)
    return planted(spec)


def planted_but_slow(stuck: float, spec: Any) -> float:
    """The same; networks of a higher value take for ever."""
    value = planted(spec)
    if value > stuck:
        time.sleep(600)
    return value


def waits_once_below(mark: str, number: float) -> float:
    """Writes its process and the one above into the file and hangs; answers where the file exists."""
    if Path(mark).exists():
        return 2 * number
    Path(mark).write_text(f"{os.getppid()} {os.getpid()}")
    time.sleep(600)
    return 0.0
