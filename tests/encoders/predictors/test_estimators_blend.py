"""The blend: zero-shot scores by hand, tasks, prior means, and what comes with a pretrained encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
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
from encoders import Encoder, EncoderConfig, Predictor, TrainConfig, load_pretrained, log_flops
from encoders.features.graph_features import compute_features
from encoders.gaussian_process.model_averaging import AveragingConfig
from encoders.metrics import spearman
from encoders.predictors import estimators_blend
from encoders.predictors.blend_config import BlendConfig
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.estimators_gp import GPEstimator
from encoders.predictors.estimators_network import NetworkEstimator
from encoders.predictors.source_families import PretrainedEncoder, SourceModel

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


CONFIG = BlendConfig()


def estimator_of(predictor: Predictor) -> BlendEstimator:
    assert isinstance(predictor.estimator, BlendEstimator)
    return predictor.estimator


def source_model_of(predictor: Predictor) -> SourceModel:
    model = estimator_of(predictor).source_model
    assert model is not None
    return model


def test_two_thirds_of_unseen_labels_lie_within_one_deviation() -> None:
    hand = np.asarray(properties(BATCH))
    hand = (hand - hand.mean(axis=0)) / np.maximum(hand.std(axis=0), 1e-9)
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = hand @ rng.normal(size=hand.shape[1])
        y = 70 + y / y.std() + 0.5 * rng.normal(size=90)
        seen, unseen = np.split(rng.permutation(90), [30])
        scores, stds = (
            Predictor().fit(BATCH.select(seen), y[seen], pool=BATCH).predict(BATCH.select(unseen), return_std=True)
        )
        inside.append(np.mean(np.abs(scores - y[unseen]) < stds))
    assert 0.5 < np.mean(inside) < 0.85
    assert min(inside) > 0.35


def test_zero_shot_scores_are_those_of_the_heads_and_of_flops() -> None:
    predictor = blend(ensemble=2).fit_sources(FAMILIES)
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
    for member in source_model_of(predictor).ensemble.members:
        first, bias, second, last = (
            member.net.state_dict()[f"layers.{name}"].double().numpy()
            for name in ("0.weight", "0.bias", "3.weight", "3.bias")
        )
        heads.append(inside((np.maximum(scaled.clip(-5, 5) @ first.T + bias, 0) @ second.T + last)[:, 0]))
    scores, stds = predictor.predict(GRAPHS, return_std=True)
    np.testing.assert_allclose(
        scores, np.mean(heads, axis=0) + CONFIG.flops_weight * inside(log_flops(BATCH)), atol=1e-4
    )
    np.testing.assert_allclose(stds, np.std(heads, axis=0), atol=1e-4)
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
    few_enough = replace(CONFIG, averaging=AveragingConfig(max_labels=30))
    monkeypatch.setattr(estimators_blend, "BlendConfig", lambda: few_enough)
    predictor = STATES[state]()
    monkeypatch.undo()
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
        b"gp.log_hyperparameters",
        b"gp.prior_means",
        b"gp.prior_mean_weights",
        b"gp.scalers.0.scale",
        b"gp.subtrees.indptr",
        b"sample.scores",
        b"context.multitask.weights",
        b"gp.prior_mean_scaler.scale",
        b"ensemble.source.1.moments.mean",
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
    sources = [(first, y), (second, z), (first, -y), (first, y)]
    model = source_model_of(blend().fit_sources(sources, tasks=["a", "a", "b", "c"]))
    sizes = [np.asarray(properties(graphs))[:, 0] for graphs in (first, second)]
    assert model.flops_moments[1] == pytest.approx(np.sqrt(np.mean([size.var() for size in sizes])))
    assert model.ensemble.tasks == ("a", "b", "c")


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
    encoder = PretrainedEncoder.of(encoder, source_model_of(teacher), CONFIG)
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
    model = source_model_of(predictor)
    pool = BATCH.select(np.arange(60, 90))
    before = predictor.predict(BATCH)
    predictor.fit([], [], pool=pool)
    features = compute_features(pool, predictor.encoder)
    inputs = model.ensemble.inputs(features)
    heads = np.stack([member.outputs(inputs) for member in model.ensemble.members])
    disagreement = heads.std(axis=0).mean() / heads.mean(axis=0).std()
    weight = min(CONFIG.flops_per_disagreement * disagreement**2, CONFIG.max_flops_weight)
    mean, std = model.flops_moments
    size = (np.asarray(properties(BATCH))[:, 0] - mean) / std
    multitask = model.sample.posterior_for(features, CONFIG).predict(compute_features(BATCH, predictor.encoder))
    expected = (weight - CONFIG.flops_weight) * size + CONFIG.multitask_weight * multitask
    np.testing.assert_allclose(predictor.predict(BATCH) - before, expected, atol=1e-9)
    predictor.save(tmp_path / "p")
    np.testing.assert_array_equal(Predictor.load(tmp_path / "p").predict(BATCH), predictor.predict(BATCH))
    np.testing.assert_array_equal(predictor.fit_sources(FAMILIES).predict(BATCH), before)  # another pool may follow
    for known, options in ((predictor, {}), (blend(), {"pool": pool})):  # no pool, or nothing known of other families
        with pytest.raises(LabelError, match="found 0 labelled graphs"):
            known.fit([], [], **options)


def test_what_is_hardly_told_apart_is_not_made_more_of() -> None:
    estimator = estimator_of(few(blend().fit_sources(FAMILIES)))
    assert estimator.gp is not None
    scores = estimator.prior_scores(compute_features(BATCH.select(np.arange(60, 80)), small()))
    expected_scale = 1 / max(scores[:, 3].std(), CONFIG.min_prior_stds[3])
    assert estimator.gp.prior_mean_scaler.scale[3] == pytest.approx(expected_scale, rel=1e-4)


def test_a_blend_reads_embeddings_in_what_is_expected_only() -> None:
    """A plain process has them as a view."""
    for head, dense in (("blend", 2), ("gp", 3)):
        estimator = few(Predictor(small(), head)).estimator
        assert isinstance(estimator, BlendEstimator | GPEstimator)
        assert estimator.gp is not None
        assert len(estimator.gp.transform.scalers) == dense
    assert (
        np.abs(few(Predictor(small(), "gp")).predict(GRAPHS) - few(Predictor(None, "gp")).predict(GRAPHS)).max() > 1e-4
    )
    np.testing.assert_array_equal(few(Predictor(small())).predict(GRAPHS), few(Predictor()).predict(GRAPHS))


@pytest.mark.parametrize(
    "change", [{"multitask_weight": 1.0}, {"rbf_rate": 1.0}, {"gnn_weight": 0.5}, {"label_bins": 3}]
)
def test_constants_are_saved_with_what_they_made(change: dict[str, Any], tmp_path: Path) -> None:
    """Other constants predict otherwise; a predictor that is loaded has those it was saved with, and uses them."""

    def scores(predictor: Predictor) -> list[FloatArray]:
        predictor.fit([], [], pool=BATCH)
        return [predictor.predict(BATCH), few(predictor, 20, 60).predict(BATCH)]

    def taught(config: BlendConfig) -> Predictor:
        predictor = blend()
        estimator_of(predictor).config = config
        return predictor.fit_sources(FAMILIES)

    quick = replace(CONFIG, gnn_train=TrainConfig(epochs=5, batch=100), gnn_members=1)
    changed = replace(quick, **change)
    predictor = taught(changed)
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path)
    assert estimator_of(loaded).config == changed
    found = scores(predictor)
    np.testing.assert_array_equal(scores(loaded), found)
    assert np.abs(np.stack(found) - scores(taught(quick))).max() > 1e-6
    encoder = PretrainedEncoder.of(small(), source_model_of(predictor), changed)
    assert estimator_of(Predictor(encoder)).config == changed


def test_files_without_constants_have_the_default_ones() -> None:
    folder = Path(__file__).parents[2] / "data" / "format_1" / "blend"
    assert estimator_of(Predictor.load(folder)).config == CONFIG
    assert BlendConfig.from_json(json.loads(json.dumps(CONFIG.to_json()))) == CONFIG


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
