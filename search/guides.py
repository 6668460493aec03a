"""How predictors guide a search: fitted to the answers that are known, asked what candidates are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from cgir.errors import CgirError, one_line
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Metric, Predictor
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .acquisition import ACQUISITIONS
from .ask_tell import Known
from .candidates import Candidates
from .history import ADDED, History
from .objectives import Objective

POOL_SIZE = 256  # unlabelled networks of the space that the predictor's `fit` gets as pool


class Guide:
    """One predictor for each objective that the oracle answers.

    Args:
        space: the search space.
        predictor: of the only objective that is asked, or of each by name.
        learns: whether predictors are fitted to answers.
        acquisition: see `acquisition.ACQUISITIONS`.
        seed: of the fits and of the pool.
    """

    def __init__(
        self, space: Space[Any], predictor: Model | Mapping[str, Model], learns: bool, acquisition: str, seed: int
    ) -> None:
        self._space, self._learns, self._seed = space, learns, seed
        # a copy learns: what is told in this search is not known at the start of the next one
        self._predictors, self._acquisition = deepcopy(predictor) if learns else predictor, acquisition
        models = list(self._predictors.values()) if isinstance(self._predictors, Mapping) else [self._predictors]
        self.needs_labels = learns and not all(_can_predict(model) for model in models)
        for model in models:
            if not all(callable(getattr(model, name, None)) for name in ("fit", "predict")):
                raise CgirError(
                    f"search: {type(model).__name__} is no predictor; expected an object with fit(graphs, y) and "
                    "predict(graphs), or a mapping from objectives to such"
                )
            if acquisition != "mean" and not getattr(model, "has_std", False):
                raise CgirError(
                    f"search: acquisition={acquisition!r} needs standard deviations, which {type(model).__name__} does "
                    "not predict; use Predictor with head 'blend' or 'gp', or an ensemble, or acquisition='mean'"
                )
        self._without_unit = set[str]()  # objectives whose predictor has no answers yet: its scores only rank
        self._readers: dict[int, FeatureReader] = {}

    def check(self, known: Known) -> None:
        """CgirError unless there is a predictor of all that is asked: before any question, not after the first ones."""
        for objective in known.history.objectives:
            if not objective.from_graph:
                self._model(objective, known)

    def fit(self, known: Known) -> bool:
        """Fit predictors to all answers; False if one of them can predict nothing yet."""
        if not self._learns:
            return True
        fitted = {item.name: self._fit(item, known) for item in known.history.objectives if not item.from_graph}
        return all(fitted.values())

    def score(self, found: Candidates, known: Known, rng: np.random.Generator) -> tuple[Candidates, FloatArray]:
        """Candidates with what predictors expect of them, and the acquisition's values (G, M) in the objectives' units.

        Where predictors can tell, candidates that break a limit on an answer are left out, if others are there.

        Args:
            found: the candidates.
            known: what is known.
            rng: of acquisitions that draw.

        Raises:
            CgirError: a predictor's score is not finite.
        """
        columns, predicted = [], {}
        for objective in known.history.objectives:
            if objective.from_graph:
                columns.append(found.costs[objective.name])
                continue
            means, values = self._predict(objective, found, known, rng)
            if objective.name not in self._without_unit:
                predicted[objective.name] = means
            columns.append(values)
        found, values = replace(found, predicted=predicted), np.stack(columns, axis=1)
        limits = [limit for limit in known.history.limits if limit.name in predicted]
        holds = np.logical_and.reduce([limit.holds(predicted[limit.name]) for limit in limits], initial=True)
        if limits and np.any(holds):
            rows = np.flatnonzero(holds)
            return found.select(rows), values[rows]
        return found, values

    def _predict(
        self, objective: Objective, found: Candidates, known: Known, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Expected values and the acquisition's, (G,) each, in the objective's unit."""
        model = self._model(objective, known)
        graphs = self._reader(model).read(found.graphs)
        sign = model.sign if isinstance(model, Predictor) else 1  # of a predictor of latencies lower is better
        if self._acquisition == "mean":
            means, stds = sign * _column(model.predict(graphs), len(found), model), np.zeros(len(found))
        else:
            both = model.predict(graphs, return_std=True)  # type: ignore[call-arg]
            means, stds = (_column(values, len(found), model) for values in both)
            means = sign * means
        bad = np.flatnonzero(~np.isfinite(means))
        if len(bad):
            raise CgirError(
                f"search: the predictor's score of {self._space.format(found.specs[bad[0]])!r} is {means[bad[0]]}; "
                "expected finite numbers"
            )
        return means * objective.sign, ACQUISITIONS[self._acquisition](means, stds, rng) * objective.sign

    def _fit(self, objective: Objective, known: Known) -> bool:
        model, values = self._model(objective, known), known.column(objective.name)
        reader, labelled = self._reader(model), np.flatnonzero(np.isfinite(values))
        if len(np.unique(values[labelled])) >= 2:
            rows = [known.rows[row] for row in labelled]
            graphs = reader.rows(known.history, rows)
            if isinstance(model, Predictor):  # knows what is learned of a latency
                metric = Metric(objective.name, Metric.guess(objective.name).unit, not objective.maximise)
                model.fit(graphs, values[labelled], seed=self._seed, pool=reader.pool, metric=metric)
            else:
                model.fit(graphs, objective.sign * values[labelled], seed=self._seed, pool=reader.pool)
            self._without_unit.discard(objective.name)
            return True
        self._without_unit.add(objective.name)
        if isinstance(model, Predictor) and _knows_sources_alone(model):
            metric = Metric(objective.name, Metric.guess(objective.name).unit, not objective.maximise)
            model.fit([], [], seed=self._seed, pool=reader.pool, metric=metric)
        return _can_predict(model)

    def _model(self, objective: Objective, known: Known) -> Model:
        if isinstance(self._predictors, Mapping):
            if objective.name not in self._predictors:
                raise CgirError(f"search: no predictor of {objective.name!r}; found {', '.join(self._predictors)}")
            return self._predictors[objective.name]
        asked = [item.name for item in known.history.objectives if not item.from_graph]
        if len(asked) > 1:
            names = ", ".join(f"{name!r}: ..." for name in asked)
            raise CgirError(
                f"search: the oracle is asked for {' and '.join(asked)}; give a predictor of each, {{{names}}}"
            )
        return self._predictors

    def _reader(self, model: Model) -> FeatureReader:
        return self._readers.setdefault(id(model), FeatureReader(self._space, model, self._seed))


