"""`cgir demo`: trace, pretrain, rank by few labels or none, compare, on networks and labels that come with the package.

It needs neither data nor network access, and takes a few minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.package_check import check_packages
from cgir.store import GraphStore

from . import demo_report
from .options import parse_seed
from .output import say
from .output_files import check_folder

if TYPE_CHECKING:
    from contrastive.transfer_protocol import LabelledFamily, Method
    from encoders import Encoder, Predictor, TrainConfig

TARGET = "nasbench201"


@dataclass(frozen=True)
class DemoConfig:
    """Sizes of the demo.

    `labels`: of the target family that a method is given; `draws`: of these labels, at random; `extra_graphs`:
    unlabelled networks of every family beside the labelled ones, which cost nothing; `pretraining_steps`: optimiser
    steps; `train`: of heads on the encoder, None for the default; `rehearsed`: networks of each family that are
    trained without labels.
    """

    labels: int = 20
    draws: int = 5
    extra_graphs: int = 750
    pretraining_steps: int = 100
    train: TrainConfig | None = None
    rehearsed: int = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cgir demo`."""
    parser.description = "Trace, draw, pretrain, rank by 20 labels or none, compare, rehearse. No data, no network."
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("runs/demo"),
        help="folder for pictures and the report (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=parse_seed, default=0, help="of everything random (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the demo, and write its report to `args.output`."""
    check_folder(args.output)
    check_packages("frontends", "encoders", "contrastive", "search")
    run_demo(args.output, args.seed)
    return 0


def run_demo(folder: Path, seed: int = 0, config: DemoConfig | None = None) -> None:
    """Trace, draw, pretrain, learn from labels of a family whose labels nothing else used, compare, and report.

    Args:
        folder: for the report, its pictures, the predictor, and data sets of the labelled networks.
        seed: of samples, weights and batches.
        config: sizes; None for those of `cgir demo`.
    """
    config = config or DemoConfig()
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    _print("Everything once, in a few minutes: graphs, pretraining, and rankings of networks from few labels or none.")
    _print("1. Three networks as graphs, traced without data or weights (the first time includes PyTorch's own start)")
    example = _trace_networks(folder / "resnet50.svg")
    _print("2. Labels that come with the package: 750 small networks of three families, each trained on digits")
    families, unlabelled = _load_digits(seed, config.extra_graphs)
    for name, family in families.items():
        GraphStore.write(folder / f"{name}.parquet", family.graphs, family=name, labels={"accuracy": family.labels})
    _print(f"3. A small encoder learns from {len(unlabelled)} graphs, no labels")
    names = [name for name in families for _ in range(len(unlabelled) // len(families))]
    encoder = _pretrain(unlabelled, names, folder / f"pretraining-{seed}", config.pretraining_steps, seed)
    _print(
        f"4. Which networks of {TARGET} are good? With {config.labels} of their labels ({config.draws} draws), and "
        "none; the other two families bring all of theirs. 1 is the true order, 0 is chance"
    )
    target = families[TARGET]
    sources, methods = _others(families, TARGET), _methods(encoder, config.train)
    outcomes = [_evaluate(name, method, target, sources, seed, config) for name, method in methods.items()]
    _print(demo_report.text_table(outcomes, config.labels))
    predictor, test = _fit_first_draw(methods["cgir"], target, sources, seed, config.labels)
    predictor.save(folder / "predictor")
    picture = demo_report.scatter(predictor.predict(test.graphs), test.labels, config.labels)
    _print("5. Without labels: a few networks of a family are trained for a second each to draw waves, as a hint")
    _rehearse(families, config.rehearsed, seed)
    report, commands = folder / "report.html", _next(folder)
    demo_report.write_page(report, outcomes, config.labels, picture, example, commands)
    files = f"Report: {report}, predictor: {folder / 'predictor'}, graphs with labels: {folder}/*.parquet"
    _print(f"{files} ({time.monotonic() - start:.0f} s)")
    _print("\n".join(["What next:", *(f"  {line}" for line in commands)]))


def _next(folder: Path) -> list[str]:
    """Commands to go on with."""
    return [
        f"cgir predict {folder / TARGET}.parquet --predictor {folder / 'predictor'}    what the demonstration learned",
        "cgir trace net.py:build --input-shape 1,3,224,224 --html net.html    a model of yours as a graph",
        "cgir predict net.py:build --task imagenet_top1 --input-shape 1,3,224,224    a guess without a label",
        "cgir finetune @models.txt --labels measured.csv -o ranker    a ranking from your measurements",
        "cgir search nasbench201 --table digits --queries 40    a search of networks",
    ]


def _print(text: str) -> None:
    say(text, flush=True)


def _trace_networks(drawing: Path) -> Graph:
    """Trace three networks, a line each, draw the first one, and return its graph."""
    import torch

    import frontends
    from cgir.drawing import to_svg
    from frontends import reference

    graphs = []
    for build in (reference.resnet50, reference.mobilenet_v3_small, reference.vit_b16):
        with torch.device("meta"):
            model = build()
        start = time.perf_counter()
        graph = frontends.trace(model, input_shape=(1, 3, 224, 224), name=build.__name__)
        seconds = time.perf_counter() - start
        size = f"{graph.num_params / 1e6:6.2f} M parameters  {graph.flops / 2e9:7.3f} GMAC"
        _print(f"   {build.__name__:18s} {len(graph):4d} operators  {size}  {1000 * seconds:5.0f} ms")
        graphs.append(graph)
    to_svg(graphs[0], drawing)
    return graphs[0]


def _load_digits(seed: int, extra_graphs: int) -> tuple[dict[str, LabelledFamily], GraphBatch]:
    """The labelled families, and all their graphs with `extra_graphs` more of each space, for pretraining."""
    from contrastive.transfer_protocol import LabelledFamily
    from frontends import tables

    table = tables.load("digits")
    families, unlabelled = {}, []
    for name in dict.fromkeys(table.families):
        part = table.family(name)
        space = part.space
        assert space is not None
        families[name] = LabelledFamily(name, space.graphs(part.specs), part["accuracy"])
        rng = np.random.default_rng(seed)
        extra = space.graphs([space.sample(rng) for _ in range(extra_graphs)])
        unlabelled += [families[name].graphs, extra]
        agreement = table.metadata["seed_spearman"][name]
        span = f"{part['accuracy'].min():.3f} to {part['accuracy'].max():.3f}"
        counts = f"{name:14s} {len(part)} networks, accuracy {span}"
        _print(f"   {counts}; trained twice, they come in the same order to {agreement:.2f} (Spearman)")
    return families, GraphBatch.concatenate(unlabelled)


def _pretrain(graphs: GraphBatch, families: Sequence[str], folder: Path, steps: int, seed: int) -> Encoder:
    from contrastive import PretrainConfig, pretrain

    return pretrain(graphs, PretrainConfig.paper(steps=steps, seed=seed), families, run_dir=folder)


def _methods(encoder: Encoder, train: TrainConfig | None) -> Mapping[str, Method]:
    """The library's own method, and those it is compared with."""
    from contrastive.transfer_protocol import BASELINES, transfer_method

    options: dict[str, Any] = {} if train is None else {"train": train}
    heads = transfer_method(encoder, head="rank", frozen=True, **options)
    return {"cgir": transfer_method(None), "heads on the encoder": heads, **BASELINES}


def _others(families: Mapping[str, LabelledFamily], target: str) -> list[LabelledFamily]:
    return [family for name, family in families.items() if name != target]


def _rehearse(families: Mapping[str, LabelledFamily], count: int, seed: int) -> None:
    """Rank each family without a label, and again after short trainings of some of its networks; a line each."""
    from contrastive.transfer_protocol import transfer_method
    from encoders import Predictor
    from encoders.metrics import spearman
    from frontends import tables

    digits = tables.load("digits")
    for name, family in families.items():
        predictor = transfer_method(None)(_others(families, name), seed)
        table = digits.family(name)
        assert isinstance(predictor, Predictor)
        assert table.space is not None
        before = spearman(predictor.predict(family.graphs), family.labels)
        rehearsal = predictor.rehearse(table.space, table.specs, count, seed=seed)
        after = spearman(predictor.fit([], [], pool=family.graphs).predict(family.graphs), family.labels)
        ranks = f"Spearman with 0 labels {before:.3f} before, {after:.3f} after"
        _print(f"   {name:14s} {len(rehearsal.trained)} networks in {rehearsal.seconds:4.1f} s: {ranks}")


def _evaluate(
    name: str, method: Method, target: LabelledFamily, sources: list[LabelledFamily], seed: int, config: DemoConfig
) -> demo_report.Outcome:
    from contrastive.transfer_protocol import NEED_LABELS, evaluate

    counts = (config.labels,) if name in NEED_LABELS else (0, config.labels)
    scores = [score for draw in range(config.draws) for score in evaluate(method, target, sources, counts, seed + draw)]
    by_count = {count: [score for score in scores if score.num_labels == count] for count in counts}
    zero_label = [score.spearman for score in by_count.get(0, [])] or None
    spearman, kendall = (
        [getattr(score, metric) for score in by_count[config.labels]] for metric in ("spearman", "kendall")
    )
    return demo_report.Outcome(name, spearman, kendall, zero_label)


def _fit_first_draw(
    method: Method, target: LabelledFamily, sources: list[LabelledFamily], seed: int, labels: int
) -> tuple[Predictor, LabelledFamily]:
    """The predictor of the first draw of labels, and the networks that were held out."""
    from contrastive.transfer_protocol import split
    from encoders import Predictor

    train, test = split(target, labels, seed)
    predictor = method(sources, seed).fit(train.graphs, train.labels, seed=seed, pool=test.graphs)
    assert isinstance(predictor, Predictor)
    return predictor, test
