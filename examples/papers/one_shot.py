"""Selection rules of supernets on NAS-Bench-201 and NAS-Bench-1Shot1, CIFAR-10: Zhang et al. 2022 and Causal-ZNAS.

python -m examples.papers.one_shot --workers 2          # 16 x 16 pixels, 2,000 steps; two hours on two cores
python -m examples.papers.one_shot --schedule paper     # 32 x 32 pixels, 100 epochs: for a GPU

A checkpoint for each supernet and a line of JSON for each rule; what is done is not run again. Needs CGIR_DATA.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

import torch

from benchmarks.report import publish
from cgir.atomic_files import atomic_path
from cgir.errors import CgirError
from examples.papers.one_shot_jobs import SCHEDULES, Job, jobs
from examples.papers.one_shot_judges import judge
from examples.papers.one_shot_methods import METHODS, Method, Setting, methods
from examples.papers.one_shot_table import ABOUT, tables
from search.one_shot import Images, Trained, load_images, train, untrained
from search.one_shot.choices import option_scores

SKIP = "skip_connect"


def run(job: Job, folder: Path, device: str) -> str:
    """Train a supernet and apply every rule to it, each into a line of a file; what is there is kept."""
    torch.set_num_threads(1)
    images = _images(SCHEDULES[job.schedule].pixels)
    halves = images.split(job.seed)
    trained = train(
        job.supernet(),
        *halves,
        seed=job.seed,
        path=folder / f"{job.name}.safetensors",
        progress=False,
        device=device,
        **job.training,
    )
    setting = Setting(
        trained,
        untrained(job.supernet().to(trained.logits.device)),
        untrained(job.supernet(normalize=True).to(trained.logits.device)),
        *halves,
        job.seed,
    )
    path = folder / f"{job.name}.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    if not rows:
        rows["history"] = trajectory(trained)
    for name in methods(job):
        if name not in rows:
            rows[name] = _row(METHODS[name], setting)
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(rows))
    return job.name


def _row(method: Method, setting: Setting) -> dict[str, Any]:
    start = process_time()
    try:
        selected = method(setting)
    except CgirError as error:  # as where a Hessian is not positive definite: this rule selects nothing
        return {"error": str(error)}
    verdict = judge(selected.space, selected.spec)
    return {
        "spec": selected.spec_string,
        "seconds": process_time() - start,
        "accuracy": verdict.accuracy,
        "measured": verdict.measured,
    }


def trajectory(trained: Trained) -> list[dict[str, Any]]:
    """Along a training: what argmax would select, its accuracy, and the share of skips among its operations."""
    network, result = trained.supernet, []
    for record in trained.history:
        magnitudes = network.magnitudes(torch.tensor(record["mixture"])).double().numpy()
        scores = option_scores(network.choices, magnitudes)
        picks = tuple(choice.best(values) for choice, values in zip(network.choices, scores, strict=True))
        operations = [
            choice.options[option]
            for choice, options in zip(network.choices, picks, strict=True)
            if SKIP in choice.options
            for option in options
        ]
        verdict = judge(network.space, network.spec(picks))
        result.append(
            {
                "step": record["step"],
                "valid_accuracy": 100 * record["valid_accuracy"],
                "accuracy": verdict.accuracy,
                "skips": operations.count(SKIP) / len(operations) if operations else None,
            }
        )
    return result


@lru_cache(maxsize=1)
def _images(pixels: int) -> Images:
    return load_images("cifar10", pixels)


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedule", choices=SCHEDULES, default="small", help="size of everything (default small)")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default cpu)")
    parser.add_argument("--folder", type=Path, default=Path("runs/one_shot"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        for done in pool.map(partial(run, folder=args.folder, device=args.device), jobs(args.schedule)):
            print(done, flush=True)
    publish(
        "one_shot",
        "Operations selected in supernets",
        ABOUT,
        "python -m examples.papers.one_shot --workers 2",
        tables({job: json.loads(path.read_text()) for job, path in _results(args.folder)}),
    )


def _results(folder: Path) -> Iterator[tuple[Job, Path]]:
    for schedule in SCHEDULES:
        for job in jobs(schedule):
            path = folder / f"{job.name}.json"
            if path.exists():
                yield job, path


if __name__ == "__main__":
    main()
