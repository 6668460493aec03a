"""When short trainings of a few networks of a family help to rank the others, without a label.

python -m examples.papers.rehearsal     # a line of JSON per training; what is done is not run again
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.report import publish
from cgir.errors import CgirError
from examples.papers.rehearsal_families import FAMILIES, TRAINED, sample
from examples.papers.rehearsal_judge import SOURCES
from examples.papers.rehearsal_table import ABOUT, tables
from examples.papers.universal_methods import universal
from examples.papers.zero_cost import read
from examples.papers.zero_cost_families import batches, resized
from frontends import spaces
from search.zero_cost import score
from search.zero_cost.isolation import isolated
from search.zero_cost.regression import IMAGES, LEARNING_RATE, regression_losses
from search.zero_cost.small_networks import natural_noise, small_space

Row = dict[str, Any]


class Variant(NamedTuple):
    """A way to train.

    Attributes:
        families: of which networks are trained.
        networks: how many of each family.
        images: "noise" with the spectrum of photographs, "white" noise, or "CIFAR-10".
        steps: of a training.
        rate: of Adam.
        seed: of weights, sinusoids and noise.
        pixels: height and width of images; None: as `rehearse` has it.
        proxy: what is computed instead of training, a name of `search.zero_cost.score`.
        layers: of DARTS; None: as `rehearse` has it.
    """

    families: Sequence[str] = tuple(FAMILIES)
    networks: int = TRAINED
    images: str = "noise"
    steps: int = 20
    rate: float = LEARNING_RATE
    seed: int = 0
    pixels: int | None = None
    proxy: str = ""
    layers: int | None = None


# In the order in which they are run: what `rehearse` does comes first.
VARIANTS: dict[str, Variant] = {
    "as shipped": Variant(),
    "another seed": Variant(seed=1),
    "CIFAR-10 images": Variant(images="CIFAR-10"),
    "naswot": Variant(proxy="naswot"),
    "32 pixels": Variant(("nasbench_macro",), pixels=32),
    "Adam .02": Variant(rate=0.02),
    "60 steps": Variant(steps=60),
    "white noise": Variant(images="white"),
    "5 layers": Variant(("darts",), layers=5),  # three have one normal cell
    "200 steps": Variant(("nasbench_macro", "darts"), networks=12, steps=200),
}


class Job(NamedTuple):
    """One training: the variant's name, the family's, and the network as text."""

    variant: str
    family: str
    text: str


def pictures(kind: str, pixels: int, seed: int, folder: Path) -> Tensor:
    """16 square images (16, 3, pixels, pixels).

    Args:
        kind: see `Variant`.
        pixels: height and width.
        seed: of noise, or which images.
        folder: where images are kept.
    """
    if kind == "CIFAR-10":
        return resized(batches(folder)[seed][0][:IMAGES], pixels)
    if kind == "white":
        return torch.randn(IMAGES, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))
    return natural_noise(IMAGES, 3, pixels, seed)


@cache
def pixels_of(family: str, folder: Path) -> int:
    """Height and width of the images that `rehearse` takes for a family."""
    space = spaces.get(family)
    return small_space(space, space.parse(sample(family, folder).texts[0]))[1].shape[-1]


def run(job: Job, folder: Path) -> Row:
    """Train one network: losses (steps, sizes), None where it fails, and seconds of processor time."""
    variant = VARIANTS[job.variant]
    space = spaces.get(job.family)
    spec = space.parse(job.text)
    images = pictures(variant.images, variant.pixels or pixels_of(job.family, folder), variant.seed, folder)
    start = process_time()
    small: Any = small_space(space, spec, images)[0]
    if variant.layers is not None:
        small = replace(small, layers=variant.layers)
    with isolated(variant.seed, torch.device("cpu")):
        module = small.module(spec)
    return {**job._asdict(), "losses": _losses(variant, module, images), "seconds": process_time() - start}


def _losses(variant: Variant, module: nn.Module, images: Tensor) -> list[list[float]] | None:
    """Of each step, of each size of map; of a proxy minus its value."""
    if variant.proxy:
        value = score(module, images, names=(variant.proxy,), seed=variant.seed)[variant.proxy]
        return None if value is None else [[-value]]
    try:
        return regression_losses(module, images, variant.steps, variant.seed, "cpu", variant.rate)
    except CgirError:
        return None


def jobs(variants: Sequence[str], families: Sequence[str], folder: Path) -> Iterator[Job]:
    """Everything that is to be run, in order."""
    for name in variants:
        for family in families:
            if family in VARIANTS[name].families:
                trained = sample(family, folder).texts[: VARIANTS[name].networks]
                yield from (Job(name, family, text) for text in trained)


def run_missing(wanted: Sequence[Job], folder: Path) -> None:
    """Append a row for every job that has none."""
    path = folder / "rows.jsonl"
    rows = read(path)
    done = {Job(*(row[field] for field in Job._fields)) for row in rows}
    with path.open("a", encoding="utf-8") as file:
        for job in tqdm([job for job in wanted if job not in done], desc="trainings"):
            file.write(json.dumps(run(job, folder)) + "\n")
            file.flush()


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/rehearsal"))
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS), help="default all")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="default all")
    parser.add_argument("--sources", action="store_true", help="teach cgir other families, minutes for each")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    run_missing(list(jobs(args.variants, args.families, args.folder)), args.folder)
    for name in args.families if args.sources else ():
        universal(name, 0, SOURCES)
    publish(
        "rehearsal",
        "Rehearsal: short trainings instead of labels",
        ABOUT,
        "python -m examples.papers.rehearsal",
        tables(read(args.folder / "rows.jsonl"), args.folder),
    )


if __name__ == "__main__":
    main()
