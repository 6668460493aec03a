"""The blend as a whole: what it knows in each state, tasks, the pool, and what comes with a pretrained encoder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns

from cgir import GraphBuilder
from cgir.errors import CgirError, FileFormatError, LabelError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Encoder, EncoderConfig, Predictor, TrainConfig, compute_features, load_pretrained
from encoders.gaussian_process.regression import KernelPrior
from encoders.metrics import spearman
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.estimators_gp import GPEstimator, label_transform
from encoders.predictors.estimators_network import NetworkEstimator
from encoders.predictors.source_families import PretrainedEncoder, SourceModel, target_context

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
ALL = compute_features(BATCH, None)
LABELS = conv_share(GRAPHS)
FAMILIES = [(BATCH.select(np.arange(30)), LABELS[:30]), (BATCH.select(np.arange(30, 60)), 5 + LABELS[30:60] ** 3)]
OPPOSITE = [(graphs, -labels) for graphs, labels in FAMILIES]
CONFIG = BlendConfig()


def small() -> Encoder:
    return Encoder(EncoderConfig(width=16, layers=2))


def few(predictor: Predictor, start: int = 60, stop: int = 80) -> Predictor:
    return predictor.fit(BATCH.select(np.arange(start, stop)), LABELS[start:stop])


def estimator_of(predictor: Predictor) -> BlendEstimator:
    assert isinstance(predictor.estimator, BlendEstimator)
    return predictor.estimator


def source_model_of(predictor: Predictor) -> SourceModel:
    model = estimator_of(predictor).source_model
    assert model is not None
    return model


def with_networks() -> Predictor:
    """Networks trained from scratch, whatever cross-validation says."""
    predictor = Predictor(gnn=True)
    estimator = estimator_of(predictor)
    estimator.config = BlendConfig(gnn_min_labels=10, gnn_members=1, gnn_train=TrainConfig(epochs=5, batch=100))
    estimator._gnn_improves = lambda *_: True  # type: ignore[method-assign]
    few(predictor)
    del estimator_of(predictor)._gnn_improves
    assert estimator_of(predictor).gnn_member is not None
    return predictor


HINTS = {"good": (BATCH, LABELS + 0.1 * np.random.default_rng(0).normal(size=90))}
STATES: dict[str, Callable[[], Predictor]] = {
    "sources": lambda: Predictor().fit_sources(FAMILIES),
    "sources with an encoder": lambda: Predictor(small()).fit_sources(FAMILIES),
    "one of two tasks": lambda: Predictor(task="b").fit_sources([*FAMILIES, *OPPOSITE], tasks=["a", "a", "b", "b"]),
    "sources and a pool": lambda: Predictor().fit_sources(FAMILIES).fit([], [], pool=BATCH),
    "sources and labels": lambda: few(Predictor().fit_sources(FAMILIES)),
    "a pool": lambda: Predictor().fit([], [], pool=BATCH),
    "hints": lambda: Predictor().fit([], [], pool=BATCH, hints=HINTS),
    "labels": lambda: few(Predictor()),
    "labels and hints": lambda: Predictor().fit(BATCH.select(np.arange(9)), LABELS[:9], pool=BATCH, hints=HINTS),
    "all": lambda: (
        Predictor(small()).fit_sources(FAMILIES).fit(BATCH.select(np.arange(9)), LABELS[:9], pool=BATCH, hints=HINTS)
    ),
    "networks": with_networks,
}


@pytest.mark.parametrize("state", STATES)
def test_round_trip_in_every_state(state: str, tmp_path: Path) -> None:
    predictor = STATES[state]()
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path)
    for found, expected in zip(
        loaded.predict(GRAPHS, return_std=True), predictor.predict(GRAPHS, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert loaded.task == predictor.task
    np.testing.assert_array_equal(few(loaded, 70, 80).predict(GRAPHS), few(predictor, 70, 80).predict(GRAPHS))
    assert estimator_of(loaded).gnn == estimator_of(predictor).gnn == (state == "networks")


@pytest.mark.parametrize(
    "name",
    [
        b"gp.log_hyperparameters",
        b"gp.linear_covariances",
        b"gp.posterior_weights",
        b"gp.scalers.0.scale",
        b"gp.subtrees.indptr",
        b"source_model.sample.scores",
        b"source_model.size_consistency",
        b"context.multitask.0.weights",
        b"context.prior_mean",
        b"context.scaler.scale",
        b"context.hints.0.solved",
    ],
)
def test_a_file_without_one_of_its_parts_is_refused(name: bytes, tmp_path: Path) -> None:
    STATES["all"]().save(tmp_path)
    file = tmp_path / "predictor.safetensors"
    data = file.read_bytes()
    assert data.count(b'"' + name + b'"') == 1
    for damaged in (data.replace(b'"' + name + b'"', b'"' + name[:-1] + b'x"'), data[: len(data) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"predictor\.safetensors"):
            Predictor.load(tmp_path)


def test_without_labels_and_a_pool_the_graphs_are_the_pool() -> None:
    predictor = Predictor().fit_sources(FAMILIES)
    for rows in (np.arange(60, 90), np.arange(0, 90, 7)):
        graphs = BATCH.select(rows)
        alone = predictor.predict(graphs, return_std=True)
        fitted = Predictor().fit_sources(FAMILIES).fit([], [], pool=graphs)
        for found, expected in zip(alone, fitted.predict(graphs, return_std=True), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert estimator_of(predictor).context is None  # and nothing of them is kept
    with pytest.raises(CgirError, match="nothing was fitted"):
        Predictor().predict(GRAPHS)


def test_with_a_pool_each_graph_is_scored_by_itself() -> None:
    for state in ("sources and a pool", "hints", "labels", "all"):
        predictor = STATES[state]()
        scores = predictor.predict(GRAPHS)
        for rows in ([70], [3, 88, 41]):
            np.testing.assert_allclose(predictor.predict([GRAPHS[row] for row in rows]), scores[rows], atol=1e-9)
        assert predictor.predict(GRAPHS[:0]).shape == (0,)


def test_order_of_graphs_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(90)
    one, other = Predictor().fit_sources(FAMILIES), Predictor().fit_sources(FAMILIES[::-1])
    np.testing.assert_allclose(one.predict(ALL.select(order)), one.predict(ALL)[order], atol=1e-9)
    np.testing.assert_allclose(other.predict(ALL), one.predict(ALL), atol=1e-9)
    rows = np.arange(60, 75)
    expected = one.fit(ALL.select(rows), LABELS[rows], pool=ALL).predict(ALL)
    again = one.fit(ALL.select(rows[::-1]), LABELS[rows[::-1]], pool=ALL.select(order)).predict(ALL)
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_scores_speak_in_label_units() -> None:
    for predictor in (Predictor(), Predictor().fit_sources(FAMILIES)):
        expected = few(predictor).predict(GRAPHS, return_std=True)
        rows = np.arange(60, 80)
        predictor.fit(BATCH.select(rows), 10 * LABELS[rows] + 3)
        scores, stds = predictor.predict(GRAPHS, return_std=True)
        np.testing.assert_allclose(scores, 10 * expected[0] + 3, atol=1e-8)
        np.testing.assert_allclose(stds, 10 * expected[1], atol=1e-8)


def test_two_thirds_of_unseen_labels_are_within_one_deviation() -> None:
    """Labels that sizes explain in part, as the prior expects."""
    inside = []
    hand = (ALL.properties - ALL.properties.mean(axis=0)) / np.maximum(ALL.properties.std(axis=0), 1e-9)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = hand @ rng.normal(size=hand.shape[1])
        y = 70 + y / y.std() + 0.5 * rng.normal(size=90)
        seen, unseen = np.split(rng.permutation(90), [30])
        scores, stds = Predictor().fit(ALL.select(seen), y[seen], pool=ALL).predict(ALL.select(unseen), return_std=True)
        inside.append(np.mean(np.abs(scores - y[unseen]) < stds))
    assert 0.5 < np.mean(inside) < 0.85
    assert min(inside) > 0.35


def test_labels_are_ranks_unless_a_hint_is_nearly_linear_in_them() -> None:
    y = np.exp(np.random.default_rng(0).normal(size=20))
    for hints, linear in (
        (np.zeros((20, 0)), False),
        (np.stack([np.ones(20), 2 * y], axis=1), True),
        (-y[:, None], False),
        (np.ones((20, 1)), False),
    ):
        scores = label_transform(y, hints, 0.9).forward(y)
        assert (abs(np.corrcoef(scores, y)[0, 1] - 1) < 1e-9) == linear


@pytest.mark.parametrize("sources", [True, False])
def test_a_pool_is_read_once_for_fits_with_the_same_one(sources: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a search makes them."""
    calls: list[object] = []

    def counted(*args: Any) -> Any:
        calls.append(args)
        return target_context(*args)

    monkeypatch.setattr("encoders.predictors.estimators_blend.target_context", counted)
    predictor = Predictor().fit_sources(FAMILIES) if sources else Predictor()
    for count in (5, 8):
        predictor.fit(ALL.select(np.arange(count)), LABELS[:count], pool=ALL)
    assert len(calls) == 1
    other = ALL.select(np.arange(40))
    found = predictor.fit(ALL.select(np.arange(8)), LABELS[:8], pool=other).predict(ALL)
    assert len(calls) == 2
    anew = Predictor().fit_sources(FAMILIES) if sources else Predictor()
    anew.fit(ALL.select(np.arange(8)), LABELS[:8], pool=other)
    np.testing.assert_array_equal(found, anew.predict(ALL))
    if sources:
        predictor.fit_sources(OPPOSITE).fit([], [], pool=other)
        anew.fit_sources(OPPOSITE).fit([], [], pool=other)
        np.testing.assert_array_equal(predictor.predict(ALL), anew.predict(ALL))


