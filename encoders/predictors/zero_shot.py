"""Zero-shot estimates in the unit of a task, and how far off such estimates were on families left out of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cgir.errors import CgirError
from cgir.typing import FloatArray
from encoders.engine.batching import Graphs, as_tensors
from encoders.features.graph_features import GraphFeatures
from encoders.features.label_transforms import interpolate

from .estimators_blend import BlendEstimator
from .fit_record import input_shapes, output_shapes, outside_text, shapes_text
from .predictor import Predictor
from .pretrained import card, load_reference
from .source_families import SIZES

REACH = 2.5  # standard deviations of logarithms of sizes over the reference family, up to which networks are like these
IMAGE_CHANNELS = {"imagenet_top1": 3}  # what the networks of a task read


class Estimate(NamedTuple):
    """Estimates of G networks.

    Attributes:
        scores: (G,) in `unit`.
        stds: (G,) their standard deviations.
        unit: of the task.
        reliability: a sentence on what they are worth.
        outside: rows of networks unlike those of the reference family, and why.
    """

    scores: FloatArray
    stds: FloatArray
    unit: str
    reliability: str
    outside: Mapping[int, str] = {}


def zero_shot(graphs: Graphs, task: str) -> Estimate:
    """Estimate a metric of networks without a measurement.

    Each network is scored by itself, by what labelled families taught, as if it were one more network of the task's
    reference family. The networks of that family bring the score to the task's unit, quantile by quantile: a score that
    the share q of their scores stays below stands for the label that the share q of their labels stays below. Standard
    deviations are errors on the reference family when nothing was learned from it; of networks unlike that family they
    grow as in `FitRecord.widen`.

    Args:
        graphs: G graphs.
        task: one of the model card's tasks.

    Raises:
        CgirError: no such task.
    """
    tasks = card()["tasks"]
    if task not in tasks:
        raise CgirError(f"zero-shot: no task {task!r}; there are {', '.join(tasks)}")
    entry, reference = tasks[task], load_reference()
    known_scores, known_values = (np.asarray(entry[name], np.float64) for name in ("scores", "values"))
    features = GraphFeatures(as_tensors(graphs), reference.encoder)
    unlike = reference.outside(features)  # first, as `predict` would log it with numbers in the place of names
    scores = reference.predict(features)
    values = interpolate(scores, known_scores, known_values)
    if "%" in entry["unit"]:
        values = values.clip(0, 100)
    beyond = np.maximum(known_scores[0] - scores, scores - known_scores[-1])
    excess, reasons = _outside(reference, features, beyond, IMAGE_CHANNELS.get(task))
    for row, reason in unlike.items():
        reasons.setdefault(row, reason)
        excess[row] = max(excess[row], 1.0)
    reasons = dict(sorted(reasons.items()))
    stds = np.sqrt(entry["deviation"] ** 2 + known_values.var() * excess)
    return Estimate(values, stds, entry["unit"], reliability(task, entry), reasons)


def _outside(
    reference: Predictor, features: GraphFeatures, beyond: FloatArray, channels: int | None
) -> tuple[FloatArray, dict[int, str]]:
    """Octaves that G networks are outside of the reference family, (G,), and why.

    Args:
        reference: its pool was the family, whose sizes it knows by mean and standard deviation.
        features: of the networks.
        beyond: (G,) how far scores are beyond those of the family.
        channels: of the image that the family's networks read, whose answer is a vector; None: others.
    """
    excess: FloatArray = np.maximum(beyond, 0)
    reasons: dict[int, str] = {}
    estimator = reference.estimator
    if isinstance(estimator, BlendEstimator) and estimator.context is not None:
        scaler = estimator.context.scaler
        for column, (mean, scale) in enumerate(zip(scaler.mean, scaler.scale, strict=True)):
            if column < len(SIZES) and scale > 0:
                low, high = mean - REACH / scale, mean + REACH / scale
                values = features.properties[:, SIZES[column]]
                distance = np.maximum(low - values, values - high)
                excess = np.maximum(excess, distance)
                for row in np.flatnonzero(distance > 0).tolist():
                    reasons.setdefault(row, outside_text(SIZES[column], values[row], low, high))
    for row in np.flatnonzero(beyond > 0).tolist():
        reasons.setdefault(row, "its score is beyond those of all networks of the reference")
    for row, shapes in enumerate(input_shapes(features.graphs.batch) if channels else []):
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != channels:
            reasons[row] = f"input {shapes_text(shapes)}, known are images of {channels} channels"
            excess[row] = max(excess[row], 1.0)
    for row, shapes in enumerate(output_shapes(features.graphs.batch) if channels else []):
        if not any(len(shape) == 1 for shape in shapes):
            reasons[row] = f"output {shapes_text(shapes)}, known are vectors of classes"
            excess[row] = max(excess[row], 1.0)
    return excess, reasons


def reliability(task: str, entry: dict[str, Any]) -> str:
    """A sentence on a task's estimates, from the task's entry in the model card."""
    ranks = ", ".join(f"{family} {value:.2f}" for family, value in entry["worth"].items())
    return (
        f"What this is worth: nothing was measured of these networks. {task} is brought to its unit by "
        f"{entry['reference']}; rank correlations (Spearman) with families that were left out of training: {ranks}. "
        "A few measurements of your own are worth more: `cgir finetune`."
    )
