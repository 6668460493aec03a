"""Behaviours of tiny untrained networks: what `examples.papers.behaviour` teaches encoders, and needs no label.

python -m examples.papers.behaviour_table     # half a second a network, some half an hour; resumes

A network keeps its operators and its wiring, and loses width, repetition and image size.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from tqdm import tqdm

from cgir.errors import CgirError
from cgir.typing import FloatArray
from examples.papers.behaviour_families import MEASURED, TINY, sample
from frontends import spaces
from search.zero_cost.feature_maps import as_image, own_modules, watched
from search.zero_cost.isolation import isolated
from search.zero_cost.probe import Probe
from search.zero_cost.regression import heads_of
from search.zero_cost.scoring import PROXIES

BATCH, STEPS, LEARNING_RATE = 16, 8, 0.02
DRAWING = 2  # every which network learns to draw
SCORES = ("naswot", "jacob_cov", "grad_norm", "snip", "fisher", "synflow", "zen")
BEHAVIOURS = (
    *SCORES,
    "drawing_start",
    "drawing_end",
    "output_power",
    "output_similarity",
    "gradient_spread",
    "gradient_slope",
    "seconds",
)


def behaviours(name: str, text: str, draws: bool, seed: int = 0) -> dict[str, float | None]:
    """What one network does with 16 random images; None where it is undefined.

    Args:
        name: of the space.
        text: the network.
        draws: whether to train it to draw, which costs as much as all else, or to compute all else.
        seed: of weights, images and targets.
    """
    tiny = TINY[name]
    space = spaces.get(name, **tiny.skeleton)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(BATCH, 3, tiny.size, tiny.size, generator=generator)
    with isolated(seed, torch.device("cpu")):
        module: nn.Module = space.module(space.parse(text))
    if draws:
        probe = Probe(module, images, seed=seed, device="cpu")
        found = dict(zip(("drawing_start", "drawing_end"), _drawing(probe), strict=True))
    else:
        found = _untrained(module, images, seed)
    return {key: value if value is not None and math.isfinite(value) else None for key, value in found.items()}


def _untrained(module: nn.Module, images: Tensor, seed: int) -> dict[str, float | None]:
    start = time.process_time()
    with torch.no_grad():
        outputs = module.train()(images).flatten(1)
    seconds = time.process_time() - start
    probe = Probe(module, images, torch.arange(BATCH) % outputs.shape[1], seed=seed, device="cpu")
    similarity = cosine_similarity(outputs[None], outputs[:, None], dim=2)
    return (
        {score: _defined(lambda score=score: PROXIES[score](probe)) for score in SCORES}
        | _gradients(probe)
        | {  # type: ignore[misc]
            "output_power": outputs.pow(2).mean().item(),
            "output_similarity": (similarity.sum().item() - BATCH) / (BATCH * (BATCH - 1)),
            "seconds": seconds,
        }
    )


def _defined(value: Callable[[], float | None]) -> float | None:
    try:
        return value()
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


def _drawing(probe: Probe) -> tuple[float | None, float | None]:
    """Minus the losses of dense regression (`search.zero_cost.regression`), of its first and of its last steps."""
    network = probe.fresh()
    heads = _defined(lambda: heads_of(probe, network))  # type: ignore[arg-type, return-value]
    if not heads:
        return None, None
    modules = {key[0]: own_modules(network)[key[0]] for key in heads}
    weights = [*network.parameters(), *(weight for head in heads.values() for weight in head.parameters())]
    optimizer = torch.optim.Adam(weights, LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for _ in range(STEPS):
        seen: dict[tuple[str, int], Tensor] = {}
        with watched(modules, seen.__setitem__):
            network(*probe.inputs)
        loss = torch.stack([head(as_image(seen[key], "BCHW")) for key, head in heads.items()]).sum()
        losses.append(loss.item() / len(heads))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return -statistics.fmean(losses[: STEPS // 2]), -statistics.fmean(losses[-3:])


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
    """(G, B) of a sample's networks, NaN where unknown.

    Args:
        name: of the family.
        folder: of all runs.
    """
    table, texts = read(folder), sample(name, folder).texts
    rows = [table.get((name, text), {}) for text in texts]
    return np.asarray([[row.get(key) for key in BEHAVIOURS] for row in rows], np.float64)


def main() -> None:
    """Compute what is missing, family by family in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/behaviour"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    texts = {name: sample(name, args.folder).texts[: tiny.networks] for name, tiny in TINY.items()}
    done = {
        (*network, draws)
        for network, row in read(args.folder).items()
        for draws, key in ((False, "naswot"), (True, "drawing_end"))
        if key in row
    }
    with (args.folder / "behaviours.jsonl").open("a") as file:
        for name, text, draws in tqdm([job for job in dict.fromkeys(_jobs(texts)) if job not in done], unit="network"):
            row = {"space": name, "network": text} | behaviours(name, text, draws)
            file.write(json.dumps(row) + "\n")
            file.flush()


def _jobs(texts: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str, bool]]:
    """Cheap behaviours first, family by family in turn; a third of the networks learn to draw."""
    for turn in range(MEASURED):
        for name, tiny in TINY.items():
            at = turn * tiny.networks // MEASURED
            if at != (turn - 1) * tiny.networks // MEASURED and at < len(texts[name]):
                yield name, texts[name][at], False
            if turn % DRAWING == 0 and turn // DRAWING * tiny.networks // MEASURED < len(texts[name]):
                yield name, texts[name][turn // DRAWING * tiny.networks // MEASURED], True


if __name__ == "__main__":
    main()
