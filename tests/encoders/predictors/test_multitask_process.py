"""A Gaussian process across families: equal to loops written from its equations, and silent about families unlike all
that it knows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import exp, log2

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns
from scipy.stats import norm, rankdata

from cgir import Graph
from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from cgir.analysis.wl_kernel import wl_features
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Encoder, EncoderConfig, log_flops, log_params
from encoders.features.graph_features import ROUNDS, GraphFeatures, compute_features
from encoders.metrics import spearman
from encoders.predictors import multitask_process as module
from encoders.predictors.multitask_process import (
    ALIKE,
    COMMON,
    LEVEL,
    NEARNESS,
    NOISE,
    OWN,
    MultitaskGP,
    SourceSample,
    trait,
)
from encoders.training.loop import Part

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
SIZES = (25, 20, 15)
FAMILIES = [[Part(0, 25)], [Part(25, 20)], [Part(45, 15)]]


def read(graphs: GraphBatch = BATCH) -> GraphFeatures:
    return compute_features(graphs, Encoder(EncoderConfig(width=8, layers=2)))


NEW = np.arange(60, 90)


def drawn(labels: FloatArray = LABELS, families: list[list[Part]] = FAMILIES, tasks: int = 1) -> SourceSample:
    return SourceSample.draw(read(), labels, families, tasks, seed=0)


def about(labels: FloatArray = LABELS) -> MultitaskGP:
    """What is known of the last thirty graphs."""
    return drawn(labels).posterior_for(read(BATCH.select(NEW)))


def tenths(labels: FloatArray) -> FloatArray:
    """Normal quantiles of the mean place of all labels in the same tenth."""
    places = (rankdata(labels) - 0.5) / len(labels)
    tenth = [int(10 * place) for place in places]
    groups = [[rank for rank, other in enumerate(sorted(tenth), start=1) if other == one] for one in tenth]
    return norm.ppf([(np.mean(group) - 0.5) / len(labels) for group in groups])


def naive_views(described: GraphFeatures, known: GraphFeatures, new: GraphFeatures) -> list[FloatArray]:
    """Embedding, properties and paths, scaled by known and new graphs alike, and the roots of shares of subtrees, those
    of no known graph together.
    """

    def dense(graphs: GraphFeatures) -> list[FloatArray]:
        return [
            np.asarray(view, np.float64)
            for view in (graphs.embedding, graphs.properties, path_features(graphs.graphs.batch))
        ]

    views = []
    for values, one, other in zip(dense(described), dense(known), dense(new), strict=True):
        both = np.concatenate([np.repeat(one, len(other), axis=0), np.repeat(other, len(one), axis=0)])
        mean, spread = both.mean(axis=0), both.std(axis=0)
        live = spread > 1e-6 * (1 + np.abs(mean))
        views.append(np.clip((values[:, live] - mean[live]) / spread[live], -5, 5))
    matrix = wl_features(described.graphs.batch, ROUNDS)
    counts = [
        dict(zip(matrix.indices[a:b].tolist(), matrix.data[a:b].tolist(), strict=True))
        for a, b in pairwise(matrix.indptr)
    ]
    columns = sorted(set(wl_features(known.graphs.batch, ROUNDS).indices.tolist()))
    rows = [
        [row.get(c, 0.0) for c in columns] + [sum(v for c, v in row.items() if c not in set(columns))] for row in counts
    ]
    return [*views, np.sqrt([[value / sum(row) for value in row] for row in rows])]


def naive_common(one: float, other: float) -> float:
    return COMMON * (one / np.arctanh(ALIKE)) * (other / np.arctanh(ALIKE)) * exp(-((one - other) ** 2))


def naive_kernel(a: list[FloatArray], b: list[FloatArray]) -> FloatArray:
    total = np.zeros((len(a[0]), len(b[0])))
    for left, right in zip(a, b, strict=True):
        distance = np.mean([[(x - y) @ (x - y) for y in right] for x in right])
        size = np.mean([x @ x for x in right])
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                total[i, j] += exp(-NEARNESS * ((x - y) @ (x - y)) / distance) + x @ y / size
    return total


def test_expectations_are_those_of_the_equations() -> None:
    known, new = read(BATCH.select(np.arange(60))), read(BATCH.select(NEW))
    owner = np.repeat(np.arange(3), SIZES)
    traits = np.asarray([trait(known.properties[owner == family]) for family in range(3)])[owner]
    y = np.concatenate([tenths(part) for part in np.split(LABELS[:60], np.cumsum(SIZES)[:-1])])
    views = naive_views(known, known, new)
    covariance = naive_kernel(views, views)
    for i in range(60):
        for j in range(60):
            same = owner[i] == owner[j]
            covariance[i, j] = (
                covariance[i, j] * (naive_common(traits[i], traits[j]) + OWN * same) + LEVEL * same + NOISE * (i == j)
            )
    common = np.diag([naive_common(trait(new.properties), each) for each in traits])
    expected = naive_kernel(naive_views(new, known, new), views) @ common @ np.linalg.inv(covariance) @ y
    np.testing.assert_allclose(about().predict(new), expected, atol=1e-5)  # known views are rounded to single precision


def test_each_graph_is_expected_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    process, new = about(), read()
    found = process.predict(new)
    monkeypatch.setattr(module, "CHUNK", 7)
    np.testing.assert_allclose(process.predict(new), found, atol=1e-12)
    rows = np.asarray([70, 3, 3])
    np.testing.assert_allclose(process.predict(new.select(rows)), found[rows], atol=1e-9)
    assert process.predict(new.select(rows[:0])).shape == (0,)


def test_only_the_order_inside_families_is_read() -> None:
    other = np.concatenate([LABELS[:25] * 1e3, np.exp(LABELS[25:45]), LABELS[45:] - 70])
    np.testing.assert_allclose(about(other).predict(read()), about().predict(read()), atol=1e-9)


def test_what_three_families_have_in_common_is_found_in_a_fourth() -> None:
    new = read(BATCH.select(NEW))
    assert spearman(about().predict(new), LABELS[60:]) > 0.8
    assert spearman(about(-LABELS).predict(new), LABELS[60:]) < -0.8


def test_the_less_alike_a_family_the_less_is_expected() -> None:
    new = read(BATCH.select(NEW))
    known = drawn()
    near, far = (
        known._replace(traits=known.traits + distance).posterior_for(new).predict(new) for distance in (0.0, 5.0)
    )
    assert 0 < far.std() < 1e-3 * near.std()
    size_alone = new.properties.copy()
    size_alone[:, 1] = -size_alone[:, 0]  # FLOPs and parameters that do not go together
    assert (known.posterior_for(replace(new, properties=size_alone)).predict(new) == 0).all()


def test_families_speak_of_their_first_labels_where_a_task_has_none() -> None:
    """Two tasks, the second known of the first family alone."""
    both = np.concatenate([LABELS[:60], -LABELS[:25]])
    twice = GraphBatch.concatenate([BATCH.select(np.arange(60)), BATCH.select(np.arange(25))])
    families = [[Part(0, 25), Part(60, 25, 1)], *FAMILIES[1:]]
    found = SourceSample.draw(read(twice), both, families, 2, seed=0).posterior_for(read(BATCH.select(NEW)))
    turned = np.concatenate([-LABELS[:25], LABELS[25:]])
    for task, labels in enumerate((LABELS, turned)):
        np.testing.assert_allclose(found.predict(read(), task), about(labels).predict(read()), atol=1e-5)


def test_large_families_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWN", 18)
    found = drawn()
    assert found.scores.shape == (18 + 18 + 15, 1)
    assert [len(view) for view in found.dense] == [51] * 3
    other = SourceSample.draw(read(), LABELS, FAMILIES, 1, seed=1)
    np.testing.assert_array_equal(drawn().dense[1], found.dense[1])
    assert np.abs(other.dense[1] - found.dense[1]).max() > 1e-3


def test_labels_that_tell_nothing_of_the_graphs_drawn_are_no_obstacle() -> None:
    assert np.isfinite(about(np.concatenate([np.zeros(25), LABELS[25:]])).predict(read())).all()


@pytest.mark.parametrize("graphs", [GRAPHS[:30], GRAPHS[:2], GRAPHS[:1]], ids=["many", "two", "one"])
def test_the_trait_is_a_correlation_of_costs(graphs: list[Graph]) -> None:
    costs = log_flops(graphs) * log2(10), log_params(graphs) * log2(10)
    correlation = np.corrcoef(*costs)[0, 1] if len(graphs) > 1 else 0.0
    assert trait(np.asarray(properties(graphs))) == pytest.approx(np.arctanh(min(max(correlation, 0), ALIKE)), abs=1e-6)
