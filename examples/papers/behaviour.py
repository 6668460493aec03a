"""Does pretraining carry over? Frozen encoders taught by contrast, by behaviours, or by nothing, each family left out.

python -m examples.papers.behaviour_table     # behaviours of tiny networks; resumes
python -m examples.papers.behaviour           # half a minute an encoder on an idle core; resumes
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import contrastive
from cgir import GraphBatch
from cgir.analysis.graph_properties import properties
from cgir.typing import FloatArray
from contrastive.pretraining import PretrainingRun
from contrastive.pretraining_set import Pool
from encoders import Encoder, EncoderConfig
from examples.papers import behaviour_heads
from examples.papers.behaviour_families import FAMILIES, names, sample
from examples.papers.behaviour_heads import LABELS, with_labels
from examples.papers.behaviour_table import known as behaviours

CONFIG = contrastive.PretrainConfig(
    contrast_weight=0, behaviour_weight=1, steps=400, batch=96, encoder=EncoderConfig(layers=4, pool="mixed")
)
Vectors = dict[str, FloatArray]


class Design(NamedTuple):
    """`config`: None for an untrained encoder; `labels`: of other families, beside their behaviours.

    `unseen`: whether the behaviours of the family that is left out are, too.
    """

    config: contrastive.PretrainConfig | None
    labels: bool = False
    unseen: bool = False


DESIGNS = {
    "untrained": Design(None),
    "spectral contrast": Design(replace(CONFIG, behaviour_weight=0, contrast_weight=1)),
    "subtree contrast, properties, paths": Design(
        replace(CONFIG, behaviour_weight=0, contrast="wl", contrast_weight=1, property_weight=1, path_weight=0.5)
    ),
    "A: behaviours": Design(CONFIG),
    "B: behaviours, properties, subtree contrast": Design(
        replace(CONFIG, contrast="wl", contrast_weight=0.3, property_weight=1)
    ),
    "C: behaviours, labels of sources": Design(CONFIG, labels=True),
    "D: behaviours, spectral contrast": Design(replace(CONFIG, contrast_weight=0.3)),
}
# Families that are left out together, so that a design with labels needs four encoders a seed.
FOLDS = 4


def pool(folder: Path, design: Design, left_out: list[str]) -> Pool:
    """Unlabelled graphs of all families, with what the design may know of each.

    Args:
        folder: of all runs.
        design: what is learned.
        left_out: families whose labels, and for `design.unseen` behaviours, are not.
    """
    base, order = _graphs(folder)
    columns = []
    for name in order:
        known = behaviours(name, folder)
        found = sample(name, folder)
        labels = np.full(len(known), np.nan) if found.labels is None or name in left_out else found.labels
        if design.unseen and name in left_out:
            known = np.full_like(known, np.nan)
        columns.append(np.column_stack([known, *[labels] * 4]) if design.labels else known)
    return replace(base, behaviours=np.concatenate(columns))


@cache
def _graphs(folder: Path) -> tuple[Pool, tuple[str, ...]]:
    order = tuple(name for name in names() if name != "timm_imagenet")  # whose graphs cost more than all others'
    parts = [sample(name, folder).graphs for name in order]
    families = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return contrastive.as_pool(GraphBatch.concatenate(parts), families), order


def encoded(folder: Path, design: Design, seed: int) -> dict[str, Vectors]:
    """Vectors of all labelled families by kind: "embedding", and "outputs", the behaviours that were learned.

    Args:
        folder: of all runs.
        design: how the encoder is taught.
        seed: of it.
    """
    found: dict[str, Vectors] = {}
    for left_out in _folds(design):
        encoder, head = _taught(folder, design, left_out, seed)
        for name in left_out:
            embedding = encoder.embed(sample(name, folder).graphs, progress=False)
            found.setdefault("embedding", {})[name] = embedding.astype(np.float64)
            if head is not None:
                with torch.no_grad():
                    outputs = head(torch.from_numpy(embedding)).numpy()
                found.setdefault("outputs", {})[name] = outputs.astype(np.float64)
    return found


def _folds(design: Design) -> list[list[str]]:
    families = list(FAMILIES)
    if not (design.labels or design.unseen):
        return [families]
    return [families[first::FOLDS] for first in range(FOLDS)]


def _taught(folder: Path, design: Design, left_out: list[str], seed: int) -> tuple[Encoder, torch.nn.Module | None]:
    if design.config is None:
        return Encoder(CONFIG.encoder, seed).eval(), None
    run = PretrainingRun(pool(folder, design, left_out), replace(design.config, seed=seed))
    while run.step < run.config.steps:
        run.advance()
    terms = run.objective.terms
    return run.objective.encoder.eval(), terms["behaviour"].head if "behaviour" in terms else None  # type: ignore


def scores(folder: Path, vectors: dict[str, Vectors], seed: int) -> Iterator[tuple[str, int, dict[str, float]]]:
    """(what the head reads, number of labels, rho of each family).

    Args:
        folder: of all runs.
        vectors: of `encoded`.
        seed: of heads.
    """
    hand = hand_features(folder)
    views = {kind: [part] for kind, part in vectors.items()}
    views |= {f"{kind} + properties": [part, hand] for kind, part in vectors.items()}
    labels = {name: sample(name, folder).labels for name in FAMILIES}
    for kind, parts in views.items():
        joined = {name: np.hstack([part[name] for part in parts]) for name in labels}
        yield kind, 0, behaviour_heads.without_labels(joined, labels, seed)
        yield kind, -1, behaviour_heads.linear_without_labels(joined, labels)
        for count in LABELS:
            yield (
                kind,
                count,
                {name: with_labels([part[name] for part in parts], y, count) for name, y in labels.items()},
            )


@cache
def hand_features(folder: Path) -> Vectors:
    """`cgir.properties` of each family."""
    return {name: np.asarray(properties(sample(name, folder).graphs), np.float64) for name in FAMILIES}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/behaviour"))
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    args = parser.parse_args()
    torch.set_num_threads(1)
    place = args.folder / "scores.jsonl"
    done = (
        {(row["design"], row["seed"]) for row in map(json.loads, place.read_text().splitlines())}
        if place.exists()
        else set()
    )
    for seed in args.seeds:
        for title in tqdm(args.designs):
            if (title, seed) in done:
                continue
            vectors = encoded(args.folder, DESIGNS[title], seed)
            rows = [
                {"design": title, "seed": seed, "head": kind, "labels": count, "rho": rho}
                for kind, count, rho in scores(args.folder, vectors, seed)
            ]
            with place.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
