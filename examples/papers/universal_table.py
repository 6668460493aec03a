"""Tables of the scores of `examples.papers.universal`, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean, stdev
from typing import Any

from benchmarks.report import Table
from examples.papers.universal_methods import METHODS

ABOUT = """\
Each family is left out in turn: the predictor saw no label of it, all labels of the other sixteen (cells of
NAS-Bench-101 and 201, TransNAS-Bench-101 micro, DARTS and NAS-Bench-NLP; NAS-Bench-Macro, TransNAS-Bench-101 macro,
Once-for-All; models of timm; NAAP-440, MetaQNN and ResNets of plain convolutions; graph networks of NAS-Bench-Graph and
GraphGym; MobileNetV2 for landmarks; GPT shapes and LSTMs; several tasks where there are). Then 0, 5, 10 or 50 networks
of the family bring their label, drawn at random, and all others are ranked. Mean and standard deviation over 5 samples
of the sources' networks at 0 labels; over 10 draws of labels else, two for each sample. Bold: ahead of *cgir* by more
than one standard deviation, the larger of both.

Networks whose graphs are equal count once, one of them drawn, or the best where a network was trained by several
recipes (ResNets, GPT shapes, LSTMs); cells without a path from input to output are left out, but in "the paper's 4,096
cells", which are all of NAS-Bench-201 without "none". Graphs of NAS-Bench-101, 201 and TransNAS micro have one cell a
stage, the others are whole. Labels: CIFAR-10 test accuracy (201, Macro: mean over seeds; NAAP-440), validation accuracy
of one run (101: 5,000 networks drawn from 20,001; DARTS: 50 epochs, the training that the table's authors chose;
MetaQNN at one learning rate; ResNets at one schedule), TransNAS-Bench-101's object classification, ImageNet top-1 of
supernet subnets (OFA; at 224 pixels the networks are search traces) and of timm's, whose recipes and data differ, node
classification (graph networks), errors and losses, which are to be low (landmarks, GPT, LSTMs).

Rows: *entropy of convolutions* is that of Shen et al. (DeepMAD, 2023), the sum of log2 of fan-ins. *GP on hand
features* is scikit-learn's on `cgir.properties`; *expecting size* is ours on the same, with log FLOPs, parameters,
bytes of activations and that entropy as known scores, weighted as *cgir* weights them without sources. *From
scratch* trains the default encoder by a ranking loss on the target's labels. *The paper's recipe* pretrains by eq. 4.5
on the corpus and trains the whole network by squared error, on the sources (300 steps of 16 networks a family), then on
the target. These two take hours; they stand where they were run. *cgir* is `Predictor` taught by the sources: a
Gaussian process on hand features, paths and subtrees, and a linear function of sizes, entropy and two multi-task
Gaussian processes (on features, and on features relative to their family), whose weights have a normal prior;
*without sources* is the same without them. No encoder is in it: what pretraining adds to frozen vectors is measured in
"Pretraining that carries over: behaviours".

Not blind: expected weights, kernels and their priors were chosen by scores on these families, with other draws of
labels (100 to 103, 200 to 203; here from 700). At 0 labels there are no draws to keep apart: "Constants of scores
without labels" shows what other settings would have made of them. The published rows are the paper's table 1 (other
sources and labels)."""

PUBLISHED = {"NAS-Bench-201, the paper's 4,096 cells": (40, "0.917 ± 0.010"), "NAS-Bench-101": (50, "0.553 ± 0.090")}
OURS = "cgir"
PAPERS_COUNT = {"NAS-Bench-201, the paper's 4,096 cells": 40}  # shown where other targets have 50

Row = dict[str, Any]


def tables(rows: list[Row]) -> list[Table]:
    """For every target one table of Spearman's rho and one of Kendall's tau."""
    targets = dict.fromkeys(row["target"] for row in rows)
    found = [
        _table([row for row in rows if row["target"] == target], target, measure)
        for measure in ("spearman", "kendall")
        for target in targets
    ]
    return [_summary(rows, targets), *found, _calibration(rows, targets)]


def _summary(rows: list[Row], targets: Iterable[str]) -> Table:
    """Ours and the best of the other methods, which may differ from cell to cell."""
    lines = []
    for target in targets:
        line = [target]
        for labels in (0, 5, 10, PAPERS_COUNT.get(target, 50)):
            means = {name: mean(values) for name in METHODS if (values := _values(rows, target, name, labels))}
            best = max((name for name in means if not name.startswith(OURS)), key=means.__getitem__, default="")
            line += [f"{means[OURS]:.3f}" if OURS in means else "", f"{means[best]:.3f} {best}" if best else ""]
        lines.append(tuple(line))
    columns = ("target", *(text for labels in (0, 5, 10, 50) for text in (f"cgir, {labels}", "best rival")))
    return Table(
        "Means of Spearman's rho, beside the best of the rivals (rows below that do not begin with cgir); of the "
        "paper's cells 40 labels, not 50",
        columns,
        tuple(lines),
    )


def _values(rows: list[Row], target: str, method: str, labels: int) -> list[float]:
    return [
        row["spearman"] for row in rows if (row["target"], row["method"], row["labels"]) == (target, method, labels)
    ]


def _calibration(rows: list[Row], targets: Iterable[str]) -> Table:
    counts = sorted({row["labels"] for row in rows if row["labels"]})
    lines = []
    for target in targets:
        cells = [
            [row["inside"] for row in rows if (row["target"], row["method"], row["labels"]) == (target, OURS, k)]
            for k in counts
        ]
        lines.append((target, *(f"{mean(cell):.2f} ± {stdev(cell):.2f}" if len(cell) > 1 else "" for cell in cells)))
    return Table(
        "cgir: share of unseen labels within one predicted deviation (.68 if errors were normal)",
        ("target", *map(str, counts)),
        tuple(lines),
    )


def _table(rows: list[Row], target: str, measure: str) -> Table:
    counts = sorted({row["labels"] for row in rows})
    cells = {
        (name, k): [row[measure] for row in rows if (row["method"], row["labels"]) == (name, k)]
        for name in METHODS
        for k in counts
    }
    lines = [
        (name, *(_cell(cells[name, k], cells[OURS, k]) for k in counts))
        for name in METHODS
        if any(cells[name, k] for k in counts)
    ]
    if measure == "spearman" and target in PUBLISHED:
        labels, text = PUBLISHED[target]
        lines.append(("*published, contrastive*", *(text if k == labels else "" for k in counts)))
    title = {"spearman": "Spearman's rho", "kendall": "Kendall's tau-b"}[measure]
    return Table(f"{target}: {title} by number of labels", ("method", *map(str, counts)), tuple(lines))


def _cell(values: Iterable[float], ours: list[float]) -> str:
    """Mean and standard deviation; bold where it beats ours by more than one standard deviation."""
    found = list(values)
    if not found:
        return ""
    text = f"{mean(found):.3f} ± {stdev(found):.3f}" if len(found) > 1 else f"{found[0]:.3f}"
    ahead = len(ours) > 1 and len(found) > 1 and mean(found) - mean(ours) > max(stdev(ours), stdev(found), 1e-9)
    return f"**{text}**" if ahead else text