class FeatureReader:
    """Graphs as a predictor reads them; features of networks that were asked are computed once.

    Args:
        space: the search space.
        model: the predictor.
        seed: of the pool.
    """

    def __init__(self, space: Space[Any], model: Model, seed: int) -> None:
        self._space, self._model, self._seed = space, model, seed
        self._features: GraphFeatures | None = None
        self._places: dict[int, int] = {}

    def read(self, graphs: GraphBatch) -> Any:
        """Graphs, with their features where the predictor is ours; embeddings only where it reads them."""
        model = self._model
        if not isinstance(model, Predictor):
            return graphs
        return compute_features(graphs, model.encoder if model.estimator.reads_vectors else None, model.device)

    @cached_property
    def pool(self) -> Any:
        """Unlabelled networks of the space."""
        rng = np.random.default_rng((self._seed, 0))
        return self.read(self._space.graphs([self._space.sample(rng) for _ in range(POOL_SIZE)]))

    def rows(self, history: History, rows: Sequence[int]) -> Any:
        """The graphs of rows of the history."""
        if not isinstance(self._model, Predictor):
            return self._space.graphs([history.rows[row].spec for row in rows])
        for row in rows:
            if row not in self._places:
                self._add(history, _asked_together(history, row))
        assert self._features is not None
        return self._features.select(np.asarray([self._places[row] for row in rows]))

    def _add(self, history: History, rows: Sequence[int]) -> None:
        """Compute features of networks that were asked together.

        In other batches they are rounded otherwise, and a search that goes on from its log would be another one.
        """
        features = self.read(self._space.graphs([history.rows[row].spec for row in rows]))
        _ = features.paths, features.subtrees
        self._features = features if self._features is None else GraphFeatures.concatenate([self._features, features])
        self._places |= {row: len(self._places) + place for place, row in enumerate(rows)}


def _asked_together(history: History, row: int) -> list[int]:
    """Rows of the same ask; an old result is alone."""
    generation = history.rows[row].generation
    first, last = row, row + 1
    while generation != ADDED and first and history.rows[first - 1].generation == generation:
        first -= 1
    while generation != ADDED and last < len(history) and history.rows[last].generation == generation:
        last += 1
    return list(range(first, last))


def _column(scores: Any, count: int, model: Model) -> FloatArray:
    """What a predictor answered, as numbers (count,)."""
    try:
        values = np.asarray(scores, np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CgirError(f"search: {type(model).__name__} predicts no numbers ({one_line(error, 200)})") from error
    if values.shape != (count,):
        raise CgirError(f"search: {type(model).__name__} predicts {values.shape} scores for {count} graphs")
    return values


def _can_predict(model: Model) -> bool:
    """Whether it predicts without being fitted to answers."""
    return isinstance(model, Predictor) and model.estimator.is_fitted


def _knows_sources_alone(model: Predictor) -> bool:
    """Whether a pool of the space tells it more: neither labels nor hints were given."""
    estimator = model.estimator
    if not isinstance(estimator, BlendEstimator) or estimator.source_model is None or estimator.gp is not None:
        return False
    return estimator.context is None or not estimator.context.hints