def test_a_pool_needs_no_labels_but_graphs_do() -> None:
    predictor = Predictor()
    for graphs, labels, pool in (([], [], None), (GRAPHS[:5], [], None), (GRAPHS[:5], [], BATCH), ([], [1.0], BATCH)):
        with pytest.raises(LabelError, match=r"labelled graphs|in one vector"):
            predictor.fit(graphs, labels, pool=pool)
    assert not predictor.estimator.is_fitted


def test_each_task_has_an_order_of_its_own() -> None:
    """The same graphs with opposite labels; labels decide anew."""
    pairs = [*FAMILIES, *OPPOSITE]
    tasks = ["a", "a", "b", "b"]
    target, y = BATCH.select(np.arange(60, 90)), LABELS[60:]
    first, second = (Predictor(task=task).fit_sources(pairs, tasks=tasks) for task in "ab")
    assert spearman(first.predict(target), y) > 0.5
    assert spearman(second.predict(target), -y) > 0.5
    unnamed = Predictor().fit_sources(pairs, tasks=tasks)
    np.testing.assert_array_equal(unnamed.predict(target), first.predict(target))  # the first, if none is named
    for predictor in (first, second):
        assert spearman(predictor.fit(target, -y).predict(target), -y) > 0.6
        assert spearman(predictor.fit(target, y).predict(target), y) > 0.6


