"""Does pretraining carry over? Frozen encoders taught by contrast, by behaviours, or by nothing, each family left out.

python -m examples.papers.behaviour_table     # behaviours of tiny networks; resumes
python -m examples.papers.behaviour           # half a minute an encoder on a core; resumes
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
from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray
from contrastive.episodes import pretrain_by_episodes
from contrastive.pretraining_set import Pool
from encoders import Encoder, EncoderConfig, load_pretrained
from encoders.features.graph_features import FLOPS, PARAMS
from encoders.features.label_transforms import normal_scores
from examples.papers import behaviour_heads
from examples.papers.behaviour_families import FAMILIES, names, sample
from examples.papers.behaviour_heads import LABELS, perceptrons, ridge, with_labels
from examples.papers.behaviour_report import BOTH, report
from examples.papers.behaviour_table import known as behaviours

CONFIG = contrastive.PretrainConfig.paper(
    contrast_weight=0, behaviour_weight=1, steps=600, batch=64, lr=2e-3, encoder=EncoderConfig(layers=3, pool="mixed")
)
Vectors = dict[str, FloatArray]
Rho = dict[str, float]


class Design(NamedTuple):
    """`config`: None for an untrained encoder.

    `episodes`: whether a few networks predict the others, instead of a regression.
    `tasks`: what episodes ask for, "behaviours" or "properties", which graphs show.
    `unseen`: whether the behaviours of the family that is left out are, too.
    `shipped`: whether the encoder is the one that comes with the package; then there is nothing to learn.
    """

    config: contrastive.PretrainConfig | None
    episodes: bool = False
    tasks: str = "behaviours"
    unseen: bool = False
    shipped: bool = False


EPISODES = replace(CONFIG, steps=1000)
DESIGNS = {
    "no encoder": Design(None),
    "untrained": Design(None),
    "behaviours, by episodes": Design(EPISODES, episodes=True),
    "behaviours, by regression": Design(CONFIG),
    "properties, by episodes": Design(EPISODES, episodes=True, tasks="properties"),
    "spectral contrast (the paper's)": Design(replace(CONFIG, behaviour_weight=0, contrast_weight=1)),
    "subtree contrast, properties, paths": Design(
        replace(CONFIG, behaviour_weight=0, contrast="wl", contrast_weight=1, property_weight=1, path_weight=0.5)
    ),
    "behaviours of other families, by episodes": Design(EPISODES, episodes=True, unseen=True),
    "behaviours, by regression, and spectral contrast": Design(replace(CONFIG, contrast_weight=0.3)),
    "the shipped encoder": Design(None, shipped=True),
}
# Families whose behaviours are left out together, so that it takes four encoders a seed.
FOLDS = 4
NO_ENCODER = "no encoder"


def pool(folder: Path, design: Design, left_out: list[str]) -> Pool:
    """Unlabelled graphs of all families, with what the design may know of each.

    Args:
        folder: of all runs.
        design: what is learned.
        left_out: families whose behaviours are not, for `design.unseen`.
    """
    base, order = _graphs(folder)
    columns = []
    for name in order:
        known = behaviours(name, folder)
        if design.unseen and name.removeprefix("digits-") in left_out:
            known = np.full_like(known, np.nan)
        columns.append(known)
    if design.tasks == "properties":
        return replace(base, behaviours=base.properties.astype(np.float64))
    return replace(base, behaviours=np.concatenate(columns))


@cache
def _graphs(folder: Path) -> tuple[Pool, tuple[str, ...]]:
    order = tuple(name for name in names() if name != "timm_imagenet")  # whose graphs cost more than all others'
    parts = [sample(name, folder).graphs for name in order]
    families = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return contrastive.as_pool(GraphBatch.concatenate(parts), families), order


def encoded(folder: Path, title: str, seed: int) -> Vectors:
    """`_encoded`, kept in the folder.

    Args:
        folder: of all runs.
        title: of the design.
        seed: of the encoder.
    """
    place = folder / f"vectors-{list(DESIGNS).index(title)}-{seed}.npz"
    if not place.exists():
        found = _encoded(folder, title, seed)
        with atomic_path(place) as temporary, temporary.open("wb") as file:
            np.savez(file, **{f"embedding {name}": x for name, x in found.items()})  # type: ignore[arg-type]
    with np.load(place, allow_pickle=False) as arrays:
        return {key.removeprefix("embedding "): arrays[key] for key in arrays}


def _encoded(folder: Path, title: str, seed: int) -> Vectors:
    """Embeddings of all labelled families; none without an encoder. They sum over nodes, so logarithms are taken."""
    design, found = DESIGNS[title], Vectors()
    for left_out in _folds(design) if title != NO_ENCODER else ():
        encoder = _taught(folder, design, left_out, seed)
        for name in left_out:
            embedding = encoder.embed(sample(name, folder).graphs, progress=False).astype(np.float64)
            found[name] = np.sign(embedding) * np.log1p(np.abs(embedding))
    return found


def _folds(design: Design) -> list[list[str]]:
    families = list(FAMILIES)
    if not design.unseen:
        return [families]
    return [families[first::FOLDS] for first in range(FOLDS)]


def _taught(folder: Path, design: Design, left_out: list[str], seed: int) -> Encoder:
    if design.shipped:
        return load_pretrained().without_sources()
    if design.config is None:
        return Encoder(CONFIG.encoder, seed).eval()
    config, known = replace(design.config, seed=seed), pool(folder, design, left_out)
    if design.episodes:
        return pretrain_by_episodes(known, config, progress=False)
    return contrastive.pretrain(known, config, progress=False)


def scores(folder: Path, vectors: Vectors, seed: int) -> Iterator[tuple[str, str, Rho]]:
    """(what the head reads, which head, rho of each family).

    Args:
        folder: of all runs.
        vectors: of `encoded`.
        seed: of heads.
    """
    hand = hand_features(folder)
    views = {"embedding": [vectors]} if vectors else {}
    views[BOTH] = [vectors, hand] if vectors else [hand]
    labels = {name: y for name in FAMILIES if (y := sample(name, folder).labels) is not None}
    for kind, parts in views.items():
        joined = {name: np.hstack([part[name] for part in parts]) for name in labels}
        linear = ridge(joined, labels)
        hinge = perceptrons(joined, labels, seed)
        yield kind, "0, hinge", _rho(hinge, labels)
        yield kind, "0, ridge", _rho(linear, labels)
        yield kind, "0, hinge + log FLOPs", _rho(_with_flops(hinge, hand), labels)
        yield kind, "0, ridge + log FLOPs", _rho(_with_flops(linear, hand), labels)
        for count in LABELS:
            read = {name: [part[name] for part in parts] for name in labels}
            yield kind, f"{count}", {name: with_labels(read[name], y, count) for name, y in labels.items()}
            if kind == BOTH:
                rho = {name: with_labels([hand[name]], y, count, linear[name]) for name, y in labels.items()}
                yield "properties, expecting the ridge's score", f"{count}", rho
    if not vectors:
        yield "log FLOPs", "0", _rho({name: x[:, FLOPS] for name, x in hand.items()}, labels)
        yield "log parameters", "0", _rho({name: x[:, PARAMS] for name, x in hand.items()}, labels)


def _with_flops(scores: Vectors, hand: Vectors) -> Vectors:
    """Sums of normal scores."""
    return {name: normal_scores(x) + normal_scores(hand[name][:, FLOPS]) for name, x in scores.items()}


def _rho(scores: Vectors, labels: Vectors) -> Rho:
    return {name: behaviour_heads.rho(scores[name], labels[name]) for name in labels}


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
    lines = place.read_text().splitlines() if place.exists() else []
    done = {(row["design"], row["seed"]) for row in map(json.loads, lines)}
    for seed in args.seeds:
        for title in tqdm(args.designs):
            if (title, seed) in done:
                continue
            vectors = encoded(args.folder, title, seed)
            rows = [
                {"design": title, "seed": seed, "reads": kind, "head": head, "rho": rho}
                for kind, head, rho in scores(args.folder, vectors, seed)
            ]
            with place.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
    report([json.loads(line) for line in place.read_text().splitlines()])


if __name__ == "__main__":
    main()
