"""A Gaussian process across families: equal to loops written from its equations, and silent about families unlike all
that it knows.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log2

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns
from scipy.stats import norm, rankdata

from cgir import Graph
from cgir.analysis.graph_properties import properties
from cgir.analysis.path_features import path_features
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Encoder, EncoderConfig, log_flops, log_params
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.metrics import spearman
from encoders.predictors import multitask_process
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.multitask_process import MultitaskGP, SourceSample, sampled_rows, size_consistency
from encoders.training.loop import Part

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
SIZES = (25, 20, 15)
CONFIG = BlendConfig()
FAMILIES = [[Part(0, 25)], [Part(25, 20)], [Part(45, 15)]]


def features(graphs: GraphBatch = BATCH) -> GraphFeatures:
    return compute_features(graphs, None)


def size_consistency_of(values: FloatArray) -> float:
    return size_consistency(values, CONFIG.max_correlation)


NEW = np.arange(60, 90)


def sample(labels: FloatArray = LABELS, config: BlendConfig = CONFIG, seed: int = 0) -> SourceSample:
    return SourceSample.of(features(), labels, FAMILIES, sampled_rows(FAMILIES, seed, config), 1, config)


def posterior(labels: FloatArray = LABELS, relative: bool = False) -> MultitaskGP:
    """What is known of the last thirty graphs."""
    return sample(labels).posterior_for(features(BATCH.select(NEW)), relative, CONFIG)


def tenths(labels: FloatArray) -> FloatArray:
    """Normal quantiles of the mean place of all labels in the same tenth."""
    places = (rankdata(labels) - 0.5) / len(labels)
    tenth = [int(10 * place) for place in places]
    groups = [[rank for rank, other in enumerate(sorted(tenth), start=1) if other == one] for one in tenth]
    return norm.ppf([(np.mean(group) - 0.5) / len(labels) for group in groups])


def dense(graphs: GraphFeatures) -> list[FloatArray]:
    return [np.asarray(view, np.float64) for view in (graphs.properties, path_features(graphs.graphs.batch))]


def relative_views(family: GraphFeatures) -> list[FloatArray]:
    """Properties and paths, scaled by the family alone; what does not differ in it is 0."""
    views = []
    for values in dense(family):
        std = values.std(axis=0)
        varies = std > 1e-6 * (1 + abs(values.mean(axis=0)))
        views.append(np.where(varies, np.clip((values - values.mean(axis=0)) / np.where(varies, std, 1), -5, 5), 0))
    return views


def naive_views(described: GraphFeatures, known: GraphFeatures, new: GraphFeatures) -> list[FloatArray]:
    """Properties and paths, scaled by known and new graphs alike."""
    views = []
    for values, one, other in zip(dense(described), dense(known), dense(new), strict=True):
        both = np.concatenate([np.repeat(one, len(other), axis=0), np.repeat(other, len(one), axis=0)])
        mean, spread = both.mean(axis=0), both.std(axis=0)
        live = spread > 1e-6 * (1 + np.abs(mean))
        views.append(np.clip((values[:, live] - mean[live]) / spread[live], -5, 5))
    return views


def naive_common(one: float, other: float) -> float:
    return (
        CONFIG.shared_variance
        * (one / np.arctanh(CONFIG.max_correlation))
        * (other / np.arctanh(CONFIG.max_correlation))
        * exp(-((one - other) ** 2))
    )


COMMON_RATE, RELATIVE_RATE = (CONFIG.rbf_rate, *CONFIG.linear_weights), (CONFIG.relative_rbf_rate, 0, 0)


def naive_kernel(
    a: list[FloatArray],
    b: list[FloatArray],
    scales: list[FloatArray] | None = None,
    constants: tuple[float, float, float] = COMMON_RATE,
) -> FloatArray:
    """Scaled by the second graphs, or by others."""
    rate, *weights = constants
    total = np.zeros((len(a[0]), len(b[0])))
    for left, right, reference, linear in zip(a, b, scales or b, weights, strict=True):
        distance = np.mean([[(x - y) @ (x - y) for y in reference] for x in reference])
        size = np.mean([x @ x for x in reference])
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                total[i, j] += exp(-rate * ((x - y) @ (x - y)) / distance) + linear * x @ y / size
    return total


@pytest.mark.parametrize("relative", [False, True], ids=["common", "relative"])
def test_expectations_are_those_of_the_equations(relative: bool) -> None:
    known, new = features(BATCH.select(np.arange(60))), features(BATCH.select(NEW))
    owner = np.repeat(np.arange(3), SIZES)
    consistency = np.asarray([size_consistency_of(known.properties[owner == family]) for family in range(3)])[owner]
    y = np.concatenate([tenths(part) for part in np.split(LABELS[:60], np.cumsum(SIZES)[:-1])])
    if relative:
        families = [relative_views(known.select(np.flatnonzero(owner == family))) for family in range(3)]
        views, new_views = [np.concatenate(parts) for parts in zip(*families, strict=True)], relative_views(new)
    else:
        views, new_views = naive_views(known, known, new), naive_views(new, known, new)
    constants = RELATIVE_RATE if relative else COMMON_RATE
    covariance = naive_kernel(views, views, constants=constants)
    for i in range(60):
        for j in range(60):
            same = owner[i] == owner[j]
            covariance[i, j] = (
                covariance[i, j] * (naive_common(consistency[i], consistency[j]) + CONFIG.family_variance * same)
                + CONFIG.offset_variance * same
                + CONFIG.noise_variance * (i == j)
            )
    common = np.diag([naive_common(size_consistency_of(new.properties), each) for each in consistency])
    expected = naive_kernel(new_views, views, constants=constants) @ common @ np.linalg.inv(covariance) @ y
    found = posterior(relative=relative).predict(new)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # known views are rounded to single precision


def test_a_family_may_be_larger_than_all_others_where_features_are_relative() -> None:
    """Only what is more or less inside a family is compared: a shift of all its features changes nothing."""
    new = features(BATCH.select(NEW))
    shifted = GraphFeatures(new.graphs, properties=2 * new.properties + 7, paths=new.paths)
    known = sample()
    for relative in (True, False):
        one, other = (known.posterior_for(graphs, relative, CONFIG).predict(graphs) for graphs in (new, shifted))
        assert np.allclose(one, other, atol=1e-9) == relative


def test_each_graph_is_expected_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    process, new = posterior(), features()
    found = process.predict(new)
    monkeypatch.setattr(multitask_process, "CHUNK_GRAPHS", 7)
    np.testing.assert_allclose(process.predict(new), found, atol=1e-12)
    rows = np.asarray([70, 3, 3])
    np.testing.assert_allclose(process.predict(new.select(rows)), found[rows], atol=1e-9)
    assert process.predict(new.select(rows[:0])).shape == (0,)


def test_only_the_order_inside_families_is_read() -> None:
    other = np.concatenate([LABELS[:25] * 1e3, np.exp(LABELS[25:45]), LABELS[45:] - 70])
    np.testing.assert_allclose(posterior(other).predict(features()), posterior().predict(features()), atol=1e-9)


def test_what_three_families_have_in_common_is_found_in_a_fourth() -> None:
    new = features(BATCH.select(NEW))
    assert spearman(posterior().predict(new), LABELS[60:]) > 0.8
    assert spearman(posterior(-LABELS).predict(new), LABELS[60:]) < -0.8


def test_the_less_alike_a_family_the_less_is_expected() -> None:
    new = features(BATCH.select(NEW))
    known = sample()
    near, far = (
        known._replace(size_consistency=known.size_consistency + distance)
        .posterior_for(new, False, CONFIG)
        .predict(new)
        for distance in (0.0, 5.0)
    )
    assert 0 < far.std() < 1e-3 * near.std()
    size_alone = new.properties.copy()
    size_alone[:, 1] = -size_alone[:, 0]  # FLOPs and parameters that do not go together
    other = GraphFeatures(new.graphs, properties=size_alone)
    process = known.posterior_for(other, False, CONFIG)
    assert (process.predict(new) == 0).all()
    assert process.prior_std(new) == 0


def test_embeddings_are_not_read() -> None:
    embedded = compute_features(BATCH, Encoder(EncoderConfig(width=8, layers=2)))
    rows = sampled_rows(FAMILIES, 0, CONFIG)
    known = SourceSample.of(embedded, LABELS, FAMILIES, rows, 1, CONFIG)
    process = known.posterior_for(embedded.select(NEW), False, CONFIG)
    np.testing.assert_array_equal(process.predict(embedded), posterior().predict(features()))


def test_the_spread_before_labels_is_that_of_draws_from_the_prior() -> None:
    """Over a pool, of what families have in common: expectations spread less."""
    new = features(BATCH.select(NEW))
    process, known = posterior(), features(BATCH.select(np.arange(60)))
    views = naive_views(new, known, new)
    scales = naive_views(known, known, new)
    shared = naive_common(*[size_consistency_of(new.properties)] * 2)
    covariance = shared * naive_kernel(views, views, scales)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(30), covariance, 20_000)
    assert process.prior_std(new) == pytest.approx(np.sqrt(draws.var(axis=1).mean()), rel=0.02)
    assert 0.1 * process.prior_std(new) < process.predict(new).std() < process.prior_std(new)


def test_a_family_that_is_left_out_teaches_nothing() -> None:
    new = features(BATCH.select(NEW))
    rows, config = sampled_rows(FAMILIES, 0, CONFIG), CONFIG
    turned = np.concatenate([-LABELS[:25], LABELS[25:]])
    one, other = (SourceSample.of(features(), y, FAMILIES, rows, 1, config).without(0) for y in (LABELS, turned))
    assert set(one.family_index) == {1, 2}
    np.testing.assert_array_equal(
        *(part.posterior_for(new, False, config).predict(new) for part in (one, other)),
    )


def test_families_speak_of_their_first_labels_where_a_task_has_none() -> None:
    """Two tasks, the second known of the first family alone."""
    both = np.concatenate([LABELS[:60], -LABELS[:25]])
    twice = GraphBatch.concatenate([BATCH.select(np.arange(60)), BATCH.select(np.arange(25))])
    families = [[Part(0, 25), Part(60, 25, 1)], *FAMILIES[1:]]
    known = SourceSample.of(features(twice), both, families, sampled_rows(families, 0, CONFIG), 2, CONFIG)
    found = known.posterior_for(features(BATCH.select(NEW)), False, CONFIG)
    turned = np.concatenate([-LABELS[:25], LABELS[25:]])
    for task, labels in enumerate((LABELS, turned)):
        np.testing.assert_allclose(found.predict(features(), task), posterior(labels).predict(features()), atol=1e-5)


def test_large_families_are_drawn_from() -> None:
    config = replace(CONFIG, sampled_networks=18)
    found = sample(config=config)
    assert found.scores.shape == (18 + 18 + 15, 1)
    assert [len(view) for view in found.views] == [51] * 2
    other = sample(config=config, seed=1)
    np.testing.assert_array_equal(sample(config=config).views[1], found.views[1])
    assert np.abs(other.views[1] - found.views[1]).max() > 1e-3


def test_labels_that_tell_nothing_of_the_graphs_drawn_are_no_obstacle() -> None:
    assert np.isfinite(posterior(np.concatenate([np.zeros(25), LABELS[25:]])).predict(features())).all()


@pytest.mark.parametrize("graphs", [GRAPHS[:30], GRAPHS[:2], GRAPHS[:1]], ids=["many", "two", "one"])
def test_size_consistency_is_a_correlation_of_costs(graphs: list[Graph]) -> None:
    costs = log_flops(graphs) * log2(10), log_params(graphs) * log2(10)
    correlation = np.corrcoef(*costs)[0, 1] if len(graphs) > 1 else 0.0
    expected = np.arctanh(min(max(correlation, 0), CONFIG.max_correlation))
    assert size_consistency_of(np.asarray(properties(graphs))) == pytest.approx(expected, abs=1e-6)
