"""Hostile inputs of every kind, by the thousand: `python -m benchmarks.fuzz [KIND ...]`; an interrupted run resumes.

It ends with exit status 1 if an input killed the process, took too long or too much, did what no file may do, or raised
another error than ours.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import queue
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..report import Table, publish, show
from .campaign import KINDS, Result, again, result, run_quietly
from .watched import OUTCOMES

ABOUT = (
    "Files and arguments made wrong at random (benchmarks/fuzz has a generator for each kind: bytes and fields of "
    "valid files, digests made right again in half of the cases), each read in a process that may take 10 s and 2 GB, "
    "with an audit hook that notes processes, connections, unpickled classes and files outside. An input is refused "
    "with an error of the library's or the operating system's, or accepted; everything else is a finding: an "
    "exception of another class, a message that is longer than 500 characters, has several lines or control "
    "characters, a crash of the process, more than 10 s or 2 GB, anything that the audit hook noted."
)


def main() -> int:
    """Run, print the table and the findings, and with `--write` keep the table for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="which ones (default: all)")
    parser.add_argument("--inputs", type=int, default=100_000, help="in all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time (default: never)")
    parser.add_argument("--seed", type=int, default=0, help="of the campaign (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/fuzz"), help="what is done (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the table for RESULTS.md")
    parser.add_argument("--again", action="store_true", help="only read those inputs again that were findings")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    chosen = options.kinds or list(KINDS)
    if unknown := set(chosen) - set(KINDS):
        parser.error(f"unknown kind {', '.join(sorted(unknown))}; known are {', '.join(KINDS)}")
    options.runs.mkdir(parents=True, exist_ok=True)
    if options.again:
        found = {kind: again(kind, options.runs, options.seed) for kind in chosen}
        print("\n".join(f"{kind} {outcome}" for kind, many in found.items() for outcome in many) or "no findings")
        return 0
    broken = _run_all(chosen, options)
    results = {kind: result(kind, options.runs) for kind in chosen}
    table = table_of(list(results.values()))
    show([table])
    if options.write:
        publish("fuzz", "Hostile inputs", ABOUT, "make fuzz", [table])
    findings = [f"{kind} {finding}" for kind, of_kind in results.items() for finding in of_kind.findings]
    print("\n".join(findings) or "no findings")
    if broken:
        print(f"not run to the end: {', '.join(broken)}")
    return 1 if findings or broken else 0


def _run_all(chosen: Sequence[str], options: argparse.Namespace) -> list[str]:
    """All kinds, `jobs` at a time, with as many inputs and as much time each; returns those whose process failed."""
    per_kind = -(-options.inputs // len(chosen))
    share = options.seconds * options.jobs / len(chosen)
    context = multiprocessing.get_context("spawn")
    progress: Any = context.Queue()
    waiting, broken = list(chosen), list[str]()
    running: dict[str, Any] = {}
    with tqdm(total=per_kind * len(chosen), desc="fuzz", unit="", disable=None) as bar:
        while waiting or running:
            while waiting and len(running) < options.jobs:
                kind = waiting.pop(0)
                arguments = (kind, options.runs, per_kind, options.seed, share, progress)
                running[kind] = context.Process(target=run_quietly, args=arguments)
                running[kind].start()
            with contextlib.suppress(queue.Empty):
                bar.update(progress.get(timeout=0.5))
            ended = [kind for kind, process in running.items() if not process.is_alive()]
            broken += [kind for kind in ended if running.pop(kind).exitcode]
    return broken


def table_of(results: Sequence[Result]) -> Table:
    """One row a kind, and their sum."""
    columns = ("kind", "inputs", *OUTCOMES, "slowest, s", "largest, MB")
    rows = [
        (each.title, f"{each.inputs:,}", *(f"{each.counts[name]:,}" for name in OUTCOMES), f"{each.seconds:.1f}",
         f"{each.megabytes:.0f}")
        for each in results
    ]  # fmt: skip
    total = [sum(each.counts[name] for each in results) for name in OUTCOMES]
    seconds, megabytes = max(each.seconds for each in results), max(each.megabytes for each in results)
    rows.append(("all", f"{sum(total):,}", *(f"{count:,}" for count in total), f"{seconds:.1f}", f"{megabytes:.0f}"))
    return Table("hostile inputs", columns, tuple(rows))


if __name__ == "__main__":
    sys.exit(main())
