"""What a predictor remembers of its fit: metric, labels, graphs; and what it says of graphs unlike these."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders_samples import conv_share, random_cnns
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cgir.errors import LabelError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from encoders import Metric, Predictor, TrainConfig
from encoders.predictors.fit_record import input_shapes
from frontends import trace
from frontends.spaces import get

GRAPHS = random_cnns(40)
LABELS = conv_share(GRAPHS)
LATENCY = Metric("latency_ms", "ms", lower_is_better=True)
HEADS: dict[str, dict[str, Any]] = {
    "blend": {},
    "gp": {},
    "rank": {"train": TrainConfig(epochs=2)},
    "mse": {"train": TrainConfig(epochs=2)},
}


def small(width: int, size: int = 16, convs: int = 1) -> Graph:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
    layers += [nn.Conv2d(width, width, 3, padding=1) for _ in range(convs - 1)]
    with torch.device("meta"):
        net = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return trace(net, input_shape=(1, 3, size, size))


@pytest.mark.parametrize(
    ("name", "unit", "lower"),
    [
        ("latency_ms", "ms", True),
        ("gpu_latency_ms", "ms", True),
        ("training_time_s", "s", True),
        ("cora_latency_s", "s", True),
        ("lat_pixel3", "", True),
        ("ms_per_image_infer-amp-nchw", "ms", True),
        ("energy_kwh_train", "kWh", True),
        ("val_loss_openlm", "", True),
        ("val_error_30ep_tenth", "", True),
        ("val_ppl_best", "", True),
        ("cifar10_test_200ep_mean", "", False),
        ("val_acc_e20", "", False),
        ("imagenet_val_top1", "", False),
        ("room_layout_val_metric", "", False),
        ("class_s", "", False),
        ("closset", "", False),
    ],
)
def test_names_tell_unit_and_direction(name: str, unit: str, lower: bool) -> None:
    assert Metric.guess(name) == Metric(name, unit, lower)


def test_a_guess_is_logged_and_a_metric_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    predictor = Predictor(head="gp").fit(GRAPHS[:8], LABELS[:8], metric=LATENCY)
    assert not caplog.messages
    assert predictor.fit(GRAPHS[:8], LABELS[:8], metric="latency_ms").metric == LATENCY
    assert caplog.messages == [
        "fit: latency_ms in ms, lower is better, as its name says; give a Metric to say otherwise"
    ]
    with pytest.raises(LabelError, match="metric: found int; expected a Metric, a name, or None"):
        predictor.fit(GRAPHS[:8], LABELS[:8], metric=3)  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="unit=3; expected a value of type str"):
        Metric("latency", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", HEADS)
def test_where_lower_is_better_answers_have_the_unit_and_ranks_turn(head: str) -> None:
    make = HEADS[head]
    high = Predictor(head=head, **make).fit(GRAPHS[:20], -LABELS[:20], pool=GRAPHS)
    low = Predictor(head=head, **make).fit(GRAPHS[:20], LABELS[:20], pool=GRAPHS, metric=Metric("loss", "", True))
    np.testing.assert_array_equal(low.predict(GRAPHS), -high.predict(GRAPHS))
    np.testing.assert_array_equal(low.rank(GRAPHS), high.rank(GRAPHS))
    assert (low.sign, high.sign) == (-1, 1)
    scores = low.predict(GRAPHS)
    assert (np.diff(scores[low.rank(GRAPHS)]) >= 0).all()
    assert low.has_unit == (head != "rank")
    if low.has_unit:
        assert np.corrcoef(low.predict(GRAPHS[:20]), LABELS[:20])[0, 1] > 0


def test_the_record_is_saved_with_the_predictor(tmp_path: Path) -> None:
    predictor = Predictor(head="gp").fit(GRAPHS[:8], LABELS[:8], pool=GRAPHS, metric=LATENCY)
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path)
    assert loaded.metric == LATENCY
    assert str(loaded) == str(predictor)
    assert loaded.record is not None
    assert predictor.record is not None
    assert loaded.record[:5] == predictor.record[:5]
    far = [*GRAPHS[:3], small(2000)]
    for some, other in zip(loaded.predict(far, return_std=True), predictor.predict(far, return_std=True), strict=True):
        np.testing.assert_array_equal(some, other)
    assert loaded.outside(far) == predictor.outside(far) != {}


def test_fitting_anew_forgets_the_metric() -> None:
    predictor = Predictor().fit(GRAPHS[:8], LABELS[:8], metric=LATENCY)
    assert predictor.fit(GRAPHS[:8], LABELS[:8]).metric is None
    predictor.fit(GRAPHS[:8], LABELS[:8], metric=LATENCY)
    predictor.fit_sources([(GRAPHS[:10], LABELS[:10]), (GRAPHS[10:20], LABELS[10:20])])
    assert predictor.record is None
    assert predictor.outside([small(4000)]) == {}


def test_graphs_unlike_those_seen_are_named_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    known = [small(width) for width in (8, 16, 32)]
    predictor = Predictor(head="gp").fit(known, [1.0, 2.0, 3.0])
    assert predictor.outside([small(6), small(64)]) == {}  # up to twice and half
    with torch.device("meta"):
        linear = trace(nn.Linear(224, 10), input_shape=(1, 224))
    found = predictor.outside([small(16), small(1024), small(16, 64), small(16, convs=12), linear])
    assert list(found) == [1, 2, 3, 4]
    count = sum(weight.numel() for weight in (nn.Conv2d(3, 1024, 3).weight,)) + 1024 + 1024 * 10 + 10
    assert re.fullmatch(rf"({count / 1e3:.3g}k parameters|\S+ FLOPs|\S+ bytes of activations), known are .*", found[1])
    assert found[2].endswith("; input 3x64x64, known is 3x16x16")
    assert re.match(r"\S+ (Conv|FLOPs), known are ", found[3])
    assert found[4].endswith("; input 224, known is 3x16x16")
    caplog.set_level(logging.WARNING)
    predictor.predict([small(1024)])
    assert not caplog.messages  # who asked knows
    predictor.fit(known, [1.0, 2.0, 3.0]).predict([small(16), small(1024)])
    predictor.predict([small(1024)])  # a search asks again and again
    assert [re.sub(r"graph 1 \(.*", "", text) for text in caplog.messages] == [
        "predict: 1 of 2 graphs are unlike those the predictor was taught with, so their scores are guesses: "
    ]


def test_sizes_between_those_seen_are_known() -> None:
    known = [small(16, size) for size in (16, 24, 32)]
    predictor = Predictor(head="gp").fit(known, [1.0, 2.0, 3.0])
    assert not any("input" in text for text in predictor.outside([small(16, size) for size in (16, 20, 32)]).values())
    assert "input 3x36x36" in predictor.outside([small(16, 36)])[0]


def test_what_is_learned_grows_with_size() -> None:
    """Of latencies as they are: larger networks are slower before there is a label, and more accurate."""
    signs = {"accuracy": 1, "val_loss": -1, "latency_ms": 1, "energy_kwh": 1, "throughput": -1}
    assert {name: Metric.guess(name).learned_sign for name in signs} == signs
    wide = [small(width) for width in (4, 8, 16, 32, 64, 128)]
    for metric, order in ((LATENCY, [0, 1, 2, 3, 4, 5]), (Metric("accuracy"), [5, 4, 3, 2, 1, 0])):
        assert Predictor().fit([], [], pool=wide, metric=metric).rank(wide).tolist() == order
    # one label of another order is not enough to turn it round; hints are such that higher is better
    latencies = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0]
    plain = Predictor().fit(wide[:4], latencies[:4], pool=wide, hints={"other": (wide, latencies)})
    hints = {"other": (wide, [-value for value in latencies])}
    told = Predictor().fit(wide[:4], latencies[:4], pool=wide, hints=hints, metric=LATENCY)
    np.testing.assert_array_equal(told.predict(wide), plain.predict(wide))
    assert told.rank(wide).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("head", ["blend", "gp"])
@pytest.mark.parametrize("labels", [0, 20])
def test_deviations_grow_with_the_distance_from_all_that_is_known(head: str, labels: int) -> None:
    """From labels and from the families that taught: networks of a space, then ever wider and deeper ones."""
    if head == "gp" and not labels:
        return
    space = get("nasbench_macro", channels=4)
    specs = [space.sample(np.random.default_rng(seed)) for seed in range(60)]
    graphs = space.graphs(specs)
    predictor = Predictor(head=head)
    if head == "blend":
        predictor.fit_sources([(GRAPHS[:20], LABELS[:20]), (GRAPHS[20:], LABELS[20:])])
    y = np.random.default_rng(0).normal(size=labels)
    predictor.fit(graphs.select(range(labels)) if labels else [], y, pool=graphs)
    _, inside = predictor.predict(graphs, return_std=True)
    far = [get("nasbench_macro", channels=4 * 4**step).graph(specs[0]) for step in range(1, 5)]
    _, outside = predictor.predict(far, return_std=True)
    assert outside[0] > np.median(inside)
    assert (np.diff(outside) > 0).all()
    assert outside[-1] > 1.5 * inside.max()


@given(st.lists(st.integers(0, 39), min_size=2, max_size=12), st.integers(0, 2**16))
def test_what_was_seen_is_inside(rows: list[int], seed: int) -> None:
    chosen = GraphBatch.from_graphs([GRAPHS[row] for row in rows])
    y = np.random.default_rng(seed).normal(size=len(rows))
    predictor = Predictor(head="mse", frozen=True, train=TrainConfig(epochs=1)).fit(chosen, y)
    assert predictor.outside(chosen) == {}
    assert predictor.record is not None
    features = predictor._features(chosen)
    np.testing.assert_array_equal(predictor.record.widen(features, np.ones(len(rows)), 5.0), 1.0)


def test_input_shapes_are_those_of_the_nodes() -> None:
    graphs = [*GRAPHS[:5], small(4, 20)]
    expected = [tuple(tuple(node.shape) for node in graph.nodes if node.op == "Input") for graph in graphs]
    assert input_shapes(GraphBatch.from_graphs(graphs)) == expected
    assert expected[-1] == ((3, 20, 20),)


def test_print_says_what_is_known() -> None:
    predictor = Predictor(head="gp")
    assert str(predictor) == repr(predictor) == "Predictor(head='gp'), nothing fitted"
    predictor.fit([small(8), small(16)], [4.25, 9.5], metric=LATENCY)
    first, labels, graphs = str(predictor).splitlines()
    assert first == "Predictor(head='gp') of latency_ms in ms, lower is better"
    assert labels == "  learned from 2 labels, 4.25 to 9.5 ms"
    assert re.fullmatch(
        r"  saw 2 graphs of (\d+) to \1 operators, \S+ to \S+ FLOPs, \d+ to \d+ parameters, input 3x16x16", graphs
    )
    assert repr(predictor) == "Predictor(head='gp', metric='latency_ms')"
    ranks = Predictor(head="rank", train=TrainConfig(epochs=1)).fit(GRAPHS[:4], LABELS[:4])
    assert str(ranks).startswith("Predictor(head='rank'), scores without a unit, which only rank\n")