def test_tasks_of_the_same_graphs_are_one_family() -> None:
    (first, y), (second, z) = FAMILIES
    predictor = Predictor().fit_sources([(first, y), (second, z), (first, -y), (first, y)], tasks=["a", "a", "b", "c"])
    sample = source_model_of(predictor).sample
    assert len(sample.family_index) == 60
    assert set(sample.family_index) == {0, 1}
    assert sample.scores.shape == (60, 3)
    assert np.corrcoef(sample.scores[:30, 1], sample.scores[:30, 0])[0, 1] < -0.97  # but for ties
    np.testing.assert_array_equal(sample.scores[30:, 1], sample.scores[30:, 0])  # where a task has none, the first
    np.testing.assert_array_equal(sample.scores[:, 2], sample.scores[:, 0])
    assert estimator_of(predictor).tasks == ("a", "b", "c")


def test_tasks_that_cannot_be_learned_are_refused() -> None:
    predictor = Predictor().fit_sources([*FAMILIES, *OPPOSITE], tasks=["a", "a", "b", "b"])
    predictor.task = "c"
    for ask in (lambda: predictor.predict(GRAPHS), lambda: few(predictor), lambda: predictor.fit([], [], pool=BATCH)):
        with pytest.raises(CgirError, match="task 'c' was not learned; there are a, b"):
            ask()
    with pytest.raises(CgirError, match="task 'c' was not learned; there are a, b"):
        Predictor(task="c").fit_sources(FAMILIES, tasks=["a", "b"])
    for head in ("gp", "blend", "rank"):
        with pytest.raises(CgirError, match="task 'c' was not learned; there are accuracy"):
            few(Predictor(head=head, task="c"))
    with pytest.raises(LabelError, match="2 pairs but 1 tasks"):
        Predictor().fit_sources(FAMILIES, tasks=["a"])
    whole = Predictor(EncoderConfig(16, 2), "rank", train=TrainConfig(epochs=1, source_steps=1))
    with pytest.raises(CgirError, match=r"2 tasks \(a, b\) need a frozen head"):
        whole.fit_sources(FAMILIES, tasks=["a", "b"])
    assert few(whole).predict(GRAPHS).shape == (90,)  # and it can still be used


