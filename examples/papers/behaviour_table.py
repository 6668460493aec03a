"""Behaviours of tiny untrained networks: what `examples.papers.behaviour` teaches encoders, and needs no label.

python -m examples.papers.behaviour_table     # half a second a network, some half an hour; resumes

A network keeps its operators and its wiring, and loses width, repetition and image size.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from tqdm import tqdm

from cgir.errors import CgirError
from cgir.typing import FloatArray
from examples.papers.behaviour_families import DIGITS, MEASURED, TINY, sample
from frontends import spaces, tables
from search.zero_cost.isolation import isolated
from search.zero_cost.probe import Probe
from search.zero_cost.scoring import PROXIES

BATCH = 16
PASSES = ("naswot", "jacob_cov", "grad_norm", "snip", "fisher")
STATISTICS = ("gradient_spread", "gradient_slope", "output_power", "output_similarity", "seconds")
SCORES = ("synflow", "zen")
# by cost: one pass forwards and one backwards is shared by most
PARTS = {"passes": (*PASSES, *STATISTICS), "scores": SCORES}
BEHAVIOURS = tuple(key for keys in PARTS.values() for key in keys)
T = TypeVar("T")

# What others measured, no label of the tasks among it: latencies at small and at large batches, seconds of training,
# and accuracies of small versions on 8 x 8 digits, which the package has.
MEASURED_ELSEWHERE = ("small_batches", "large_batches", "digits")
ELSEWHERE = {
    ("nasbench201", "small_batches"): ("nasbench201_latency", "lat_1080ti_1"),
    ("nasbench201", "large_batches"): ("nasbench201_latency", "lat_2080ti_256"),
    ("ofa_mbv3", "small_batches"): ("ofa_mbv3_latency", "lat_2080ti_1"),
    ("ofa_mbv3", "large_batches"): ("ofa_mbv3_latency", "lat_2080ti_64"),
    ("darts", "large_batches"): ("darts", "gpu_latency_ms"),
    ("nasbench101", "large_batches"): ("nasbench101", "training_time_s_108ep"),
    **{(f"digits-{name}", "digits"): ("digits", "accuracy") for name in DIGITS},
}


def behaviours(name: str, text: str, part: str, seed: int = 0) -> dict[str, float | None]:
    """What one network does with 16 random images; None where it is undefined.

    Args:
        name: of the space.
        text: the network.
        part: one of `PARTS`.
        seed: of weights, images and targets.
    """
    tiny = TINY[name]
    space = spaces.get(name, **tiny.skeleton)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(BATCH, 3, tiny.size, tiny.size, generator=generator)
    with isolated(seed, torch.device("cpu")):
        module: nn.Module = space.module(space.parse(text))
    start = time.process_time()
    with torch.no_grad():
        outputs = module.train()(images).flatten(1)
    seconds = time.process_time() - start
    probe = Probe(module, images, torch.arange(BATCH) % outputs.shape[1], seed=seed, device="cpu")
    if part == "passes":
        found = _scores(probe, PASSES) | _gradients(probe) | _outputs(outputs) | {"seconds": seconds}
    else:
        found = _scores(probe, SCORES)
    return {key: value if value is not None and math.isfinite(value) else None for key, value in found.items()}


def _scores(probe: Probe, names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: _defined(PROXIES[name], probe) for name in names}


def _outputs(outputs: Tensor) -> dict[str, float | None]:
    """Their mean square, and how similar those of different images are."""
    similarity = cosine_similarity(outputs[None], outputs[:, None], dim=2)
    return {
        "output_power": outputs.pow(2).mean().item(),
        "output_similarity": (similarity.sum().item() - BATCH) / (BATCH * (BATCH - 1)),
    }


def _defined(value: Callable[[Probe], T | None], probe: Probe) -> T | None:
    try:
        return value(probe)
    except CgirError:
        return None


def _gradients(probe: Probe) -> dict[str, float | None]:
    """Of logarithms of the layers' gradients: their deviation, and their slope from the first layer to the last."""
    norms = [g.norm().item() for g in probe.gradients.weights.values() if g is not None]
    logs = np.log([norm for norm in norms if norm > 0])
    if len(logs) < 2:
        return {"gradient_spread": None, "gradient_slope": None}
    return {
        "gradient_spread": float(logs.std()),
        "gradient_slope": float(np.polyfit(np.linspace(0, 1, len(logs)), logs, 1)[0]),
    }


@cache
def read(folder: Path) -> dict[tuple[str, str], dict[str, float | None]]:
    """(space, network) -> behaviours, as far as they were computed."""
    place = folder / "behaviours.jsonl"
    lines = place.read_text().splitlines(keepends=True) if place.exists() else []
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in (json.loads(line) for line in lines if line.endswith("\n")):
        found.setdefault((row.pop("space"), row.pop("network")), {}).update(row)
    return found


def known(name: str, folder: Path) -> FloatArray:
    """Behaviours (G, B) of a sample's networks, NaN where unknown: those of `BEHAVIOURS`, and `MEASURED_ELSEWHERE`.

    Args:
        name: of the family.
        folder: of all runs.
    """
    table, texts = read(folder), sample(name, folder).texts
    rows = [table.get((name, text), {}) for text in texts]
    own = np.asarray([[row.get(key) for key in BEHAVIOURS] for row in rows], np.float64)
    return np.column_stack([own, *(_elsewhere(name, texts, column) for column in MEASURED_ELSEWHERE)])


def _elsewhere(name: str, texts: tuple[str, ...], column: str) -> FloatArray:
    source = ELSEWHERE.get((name, column))
    if source is None:
        return np.full(len(texts), np.nan)
    table = tables.load(source[0])
    values = dict(zip(table.spec_strings, table[source[1]], strict=True))
    return np.asarray([values.get(text, np.nan) for text in texts])


def main() -> None:
    """Compute what is missing, family by family in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/behaviour"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    texts = {name: sample(name, args.folder).texts[: tiny.networks] for name, tiny in TINY.items()}
    jobs = [
        (name, text, part)
        for part in PARTS
        for turn in range(MEASURED)
        for name, tiny in TINY.items()
        for text in texts[name][turn : min(turn + 1, tiny.networks)]
    ]
    done = {(*network, part) for network, row in read(args.folder).items() for part in PARTS if PARTS[part][0] in row}
    with (args.folder / "behaviours.jsonl").open("a") as file:
        for name, text, part in tqdm([job for job in jobs if job not in done], unit="network"):
            row = {"space": name, "network": text} | behaviours(name, text, part)
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
