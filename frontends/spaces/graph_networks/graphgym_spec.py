"""Specs of GraphGym's design space, the width that they have in its budget, and its tasks."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

ACTIVATIONS = ("prelu", "relu", "swish")
STAGES = ("skipconcat", "skipsum", "stack")
AGGREGATIONS = ("add", "max", "mean")
LEVELS = ("node", "graph", "link")
_BASELINE_WIDTH = 256


class Spec(NamedTuple):
    """One network.

    Attributes:
        l_pre: linear layers before message passing.
        l_mp: layers of message passing.
        l_post: linear layers after it; the last one returns the logits.
        stage: what a layer of message passing does with its input: nothing, add it, or concatenate it.
        agg: of the messages that reach a node.
        bn: whether layers have BatchNorm; else they have a bias.
        act: the activation.
    """

    l_pre: int
    l_mp: int
    l_post: int
    stage: str
    agg: str
    bn: bool
    act: str


CHOICES: dict[str, tuple[int | str | bool, ...]] = {
    "l_pre": (1, 2, 3),
    "l_mp": (2, 4, 6, 8),
    "l_post": (1, 2, 3),
    "stage": STAGES,
    "agg": AGGREGATIONS,
    "bn": (True, False),
    "act": ACTIVATIONS,
}
BASELINE = Spec(1, 2, 1, "stack", "add", True, "relu")  # whose parameters at width 256 are the budget


class GraphTask(NamedTuple):
    """Sizes of a data set.

    Attributes:
        features: of a node.
        classes: length of the logits.
        budget_features: of the network whose parameters are counted against the budget.
    """

    features: int
    classes: int
    budget_features: int = 1


# by the column `dataset` of the table; links have as many features, and no classes
TASKS = {
    "AmazonComputers": GraphTask(767, 10),
    "AmazonPhoto": GraphTask(745, 8),
    "CiteSeer": GraphTask(3703, 6),
    "CoauthorCS": GraphTask(6805, 15),
    "CoauthorPhysics": GraphTask(8415, 5),
    "Cora": GraphTask(1433, 7),
    "TU_BZR": GraphTask(53, 1),
    "TU_COX2": GraphTask(35, 1),
    "TU_DD": GraphTask(89, 1),
    "TU_ENZYMES": GraphTask(3, 6),
    "TU_IMDB": GraphTask(1, 3),
    "TU_PROTEINS": GraphTask(3, 1),
    "scalefree": GraphTask(11, 5, 11),
    "smallworld": GraphTask(11, 5, 11),
}


def count_parameters(spec: Spec, width: int, features: int, classes: int, level: str) -> int:
    """Parameters of a network.

    Args:
        spec: the network.
        width: of its layers.
        features: of a node.
        classes: length of the logits.
        level: "node", "graph" or "link".
    """

    def layer(inner: int, outer: int) -> int:
        return inner * outer + (2 if spec.bn else 1) * outer

    total, inner = int(spec.act == "prelu"), features
    for _ in range(spec.l_pre):
        total, inner = total + layer(inner, width), width
    for _ in range(spec.l_mp):
        total += layer(inner, width)
        inner = inner + width if spec.stage == "skipconcat" else width
    total += (spec.l_post - 1) * layer(inner, inner)
    return total + (inner + 1) * (inner if level == "link" else classes)


@lru_cache(maxsize=16_384)
def width_of(spec: Spec, level: str, budget_features: int) -> int:
    """The least width with which a network has the parameters of the baseline of width 256.

    Source: the authors' `match_computation` (graphgym/utils/comp_budget.py), which counts networks with one output.

    Args:
        spec: the network.
        level: "node", "graph" or "link".
        budget_features: of the network that is counted.
    """
    budget = count_parameters(BASELINE, _BASELINE_WIDTH, 1, 1, level)
    width = 1
    while count_parameters(spec, width, budget_features, 1, level) < budget:
        width += 1
    return width
