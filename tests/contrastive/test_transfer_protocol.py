"""The transfer protocol: which labels a method sees, and how it is scored."""

from __future__ import annotations

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns
from hypothesis import given, settings
from hypothesis import strategies as st

import encoders
from cgir import GraphBatch, LabelError
from contrastive.transfer_protocol import BASELINES, LabelledFamily, evaluate, split, transfer_method

GRAPHS = random_cnns(40)
TARGET = LabelledFamily("target", GraphBatch.from_graphs(GRAPHS), conv_share(GRAPHS))
OTHERS = random_cnns(30, seed=1)
SOURCE = LabelledFamily("source", GraphBatch.from_graphs(OTHERS), conv_share(OTHERS))
NUMBERED = LabelledFamily("numbered", TARGET.graphs, np.arange(40.0))


@given(labels=st.integers(0, 39), more=st.integers(0, 39), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_draws_are_nested_and_never_tested_on(labels: int, more: int, seed: int) -> None:
    train, test = split(NUMBERED, labels, seed)
    assert sorted([*train.labels, *test.labels]) == list(range(40))
    few, many = sorted((labels, more))
    assert set(split(NUMBERED, few, seed)[0].labels) <= set(split(NUMBERED, many, seed)[0].labels)


def test_a_fixed_test_set_does_not_depend_on_the_number_of_labels() -> None:
    tests = {tuple(split(NUMBERED, labels, seed=3, num_tests=10)[1].labels) for labels in (0, 5, 30)}
    assert len(tests) == 1
    with pytest.raises(LabelError, match="31 labels and 10 test graphs asked for, but it has 40"):
        split(NUMBERED, 31, seed=3, num_tests=10)
    with pytest.raises(LabelError, match="40 graphs but 39 labels"):
        LabelledFamily("short", TARGET.graphs, np.arange(39.0))


class Watching:
    """A model that knows the truth by the graphs' order, and remembers what it was shown."""

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.shown: list[np.ndarray] = []

    def fit(self, graphs, y, seed=0, pool=None):
        self.shown.append(np.asarray(y))
        return self

    def predict(self, graphs):
        return self.sign * conv_share_of(graphs)


def conv_share_of(batch: GraphBatch) -> np.ndarray:
    convolutions = np.asarray([kind.op == "Conv" for kind in batch.kinds], float)[batch.kind]
    sizes = np.diff(batch.ptr)
    return np.bincount(batch.graph_of_node, convolutions, len(batch)) / sizes + sizes / 1000


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_only_the_labels_of_the_draw_are_shown_and_the_truth_scores_one(sign: float) -> None:
    model = Watching(sign)
    scores = list(evaluate(lambda sources, seed: model, TARGET, [SOURCE], (10, 0, 5), seed=7))
    assert [score.num_labels for score in scores] == [0, 5, 10]
    assert [len(y) for y in model.shown] == [5, 10]
    np.testing.assert_array_equal(model.shown[1], split(TARGET, 10, seed=7)[0].labels)
    for score in scores:
        assert score.spearman == pytest.approx(sign)
        assert score.kendall == pytest.approx(sign)


def test_every_method_beats_chance_where_the_label_is_in_the_graph() -> None:
    encoder = encoders.Encoder(encoders.EncoderConfig(width=16, layers=2))
    methods = {
        **BASELINES,
        "transferred": transfer_method(encoder, train=encoders.TrainConfig(epochs=30, source_steps=50)),
    }
    found = {name: next(evaluate(method, TARGET, [SOURCE], (15,), seed=0)).spearman for name, method in methods.items()}
    assert found["transferred"] > 0.5
    assert found["GP on hand features"] > 0.5