def language_model(width: int) -> Any:
    builder = GraphBuilder()
    tokens = builder.add_node("Embedding", (builder.input((8,)),), (8, width), params=((50, width),))
    builder.output(builder.linear(tokens, 50))
    return builder.build()


LANGUAGE_MODELS = [language_model(width) for width in range(8, 28)]


def test_graphs_that_read_tokens_ask_for_language(caplog: pytest.LogCaptureFixture) -> None:
    """With one warning, unless the task is named."""
    sources = [*FAMILIES, (LANGUAGE_MODELS, np.arange(20.0))]
    tasks = ["accuracy", "accuracy", "language"]
    guessed = Predictor().fit_sources(sources, tasks=tasks)
    named = {task: Predictor(task=task).fit_sources(sources, tasks=tasks) for task in ("accuracy", "language")}
    assert compute_features(LANGUAGE_MODELS, None).reads_tokens
    assert compute_features(LANGUAGE_MODELS[:3] + GRAPHS[:2], None).reads_tokens
    assert not compute_features(LANGUAGE_MODELS[:2] + GRAPHS[:2], None).reads_tokens
    assert not ALL.reads_tokens
    with caplog.at_level(logging.WARNING):
        for task, graphs in (("accuracy", GRAPHS), ("language", LANGUAGE_MODELS)):
            expected = named[task].predict(graphs)
            assert not caplog.records
            np.testing.assert_array_equal(guessed.predict(graphs), expected)
            assert len(caplog.records) == (task == "language")
    (record,) = caplog.records
    assert "task 'language' is assumed; give task= to choose" in record.getMessage()
    caplog.clear()
    alone = Predictor().fit_sources(FAMILIES)  # nothing else was learned
    alone.predict(LANGUAGE_MODELS)
    assert not caplog.records


