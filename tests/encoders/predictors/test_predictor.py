"""`Predictor`: it learns, repeats itself, leaves its inputs alone, survives a round trip and refuses bad labels."""

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns

from cgir.analysis.graph_properties import properties
from cgir.errors import CgirError, FileFormatError, LabelError
from cgir.graph_batch import GraphBatch
from encoders import (
    CarlConfig,
    CostPredictor,
    Encoder,
    EncoderConfig,
    HandPredictor,
    Predictor,
    SiblingConfig,
    TrainConfig,
    log_flops,
    log_params,
    metrics,
)
from encoders.features.graph_features import compute_features

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
TRAIN = np.arange(30)
QUICK = TrainConfig(epochs=15, source_steps=20)
LONGER = TrainConfig(epochs=80, source_steps=20)


def small(seed=0):
    return Encoder(EncoderConfig(width=16, layers=2), seed)


MAKERS = {
    "rank": lambda: Predictor(small(), "rank", ensemble=2, train=QUICK),
    "mse": lambda: Predictor(small(), "mse", train=QUICK),
    "frozen": lambda: Predictor(small(), "rank", frozen=True, train=QUICK),
    "hand": lambda: Predictor(None, "mse", frozen=True, train=QUICK),
    "gp": lambda: Predictor(small(), "gp"),
    "gp hand": lambda: Predictor(None, "gp"),
    "listmle": lambda: Predictor(EncoderConfig(16, 2), "listmle", ensemble=2, train=QUICK),
    "carl": lambda: Predictor(EncoderConfig(16, 2), "carl", train=QUICK, carl=CarlConfig(width=16)),
    "carl from weights": lambda: Predictor(
        small(), "carl", ensemble=2, train=LONGER, carl=CarlConfig(width=16, level="edge", pairing="concat")
    ),
    "siblings": lambda: Predictor(SiblingConfig(16, 2, 16), "rank", train=QUICK),
    "blend": lambda: Predictor(small(), train=QUICK),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def fit(predictor, **options):
    return predictor.fit(BATCH.select(TRAIN), LABELS[TRAIN], **options)


@makers
def test_learns_repeats_and_scores_each_graph_by_itself(make):
    scores = fit(make()).predict(GRAPHS)
    assert scores.dtype == np.float64
    assert metrics.spearman(scores[30:], LABELS[30:]) > 0.6
    np.testing.assert_array_equal(fit(make()).predict(GRAPHS), scores)
    np.testing.assert_allclose(fit(make()).predict(GRAPHS[40:43]), scores[40:43], atol=1e-4 * scores.std())
    order = fit(make()).rank(GRAPHS)
    assert (np.diff(scores[order]) <= 0).all()
    assert sorted(order) == list(range(90))


@makers
def test_round_trip_predicts_the_same(make, tmp_path):
    predictor = fit(make())
    predictor.save(tmp_path / "p")
    loaded = Predictor.load(tmp_path / "p")
    np.testing.assert_array_equal(loaded.predict(GRAPHS), predictor.predict(GRAPHS))
    # and it can be fitted again as the original can
    np.testing.assert_array_equal(fit(loaded, seed=1).predict(GRAPHS), fit(predictor, seed=1).predict(GRAPHS))


@pytest.mark.parametrize("name", ["rank", "mse", "frozen", "blend"])
def test_sources_alone_rank_and_are_where_fit_starts(name, tmp_path):
    """Labels of the second source live on another scale: only the order within a source may count."""
    sources = [(GRAPHS[:30], LABELS[:30]), (BATCH.select(range(30, 60)), 1000 - 0.001 + 0.001 * LABELS[30:60])]
    predictor = MAKERS[name]()
    if name != "mse":
        with pytest.raises(CgirError, match="nothing was fitted"):
            predictor.predict(GRAPHS)
    zero_shot = predictor.fit_sources(sources).predict(GRAPHS)
    assert metrics.spearman(zero_shot[60:], LABELS[60:]) > 0.4
    once = fit(predictor).predict(GRAPHS)
    np.testing.assert_array_equal(fit(predictor).predict(GRAPHS), once)
    assert np.abs(once - fit(MAKERS[name]()).predict(GRAPHS)).max() > 1e-6
    predictor.save(tmp_path)
    np.testing.assert_array_equal(fit(Predictor.load(tmp_path)).predict(GRAPHS), once)


def test_inputs_and_random_state_are_left_alone():
    encoder = small()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    torch.manual_seed(3)
    state, labels = torch.random.get_rng_state(), LABELS.copy()
    fit(Predictor(encoder, train=TrainConfig(epochs=1, dropout=0.2)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("name", ["mse", "gp hand", "blend"])
def test_regression_speaks_in_label_units(name):
    moved = MAKERS[name]().fit(GRAPHS, 1000 * LABELS - 7).predict(GRAPHS)
    np.testing.assert_allclose(
        moved, 1000 * MAKERS[name]().fit(GRAPHS, LABELS).predict(GRAPHS) - 7, atol=0.02 * 1000 * LABELS.std()
    )
    assert abs(moved.mean() - (1000 * LABELS - 7).mean()) < 100 * LABELS.std()


BAD = [
    (LABELS[:29], "30 graphs need 30 labels"),
    (LABELS[:30, None], "in one vector"),
    (np.full(30, 2.0), "all 30 labels equal 2.0"),
    (["a"] * 30, "labels must be numbers"),
    (np.where(np.arange(30) == 4, np.nan, 1.0 * np.arange(30)), "label 4 is nan"),
    (np.where(np.arange(30) == 5, -np.inf, 1.0 * np.arange(30)), "label 5 is -inf"),
]


@pytest.mark.parametrize(("labels", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_labels_are_one_clear_line(labels, message):
    for predictor in (Predictor(), Predictor(head="gp"), CostPredictor()):
        with pytest.raises(LabelError, match=message) as error:
            predictor.fit(GRAPHS[:30], labels)
        assert "\n" not in str(error.value)
    with pytest.raises(LabelError, match=message):
        Predictor().fit_sources([(GRAPHS[:30], labels)])


def test_too_little_is_refused():
    for n in (0, 1):
        with pytest.raises(LabelError, match=f"found {n} labelled"):
            Predictor().fit(GRAPHS[:n], LABELS[:n])
    with pytest.raises(LabelError, match="no family"):
        Predictor().fit_sources([])
    with pytest.raises(LabelError, match="only from the target"):
        Predictor(head="gp").fit_sources([(GRAPHS, LABELS)])
    for options in ({"head": "svm"}, {"ensemble": 0}):
        with pytest.raises(CgirError, match="predictor"):
            Predictor(**options)
    with pytest.raises(CgirError, match="training"):
        TrainConfig(batch=1)


def test_two_labels_are_enough_to_say_something():
    for make in MAKERS.values():
        assert np.isfinite(make().fit(GRAPHS[:2], [1.0, 2.0]).predict(GRAPHS)).all()


def test_damaged_and_foreign_files_are_refused(tmp_path):
    fit(MAKERS["rank"]()).save(tmp_path)
    file = tmp_path / "predictor.safetensors"
    data = file.read_bytes()
    with pytest.raises(FileFormatError, match="no such file"):
        Predictor.load(tmp_path / "elsewhere")
    for damaged in (b"", data[:100], data[:-10], b"\x80\x04" + data, data.replace(b"target.1.", b"target.7.")):
        file.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"predictor\.safetensors"):
            Predictor.load(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]  # nothing half-written lies around


def test_costs_are_the_graphs_own():
    np.testing.assert_allclose(log_flops(BATCH), np.log10([1 + g.flops for g in GRAPHS]))
    np.testing.assert_allclose(log_params(GRAPHS), np.log10([1 + g.num_params for g in GRAPHS]))
    np.testing.assert_allclose(log_params(BATCH), log_params(GRAPHS))
    np.testing.assert_allclose(
        CostPredictor(log_params).fit(GRAPHS, LABELS).predict(GRAPHS[:3]), log_params(GRAPHS[:3])
    )
    assert log_flops(GRAPHS[0]).shape == log_params(GRAPHS[0]).shape == (1,)


def test_gp_without_encoder_reads_properties_only():
    """Graphs with equal properties get equal scores."""
    scores = fit(HandPredictor()).predict(BATCH)
    _, groups = np.unique(np.asarray(properties(BATCH)).round(12), axis=0, return_inverse=True)
    for group in np.unique(groups):
        assert np.ptp(scores[groups == group]) < 1e-9


@pytest.mark.parametrize("name", ["gp", "blend", "frozen", "rank"])
def test_described_graphs_stand_for_graphs(name):
    """What was computed once gives what graphs give, whole or in part, also when another encoder described them."""
    predictor, described, by_hand = MAKERS[name](), compute_features(BATCH, small()), compute_features(BATCH, None)
    # computed before it is taken apart
    assert [len(each.dense_views()) for each in (described, by_hand)] == [3, 2]
    assert described.subtrees.shape[0] == by_hand.subtrees.shape[0] == 90
    expected = fit(predictor, pool=BATCH).predict(BATCH)
    for known in (described, compute_features(by_hand, small())):
        np.testing.assert_allclose(
            predictor.fit(known.select(TRAIN), LABELS[TRAIN], pool=known).predict(known),
            expected,
            atol=1e-4 * expected.std(),
        )
        np.testing.assert_allclose(
            predictor.predict(known.select(np.arange(40, 50))), expected[40:50], atol=1e-4 * expected.std()
        )
    sources = [(described.select(np.arange(60)), LABELS[:60])]
    if name != "gp":
        scores = MAKERS[name]().fit_sources(sources).predict(described)
        np.testing.assert_allclose(
            scores, MAKERS[name]().fit_sources([(GRAPHS[:60], LABELS[:60])]).predict(GRAPHS), atol=1e-4 * scores.std()
        )


@pytest.mark.parametrize("name", ["gp", "gp hand", "blend", "listmle", "carl from weights"])
def test_deviations_come_with_the_scores_and_are_smaller_where_labels_are(name):
    predictor = fit(MAKERS[name]())
    scores, stds = predictor.predict(GRAPHS, return_std=True)
    np.testing.assert_array_equal(predictor.predict(GRAPHS), scores)
    assert stds.shape == (90,)
    assert (stds >= 0).all()
    assert stds.max() > 0
    if name in ("gp", "gp hand", "blend"):
        assert stds[TRAIN].mean() < stds[30:].mean()


def test_a_process_says_how_far_off_it_is():
    """Two thirds of unseen labels within one deviation, in the unit of the labels."""
    scores, stds = Predictor(None, "gp").fit(GRAPHS[:60], 100 * LABELS[:60]).predict(GRAPHS[60:], return_std=True)
    assert 0.4 < np.mean(np.abs(scores - 100 * LABELS[60:]) < stds) < 0.95


@pytest.mark.parametrize("name", ["rank", "mse", "carl", "siblings"])
def test_one_network_alone_or_another_head_gives_no_spread_or_masks(name):
    predictor = Predictor(EncoderConfig(16, 2), {"siblings": "rank"}.get(name, name), train=QUICK)
    fit(predictor)
    with pytest.raises(CgirError, match="has no spread; use ensemble=5"):
        predictor.predict(GRAPHS, return_std=True)
    if name != "carl":
        with pytest.raises(CgirError, match="only a fitted predictor with head='carl'"):
            predictor.masks(GRAPHS[0])


def test_masks_are_averaged_over_the_ensemble():
    predictor = fit(MAKERS["carl from weights"]())
    nodes, edges = predictor.masks(GRAPHS[40])
    assert nodes.shape == (len(GRAPHS[40].nodes),)
    assert edges.shape == (GRAPHS[40].num_edges,)
    assert np.allclose(nodes, 0.5)  # level="edge"
    ensemble, alone = predictor.estimator.ensemble, []
    fitted = ensemble.target
    for member in fitted.members:
        ensemble.target = fitted._replace(members=[member])
        alone.append(predictor.masks(GRAPHS[40])[1])
    ensemble.target = fitted
    np.testing.assert_allclose(edges, np.mean(alone, axis=0))
    assert predictor.explain(GRAPHS[40]).edges == pytest.approx(edges)
    assert predictor.explain(GRAPHS[40], "occlusion").method == "occlusion"


def test_a_frozen_head_needs_weights():
    for options in ({"head": "blend"}, {"head": "gp"}, {"head": "rank", "frozen": True}):
        with pytest.raises(CgirError, match="needs trained weights"):
            Predictor(EncoderConfig(16, 2), **options)
    with pytest.raises(CgirError, match="needs trained weights and a head on vectors"):
        Predictor(small(), "carl", frozen=True)
