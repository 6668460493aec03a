"""Zero-shot estimates in the unit of a task, and how far off such estimates were on families left out of training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs
from encoders.features.label_transforms import interpolate

from .pretrained import card, load_reference


class Estimate(NamedTuple):
    """`scores` (G,) and their standard deviations `stds` (G,) in `unit`, and a sentence on their `reliability`."""

    scores: FloatArray
    stds: FloatArray
    unit: str
    reliability: str


def zero_shot(graphs: Graphs, task: str) -> Estimate:
    """Estimate a metric of networks without a measurement.

    Each network is scored by itself, by what labelled families taught, as if it were one more network of the task's
    reference family. The networks of that family bring the score to the task's unit, quantile by quantile: a score that
    the share q of their scores stays below stands for the label that the share q of their labels stays below. Standard
    deviations are errors on the reference family when nothing was learned from it.

    Args:
        graphs: G graphs.
        task: one of the model card's tasks.

    Raises:
        CgirError: no such task.
    """
    tasks = card()["tasks"]
    if task not in tasks:
        raise CgirError(f"zero-shot: no task {task!r}; there are {', '.join(tasks)}")
    entry = tasks[task]
    scores = load_reference().predict(graphs)
    values = interpolate(scores, np.asarray(entry["scores"], np.float64), np.asarray(entry["values"], np.float64))
    return Estimate(values, np.full(len(values), entry["deviation"]), entry["unit"], reliability(task, entry))


def reliability(task: str, entry: dict[str, Any]) -> str:
    """A sentence on a task's estimates, from the task's entry in the model card."""
    ranks = ", ".join(f"{family} {value:.2f}" for family, value in entry["worth"].items())
    return (
        f"What this is worth: nothing was measured of these networks. {task} is brought to its unit by "
        f"{entry['reference']}; rank correlations (Spearman) with families that were left out of training: {ranks}. "
        "A few measurements of your own are worth more: `cgir finetune`."
    )
