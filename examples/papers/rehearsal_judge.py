"""What rehearsal is worth in each family, and rules that say so without a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cgir.analysis.graph_properties import PROPERTY_NAMES
from cgir.typing import FloatArray, IntArray
from encoders import Predictor
from encoders.features.graph_features import FLOPS, GraphFeatures
from encoders.features.label_transforms import normal_scores
from encoders.metrics import spearman
from examples.papers.rehearsal_families import described, sample
from examples.papers.universal_methods import universal
from search.zero_cost.rehearsal import WEIGHT, final_losses

Row = Mapping[str, Any]
# (features, trained networks, their values, weight) -> scores of all networks
Ranker = Callable[[GraphFeatures, IntArray, FloatArray, float], FloatArray]
SOURCES = Path("runs/universal")  # where `examples.papers.universal` keeps what other families taught
WEIGHTS = (0.25, 0.5, 1.0)  # of rehearsal
FEWEST = 8  # trained networks of which a family is judged
DEPTHWISE = PROPERTY_NAMES.index("conv_depthwise")
DRAWS = 6
LOSS_COUNTS = 2.0  # how much more than a gain, where a rule is chosen


class Verdict(NamedTuple):
    """Of one family and way to train.

    Attributes:
        trained: how many networks were.
        seconds: of processor time, mean over them.
        raw: correlation of their values with labels.
        flops_of_trained: of log FLOPs on the same networks.
        smoothed: of the smoothed values with labels of other networks.
        smoothed_sum: if losses of all steps are summed.
        priors: of each ranker without rehearsal.
        sums: of each ranker with rehearsal, for each weight.
        deviations: of these with `WEIGHT`, over halves of the trained networks.
        measures: what can be known without labels.
    """

    trained: int
    seconds: float
    raw: float
    flops_of_trained: float
    smoothed: float
    smoothed_sum: float
    priors: dict[str, float]
    sums: dict[str, dict[float, float]]
    deviations: dict[str, float]
    measures: dict[str, float]

    def gain(self, prior: str, weight: float) -> float:
        """What the sum is better by than the prior alone."""
        return self.sums[prior][weight] - self.priors[prior] if weight else 0.0


def judge(rows: Sequence[Row], variant: str, name: str, folder: Path, others: str | None = None) -> Verdict | None:
    """The verdict; None where too few networks were trained.

    Args:
        rows: of `examples.papers.rehearsal`.
        variant: way to train.
        name: of the family.
        folder: where samples and heads are kept.
        others: another way to train, with which agreement is a measure.
    """
    networks, features = sample(name, folder), described(name, folder)
    found = losses_of(rows, variant, name, networks.texts)
    if len(found) < FEWEST:
        return None
    trained, losses = np.asarray(list(found)), np.stack(list(found.values()))
    values, ranked = -final_losses(losses), np.arange(len(networks.texts))[networks.ranked]
    labels = networks.labels[ranked]
    rankers = rankers_of(name)

    def worth(ranker: Ranker, some: IntArray | slice, weight: float) -> float:
        return spearman(ranker(features, trained[some], values[some], weight)[ranked], labels)

    halves = [np.random.default_rng(seed).permutation(len(trained))[: len(trained) // 2] for seed in range(DRAWS)]
    half = losses.shape[1] // 2
    again = {} if others is None else losses_of(rows, others, name, networks.texts)
    both = [number for number in found if number in again]
    measures = {
        "halves of steps agree": spearman(losses[:, :half].mean(1), losses[:, half:].mean(1)) if half else np.nan,
        "agrees with log FLOPs": spearman(values, features.properties[trained, FLOPS]),
        "graphs predict it": predictability(features, trained, values),
        "share of depthwise convolutions": float(features.properties[:, DEPTHWISE].mean()),
        "seeds agree": spearman(_finals(found, both), _finals(again, both)) if len(both) >= FEWEST else np.nan,
    }
    return Verdict(
        len(trained),
        float(np.mean([row["seconds"] for row in rows if (row["variant"], row["family"]) == (variant, name)])),
        spearman(values, networks.labels[trained]),
        spearman(features.properties[trained, FLOPS], networks.labels[trained]),
        spearman(smooth(features, trained, values, ranked), labels),
        spearman(smooth(features, trained, -losses.mean(1), ranked), labels),
        {key: worth(ranker, slice(0), 0.0) for key, ranker in rankers.items()},
        {key: {w: worth(ranker, slice(None), w) for w in WEIGHTS} for key, ranker in rankers.items()},
        {
            key: float(np.std([worth(ranker, some, WEIGHT) for some in halves], ddof=1))
            for key, ranker in rankers.items()
        },
        measures,
    )


def _finals(losses: Mapping[int, FloatArray], numbers: Sequence[int]) -> FloatArray:
    return final_losses(np.stack([losses[number] for number in numbers]))


def losses_of(rows: Sequence[Row], variant: str, name: str, texts: Sequence[str]) -> dict[int, FloatArray]:
    """The losses (steps,) of each network that was trained, means over sizes, by its number.

    Args:
        rows: of `examples.papers.rehearsal`.
        variant: way to train.
        name: of the family.
        texts: its networks.
    """
    number = {text: i for i, text in enumerate(texts)}
    return {
        number[row["text"]]: np.mean(row["losses"], axis=1)
        for row in rows
        if (row["variant"], row["family"]) == (variant, name) and row["losses"] is not None
    }


def smooth(features: GraphFeatures, trained: IntArray, values: FloatArray, ranked: IntArray) -> FloatArray:
    """What a Gaussian process on graphs makes of values, at other networks.

    Args:
        features: of all networks.
        trained: those with values.
        values: theirs.
        ranked: the others.
    """
    process = Predictor(head="gp").fit(features.select(trained), values, pool=features)
    return process.predict(features.select(ranked))


def predictability(features: GraphFeatures, trained: IntArray, values: FloatArray, folds: int = 5) -> float:
    """Correlation of values with what a Gaussian process on the other folds expects of them.

    Args:
        features: of all networks.
        trained: those with values.
        values: theirs.
        folds: of cross-validation.
    """
    fold, expected = np.arange(len(trained)) % folds, np.zeros(len(trained))
    for k in range(folds):
        expected[fold == k] = smooth(features, trained[fold != k], values[fold != k], trained[fold == k])
    return spearman(expected, values)


def rankers_of(name: str) -> dict[str, Ranker]:
    """What ranks a family's networks with and without rehearsal."""
    found: dict[str, Ranker] = {"log FLOPs": flops_and_rehearsal, "cgir, no sources": partial(hinted, Predictor())}
    if (SOURCES / f"sources-{name}-0").exists():
        found["cgir"] = partial(hinted, universal(name, 0, SOURCES))
    return found


