"""How the scores of `examples.papers.transfer` are shown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean, stdev
from typing import Any

from benchmarks.report import Table

ABOUT = """\
A target family with 0 to 50 labels, two source families with theirs. Graphs are whole networks with one cell per stage; NAS-Bench-201 and NAS-Bench-
Macro labels are CIFAR-10 test accuracy (mean over the benchmark's seeds), NAS-Bench-101's are validation accuracy of one run. Sources: the other two
families, at most 5,000 labelled networks each; the encoder was pretrained on all graphs of the three families, without labels. The labelled target
networks are drawn at random; tests are on all others, on NAS-Bench-101 on 5,000 that are never labelled. Mean and standard deviation over 5 seeds
(encoder, sources and draw change together); the last epoch, no validation labels. Not blind: that heads and process are blended, and how, was decided
after looking at scores on these same targets with other draws of labels; the training settings were chosen by scores on NAS-Bench-Macro, looked for
after such a look. The draws shown were used for nothing else.

Rows: *paper's recipe* is Han et al.'s, a head on the whole network by squared error, first on the sources, then on the target, with the encoder
contrastively pretrained (eq. 4.5) or not at all. *cgir* is `Predictor(head="blend")`: frozen embeddings and hand features, three ranking heads that
saw the sources and a Gaussian process that sees only the target. *from scratch* trains the same network with a ranking loss on the target's labels
alone. *untrained*, *contrastive* and *properties* say how the encoder was pretrained: not at all, by eq. 4.5, or to regress free properties of the
graphs. Measured before the Gaussian process saw paths and subtrees, and before node embeddings knew kernels and strides by name: the command now runs
better predictors, whose scores are still to be measured. On these targets contrastive pretraining makes no difference that exceeds the spread of seeds,
in either recipe; without labels log FLOPs ranks NAS-Bench-201 better than what *cgir* learned from the other families. The published row is table 1
of the paper (NAS-Bench-301 in place of NAS-Bench-Macro)."""

PUBLISHED = {"nasbench201 without none": (40, "0.917 ± 0.010"), "nasbench101": (50, "0.553 ± 0.090")}

Row = dict[str, Any]


def tables(rows: list[Row]) -> list[Table]:
    """For every target one table of Spearman's rho and one of Kendall's tau."""
    targets = dict.fromkeys(row["target"] for row in rows)
    return [_table([row for row in rows if row["target"] == target], target, measure) for target in targets for measure in ("spearman", "kendall")]


def _table(rows: list[Row], target: str, measure: str) -> Table:
    counts = sorted({row["labels"] for row in rows})
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = ([row[measure] for row in rows if (row["method"], row["labels"]) == (method, k)] for k in counts)
        lines.append((method, *(_cell(values) for values in cells)))
    if measure == "spearman" and target in PUBLISHED:
        labels, text = PUBLISHED[target]
        lines.append(("*published, contrastive*", *(text if k == labels else "" for k in counts)))
    title = {"spearman": "Spearman's rho", "kendall": "Kendall's tau"}[measure]
    return Table(f"Target {target}: {title} by number of labels", ("method", *map(str, counts)), tuple(lines))


def _cell(values: Iterable[float]) -> str:
    found = list(values)
    return f"{mean(found):.3f} ± {stdev(found):.3f}" if len(found) > 1 else "".join(f"{v:.3f}" for v in found)
