"""`cgir demo`: the whole line on networks and labels that come with the package, in a few minutes, without data or
network.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

import frontends
from cgir import Graph, GraphBatch, GraphStore
from cgir.drawing.export import to_svg
from contrastive.config import PretrainConfig
from contrastive.pretraining import pretrain
from contrastive.transfer_protocol import (
    BASELINES,
    NEED_LABELS,
    LabelledFamily,
    Method,
    evaluate,
    split,
    transfer_method,
)
from encoders import Predictor
from frontends import tables

from .demo_report import Outcome, scatter, text_table, write_page

TARGET, LABELS, DRAWS = "nasbench201", 20, 5
EXTRA_GRAPHS = 750  # unlabelled networks of every family beside the labelled ones: they cost nothing


def run(folder: Path, seed: int = 0) -> None:
    """Trace, draw, pretrain, fine-tune on 20 labels of a family whose labels nothing else saw, compare, and write a
    report to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    say("1. Three networks as graphs, traced without data or weights (the first time includes PyTorch's own start)")
    drawn = _trace_networks(folder)
    say("2. cgir-digits: 750 small networks of three families, each trained on real images")
    families, unlabelled = _digits(seed)
    _write_stores(families, folder)
    say(f"3. Contrastive pretraining on {len(unlabelled.labels)} graphs, no labels")
    names = [name for name in families for _ in range(len(unlabelled.labels) // len(families))]
    encoder = pretrain(
        unlabelled.graphs, PretrainConfig(steps=300, seed=seed), names, run_dir=folder / f"pretraining-{seed}"
    )
    say(f"4. {LABELS} labels of {TARGET}, {DRAWS} draws; the other two families bring all of theirs")
    target = families.pop(TARGET)
    methods = {"cgir": transfer_method(encoder, head="blend"), **BASELINES}
    outcomes = [_outcome(name, method, target, list(families.values()), seed) for name, method in methods.items()]
    say(text_table(outcomes, LABELS))
    predictor, test = _last_predictor(methods["cgir"], target, list(families.values()), seed)
    predictor.save(folder / "predictor")
    picture = scatter(folder / "scatter.png", predictor.predict(test.graphs), test.labels, LABELS)
    write_page(
        folder / "report.html", outcomes, LABELS, picture, folder / "resnet50.svg", drawn, time.monotonic() - start
    )
    say(
        f"Report: {folder / 'report.html'}, predictor: {folder / 'predictor'}, graphs with labels: {folder}/*.parquet ({time.monotonic() - start:.0f} s)"
    )


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, flush=True)


def _trace_networks(folder: Path) -> Graph:
    from frontends import reference

    drawn = None
    for build in (reference.resnet50, reference.mobilenet_v3_small, reference.vit_b16):
        with torch.device("meta"):
            model = build()
        start = time.perf_counter()
        graph = frontends.trace(model, input_shape=(1, 3, 224, 224), name=build.__name__)
        took = time.perf_counter() - start
        size = f"{graph.num_params / 1e6:6.2f} M parameters  {graph.flops / 2e9:7.3f} GMAC"
        say(f"   {build.__name__:18s} {len(graph):4d} operators  {size}  {1000 * took:5.0f} ms")
        drawn = drawn or graph
    assert drawn is not None
    to_svg(drawn, folder / "resnet50.svg")
    return drawn


def _digits(seed: int) -> tuple[dict[str, LabelledFamily], LabelledFamily]:
    """The labelled families, and all their graphs with more of the same spaces for pretraining, equally many of each."""
    table = tables.load("digits")
    families, pool = {}, []
    for name in dict.fromkeys(table.families):
        part = table.family(name)
        space = part.space
        assert space is not None
        families[name] = LabelledFamily(name, space.graphs(part.specs), part["accuracy"])
        rng = np.random.default_rng(seed)
        pool += [families[name].graphs, space.graphs([space.sample(rng) for _ in range(EXTRA_GRAPHS)])]
        agreement = table.metadata["seed_spearman"][name]
        span = f"{part['accuracy'].min():.3f} to {part['accuracy'].max():.3f}"
        say(
            f"   {name:14s} {len(part)} networks, accuracy {span}; two training seeds rank them alike to {agreement:.2f} Spearman"
        )
    graphs = GraphBatch.concatenate(pool)
    return families, LabelledFamily("unlabelled", graphs, np.full(len(graphs), np.nan))


def _write_stores(families: dict[str, LabelledFamily], folder: Path) -> None:
    for name, family in families.items():
        GraphStore.write(folder / f"{name}.parquet", family.graphs, family=name, labels={"accuracy": family.labels})


def _outcome(name: str, method: Method, target: LabelledFamily, sources: list[LabelledFamily], seed: int) -> Outcome:
    counts = (LABELS,) if name in NEED_LABELS else (0, LABELS)
    scores = [score for draw in range(DRAWS) for score in evaluate(method, target, sources, counts, seed + draw)]
    at = {labels: [s for s in scores if s.num_labels == labels] for labels in counts}
    zero = [s.spearman for s in at.get(0, [])] or None
    return Outcome(name, [s.spearman for s in at[LABELS]], [s.kendall for s in at[LABELS]], zero)


def _last_predictor(
    method: Method, target: LabelledFamily, sources: list[LabelledFamily], seed: int
) -> tuple[Predictor, LabelledFamily]:
    train, test = split(target, LABELS, seed)
    predictor = method(sources, seed).fit(train.graphs, train.labels, seed=seed, pool=test.graphs)
    assert isinstance(predictor, Predictor)
    return predictor, test