def flops_and_rehearsal(features: GraphFeatures, trained: IntArray, values: FloatArray, weight: float) -> FloatArray:
    """Scores (G,) of all networks: log FLOPs and the weight times smoothed values, both as normal scores.

    Args:
        features: of all networks.
        trained: those with values.
        values: theirs.
        weight: of them.
    """
    flops = normal_scores(features.properties[:, FLOPS])
    if not weight:
        return flops
    return flops + weight * normal_scores(smooth(features, trained, values, np.arange(len(features))))


def hinted(
    predictor: Predictor, features: GraphFeatures, trained: IntArray, values: FloatArray, weight: float
) -> FloatArray:
    """Scores (G,) of all networks by a predictor that gets rehearsal as a hint, and no label.

    Args:
        predictor: any.
        features: of all networks.
        trained: those with values.
        values: theirs.
        weight: of the hint.
    """
    pool = features.with_encoder(predictor.encoder)
    hints = {"rehearsal": (pool.select(trained), values, weight)} if weight else {}
    return predictor.fit([], [], pool=pool, hints=hints).predict(pool)


class Rule(NamedTuple):
    """Weight of rehearsal: `weight` where the measure is above `threshold`, or below it if `below`, otherwise none."""

    measure: str
    below: bool
    threshold: float
    weight: float

    def __call__(self, measures: Mapping[str, float]) -> float:
        """The weight for a family with these measures."""
        value = measures[self.measure] if self.measure else np.inf
        return self.weight if (value < self.threshold) is self.below else 0.0


CONSTANTS = tuple(Rule("", False, 0.0, weight) for weight in WEIGHTS)


def rules(verdicts: Sequence[Verdict]) -> list[Rule]:
    """Constant weights, and every threshold between values of a measure that all families have."""
    found = list(CONSTANTS)
    for measure in verdicts[0].measures:
        values = np.unique([verdict.measures[measure] for verdict in verdicts])
        if np.isnan(values).any():
            continue
        middles = (values[1:] + values[:-1]) / 2
        found += [Rule(measure, below, float(t), w) for t in middles for below in (False, True) for w in WEIGHTS]
    return found


def best_rule(verdicts: Sequence[Verdict], prior: str, candidates: Sequence[Rule]) -> Rule:
    """The rule with the largest mean gain over families, losses counted several times; the first of equal ones.

    Args:
        verdicts: of the families.
        prior: what is ranked by without rehearsal.
        candidates: the rules.
    """

    def worth(rule: Rule) -> float:
        gains = np.asarray([verdict.gain(prior, rule(verdict.measures)) for verdict in verdicts])
        return float(np.where(gains < 0, LOSS_COUNTS * gains, gains).mean())

    return max(candidates, key=worth)
