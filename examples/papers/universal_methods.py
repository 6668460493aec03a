"""The rows of `examples.papers.universal`: what ranks networks of a family with 0 to 50 of its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from cgir.analysis.batch_costs import convolution_entropy
from cgir.typing import FloatArray
from encoders import CostPredictor, Encoder, Graphs, HandPredictor, Predictor, TrainConfig, log_flops, log_params
from encoders.engine.batching import as_batch
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.features.label_transforms import RankGauss
from encoders.features.scalers import Scaler
from encoders.gaussian_process.model_averaging import BayesianModelAverage
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators import DEFAULT_TASK
from encoders.predictors.source_families import target_context
from examples.papers.universal_encoders import encoder
from examples.papers.universal_families import METRICS, family


class Ranker(Protocol):
    """Scores graphs that were described; `fit` may be called again for another draw of labels."""

    def fit(self, graphs: GraphFeatures, y: ArrayLike, seed: int, pool: GraphFeatures) -> object:
        """Learn from labels of the target.

        Args:
            graphs: labelled ones.
            y: their labels.
            seed: of the fit.
            pool: all graphs of the target.
        """
        ...

    def predict(self, graphs: GraphFeatures) -> FloatArray:
        """Scores (G,)."""
        ...


# (family left out, seed, folder of runs) -> a method, which has seen all other families
Make = Callable[[str, int, Path], Ranker]


class Method(NamedTuple):
    """`ready`: it ranks without labels."""

    make: Make
    ready: bool


class OnGraphs:
    """A model that reads the graphs themselves."""

    def __init__(self, model: Predictor | CostPredictor | HandPredictor) -> None:
        self.model = model

    def fit(self, graphs: GraphFeatures, y: ArrayLike, seed: int, pool: GraphFeatures) -> object:
        """As `Predictor.fit`."""
        return self.model.fit(graphs.graphs, y, seed=seed, pool=pool.graphs)

    def predict(self, graphs: GraphFeatures) -> FloatArray:
        """Scores (G,)."""
        return self.model.predict(graphs.graphs)


class ExpectingHand:
    """The Gaussian process on hand-made properties, expecting log FLOPs and parameters as *cgir* without sources does.

    Attributes: `context` of the pool; `scaler` of the properties; `process`.
    """

    def fit(self, graphs: GraphFeatures, y: ArrayLike, seed: int, pool: GraphFeatures) -> object:
        """As `Predictor.fit`."""
        labels, config = np.asarray(y, np.float64), BlendConfig()
        self.context = target_context(pool, None, {}, 0, config)
        self.scaler = Scaler.fit(pool.properties)
        self.process = BayesianModelAverage.fit(
            [self.scaler(graphs.properties)],
            self.context.scores(graphs, 0),
            RankGauss.fit(labels).forward(labels),
            self.context.candidates(len(labels), config),
            seed,
        )
        return self

    def predict(self, graphs: GraphFeatures) -> FloatArray:
        """Scores (G,)."""
        return self.process.predict([self.scaler(graphs.properties)], self.context.scores(graphs, 0))[0]


def log_sizes(graphs: Graphs) -> FloatArray:
    """The sum of log FLOPs and log parameters of G graphs: (G,)."""
    return log_flops(graphs) + log_params(graphs)


def entropy(graphs: Graphs) -> FloatArray:
    """`cgir.analysis.batch_costs.convolution_entropy` of G graphs: (G,)."""
    return convolution_entropy(as_batch(graphs))


def universal(left_out: str, seed: int, folder: Path) -> Predictor:
    """`Predictor` taught by all tasks of all families but one; it is kept in the folder.

    Args:
        left_out: name of the target's family.
        seed: of the networks of each family that it keeps.
        folder: of predictors.
    """
    place = folder / f"sources-{left_out}-{seed}"
    if not place.exists():
        taught(None, [name for name in METRICS if name != left_out], seed).save(place)
    predictor = Predictor.load(place)
    predictor.task = target_task(left_out, predictor.estimator.tasks)
    return predictor


def target_task(name: str, tasks: Sequence[str]) -> str:
    """The task that a family is ranked by, its first; of tasks that the other families know, accuracy else."""
    first = next(iter(METRICS[name]))
    return first if first in tasks else DEFAULT_TASK


def taught(encoder: Encoder | None, names: Iterable[str], seed: int) -> Predictor:
    """`Predictor` with all labels of the families of these names.

    Args:
        encoder: that it comes with.
        names: of the families.
        seed: of the networks of each family that it keeps.
    """
    triples = [(task, features_of(name), labels) for name in names for task, labels in family(name).labels.items()]
    # the task that targets are ranked by comes first, and is the one that is predicted
    triples.sort(key=lambda triple: triple[0] != DEFAULT_TASK)
    return Predictor(encoder).fit_sources(
        [(features, labels) for _, features, labels in triples], seed=seed, tasks=[task for task, _, _ in triples]
    )


def papers(left_out: str, seed: int, folder: Path) -> Ranker:
    """Han et al.: the contrastively pretrained encoder with a head, fine-tuned on the sources, then on the target.

    Both by squared error.

    Args:
        left_out: name of the target's family.
        seed: of the encoder and of training.
        folder: of encoders.
    """
    sources = [
        (family(name).graphs, family(name).labels[DEFAULT_TASK])
        for name in METRICS
        if name != left_out and DEFAULT_TASK in family(name).labels
    ]
    model = Predictor(encoder(folder, "paper", seed), head="mse", train=TrainConfig(source_steps=300))
    return OnGraphs(model.fit_sources(sources, seed=seed))


@cache
def features_of(name: str) -> GraphFeatures:
    """A family's graphs with everything that needs no encoder, computed once."""
    return compute_features(family(name).graphs, None)


METHODS: dict[str, Method] = {
    "log FLOPs": Method(lambda left_out, seed, folder: OnGraphs(CostPredictor(log_flops)), True),
    "log parameters": Method(lambda left_out, seed, folder: OnGraphs(CostPredictor(log_params)), True),
    "log FLOPs + log parameters": Method(lambda left_out, seed, folder: OnGraphs(CostPredictor(log_sizes)), True),
    "entropy of convolutions": Method(lambda left_out, seed, folder: OnGraphs(CostPredictor(entropy)), True),
    "GP on hand features": Method(lambda left_out, seed, folder: OnGraphs(HandPredictor()), False),
    "GP on hand features, expecting size": Method(lambda left_out, seed, folder: ExpectingHand(), False),
    "from scratch": Method(lambda left_out, seed, folder: OnGraphs(Predictor(Encoder(seed=seed), head="rank")), False),
    "the paper's recipe": Method(papers, True),
    "cgir without sources": Method(lambda left_out, seed, folder: Predictor(), False),
    "cgir": Method(universal, True),
}
