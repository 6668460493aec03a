"""What a network is worth in the unit of a task, without a label: a guess, and how far off such guesses were on
families left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs
from encoders.features.label_transforms import interpolate

from .predictor import Predictor
from .pretrained import card, load_pretrained


class Estimate(NamedTuple):
    """`scores` (G,) and `deviations` (G,) in `unit`, and in a sentence what they are `worth`."""

    scores: FloatArray
    deviations: FloatArray
    unit: str
    worth: str


def zero_shot(graphs: Graphs, task: str) -> Estimate:
    """Guess a metric of networks that nothing was measured of.

    The score that labelled families taught is brought to the task's unit by the networks of the task's reference
    family: a score as good as that of the share q of them stands for the label that the share q of them stays below.
    Deviations are those of the reference family when nothing was learned from it.

    Args:
        graphs: G graphs.
        task: one of the model card's tasks.

    Raises:
        CgirError: no such task.
    """
    tasks = card()["tasks"]
    if task not in tasks:
        raise CgirError(f"zero-shot: no task {task!r}; there are {', '.join(tasks)}")
    about = tasks[task]
    scores = Predictor(load_pretrained()).predict(graphs)
    values = interpolate(scores, np.asarray(about["scores"], np.float64), np.asarray(about["values"], np.float64))
    return Estimate(values, np.full(len(values), about["deviation"]), about["unit"], worth(task, about))


def worth(task: str, about: dict[str, Any]) -> str:
    """A sentence from a task's part of the model card."""
    ranks = ", ".join(f"{family} {value:.2f}" for family, value in about["worth"].items())
    return (
        f"What this is worth: nothing was measured of these networks. {task} is brought to its unit by {about['reference']}; rank correlations "
        f"(Spearman) with families that were left out of training: {ranks}. A few measurements of your own are worth more: `cgir finetune`."
    )
