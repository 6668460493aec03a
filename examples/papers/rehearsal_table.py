"""Tables of `examples.papers.rehearsal`, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import Table
from examples.papers.rehearsal_families import FAMILIES
from examples.papers.rehearsal_judge import CONSTANTS, WEIGHTS, Row, Rule, Verdict, best_rule, judge, rules
from search.zero_cost.rehearsal import WEIGHT

ABOUT = """\
`search.zero_cost.rehearse` trains a few networks of a family, made small, for 20 steps of dense regression each,
without a label; a Gaussian process on graphs carries their losses to networks that were not trained. Networks are drawn
at random from each family as in "Rankings without training"; 24 may be trained, and up to 1,000 others are ranked.
*cgir, no sources*: a `Predictor` that knows sizes only; *cgir*: taught by all families but the target, where
`examples.papers.universal` has left such predictors. Both get rehearsal as a hint with its usual weight, and no label;
with log FLOPs the sum is of normal scores. The deviation is over halves of the trained networks.

*As shipped*: a quarter of the channels, but 8 to 16, one cell a stage or three layers, a head of 128; 16 images of
noise with the spectrum of photographs, of 16 x 16 pixels (TransNAS-Bench-101: 64 x 64). Nothing of this was chosen on
labels of the families here, but Adam's rate on NAS-Bench-201 (see "Rankings without training").

DARTS has the skeleton of its labels here, of 20 layers, for the Gaussian process, and three layers where it is trained.

A rule gives rehearsal a weight by a measure that needs no label. For each family the rule is chosen on all others: the
one with the largest mean gain, losses counted twice, of all constant weights and all thresholds of all measures. Where
rehearsal misleads, on DARTS, no rule that was chosen elsewhere says so; a threshold on depthwise convolutions would,
but nothing else speaks for it. So the hint is one to ask for, with a small weight, which was chosen on these tables.
Values are losses of the last fifth of steps rather than of all, which was chosen on these families, too (*smoothed*,
*of all steps*). As of now fewer networks than 24 were trained of some families, and not in all ways."""

SHIPPED, SEED = "as shipped", "another seed"
PRIORS = ("log FLOPs", "cgir, no sources", "cgir")
FEWEST_FAMILIES = 3  # of which rules are chosen


def tables(rows: Sequence[Row], folder: Path) -> list[Table]:
    """All that was measured.

    Args:
        rows: of `examples.papers.rehearsal`.
        folder: where samples and heads are kept.
    """
    shipped = _verdicts(rows, SHIPPED, folder)
    priors = [key for key in PRIORS if all(key in verdict.priors for verdict in shipped.values())]
    return [
        _families(shipped, priors),
        _measures(shipped),
        *(_rules(shipped, prior) for prior in priors if len(shipped) >= FEWEST_FAMILIES),
        _variants(rows, shipped, folder),
    ]


def _verdicts(rows: Sequence[Row], variant: str, folder: Path) -> dict[str, Verdict]:
    trained = {row["family"] for row in rows if row["variant"] == variant}
    names = [name for name in FAMILIES if name in trained]
    found = {name: judge(rows, variant, name, folder, SEED if variant == SHIPPED else None) for name in names}
    return {name: verdict for name, verdict in found.items() if verdict is not None}


def _families(verdicts: Mapping[str, Verdict], priors: Sequence[str]) -> Table:
    columns = ("family", "trained", "seconds each", "losses of these", "log FLOPs of these", "smoothed", "of all steps")
    return Table(
        "Spearman's rho with labels, none of which was seen; from *smoothed* on of networks that were not trained",
        (*columns, *(name for prior in priors for name in (prior, f"{prior} + rehearsal"))),
        tuple(
            (
                FAMILIES[name],
                str(v.trained),
                f"{v.seconds:.2f}",
                *(f"{value:.3f}" for value in (v.raw, v.flops_of_trained, v.smoothed, v.smoothed_sum)),
                *(cell for key in priors for cell in (f"{v.priors[key]:.3f}", _with_deviation(v, key))),
            )
            for name, v in verdicts.items()
        ),
    )


def _with_deviation(verdict: Verdict, prior: str) -> str:
    return f"{verdict.sums[prior][WEIGHT]:.3f} ± {verdict.deviations[prior]:.3f}"


def _measures(verdicts: Mapping[str, Verdict]) -> Table:
    names = list(next(iter(verdicts.values())).measures)
    return Table(
        "Measures that need no label, and what rehearsal adds to log FLOPs",
        ("family", *names, "gain"),
        tuple(
            (FAMILIES[name], *(f"{v.measures[key]:.2f}" for key in names), f"{v.gain('log FLOPs', WEIGHT):+.3f}")
            for name, v in verdicts.items()
        ),
    )


def _rules(verdicts: Mapping[str, Verdict], prior: str) -> Table:
    lines = []
    for name, verdict in verdicts.items():
        others = [other for key, other in verdicts.items() if key != name]
        rule, constant = best_rule(others, prior, rules(others)), best_rule(others, prior, CONSTANTS)
        weights = (rule(verdict.measures), constant.weight, *WEIGHTS)
        gains = [f"{verdict.gain(prior, weight):+.3f}" for weight in weights]
        deviation = f"{verdict.deviations[prior]:.3f}"
        lines.append((FAMILIES[name], _text(rule), gains[0], _text(constant), *gains[1:], deviation))
    means = [f"{np.mean([float(line[i]) for line in lines]):+.3f}" for i in (2, 4, 5, 6, 7)]
    lines.append(("mean", "", means[0], "", *means[1:], ""))
    return Table(
        f"Gain over {prior}: a rule and a constant weight, both chosen on the other families, and each constant",
        ("family", "rule", "gain", "constant", "gain", *(f"weight {w}" for w in WEIGHTS), "deviation"),
        tuple(lines),
    )


def _text(rule: Rule) -> str:
    if not rule.measure:
        return f"{rule.weight} always"
    return f"{rule.weight} where *{rule.measure}* {'<' if rule.below else '>='} {rule.threshold:.2f}"


def _variants(rows: Sequence[Row], shipped: Mapping[str, Verdict], folder: Path) -> Table:
    """Each way to train beside the shipped one on the same networks."""
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows if row["variant"] != SHIPPED):
        for name, verdict in _verdicts(rows, variant, folder).items():
            texts = {row["text"] for row in rows if (row["variant"], row["family"]) == (variant, name)}
            same = [row for row in rows if row["text"] in texts and row["family"] == name]
            base = judge(same, SHIPPED, name, folder)
            if base is None:
                continue
            pairs = [(v.raw, v.smoothed, v.sums["log FLOPs"][WEIGHT]) for v in (verdict, base)]
            cells = [f"{found:.3f} ({usual:.3f})" for found, usual in zip(*pairs, strict=True)]
            lines.append((variant, FAMILIES[name], str(verdict.trained), f"{verdict.seconds:.2f}", *cells))
    return Table(
        "Other ways to train; in brackets as shipped, on the same networks",
        ("way", "family", "trained", "seconds each", "losses of these", "smoothed", "log FLOPs + rehearsal"),
        tuple(lines),
    )
