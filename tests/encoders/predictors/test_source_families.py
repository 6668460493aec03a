"""What labelled families and a pool tell before there are labels: prior scores, their weights, and trust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnn, random_cnns

from cgir.analysis.batch_costs import convolution_entropy
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Predictor, compute_features
from encoders.features.graph_features import GraphFeatures
from encoders.metrics import spearman
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators import SourceData
from encoders.predictors.multitask_process import size_consistency
from encoders.predictors.source_families import (
    PRIOR_FAMILIES,
    PROCESSES,
    SourceModel,
    TargetContext,
    target_context,
)
from encoders.training.loop import Part

CONFIG = BlendConfig()
GRAPHS = random_cnns(120)
LABELS = conv_share(GRAPHS)
ALL = compute_features(GraphBatch.from_graphs(GRAPHS), None)
POOL = ALL.select(np.arange(90, 120))
FAMILIES = [[Part(0, 30)], [Part(30, 30)], [Part(60, 30)]]


def model(labels: FloatArray = LABELS, config: BlendConfig = CONFIG) -> SourceModel:
    data = SourceData(ALL.select(np.arange(90)), labels[:90], FAMILIES, ["accuracy"])
    return SourceModel.fit(data, 0, config)


def context(sources: SourceModel | None, pool: GraphFeatures = POOL, config: BlendConfig = CONFIG) -> TargetContext:
    return target_context(pool, sources, {}, 0, config)


def with_sizes(consistent: bool) -> GraphFeatures:
    """The pool with FLOPs and parameters that go together, or do not."""
    sizes, rng = POOL.properties.copy(), np.random.default_rng(0)
    sizes[:, 1] = sizes[:, 0] if consistent else rng.normal(size=30)
    return GraphFeatures(POOL.graphs, properties=sizes)


def test_prior_scores_are_sizes_and_what_families_have_in_common() -> None:
    taught = model()
    known = context(taught)
    processes = [taught.sample.posterior_for(POOL, relative, CONFIG) for relative in (False, True)]
    expected = [process.predict(POOL) for process in processes]
    raw = np.column_stack([POOL.properties[:, :3], convolution_entropy(POOL.graphs.batch), *expected])
    assert (known.scaler.scale[:2] > 0).all()
    spread = np.maximum(raw.std(axis=0), [CONFIG.min_size_std] * 4 + [0, 0])
    np.testing.assert_allclose(known.scores(POOL, 0), np.clip((raw - raw.mean(axis=0)) / spread, -5, 5), atol=1e-9)
    mean, std = known.expected(ALL, 0)
    scores = known.scores(ALL, 0)
    np.testing.assert_allclose(mean, scores @ known.prior.mean)
    free = max(1 - known.prior.mean @ known.prior.mean, 0.1)
    np.testing.assert_allclose(std**2, free + CONFIG.weight_variance * (scores**2).sum(axis=1))


def test_size_consistency_decides_between_weights() -> None:
    for consistent, weights in ((True, CONFIG.weights_of_operations), (False, CONFIG.weights_of_sizes)):
        pool = with_sizes(consistent)
        generous = replace(CONFIG, max_explained=100.0)
        np.testing.assert_allclose(context(None, pool, generous).prior.mean, [*weights[:4], 0, 0])
        tight = context(None, pool, replace(CONFIG, max_explained=0.01))
        assert tight.expected(pool, 0)[0].var() == pytest.approx(0.01)
    middle = replace(CONFIG, sizes_to=0.0, operations_from=2 * size_consistency(POOL.properties, 0.99))
    mixed = (np.asarray(CONFIG.weights_of_operations) + CONFIG.weights_of_sizes) / 2
    np.testing.assert_allclose(context(None, config=replace(middle, max_explained=100.0)).prior.mean[:4], mixed[:4])


def test_sizes_that_hardly_differ_are_not_scaled_up() -> None:
    sizes = POOL.properties.copy()
    sizes[:, :3] = sizes[:1, :3] + 0.001 * np.random.default_rng(0).normal(size=(30, 3))
    known = context(None, GraphFeatures(POOL.graphs, properties=sizes))
    np.testing.assert_allclose(known.scaler.scale[:3], 1 / CONFIG.min_size_std)


def test_parameters_and_entropy_have_no_say_where_sizes_of_inputs_vary() -> None:
    rng = np.random.default_rng(0)
    mixed = compute_features([random_cnn(rng, 4, size) for size in (16, 24, 32) for _ in range(10)], None)
    assert np.ptp(POOL.input_sizes) == 0
    np.testing.assert_allclose(mixed.input_sizes, np.log2(1 + 3 * np.repeat([16, 24, 32], 10) ** 2))
    for known, pool in ((context(None), POOL), (context(None, mixed), mixed)):
        for column in (1, 3):
            assert (known.scores(pool, 0)[:, column] == 0).all() == (pool is mixed)
    assert (context(None, mixed).scores(POOL, 0)[:, [1, 3]] == 0).all()


def test_transfer_is_measured_on_families_that_are_left_out() -> None:
    taught = model()
    assert taught.transfer.shape == taught.size_consistency.shape == (3,)
    for family in range(3):
        part = ALL.select(np.arange(30 * family, 30 * family + 30))
        process = taught.sample.without(family).posterior_for(part, False, CONFIG)
        labels = taught.sample.scores[taught.sample.family_index == family, 0]
        assert taught.transfer[family] == pytest.approx(np.corrcoef(process.predict(part), labels)[0, 1])
        assert taught.size_consistency[family] == size_consistency(part.properties, CONFIG.max_correlation)
    assert taught.transfer.min() > 0.5
    two = SourceData(ALL.select(np.arange(60)), LABELS[:60], FAMILIES[:2], ["accuracy"])
    assert SourceModel.fit(two, 0, CONFIG).transfer.shape == (0,)


def test_sources_that_do_not_transfer_count_less() -> None:
    """One family is ranked the other way round than the others, and so is each by the rest."""
    turned = LABELS.copy()
    turned[30:60] *= -1
    noise = np.random.default_rng(0).normal(size=120)
    good, mixed, bad = model(), model(turned), model(noise)
    consistency = size_consistency(POOL.properties, CONFIG.max_correlation)
    trusts = [each.trust(consistency, CONFIG) for each in (good, mixed, bad)]
    assert trusts[0] > 1 > trusts[1]
    assert trusts[0] > 1 > trusts[2]
    generous = replace(CONFIG, max_explained=100.0)
    weights = [context(each, config=generous).prior.mean[PROCESSES].sum() for each in (good, mixed, bad)]
    assert weights[0] > 1.3 * max(weights[1:])


def test_trust_is_a_mean_of_transfers_with_families_alike() -> None:
    taught = model()._replace(transfer=np.asarray([0.2, 0.8]), size_consistency=np.asarray([0.0, 5.0]))
    typical = CONFIG.typical_transfer
    near = (0.2 + PRIOR_FAMILIES * typical) / (1 + PRIOR_FAMILIES) / typical
    assert taught.trust(0.0, CONFIG) == pytest.approx(near, rel=1e-6)
    assert taught.trust(5.0, CONFIG) == pytest.approx((0.8 + PRIOR_FAMILIES * typical) / (1 + PRIOR_FAMILIES) / typical)
    assert taught.trust(100.0, CONFIG) == pytest.approx(1)  # unlike all: what is usual
    assert taught._replace(transfer=np.zeros(0)).trust(0.0, CONFIG) == pytest.approx(1)
    opposite = taught._replace(transfer=np.full(30, -0.9), size_consistency=np.zeros(30))
    assert opposite.trust(0.0, CONFIG) == 0


def test_what_families_teach_ranks_another_better_than_its_sizes() -> None:
    taught, alone = (context(each).expected(POOL, 0)[0] for each in (model(), None))
    assert spearman(taught, LABELS[90:]) > spearman(alone, LABELS[90:]) + 0.1
    assert spearman(taught, LABELS[90:]) > 0.75


def test_few_labels_rank_not_worse_than_none() -> None:
    """Means over draws: labels that sizes explain or not, with sources that know them or not."""
    sizes = ALL.properties[:, 0] + 0.5 * np.random.default_rng(0).normal(size=120)
    sources = [(ALL.select(np.arange(start, start + 30)), LABELS[start : start + 30]) for start in (0, 30, 60)]
    gains: dict[int, list[float]] = {5: [], 12: []}
    for predictor in (Predictor(), Predictor().fit_sources(sources)):
        none = predictor.fit([], [], pool=POOL).predict(POOL)
        for labels in (LABELS, sizes):
            for count, each in gains.items():
                found = []
                for seed in range(8):
                    seen, rest = np.split(np.random.default_rng(seed).permutation(30), [count])
                    scores = predictor.fit(POOL.select(seen), labels[90 + seen], pool=POOL).predict(POOL.select(rest))
                    found.append(spearman(scores, labels[90 + rest]) - spearman(none[rest], labels[90 + rest]))
                each.append(float(np.mean(found)))
    assert min(gains[5]) > -0.1  # where what is expected is right already
    assert min(gains[12]) > -0.02
    assert np.mean(gains[5]) > 0.1
    assert np.mean(gains[12]) > 0.2


def test_a_pool_of_one_network_or_of_equal_ones_says_nothing() -> None:
    for rows in ([3], [3, 3, 3]):
        pool = ALL.select(np.asarray(rows))
        scores, stds = context(model(), pool).expected(pool, 0)
        np.testing.assert_allclose(scores, 0, atol=1e-9)
        assert np.isfinite(stds).all()
        assert np.isfinite(context(model(), pool).expected(ALL, 0)[0]).all()
