"""Data sets as lists of independent jobs, each of which makes one part: on any workers, and resumed where they stopped.

A part's name is a digest of its job and of the version of the format. It is written under a temporary name by
whichever worker runs the job and renamed when complete, so a part that is there is whole, and belongs to whoever has
the same job; what else is in the folder is swept under the lock, as after any write (`manifest`). Nothing but names,
row counts and digests of footers is sent back.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tqdm import tqdm

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError, FileFormatError, one_line
from cgir.executors import Call, Executor, check_executor, wait_any
from cgir.interrupts import advised

from . import manifest
from .manifest import Part
from .parquet_shard import VERSION, footer_digest

WINDOW = 1000  # calls that an executor holds at a time
RESUME = "the parts that are complete stay, and the same call makes the others"


class Job(NamedTuple):
    """A call that makes a part.

    Attributes:
        function: of a module that workers can import.
        arguments: what JSON can write: numbers, strings, None, and lists and dictionaries of these. They say all that
            the result depends on, and name the part.
        paths: arguments behind these that only say where something is: what has moved is the same.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    paths: tuple[str, ...] = ()

    def run(self) -> Any:
        """What the function returns."""
        return self.function(*self.arguments, *self.paths)


class PartFormat(NamedTuple):
    """A kind of data set.

    Attributes:
        name: in its manifest.
        write: (path, job) -> number of rows; writes the file of a job.
        count: (path) -> number of rows; raises where the file is damaged.
    """

    name: str
    write: Callable[[Path, Job], int]
    count: Callable[[Path], int]


class _Failure(NamedTuple):
    message: str
    details: str


def write_parts(
    folder: Path, form: PartFormat, jobs: Sequence[Job], executor: Executor | None, overwrite: bool
) -> None:
    """Write a data set, or what is missing of it, and commit it.

    Args:
        folder: of the data set.
        form: its kind.
        jobs: one a part, in the order of the parts.
        executor: of the jobs; None: this process.
        overwrite: whether a data set of other jobs may be replaced.

    Raises:
        CgirError: a job failed, a worker was lost, or the folder is not free.
    """
    check_executor(executor)
    names = [f"part-{number:05d}-{part_key(job, form.name)}.parquet" for number, job in enumerate(jobs)]
    if not names:
        raise CgirError(f"{folder}: no jobs; a data set has one part or more")
    with advised(f"{folder}: {RESUME}"), manifest.lock_folder(folder.absolute(), form.name) as old:
        if [part.file for part in old] == names:
            overwrite = True  # the same data set: only damaged parts are written again
        if old and not overwrite:
            raise CgirError(
                f"{folder}: has a data set of {sum(part.rows for part in old):,} already; overwrite it (--overwrite, "
                "overwrite=True) or choose another path"
            )
        manifest.remove_orphans(folder, {*names, *(part.file for part in old)})
        parts = _whole_parts(folder, names, form)
        missing = {name: job for name, job in zip(names, jobs, strict=True) if name not in parts}
        with tqdm(
            desc="parts written", total=len(names), initial=len(parts), unit="", disable=None if missing else True
        ) as bar:
            for part in _run(folder.absolute(), form, missing, executor):
                parts[part.file] = part
                bar.update()
                bar.set_postfix_str(f"{sum(done.rows for done in parts.values()):,} rows", refresh=False)
        _check_visible(folder, names)
        manifest.commit(folder, [parts[name] for name in names], form.name)


def part_key(job: Job, kind: str = manifest.FORMAT) -> str:
    """Digest of a job and of the version of the format, 16 hex digits.

    Raises:
        CgirError: workers could not import the function, or JSON cannot write the arguments.
    """
    name = job_name(job)
    if "<" in name:
        raise CgirError(f"a job cannot call {name}; expected a function at the top level of a module")
    try:
        text = json.dumps([kind, VERSION, name, job.arguments], sort_keys=True)
    except (TypeError, ValueError) as error:
        raise CgirError(f"a job's arguments are its name, so JSON has to write them: {name}: {error}") from error
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def job_name(job: Job) -> str:
    """The function as module:name."""
    function = job.function
    return f"{function.__module__}:{getattr(function, '__qualname__', f'<{type(function).__name__}>')}"


def _whole_parts(folder: Path, names: Sequence[str], form: PartFormat) -> dict[str, Part]:
    """The parts that are there and have a footer that can be read."""
    there, parts = {path.name for path in folder.iterdir()}, {}
    for name in names:
        if name in there:
            try:
                parts[name] = Part(name, form.count(folder / name), footer_digest(folder / name))
            except (FileFormatError, OSError, pa.ArrowException):
                continue  # it is written again
    return parts


def _write_part(folder: Path, name: str, job: Job, form: PartFormat) -> Part | _Failure:
    """Make one part, in a worker; what the job raises is told in words, since not every exception can be sent."""
    try:
        if not folder.is_dir():
            raise CgirError(
                f"{folder} does not exist on the worker's machine; expected a folder that all of them share"
            )
        with atomic_path(folder / name, fsync=True) as path:
            rows = form.write(path, job)
            return Part(name, rows, footer_digest(path))
    except (Exception, SystemExit) as error:
        message = one_line(error, 1000, named=not isinstance(error, CgirError))
        return _Failure(f"{name} by {job_name(job)}: {message}", traceback.format_exc())


def _run(folder: Path, form: PartFormat, jobs: dict[str, Job], executor: Executor | None) -> Iterator[Part]:
    """The parts of all jobs, in the order in which they become ready."""
    calls = ((folder, name, job, form) for name, job in jobs.items())
    results = (_write_part(*call) for call in calls) if executor is None else _results(executor, calls)
    with closing(results):  # now: an error's traceback would keep it, and its calls, alive
        for result in results:
            if isinstance(result, _Failure):
                error = CgirError(f"{folder}: {result.message}; {RESUME}")
                error.add_note(result.details)
                raise error
            yield result


def _results(executor: Executor, calls: Iterator[tuple[Any, ...]]) -> Generator[Part | _Failure]:
    """What calls of `_write_part` return, in the order in which they end."""
    pending: list[Call] = []
    try:
        while True:
            pending += [executor.submit(_write_part, *call) for call in islice(calls, WINDOW - len(pending))]
            if not pending:
                return
            ended = wait_any(pending)
            pending = [call for call in pending if call not in ended]
            yield from [call.result() for call in ended]
    except Exception as error:  # jobs return their failures
        raise CgirError(
            f"a worker was lost ({one_line(error, 200, named=True)}): killed, out of memory, or unable to start, as "
            f"in a script without `if __name__ == '__main__':`; {RESUME}"
        ) from error
    finally:
        for call in pending:
            if isinstance(call, Future):
                call.cancel()


def _check_visible(folder: Path, names: Sequence[str]) -> None:
    """Whether the workers wrote to the folder that this process sees."""
    there = {path.name for path in folder.iterdir()}
    absent = [name for name in names if name not in there]
    if absent:
        raise CgirError(
            f"{folder}: {len(absent):,} parts are not there that workers have written, such as {absent[0]}; "
            "expected a folder that all machines share"
        )
