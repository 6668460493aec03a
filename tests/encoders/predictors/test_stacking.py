"""`Average`: several models on several forms of the same graphs."""

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns

from cgir.errors import CgirError, LabelError
from cgir.graph_batch import GraphBatch
from encoders import Average, CostPredictor, HandPredictor, Predictor, log_flops, log_params, metrics

GRAPHS = GraphBatch.from_graphs(random_cnns(80))
LABELS = conv_share(random_cnns(80))
TRAIN = np.arange(30)


def form(rows):
    return [GRAPHS.select(rows)] * 2


def test_scores_are_the_mean_of_scaled_scores():
    average = Average(CostPredictor(log_flops), CostPredictor(log_params), folds=0).fit(
        form(TRAIN), LABELS[TRAIN], pools=form(range(80))
    )
    flops, params = log_flops(GRAPHS), log_params(GRAPHS)
    expected = ((flops - flops.mean()) / flops.std() + (params - params.mean()) / params.std()) / 2
    np.testing.assert_allclose(average.predict([GRAPHS, GRAPHS]), expected)
    np.testing.assert_allclose(average.predict(form([7, 3])), expected[[7, 3]])


def test_without_a_pool_the_labelled_graphs_give_the_scale():
    average = Average(CostPredictor(log_flops)).fit([GRAPHS.select(TRAIN)], LABELS[TRAIN])
    scores = average.predict([GRAPHS.select(TRAIN)])
    assert scores.mean() == pytest.approx(0)
    assert scores.std() == pytest.approx(1)


def test_learned_members_rank_what_they_have_not_seen():
    rest = np.arange(30, 80)
    scores = (
        Average(Predictor(None, "gp"), HandPredictor())
        .fit(form(TRAIN), LABELS[TRAIN], pools=form(rest))
        .predict(form(rest))
    )
    assert metrics.spearman(scores, LABELS[rest]) > 0.6


class Noise:
    """A member that knows nothing."""

    def fit(self, graphs, y, seed=0, pool=None):
        return self

    def predict(self, graphs):
        return np.random.default_rng(len(graphs)).normal(size=len(graphs))


def test_cross_validation_leaves_out_who_knows_nothing():
    for members, knows in (((HandPredictor(), Noise()), 0), ((Noise(), Noise(), HandPredictor()), 2)):
        average = Average(*members).fit([GRAPHS.select(TRAIN)] * len(members), LABELS[TRAIN])
        assert average.weights.argmax() == knows
        assert average.weights[knows] > 0.8
        assert average.weights.sum() == pytest.approx(1)
        assert metrics.spearman(average.predict([GRAPHS] * len(members)), LABELS) > 0.6
    # equal members cannot be told apart, and with seven labels there is nothing to validate with
    np.testing.assert_allclose(Average(CostPredictor(), CostPredictor()).fit(form(TRAIN), LABELS[TRAIN]).weights, 0.5)
    np.testing.assert_array_equal(Average(HandPredictor(), Noise()).fit(form(range(7)), LABELS[:7]).weights, 0.5)


def test_misuse_is_one_clear_line():
    with pytest.raises(CgirError, match="no members"):
        Average()
    with pytest.raises(CgirError, match="folds=1"):
        Average(HandPredictor(), folds=1)
    average = Average(HandPredictor(), HandPredictor())
    with pytest.raises(CgirError, match="nothing was fitted"):
        average.predict([GRAPHS, GRAPHS])
    with pytest.raises(CgirError, match="1 forms for 2 members"):
        average.fit([GRAPHS], LABELS)
    with pytest.raises(LabelError, match="all 80 labels equal"):
        average.fit([GRAPHS, GRAPHS], np.ones(80))
