"""What is expected before labels are seen: Bayesian averaging by hand, zero-shot scores by hand, tasks, and knowledge
that comes with an encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns

from cgir.analysis.graph_properties import properties
from cgir.errors import CgirError, FileFormatError, LabelError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Encoder, EncoderConfig, Predictor, TrainConfig, log_flops
from encoders.features.graph_features import Scaler, compute_features
from encoders.gaussian_process import model_averaging as priors
from encoders.gaussian_process.model_averaging import (
    BELIEF,
    ENOUGH,
    EXPECTED,
    LEAST,
    LEAST_SPREAD,
    UNEXPLAINED,
    BayesianModelAverage,
)
from encoders.gaussian_process.regression import GaussianProcess
from encoders.metrics import spearman
from encoders.predictors.source_families import ACROSS_SHARE, DISTRUST, FLOPS_SHARE, LARGEST_SHARE

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
FAMILIES = [(BATCH.select(np.arange(30)), LABELS[:30]), (BATCH.select(np.arange(30, 60)), 5 + LABELS[30:60] ** 3)]
OPPOSITE = [(graphs, -labels) for graphs, labels in FAMILIES]
QUICK = TrainConfig(source_steps=60)


def small() -> Encoder:
    return Encoder(EncoderConfig(width=16, layers=2))


def blend(**options: Any) -> Predictor:
    return Predictor(small(), train=QUICK, **options)


def few(predictor: Predictor, start: int = 60, stop: int = 80) -> Predictor:
    return predictor.fit(BATCH.select(np.arange(start, stop)), LABELS[start:stop])


def sample(
    count: int, seed: int = 0, column: int = 0, width: int = 4
) -> tuple[list[FloatArray], FloatArray, FloatArray]:
    """Views that say nothing, scores (count, width), and labels that are one of the scores with a little noise."""
    rng = np.random.default_rng(seed)
    views, scores = [rng.normal(size=(count, 6)), rng.normal(size=(count, 4))], rng.normal(size=(count, width))
    y = (scores[:, column] if width else views[0][:, 0]) + 0.1 * rng.normal(size=count)
    return views, scores, (y - y.mean()) / y.std()


def test_weights_and_moments_are_those_of_the_mixture() -> None:
    views, scores, y = sample(50)
    seen, given = [view[:10] for view in views], scores[:10]
    fitted = BayesianModelAverage.fit(seen, given, y[:10])
    explained = [min(float(shares @ shares), 1 - UNEXPLAINED) for shares in EXPECTED]
    alone = [
        GaussianProcess(seen, y[:10], means=given @ shares, explained=e)
        for shares, e in zip(EXPECTED, explained, strict=True)
    ]
    likely = np.asarray([belief * np.exp(process.evidence) for process, belief in zip(alone, BELIEF, strict=True)])
    likely /= likely.sum()
    assert 1 < (likely >= LEAST).sum() < len(EXPECTED)  # there is something to average, and something to drop
    np.testing.assert_array_equal(fitted.expected, EXPECTED[likely >= LEAST])
    np.testing.assert_allclose(fitted.weights, likely[likely >= LEAST] / likely[likely >= LEAST].sum())
    mean, deviation = fitted.predict([view[10:] for view in views], scores[10:])
    rng = np.random.default_rng(0)
    which = rng.choice(len(fitted.weights), size=100_000, p=fitted.weights)
    parts = [
        process.predict([view[10:] for view in views], scores[10:] @ shares)
        for process, shares in zip(alone, EXPECTED, strict=True)
    ]
    means, deviations = (np.stack([parts[index][side] for index in np.flatnonzero(likely >= LEAST)]) for side in (0, 1))
    for graph in range(5):
        drawn = rng.normal(means[which, graph], deviations[which, graph])
        assert mean[graph] == pytest.approx(drawn.mean(), abs=0.02)
        assert deviation[graph] == pytest.approx(drawn.std(), rel=0.02)
    np.testing.assert_allclose(
        deviation**2, np.average(deviations**2 + means**2, axis=0, weights=fitted.weights) - mean**2
    )


@pytest.mark.parametrize(("count", "width"), [(ENOUGH + 1, 4), (ENOUGH + 1, 2), (30, 0)])
def test_with_nothing_to_expect_or_enough_labels_it_is_a_plain_process(count: int, width: int) -> None:
    views, scores, y = sample(count + 20, width=width)
    fitted = BayesianModelAverage.fit([view[:count] for view in views], scores[:count], y[:count], seed=1)
    plain = GaussianProcess([view[:count] for view in views], y[:count], seed=1)
    for found, expected in zip(
        fitted.predict([view[count:] for view in views], scores[count:]),
        plain.predict([view[count:] for view in views]),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("column", range(4))
def test_labels_choose_what_is_expected(column: int, seed: int) -> None:
    fitted = BayesianModelAverage.fit(*sample(20, seed, column))
    best = fitted.expected[fitted.weights.argmax()]
    assert np.flatnonzero(best).tolist() == [column]  # this score and no other
    assert (fitted.weights @ fitted.expected)[column] > 0.3
    assert BayesianModelAverage.fit(*sample(8, width=2)).expected.shape[1] == 2


def test_order_of_labelled_graphs_does_not_matter() -> None:
    views, scores, y = sample(40)
    order = np.random.default_rng(5).permutation(12)
    one = BayesianModelAverage.fit([view[:12] for view in views], scores[:12], y[:12])
    other = BayesianModelAverage.fit([view[order] for view in views], scores[order], y[order])
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-9)
    for found, expected in zip(other.predict(views, scores), one.predict(views, scores), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_two_thirds_of_unseen_labels_lie_within_one_deviation() -> None:
    hand = np.asarray(properties(BATCH))
    hand = (hand - hand.mean(axis=0)) / np.maximum(hand.std(axis=0), 1e-9)
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = hand @ rng.normal(size=hand.shape[1])
        y = 70 + y / y.std() + 0.5 * rng.normal(size=90)
        seen, unseen = np.split(rng.permutation(90), [30])
        scores, deviations = (
            Predictor().fit(BATCH.select(seen), y[seen], pool=BATCH).predict(BATCH.select(unseen), return_std=True)
        )
        inside.append(np.mean(np.abs(scores - y[unseen]) < deviations))
    assert 0.5 < np.mean(inside) < 0.85
    assert min(inside) > 0.35


def test_zero_shot_scores_are_those_of_the_heads_and_of_flops() -> None:
    predictor = blend(ensemble=2).fit_sources(FAMILIES)
    assert predictor.sources is not None
    vectors = np.concatenate([small().embed(BATCH), np.asarray(properties(BATCH))], axis=1)
    spread = vectors[:60].std(axis=0)
    scaled = np.where(
        spread > 1e-6 * (1 + np.abs(vectors[:60].mean(axis=0))),
        (vectors - vectors[:60].mean(axis=0)) / np.maximum(spread, 1e-12),
        0,
    )

    def inside(values: FloatArray) -> FloatArray:
        return (values - values[:60].mean()) / np.sqrt((values[:30].var() + values[30:60].var()) / 2)

    heads = []
    for member in predictor.sources.networks.members:
        first, bias, second, last = (
            member.net.state_dict()[f"layers.{name}"].double().numpy()
            for name in ("0.weight", "0.bias", "3.weight", "3.bias")
        )
        heads.append(inside((np.maximum(scaled.clip(-5, 5) @ first.T + bias, 0) @ second.T + last)[:, 0]))
    scores, deviations = predictor.predict(GRAPHS, return_std=True)
    np.testing.assert_allclose(scores, np.mean(heads, axis=0) + FLOPS_SHARE * inside(log_flops(BATCH)), atol=1e-4)
    np.testing.assert_allclose(deviations, np.std(heads, axis=0), atol=1e-4)
    for rows in ([70], [3, 88, 41]):
        np.testing.assert_allclose(predictor.predict([GRAPHS[row] for row in rows]), scores[rows], atol=1e-5)


STATES: dict[str, Callable[[], Predictor]] = {
    "sources": lambda: blend().fit_sources(FAMILIES),
    "one of two tasks": lambda: blend(task="b").fit_sources([*FAMILIES, *OPPOSITE], tasks=["a", "a", "b", "b"]),
    "sources and labels": lambda: few(blend().fit_sources(FAMILIES)),
    "labels": lambda: few(blend()),
    "without encoder": lambda: few(Predictor(train=QUICK).fit_sources(FAMILIES)),
    "many labels": lambda: few(blend().fit_sources(FAMILIES), 20, 60),
    "enough labels for whole networks": lambda: few(blend().fit_sources(FAMILIES), 20, 70),
    "a pool alone": lambda: blend().fit_sources(FAMILIES).fit([], [], pool=BATCH),
}


@pytest.mark.parametrize("state", STATES)
def test_round_trip_in_every_state(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priors, "ENOUGH", 30)
    predictor = STATES[state]()
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path)
    for found, expected in zip(
        loaded.predict(GRAPHS, return_std=True), predictor.predict(GRAPHS, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert loaded.task == predictor.task
    np.testing.assert_array_equal(few(loaded, 70, 80).predict(GRAPHS), few(predictor, 70, 80).predict(GRAPHS))


@pytest.mark.parametrize(
    "name",
    [
        b"gp.theta",
        b"gp.means",
        b"gp.expected",
        b"gp.0.scale",
        b"gp.subtrees.indptr",
        b"labelled.scores",
        b"across.weights",
        b"expected.scale",
        b"sources.1.moments.mean",
    ],
)
def test_a_file_without_one_of_its_parts_is_refused(name: bytes, tmp_path: Path) -> None:
    STATES["sources and labels"]().save(tmp_path)
    file = tmp_path / "predictor.safetensors"
    data = file.read_bytes()
    assert data.count(b'"' + name + b'"') == 1
    for damaged in (data.replace(b'"' + name + b'"', b'"' + name[:-1] + b'x"'), data[: len(data) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"predictor\.safetensors"):
            Predictor.load(tmp_path)


@pytest.mark.parametrize("options", [{}, {"head": "rank", "frozen": True}], ids=["blend", "rank"])
def test_each_task_has_an_order_of_its_own(options: dict[str, Any]) -> None:
    """The same graphs with opposite labels: two outputs learn both orders, one output cannot."""
    rng = np.random.default_rng(0)
    labels = np.asarray(properties(BATCH)) @ rng.normal(size=np.asarray(properties(BATCH)).shape[1])
    size = log_flops(BATCH) - log_flops(BATCH).mean()
    labels = labels - labels @ size / (size @ size) * size  # a blend adds log FLOPs, whatever the task
    pairs = [(BATCH, labels), (BATCH, -labels)]

    def order(**more: Any) -> tuple[Predictor, float]:
        task = more.pop("task", None)
        predictor = Predictor(train=TrainConfig(source_steps=150), task=task, **options).fit_sources(pairs, **more)
        return predictor, spearman(predictor.predict(BATCH), labels)

    (first, up), (second, down), (_, shared) = (
        order(tasks=["a", "b"], task="a"),
        order(tasks=["a", "b"], task="b"),
        order(),
    )
    assert up > 0.7
    assert down < -0.7
    assert abs(shared) < min(up, -down) - 0.15
    assert order(tasks=["a", "b"])[1] == up  # the first is asked, if none is named
    if options:  # few labels start from the output that was asked
        for predictor, sign in ((first, 1), (second, -1)):
            assert (
                spearman(predictor.fit(BATCH.select(np.arange(4)), sign * labels[:4]).predict(BATCH), sign * labels)
                > 0.6
            )
            # and many labels turn it round
            assert spearman(predictor.fit(BATCH, -sign * labels).predict(BATCH), -sign * labels) > 0.6


def test_tasks_of_the_same_graphs_are_one_family() -> None:
    """It counts once where deviations inside families are averaged, and its tasks share a step."""
    (first, y), (second, z) = FAMILIES
    sources = (
        blend().fit_sources([(first, y), (second, z), (first, -y), (first, y)], tasks=["a", "a", "b", "c"]).sources
    )
    assert sources is not None
    sizes = [np.asarray(properties(graphs))[:, 0] for graphs in (first, second)]
    assert sources.flops[1] == pytest.approx(np.sqrt(np.mean([size.var() for size in sizes])))
    assert sources.networks.tasks == ("a", "b", "c")


def test_tasks_that_cannot_be_learned_are_refused() -> None:
    predictor = blend().fit_sources([*FAMILIES, *OPPOSITE], tasks=["a", "a", "b", "b"])
    predictor.task = "c"
    with pytest.raises(CgirError, match="task 'c' was not learned; there are a, b"):
        predictor.predict(GRAPHS)
    with pytest.raises(CgirError, match="task 'c' was not learned; there are a, b"):
        blend(task="c").fit_sources(FAMILIES, tasks=["a", "b"])
    for head in ("gp", "blend", "rank"):
        with pytest.raises(CgirError, match="task 'c' was not learned; there are accuracy"):
            few(Predictor(head=head, task="c"))
    with pytest.raises(LabelError, match="2 pairs but 1 tasks"):
        blend().fit_sources(FAMILIES, tasks=["a"])
    whole = Predictor(EncoderConfig(16, 2), "rank", train=TrainConfig(epochs=1, source_steps=1))
    with pytest.raises(CgirError, match=r"2 tasks \(a, b\) need a frozen head"):
        whole.fit_sources(FAMILIES, tasks=["a", "b"])
    assert few(whole).predict(GRAPHS).shape == (90,)  # and it can still be used


def test_an_encoder_brings_what_other_families_taught() -> None:
    teacher, encoder = blend().fit_sources(FAMILIES, tasks=["a", "b"]), small()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.sources = teacher.sources
    expected = Predictor(encoder).predict(GRAPHS)
    np.testing.assert_array_equal(expected, teacher.predict(GRAPHS))
    np.testing.assert_array_equal(
        few(Predictor(encoder)).predict(GRAPHS), few(blend().fit_sources(FAMILIES, tasks=["a", "b"])).predict(GRAPHS)
    )
    with pytest.raises(CgirError, match="task 'c' was not learned; there are a, b"):
        Predictor(encoder, task="c")
    assert np.abs(Predictor(encoder, task="b").predict(GRAPHS) - expected).max() > 0.1
    for head, options in (("gp", {}), ("rank", {"frozen": True, "train": TrainConfig(epochs=5)})):
        with pytest.raises(CgirError, match="nothing was fitted"):
            Predictor(encoder, head, **options).predict(GRAPHS)
        np.testing.assert_array_equal(
            few(Predictor(encoder, head, **options)).predict(GRAPHS),
            few(Predictor(small(), head, **options)).predict(GRAPHS),
        )
    # whoever learns from other families learns for itself
    for one in (Predictor(encoder, train=QUICK), teacher):
        assert spearman(one.fit_sources(OPPOSITE).predict(GRAPHS), expected) < 0
        np.testing.assert_array_equal(Predictor(encoder).predict(GRAPHS), expected)
    assert list(encoder.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_pool_alone_says_how_much_size_and_other_families_count(tmp_path: Path) -> None:
    predictor = blend(ensemble=3).fit_sources(FAMILIES)
    assert predictor.sources is not None
    pool = BATCH.select(np.arange(60, 90))
    before = predictor.predict(BATCH)
    predictor.fit([], [], pool=pool)
    inputs = predictor.sources.networks.inputs(compute_features(pool, predictor.encoder).vectors())
    heads = np.stack([member.outputs(inputs) for member in predictor.sources.networks.members])
    share = min(DISTRUST * (heads.std(axis=0).mean() / heads.mean(axis=0).std()) ** 2, LARGEST_SHARE)
    mean, deviation = predictor.sources.flops
    size = (np.asarray(properties(BATCH))[:, 0] - mean) / deviation
    across = predictor.sources.labelled.posterior_for(compute_features(pool, predictor.encoder)).predict(
        compute_features(BATCH, predictor.encoder)
    )
    np.testing.assert_allclose(
        predictor.predict(BATCH) - before, (share - FLOPS_SHARE) * size + ACROSS_SHARE * across, atol=1e-9
    )
    predictor.save(tmp_path / "p")
    np.testing.assert_array_equal(Predictor.load(tmp_path / "p").predict(BATCH), predictor.predict(BATCH))
    np.testing.assert_array_equal(predictor.fit_sources(FAMILIES).predict(BATCH), before)  # another pool may follow
    for known, options in ((predictor, {}), (blend(), {"pool": pool})):  # no pool, or nothing known of other families
        with pytest.raises(LabelError, match="found 0 labelled graphs"):
            known.fit([], [], **options)


def test_what_is_hardly_told_apart_is_not_made_more_of() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3)) * (2.0, 0.01, 0.0) + 5
    expected = (values - values.mean(axis=0)) / (values[:, 0].std(), 0.1, 0.1)
    np.testing.assert_allclose(Scaler.fit(values, np.asarray([0.1, 0.1, 0.1]))(values), expected, atol=1e-12)
    predictor = few(blend().fit_sources(FAMILIES))
    assert predictor.sources is not None
    assert predictor.expected is not None
    free = predictor.sources.free(compute_features(BATCH.select(np.arange(60, 80)), small()), predictor.family)
    assert predictor.expected.scale[3] == pytest.approx(1 / max(free[:, 3].std(), LEAST_SPREAD[3]), rel=1e-4)


def test_a_blend_reads_embeddings_in_what_is_expected_only() -> None:
    """A plain process has them as a view."""
    for head, dense in (("blend", 2), ("gp", 3)):
        predictor = few(Predictor(small(), head))
        assert predictor.views is not None
        assert len(predictor.views.scalers) == dense
    assert (
        np.abs(few(Predictor(small(), "gp")).predict(GRAPHS) - few(Predictor(None, "gp")).predict(GRAPHS)).max() > 1e-4
    )
    np.testing.assert_array_equal(few(Predictor(small())).predict(GRAPHS), few(Predictor()).predict(GRAPHS))
