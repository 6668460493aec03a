"""Rules that `examples.papers.one_shot_truth` compares, their tables, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from benchmarks.report import Table
from cgir.typing import FloatArray
from encoders.metrics import spearman

Row = dict[str, Any]
OPERATIONS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
INVERSES: dict[str, Row] = {
    "sherman_morrison": {},
    "neumann": {"batches": 10},
    "conjugate_gradients": {"batches": 1, "batch": 128, "iterations": 10},  # each sees all images
    "identity": {},
}
# name in the table -> rule and options
SHOWN: dict[str, tuple[str, Row]] = {
    "argmax": ("argmax", {}),
    "perturbation, loss": ("perturbation", {"criterion": "loss"}),
    "perturbation, accuracy": ("perturbation", {"criterion": "accuracy"}),
    "zero_cost, grad_norm": ("zero_cost", {"proxy": "grad_norm"}),
    **{
        f"{rule}, {inverse}": (rule, {"inverse": inverse, **options})
        for rule in ("influence", "influential_magnitude")
        for inverse, options in INVERSES.items()
    },
    "influential_magnitude, sherman_morrison, published": ("influential_magnitude", {"published": True}),
    "random": ("random", {}),
}

ABOUT = """\
Zhang et al. 2022 ("Influential Magnitude") derive their rules as estimates of what retraining without an operation
would cost. Here that is measured: a supernet of one cell (six edges with skip, 1x1 and 3x3 convolution and pooling, 3
channels, 700 weights, no normalisation, SiLU) on digits of 4 x 4 pixels; 100 bilevel steps, then 900 iterations of
L-BFGS in float64 on 200 images with L2 regularisation. Without each operation in turn, weights are trained by 150
iterations more; *truth* is how much the loss on the other 1,597 images rises by that. So the loss is smooth and weights
are near an optimum, as the theorems ask, but of the training loss, while they differentiate the validation loss.

Rules see validation images and score each operation in the supernet that has all others. *All*: Spearman's rho with
the truth over all 24 operations; *within an edge*: the mean of rho over the six edges, all that a selection uses;
*best found*: the share of edges where the operation with the highest score is the one that is worth most, 1/4 by
chance. Mean and standard deviation over supernets. Influence rules have N = 20 batches of 64 images and eta = 0.1,
*neumann* 10 batches; *conjugate_gradients* have 128 images, 10 iterations, and the smallest eta of 0.1, 1, 10, 100 with
which these meet no negative curvature (in brackets, by supernet). *published* has finite differences as in DARTS.

What the loss loses without an operation (*perturbation, loss*) and eq. 5 (*influence*) order operations nearly as
retraining does; the influential magnitude, a derivative at the mixture where eq. 5 takes an operation away, is here no
better than chance, whatever stands for the Hessian, and its finite differences are those of the exact rule, as SiLU has
no kinks."""


def tables(rows: list[Row]) -> list[Table]:
    """Agreement of every rule with the truth, and the truth by operation."""
    return [_agreement(rows), _truth(rows)] if rows else []


def _agreement(rows: list[Row]) -> Table:
    lines = []
    for name in SHOWN:
        found = [(np.array(row["rules"][name]["scores"]), np.array(row["truth"])) for row in rows]
        etas = [row["rules"][name]["eta"] for row in rows]
        damping = "" if None in etas else f" (eta {', '.join(f'{eta:g}' for eta in etas)})"
        lines.append(
            (
                name + damping,
                _cell(spearman(scores.ravel(), truth.ravel()) for scores, truth in found),
                _cell(within_edges(scores, truth) for scores, truth in found),
                _cell(float(np.mean(scores.argmax(1) == truth.argmax(1))) for scores, truth in found),
                f"{mean(row['rules'][name]['seconds'] for row in rows):.1f}",
            )
        )
    lines.append(("*retraining without each*", "", "", "", f"{mean(row['truth_seconds'] for row in rows):.0f}"))
    caption = f"Agreement of scores with leave-one-out retraining, {len(rows)} supernets"
    return Table(caption, ("rule", "all", "within an edge", "best found", "seconds"), tuple(lines))


def within_edges(scores: FloatArray, truth: FloatArray) -> float:
    """Mean of Spearman's rho over choices, (choices, options) each; 0 where all scores of a choice are equal."""
    return mean(spearman(own, worth) for own, worth in zip(scores, truth, strict=True))


def _truth(rows: list[Row]) -> Table:
    truth = np.array([row["truth"] for row in rows])  # (supernets, edges, operations)
    weights = np.array([row["mixture"] for row in rows]).reshape(truth.shape)
    lines = tuple(
        (name, _cell(truth[:, :, column].mean(1)), _cell(weights[:, :, column].mean(1)))
        for column, name in enumerate(OPERATIONS)
    )
    norms = [norm for row in rows for norm in row["gradient_norms"]]
    caption = (
        f"The truth, means over edges; supernets are right on {_cell([row['accuracy'] for row in rows])} of validation "
        f"images; norm of the gradient after training: median {median(norms):.1g}, largest {max(norms):.1g}"
    )
    return Table(caption, ("operation", "rise of the validation loss", "weight in the mixture"), lines)


def _cell(values: Iterable[float]) -> str:
    found = [float(value) for value in values]
    return f"{mean(found):.3f} ± {stdev(found):.3f}" if len(found) > 1 else f"{found[0]:.3f}"
