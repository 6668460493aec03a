"""What the cell that a rule selected is worth: its measured accuracy, or where none was measured a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np

from cgir.typing import FloatArray
from encoders import Predictor
from encoders.metrics import spearman
from frontends import spaces, tables
from frontends.spaces.nasbench101.cell import Cell, module_hash

NB201_METRIC = "cifar10_test_200ep_mean"
NB101_METRIC = "cifar10_val_acc_108ep_1run"
LABELS, TESTS = 1000, 2000  # labelled cells that the predictor is fitted to, and others that it is tried on


class Verdict(NamedTuple):
    """Accuracy in percent, and whether it was measured or predicted."""

    accuracy: float
    measured: bool


def judge(space: Any, spec: Any) -> Verdict:
    """Accuracy of a cell of NAS-Bench-201 (test, mean of seeds) or NAS-Bench-1Shot1 (validation, one run)."""
    if space.name == "nasbench201":
        return Verdict(nasbench201()[space.format(spec)], True)
    measured = nasbench101().get(module_hash(spec))
    return Verdict(predicted(spec), False) if measured is None else Verdict(measured, True)


@lru_cache(maxsize=1)
def nasbench201() -> dict[str, float]:
    """All 15,625 cells -> mean test accuracy on CIFAR-10 in percent."""
    table = tables.load("nasbench201")
    return dict(zip(table.spec_strings, map(float, table[NB201_METRIC]), strict=True))


@lru_cache(maxsize=1)
def nasbench101() -> dict[str, float]:
    """Hashes of the 20,001 cells with a label -> validation accuracy on CIFAR-10 in percent, of one training."""
    table = tables.load("nasbench101")
    cells = cast(Sequence[Cell], table.specs)
    return {module_hash(spec): 100 * float(value) for spec, value in zip(cells, table[NB101_METRIC], strict=True)}


class Fitted(NamedTuple):
    """The predictor of NAS-Bench-101, its rank correlation and mean absolute error in percent on other cells."""

    predictor: Predictor
    correlation: float
    error: float


@lru_cache(maxsize=1)
def fitted() -> Fitted:
    """A Gaussian process fitted to 1,000 random labelled cells with more than 80 % accuracy, tried on 2,000 others."""
    table = tables.load("nasbench101")
    accuracy: FloatArray = 100 * np.asarray(table[NB101_METRIC])
    rows = np.random.default_rng(0).permutation(np.flatnonzero(accuracy > 80))  # others are failed trainings
    train, test = rows[:LABELS], rows[LABELS : LABELS + TESTS]
    space = spaces.get("nasbench101")
    predictor = Predictor(head="gp").fit(space.graphs([table.specs[row] for row in train]), accuracy[train])
    values = predictor.predict(space.graphs([table.specs[row] for row in test]))
    return Fitted(predictor, spearman(values, accuracy[test]), float(np.abs(values - accuracy[test]).mean()))


def predicted(spec: Any) -> float:
    """Accuracy in percent that the predictor expects of a cell."""
    return float(fitted().predictor.predict(spaces.get("nasbench101").graphs([spec]))[0])
