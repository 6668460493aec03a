"""Searches of label tables by our predictors, by those of two papers, and by other libraries; 10 runs of each.

python -m examples.papers.search --workers 2     # a line of JSON a run in runs/search; what is done is not run again
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.report import RESULTS, publish
from examples.papers import search_front
from examples.papers.search_methods import METHODS, curve
from examples.papers.search_plot import draw
from examples.papers.search_problems import SOURCES, problem
from examples.papers.search_sources import source_predictor
from examples.papers.search_table import ABOUT, tables

Row = dict[str, Any]
Job = tuple[str, str, int]  # problem, method, seed
FIRST_SEED, SEEDS = 100, 10  # settings were looked for with seeds below, on the problems that ABOUT names
RUNS = "runs.jsonl"
TITLES = [*SOURCES, search_front.TITLE]


def run(job: Job, folder: Path) -> Row:
    """One search: networks asked, best label after each query, and seconds of the search's own time.

    Args:
        job: problem, method, seed.
        folder: of predictors.
    """
    torch.set_num_threads(1)
    title, name, seed = job
    is_front = title == search_front.TITLE
    found = problem(search_front.OF if is_front else title)
    method = search_front.METHODS[name] if is_front else METHODS[name].run
    start = perf_counter()
    asked = method(found, found.budget, seed, folder)
    seconds = perf_counter() - start  # reading the table takes microseconds a query
    best = (search_front.shares if is_front else curve)(found, asked)
    return {"problem": title, "method": name, "seed": seed, "seconds": seconds, "asked": asked, "best": best}


def read(path: Path) -> list[Row]:
    """Runs that are done; a torn last line is dropped."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def jobs(problems: Sequence[str], methods: Sequence[str], done: Sequence[Row]) -> list[Job]:
    """Runs that are missing.

    Args:
        problems: titles.
        methods: names.
        done: runs that are there.
    """
    there = {(row["problem"], row["method"], row["seed"]) for row in done}
    wanted = [
        (title, name, seed)
        for name in methods
        for title in problems
        if (name in search_front.METHODS if title == search_front.TITLE else METHODS[name].skip(problem(title)) is None)
        for seed in range(FIRST_SEED, FIRST_SEED + SEEDS)
    ]
    return [job for job in wanted if job not in there]


def measure(missing: Sequence[Job], folder: Path, workers: int) -> None:
    """Run searches and append a line for each.

    Args:
        missing: the runs.
        folder: of the lines and of predictors.
        workers: processes.
    """
    path = folder / RUNS
    if path.exists():  # a torn last line would spoil the next
        text = path.read_text(encoding="utf-8")
        os.truncate(path, len(text[: text.rfind("\n") + 1].encode()))
    with ProcessPoolExecutor(workers) as pool, path.open("a", encoding="utf-8") as file:
        running = [pool.submit(run, job, folder) for job in missing]
        for done in tqdm(as_completed(running), total=len(running), desc="searches"):
            file.write(json.dumps(done.result()) + "\n")
            file.flush()


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/search"))
    parser.add_argument("--problems", nargs="+", choices=TITLES, default=TITLES, metavar="TITLE")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    for target in dict.fromkeys(
        SOURCES[search_front.OF if title == search_front.TITLE else title].family for title in args.problems
    ):
        source_predictor(target, args.folder)
    measure(jobs(args.problems, args.methods, read(args.folder / RUNS)), args.folder, args.workers)
    found = read(args.folder / RUNS)
    draw(found, RESULTS)
    publish("search", "Searches", ABOUT, "python -m examples.papers.search --workers 2", tables(found))


if __name__ == "__main__":
    main()
