"""The predictors that `examples.papers.carl` compares: CARL, other graph encoders, and ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from cgir.typing import FloatArray, IntArray
from encoders import (
    Average,
    CarlConfig,
    CostPredictor,
    EncoderConfig,
    HandPredictor,
    Predictor,
    SiblingConfig,
    TrainConfig,
    TreesPredictor,
    log_flops,
    log_params,
)
from encoders.predictors.stacking import Model

from .carl_tasks import Problem

# mini-batches in an epoch, at least 10 graphs in each: more labels make batches larger, not trainings longer
STEPS = 10
EPOCHS = 100
ENCODER = EncoderConfig(width=64, layers=3, layer="gcn", dropout=0.15)

SIBLINGS = SiblingConfig(dropout=0.15)


class Method(NamedTuple):
    """Makes a model from the number of labels; `form` is the attribute of `Problem` that it reads, both for ours."""

    make: Callable[[int], Model | Average]
    form: str = "cells"


def training(labels: int) -> TrainConfig:
    """Of every network: AdamW and cosine decay as all of the library."""
    return TrainConfig(epochs=EPOCHS, batch=max(10, labels // STEPS))


def carl(config: CarlConfig | None = None, encoder: EncoderConfig = ENCODER) -> Method:
    """CARL from scratch on cells."""
    return Method(lambda labels: Predictor(encoder, "carl", train=training(labels), carl=config))


def ranked(encoder: EncoderConfig | SiblingConfig) -> Method:
    """An encoder with a ranking head, from scratch on cells."""
    return Method(lambda labels: Predictor(encoder, "rank", train=training(labels)))


def ours(labels: int) -> Average:
    """A Gaussian process on whole networks and a graph transformer on cells."""
    return Average(Predictor(None, "gp"), Predictor(SIBLINGS, "rank", train=training(labels)))


BASELINES = {
    "log FLOPs": Method(lambda labels: CostPredictor(log_flops), "networks"),
    "log parameters": Method(lambda labels: CostPredictor(log_params), "networks"),
    "GP on hand features": Method(lambda labels: HandPredictor(), "networks"),
    "boosted trees on hand features": Method(lambda labels: TreesPredictor(), "networks"),
    "CARL": carl(),
}
RIVALS = {
    "GCN": ranked(ENCODER),
    "GIN": ranked(replace(ENCODER, layer="gin")),
    "GAT": ranked(replace(ENCODER, layer="gat")),
    "NN-Former": ranked(SIBLINGS),
    "CARL without its causal terms": carl(CarlConfig(redundancy=0, intervention=0)),
}
OURS = {"cgir, GP": Method(lambda labels: Predictor(None, "gp"), "networks"), "cgir": Method(ours, "both")}
LAMBDAS = (0.0, 0.2, 0.5, 0.7, 1.0)
GRID = {f"lambda {a} {b}": carl(CarlConfig(redundancy=a, intervention=b)) for a, b in product(LAMBDAS, LAMBDAS)}
PARTS = {
    **{f"encoder {layer}": carl(encoder=replace(ENCODER, layer=layer)) for layer in ("gcn", "gin", "gat")},
    **{f"level {level}": carl(CarlConfig(level=level)) for level in ("node", "edge", "both")},
    "direction along": carl(CarlConfig(direction="along")),
    "features raw": carl(CarlConfig(features="raw")),
}


def predictions(method: Method, found: Problem, chosen: IntArray, seed: int) -> FloatArray:
    """Scores of all networks by a model that learned from the chosen ones.

    Args:
        method: which graphs it reads, and how its model is made.
        found: the task's graphs and labels.
        chosen: indices of the labelled networks.
        seed: of the fit.
    """
    names = ("networks", "cells") if method.form == "both" else (method.form,)
    forms = [getattr(found, name) for name in names]
    labelled = [graphs.select(chosen) for graphs in forms]
    model = method.make(len(chosen))
    if isinstance(model, Average):
        return model.fit(labelled, found.train[chosen], seed=seed, pools=forms).predict(forms)
    return model.fit(labelled[0], found.train[chosen], seed=seed, pool=forms[0]).predict(forms[0])
