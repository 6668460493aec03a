"""Section 5.3 of Han et al. 2023: fine-tune on fifty labels of Once-for-All MobileNetV3, then search by the predictor.

    # first: predictors that never saw labels of the family
    python -m examples.papers.universal --folder runs/universal
    # about a minute a seed; finished seeds are not run again
    python -m examples.papers.ofa_mbv3
    # the same under a budget; a multiply-add is 2 FLOPs
    python -m examples.papers.ofa_mbv3 --max-gflops 0.6

Networks that were found are written beside the scores: a file of Python that builds and exports them, and a drawing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import search
from benchmarks.report import publish
from cgir import CgirError, GraphBatch
from cgir.atomic_files import atomic_path
from cgir.drawing.export import to_svg
from cgir.typing import BoolArray, FloatArray
from encoders import CostPredictor, Predictor
from encoders.metrics import spearman
from encoders.predictors.stacking import Model
from examples.papers import ofa_table
from examples.papers.ofa_table import ABOUT, LABELS_ALONE, LOG_FLOPS, RANDOM, TRANSFERRED
from frontends import tables
from frontends.spaces.mbconv.ofa_mbv3 import (
    DEEPEST,
    DEPTHS,
    EXPANSIONS,
    KERNELS,
    STAGES,
    OfaMobileNetV3,
    Spec,
    canonical,
)

Row = dict[str, Any]
SIZE, METRIC = 224, "imagenet_val_top1"
LABELS, POOL, QUERIES, NEIGHBOURS = 50, 1000, 2000, 10
CODE = '''"""Once-for-All MobileNetV3 at {size} x {size}: {gflops:.3f} GFLOPs, {params:,} parameters.

Found by evolution with seed {seed}.
"""

import torch

from frontends import spaces

SPEC = "{text}"


def build() -> torch.nn.Module:
    """The network, newly initialised."""
    space = spaces.get("ofa_mbv3")
    return space.module(space.parse(SPEC))


if __name__ == "__main__":
    program = torch.export.export(build().eval(), (torch.zeros(1, 3, {size}, {size}),))
    torch.export.save(program, "{name}.pt2")
'''


@dataclass(frozen=True)
class AtOneSize(OfaMobileNetV3):
    """The space with the image size of its best labels."""

    def sample(self, rng: np.random.Generator) -> Spec:
        """A network at this size; depths are sampled first, as in the authors' `sample_active_subnet`.

        So shallow networks are not rare.
        """
        ks, e = (tuple(rng.choice(values, size=STAGES * DEEPEST).tolist()) for values in (KERNELS, EXPANSIONS))
        return canonical(Spec(ks, e, tuple(rng.choice(DEPTHS, size=STAGES).tolist()), SIZE))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another network at this size."""
        child = super().mutate(spec, rng)
        while child.r != SIZE:
            child = super().mutate(spec, rng)
        return child


class Problem(NamedTuple):
    """The labelled networks that a search may find, each once, and those among them whose labels are seen."""

    space: AtOneSize
    specs: list[Spec]
    graphs: GraphBatch
    accuracy: FloatArray
    seen: BoolArray
    allowed: Callable[[Spec], bool]


def problem(seed: int, limit: float | None) -> Problem:
    """Labels are drawn from the whole table, whatever the limit on GFLOPs is; the other networks keep to it."""
    table, space = tables.load("ofa_mbv3").only(resolution=SIZE), AtOneSize()
    by_network: dict[Spec, list[float]] = {}
    for spec, accuracy in zip(table.specs, table[METRIC], strict=True):
        assert isinstance(spec, Spec)
        by_network.setdefault(canonical(spec), []).append(accuracy)
    specs = list(by_network)

    def allowed(spec: Spec) -> bool:
        return limit is None or space.graph(spec).flops <= limit * 1e9

    seen = np.zeros(len(specs), bool)
    seen[np.random.default_rng(seed).permutation(len(specs))[:LABELS]] = True
    kept = [row for row, spec in enumerate(specs) if seen[row] or allowed(spec)]
    accuracies = np.asarray([np.mean(by_network[specs[row]]) for row in kept])
    chosen = [specs[row] for row in kept]
    return Problem(space, chosen, space.graphs(chosen), accuracies, seen[kept], allowed)


def transferred(folder: str, seed: int) -> Predictor:
    """The predictor of this seed, fitted to other families."""
    path = Path(folder.replace("SEED", str(seed)))
    if not path.is_dir():
        raise CgirError(
            f"{path} does not exist; `python -m examples.papers.universal --folder {path.parent}` makes it, or give "
            "`--predictor none`"
        )
    return Predictor.load(path)


def guides(found: Problem, folder: str, seed: int) -> dict[str, Model]:
    """The predictors that are searched, fitted to the labels that are seen.

    Args:
        found: the labelled networks.
        folder: of the predictors trained on sources, or "none".
        seed: of the pool and of the fits.
    """
    rng = np.random.default_rng((seed, 1))
    pool = found.space.graphs([found.space.sample(rng) for _ in range(POOL)])
    models: dict[str, Model] = {LABELS_ALONE: Predictor(head="gp"), LOG_FLOPS: CostPredictor()}
    if folder != "none":
        models = {TRANSFERRED: transferred(folder, seed), **models}
    seen = np.flatnonzero(found.seen)
    for model in models.values():
        model.fit(found.graphs.select(seen), found.accuracy[seen], seed=seed, pool=pool)
    return models