def test_an_encoder_brings_what_other_families_taught() -> None:
    teacher, encoder = Predictor(small()).fit_sources([*FAMILIES, *OPPOSITE], tasks=["a", "a", "b", "b"]), small()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder = PretrainedEncoder.of(encoder, source_model_of(teacher), ("a", "b"), CONFIG)
    expected = Predictor(encoder).predict(GRAPHS)
    np.testing.assert_array_equal(expected, teacher.predict(GRAPHS))
    np.testing.assert_array_equal(few(Predictor(encoder)).predict(GRAPHS), few(teacher).predict(GRAPHS))
    with pytest.raises(CgirError, match="task 'c' was not learned; there are a, b"):
        Predictor(encoder, task="c")
    assert np.abs(Predictor(encoder, task="b").predict(GRAPHS) - expected).max() > 0.01
    options: dict[str, Any]
    for head, options in (("gp", {}), ("rank", {"frozen": True, "train": TrainConfig(epochs=5)})):
        with pytest.raises(CgirError, match="nothing was fitted"):
            Predictor(encoder, head, **options).predict(GRAPHS)
        np.testing.assert_array_equal(
            few(Predictor(encoder, head, **options)).predict(GRAPHS),
            few(Predictor(small(), head, **options)).predict(GRAPHS),
        )
    # whoever learns from other families learns for itself
    for one in (Predictor(encoder), teacher):
        assert spearman(one.fit_sources(OPPOSITE).predict(GRAPHS), expected) < 0.5
        np.testing.assert_array_equal(Predictor(encoder).predict(GRAPHS), expected)
    assert list(encoder.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_blend_reads_no_embeddings() -> None:
    """A plain process has them as a view."""
    for head, dense in (("blend", 2), ("gp", 3)):
        estimator = few(Predictor(small(), head)).estimator
        assert isinstance(estimator, BlendEstimator | GPEstimator)
        assert estimator.gp is not None
        assert len(estimator.gp.transform.scalers) == dense
    assert (
        np.abs(few(Predictor(small(), "gp")).predict(GRAPHS) - few(Predictor(None, "gp")).predict(GRAPHS)).max() > 1e-4
    )
    for state in ("sources", "labels and hints"):
        with_encoder = Predictor(small())
        with_encoder.estimator = STATES[state]().estimator
        np.testing.assert_array_equal(with_encoder.predict(GRAPHS), STATES[state]().predict(GRAPHS))


def test_a_blend_is_one_process() -> None:
    for head in ("blend", "gp"):
        with pytest.raises(CgirError, match=f"ensemble=3, but head '{head}' is one process; leave it out"):
            Predictor(head=head, ensemble=3)


CHANGES: list[dict[str, Any]] = [
    {"weights_of_sizes": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "weights_of_operations": (0.4, 0.3, 0.2, 0.1, 0.5, 0.6)},
    {"rbf_rate": 1.0},
    {"label_bins": 3},
    {"typical_transfer": 0.2},
    {"kernel_prior": KernelPrior(0.5, 0.5, 0.5, 0.05)},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_constants_are_saved_with_what_they_made(change: dict[str, Any], tmp_path: Path) -> None:
    """Other constants predict otherwise; a predictor that is loaded has those it was saved with, and uses them."""

    def scores(predictor: Predictor) -> list[FloatArray]:
        predictor.fit([], [], pool=BATCH)
        return [predictor.predict(BATCH), few(predictor, 20, 40).predict(BATCH)]

    def taught(config: BlendConfig) -> Predictor:
        predictor = Predictor(small())
        estimator_of(predictor).config = config
        parts = (np.arange(start, start + 20) for start in (0, 20, 40))
        return predictor.fit_sources([(BATCH.select(rows), LABELS[rows]) for rows in parts])

    changed = replace(CONFIG, **change)
    predictor = taught(changed)
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path)
    assert estimator_of(loaded).config == changed
    found = scores(predictor)
    np.testing.assert_array_equal(scores(loaded), found)
    assert np.abs(np.stack(found) - scores(taught(CONFIG))).max() > 1e-6
    encoder = PretrainedEncoder.of(small(), source_model_of(predictor), ("accuracy",), changed)
    assert estimator_of(Predictor(encoder)).config == changed
    assert BlendConfig.from_json(json.loads(json.dumps(changed.to_json()))) == changed


def reachable_bytes(value: object, seen: set[int]) -> int:
    """Bytes of arrays and tensors that are reachable from an object, each once: what a deep copy of it copies."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        return sum(reachable_bytes(each, seen) for each in value.values())
    if isinstance(value, list | tuple | set):
        return sum(reachable_bytes(each, seen) for each in value)
    return reachable_bytes(vars(value), seen) if hasattr(value, "__dict__") else 0


def test_members_of_an_ensemble_do_not_copy_what_families_taught() -> None:
    encoder = load_pretrained()
    weights = sum(p.numel() * p.element_size() for p in encoder.parameters())
    assert reachable_bytes(encoder, set()) > 5 * weights
    for predictor in (Predictor(encoder, head="rank"), Predictor(encoder, head="rank", frozen=True)):
        assert reachable_bytes(predictor.estimator, set()) <= 1.01 * weights
    network = Predictor(encoder, head="rank", ensemble=2, train=TrainConfig(epochs=1))
    network.fit(GRAPHS[:4], LABELS[:4])
    assert isinstance(network.estimator, NetworkEstimator)
    for member in network.estimator.ensemble.members:
        assert reachable_bytes(member, set()) < 1.2 * weights
    copied = encoder.without_sources()
    assert type(copied) is Encoder
    np.testing.assert_array_equal(copied.embed(GRAPHS[:5]), encoder.embed(GRAPHS[:5]))


def test_two_sets_of_labels_of_one_task_are_refused() -> None:
    graphs, labels = FAMILIES[0]
    with pytest.raises(LabelError, match="2 sets of labels of the same graphs, for accuracy alone; give each a task"):
        Predictor().fit_sources([(graphs, labels), (graphs, -labels)])