def ranking(found: Problem, scores: FloatArray) -> Row:
    """How the scores rank the labelled networks that were not seen."""
    scores, accuracy = scores[~found.seen], found.accuracy[~found.seen]
    first = accuracy[np.argmax(scores)]
    return {
        "spearman": spearman(scores, accuracy),
        "first": first,
        "first_rank": int((accuracy > first).sum()) + 1,
        "networks": len(accuracy),
    }


def blocks(spec: Spec) -> list[tuple[int, float] | None]:
    """Kernel and expansion at each of the 20 places, None where there is no block."""
    active = {place for _, place in spec.active()}
    return [(spec.ks[place], spec.e[place]) if place in active else None for place in range(len(spec.ks))]


def judged(found: Problem, spec: Spec, models: dict[str, Model], scores: dict[str, FloatArray]) -> Row:
    """Evaluate a network without a label: costs, rank among the labelled networks, and labels of the nearest ones.

    Args:
        found: the labelled networks.
        spec: the network.
        models: name -> fitted predictor.
        scores: name -> the predictor's scores of the labelled networks.
    """
    graph, graphs = found.space.graph(spec), found.space.graphs([spec])
    unseen = np.flatnonzero(~found.seen)
    differ = np.asarray(
        [sum(a != b for a, b in zip(blocks(spec), blocks(found.specs[row]), strict=True)) for row in unseen]
    )
    near = np.argsort(differ, kind="stable")[:NEIGHBOURS]
    accuracy = found.accuracy[unseen]
    return {
        "text": found.space.format(spec),
        "gflops": graph.flops / 1e9,
        "params": graph.num_params,
        "places": {
            name: int((scores[name][unseen] >= model.predict(graphs)[0]).sum()) + 1 for name, model in models.items()
        },
        "near_blocks": float(differ[near].mean()),
        "near_accuracy": float(accuracy[near].mean()),
        "near_rank": float(np.mean([(accuracy > accuracy[row]).sum() + 1 for row in near])),
    }


def searched(
    found: Problem, models: dict[str, Model], seed: int, queries: int
) -> Iterator[tuple[str, str, search.History]]:
    """Evolution with each predictor, and the first of them on as many networks drawn at random.

    Args:
        found: the labelled networks and the space.
        models: name -> fitted predictor.
        seed: of the searches.
        queries: budget of each search.
    """
    for name, model in models.items():
        yield (
            name,
            "evolution",
            search.evolve(found.space, model, None, queries, seed, parents=10, children=100, limits=found.allowed),
        )
    name, model = next(iter(models.items()))
    yield name, RANDOM, search.random_search(found.space, model, None, queries, seed, limits=found.allowed)


def run(seed: int, args: argparse.Namespace, name: str) -> None:
    """All searches of one seed; the network that the first predictor finds is written as code, drawing and history.

    Args:
        seed: of everything random.
        args: of the command line.
        name: of the files.
    """
    start = perf_counter()
    found = problem(seed, args.max_gflops)
    models = guides(found, args.predictor, seed)
    scores = {guide: model.predict(found.graphs) for guide, model in models.items()}
    fitted = perf_counter()
    rows = []
    for guide, method, history in searched(found, models, seed, args.queries):
        seconds, fitted = perf_counter() - fitted, perf_counter()
        row = {
            "guide": guide,
            "search": method,
            "seed": seed,
            "limit": args.max_gflops,
            "queries": args.queries,
            "seconds": seconds,
        }
        rows.append(row | ranking(found, scores[guide]) | judged(found, history.best, models, scores))
        if len(rows) == 1:
            history.save(args.folder / f"{name}.parquet")
            write(rows[0], found.space.graph(history.best), args.folder, name)
    rows[0]["whole"] = perf_counter() - start
    with atomic_path(args.folder / f"{name}.json") as path:
        path.write_text(json.dumps(rows))


def write(row: Row, graph: Any, folder: Path, name: str) -> None:
    """A network as a file of Python and as a drawing.

    Args:
        row: measurements of the network.
        graph: of the network.
        folder: where both files are written.
        name: of the run.
    """
    name = f"best_{name}"
    code = CODE.format(
        size=SIZE, gflops=row["gflops"], params=row["params"], seed=row["seed"], text=row["text"], name=name
    )
    with atomic_path(folder / f"{name}.py") as path:
        path.write_text(code)
    to_svg(graph, folder / f"{name}.svg")


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--predictor",
        default="runs/universal/sources-ofa_mbv3-SEED",
        help="folder of a saved predictor, SEED for the number; or none",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument(
        "--queries",
        type=int,
        default=QUERIES,
        help=f"networks that the predictor scores in each search (default {QUERIES})",
    )
    parser.add_argument("--max-gflops", type=float, help="budget of the networks searched, 1 multiply-add = 2 FLOPs")
    parser.add_argument("--folder", type=Path, default=Path("runs/ofa_mbv3"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder /= "alone" if args.predictor == "none" else "transferred"
    args.folder.mkdir(parents=True, exist_ok=True)
    budget = "any" if args.max_gflops is None else f"{args.max_gflops:g}".replace(".", "_")
    for seed in tqdm(args.seeds, desc="seeds"):
        if not (args.folder / f"{budget}_{seed}.json").exists():
            run(seed, args, f"{budget}_{seed}")
    rows = [row for path in sorted(args.folder.glob("*.json")) for row in json.loads(path.read_text())]
    publish(
        "ofa_mbv3",
        "Once-for-All: a search with fifty labels",
        ABOUT,
        "python -m examples.papers.ofa_mbv3",
        ofa_table.tables(rows),
    )


if __name__ == "__main__":
    main()
