"""Hints: good ones are followed, others cost little, and what cannot be one is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders_samples import conv_share, random_cnns
from scipy.linalg import cho_solve

from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray
from encoders import Predictor, compute_features
from encoders.features.graph_features import FLOPS, GPInputTransform, GraphFeatures
from encoders.gaussian_process.regression import GaussianProcess
from encoders.metrics import spearman
from encoders.predictors import hints as hints_module
from encoders.predictors.estimators_blend import BlendEstimator
from encoders.predictors.hints import SmoothedHints, check_hint, smooth
from encoders.predictors.predictor import Hints

GRAPHS = random_cnns(90)
BATCH = GraphBatch.from_graphs(GRAPHS)
LABELS = conv_share(GRAPHS)
POOL = compute_features(BATCH, None)
SEEDS = range(6)


def noise(seed: int) -> FloatArray:
    return np.random.default_rng(1000 + seed).normal(size=90)


def fitted(hints: Hints | None, count: int, seed: int = 0) -> Predictor:
    rows = np.random.default_rng(seed).permutation(90)[:count]
    return Predictor().fit(POOL.select(rows), LABELS[rows], pool=POOL, hints=hints)


def worth(hints: Callable[[int], Hints] | None, count: int) -> float:
    """Mean of Spearman's rho of networks without a label over draws of so many labels."""
    found = []
    for seed in SEEDS:
        rows = np.random.default_rng(seed).permutation(90)[count:]
        scores = fitted(None if hints is None else hints(seed), count, seed).predict(POOL.select(rows))
        found.append(spearman(scores, LABELS[rows]))
    return float(np.mean(found))


def context_of(predictor: Predictor) -> Any:
    assert isinstance(predictor.estimator, BlendEstimator)
    assert predictor.estimator.context is not None
    return predictor.estimator.context


def test_labels_themselves_are_followed() -> None:
    assert worth(lambda seed: {"same": (POOL, LABELS)}, 5) > 0.98
    assert worth(lambda seed: {"same": (POOL, np.exp(20 * LABELS))}, 5) > 0.95  # or what grows with them
    half = np.arange(45)
    for hints in ({"same": (POOL, LABELS)}, {"some": (POOL.select(half), LABELS[half])}):
        scores = Predictor().fit([], [], pool=POOL, hints=hints).predict(POOL)
        assert spearman(scores[45:], LABELS[45:]) > 0.85  # without any label, too


@pytest.mark.parametrize(("count", "loss"), [(5, 0.1), (10, 0.03), (20, 0.02)])
def test_hints_that_say_nothing_or_the_opposite_cost_little(count: int, loss: float) -> None:
    alone = worth(None, count)
    assert worth(lambda seed: {"noise": (POOL, noise(seed))}, count) > alone - loss
    assert worth(lambda seed: {"opposite": (POOL, -LABELS)}, count) > alone - loss


def test_of_many_hints_labels_find_the_one_that_is_right() -> None:
    def nine_and_one(seed: int) -> Hints:
        return {**{f"noise {index}": (POOL, noise(10 * seed + index)) for index in range(9)}, "right": (POOL, LABELS)}

    assert worth(nine_and_one, 5) > 0.9
    assert worth(nine_and_one, 10) > 0.97


def test_a_weight_says_how_far_a_hint_is_believed_without_labels() -> None:
    opposite = -LABELS
    expected = Predictor().fit([], [], pool=POOL).predict(POOL)
    ranks = [
        spearman(Predictor().fit([], [], pool=POOL, hints={"o": (POOL, opposite, weight)}).predict(POOL), opposite)
        for weight in (0.0, 0.3, 1.0)
    ]
    assert ranks[0] == pytest.approx(spearman(expected, opposite))
    assert ranks[0] < ranks[1] < ranks[2]
    default, half = (
        Predictor().fit([], [], pool=POOL, hints={"o": hint}) for hint in ((POOL, LABELS), (POOL, LABELS, 0.5))
    )
    np.testing.assert_array_equal(default.predict(POOL), half.predict(POOL))


def test_the_scale_of_values_does_not_matter() -> None:
    for count in (0, 5, 30):
        one, other = (
            Predictor().fit(POOL.select(np.arange(count)), LABELS[:count], pool=POOL, hints={"h": (POOL, values)})
            if count
            else Predictor().fit([], [], pool=POOL, hints={"h": (POOL, values)})
            for values in (LABELS + 0.05 * noise(0), 10 * (LABELS + 0.05 * noise(0)) + 3)
        )
        np.testing.assert_allclose(one.predict(POOL), other.predict(POOL), atol=1e-5)


def test_order_does_not_matter() -> None:
    """Of hints, nor of their graphs, nor of the pool."""
    hints: Hints = {"a": (POOL, LABELS + 0.1 * noise(0)), "b": (POOL, noise(1))}
    expected = fitted(hints, 8).predict(POOL)
    turned = np.random.default_rng(0).permutation(90)
    graphs = POOL.select(turned)
    elsewhere: Hints = {name: (graphs, np.asarray(hints[name][1])[turned]) for name in ("b", "a")}
    np.testing.assert_allclose(fitted(elsewhere, 8).predict(POOL), expected, atol=1e-4)
    rows = np.random.default_rng(0).permutation(90)[:8][::-1]
    again = Predictor().fit(POOL.select(rows), LABELS[rows], pool=POOL.select(turned), hints=hints)
    np.testing.assert_allclose(again.predict(POOL), expected, atol=1e-4)


def test_hints_of_the_same_graphs_share_a_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that smooths them is one, of their mean; each has weights of its own."""
    made: list[GaussianProcess] = []

    class Counted(GaussianProcess):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(hints_module, "GaussianProcess", Counted)
    first, second = LABELS + 0.1 * noise(0), LABELS + 0.1 * noise(1)
    checked = {
        "a": check_hint("a", POOL, first),
        "b": check_hint("b", POOL, second),
        "c": check_hint("c", POOL.select(np.arange(40)), first[:40]),
    }
    groups = smooth(checked, POOL, 0)
    assert len(groups) == len(made) == 2
    assert [group.predict(POOL).shape for group in groups] == [(90, 2), (90, 1)]
    (process, _), (both, _) = made, groups
    views = both.transform(POOL)
    values = np.stack([(y - y.mean()) / y.std() for y in (first, second)], axis=1)
    np.testing.assert_allclose(process.y, values.mean(axis=1)[process.order])
    covariance = process.factor @ process.factor.T
    cross = process.cross_covariance(views)
    np.testing.assert_allclose(both.predict(POOL), cross @ np.linalg.solve(covariance, values[process.order]))


def test_equal_hints_are_smoothed_alike_together_and_apart() -> None:
    values = LABELS + 0.1 * noise(0)
    graphs = (POOL, POOL.select(np.arange(90)))
    together = Predictor().fit([], [], pool=POOL, hints={"a": (POOL, values), "b": (POOL, values)})
    apart = Predictor().fit([], [], pool=POOL, hints={"a": (graphs[0], values), "b": (graphs[1], values)})
    assert [len(context_of(predictor).hints) for predictor in (together, apart)] == [1, 2]
    np.testing.assert_allclose(together.predict(POOL), apart.predict(POOL), atol=1e-9)
    raw = Predictor().fit([], [], pool=POOL, hints={"a": (GRAPHS, values), "b": (GRAPHS, values)})
    assert len(context_of(raw).hints) == 1  # plain graphs, too
    np.testing.assert_allclose(raw.predict(POOL), together.predict(POOL), atol=1e-9)


def test_a_smoothed_hint_is_a_posterior_mean() -> None:
    """That of the process at its hyper-parameters, for graphs with a value and for others."""
    rows = np.arange(50)
    known = POOL.select(rows)
    hint = SmoothedHints.fit([check_hint("h", known, LABELS[:50])], POOL, 0)
    scaled = (LABELS[:50] - LABELS[:50].mean()) / LABELS[:50].std()
    transform = GPInputTransform.fit(known, POOL, embedding=False)
    process = GaussianProcess(transform(known), scaled)
    expected, _ = process.predict(transform(POOL))
    np.testing.assert_allclose(hint.predict(POOL)[:, 0], expected, atol=1e-9)
    np.testing.assert_allclose(hint.solved[:, 0], cho_solve((process.factor, True), process.y))
    assert spearman(hint.predict(POOL)[50:, 0], LABELS[50:]) > 0.85


def test_long_tails_are_read_by_their_ranks() -> None:
    tails = np.sign(LABELS - np.median(LABELS)) * np.exp(200 * np.abs(LABELS - np.median(LABELS)))
    tails[3] = 1e300
    scores = Predictor().fit([], [], pool=POOL, hints={"h": (POOL, tails)}).predict(POOL)
    assert np.isfinite(scores).all()
    assert spearman(scores, LABELS) > 0.8


def test_more_graphs_than_can_be_factorised_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_module, "MAX_GRAPHS", 40)
    one, same, other = (SmoothedHints.fit([check_hint("h", POOL, LABELS)], POOL, seed) for seed in (0, 0, 1))
    assert len(one.process.y) == 40
    np.testing.assert_array_equal(one.predict(POOL), same.predict(POOL))
    assert np.abs(one.predict(POOL) - other.predict(POOL)).max() > 1e-3


BAD: dict[str, tuple[Any, str]] = {
    "not finite": ((POOL, np.where(np.arange(90) == 4, np.nan, LABELS)), r"hint 'proxy': label 4 is nan"),
    "constant": ((POOL, np.ones(90)), "hint 'proxy': all 90 labels equal 1.0"),
    "too few": ((POOL, LABELS[:80]), "hint 'proxy': 90 graphs need 90 labels"),
    "words": ((POOL, ["a"] * 90), "hint 'proxy': labels must be numbers"),
    "no pair": (LABELS, "hint 'proxy': found ndarray; expected .graphs, values."),
    "too long": ((POOL, LABELS, 0.5, 1), "hint 'proxy': found tuple; expected .graphs, values."),
    "too strong": ((POOL, LABELS, 1.5), "hint 'proxy': weight 1.5; expected a number from 0 to 1"),
    "no number": ((POOL, LABELS, "much"), "hint 'proxy': weight 'much'; expected a number from 0 to 1"),
    "nan": ((POOL, LABELS, float("nan")), "hint 'proxy': weight nan; expected a number from 0 to 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_hint_is_refused_in_one_line(name: str) -> None:
    hint, message = BAD[name]
    predictor = Predictor()
    with pytest.raises(LabelError, match=message) as error:
        predictor.fit(POOL.select(np.arange(5)), LABELS[:5], pool=POOL, hints={"fine": (POOL, LABELS), "proxy": hint})
    assert "\n" not in str(error.value)
    assert not predictor.estimator.is_fitted


def test_hints_without_names_and_an_empty_pool_are_refused() -> None:
    few, none = POOL.select(np.arange(5)), POOL.select(np.arange(0))
    with pytest.raises(LabelError, match=r"^fit: hints: found list; expected name -> \(graphs, values\)$"):
        Predictor().fit(few, LABELS[:5], hints=[(POOL, LABELS)])  # type: ignore[arg-type]
    for graphs, labels in ((few, LABELS[:5]), (none, [])):
        with pytest.raises(LabelError, match=r"^fit: the pool has no graphs; expected unlabelled graphs"):
            Predictor().fit(graphs, labels, pool=none)


@pytest.mark.parametrize("head", ["gp", "rank", "mse"])
def test_other_heads_take_no_hints(head: str) -> None:
    with pytest.raises(LabelError, match=f"head '{head}' takes no hints; use head='blend'"):
        Predictor(head=head).fit(GRAPHS[:5], LABELS[:5], hints={"h": (GRAPHS, LABELS)})


def test_hints_are_saved(tmp_path: Path) -> None:
    known = POOL.select(np.arange(40))
    hints: Hints = {"a": (POOL, noise(0)), "b": (POOL, LABELS), "c": (known, LABELS[:40], 0.1)}
    for count in (0, 6):
        predictor = fitted(hints, count) if count else Predictor().fit([], [], pool=POOL, hints=hints)
        predictor.save(tmp_path)
        loaded = Predictor.load(tmp_path)
        for found, expected in zip(
            loaded.predict(POOL, return_std=True), predictor.predict(POOL, return_std=True), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        assert np.concatenate([group.weights for group in context_of(loaded).hints]).tolist() == [0.5, 0.5, 0.1]


def test_labels_and_hints_are_left_as_they_are() -> None:
    values, features = LABELS.copy(), GraphFeatures(POOL.graphs)
    fitted({"h": (features, values)}, 5)
    np.testing.assert_array_equal(values, LABELS)


def test_without_labels_a_hint_that_is_believed_in_full_ranks_alone() -> None:
    """What a hint leaves unexplained is all that sizes can add; up to the default belief they lose nothing."""
    hint = {"grows with sizes": (POOL, POOL.properties[:, FLOPS] + noise(0), 1.0)}
    predictor = fitted(hint, 0)
    (smoothed,) = context_of(predictor).hints
    assert spearman(predictor.predict(POOL), smoothed.predict(POOL)[:, 0]) > 0.999
    sizes = [
        context_of(fitted({"": (*hint["grows with sizes"][:2], weight)}, 0)).prior.mean[0] for weight in (0.3, 0.5, 0.9)
    ]
    assert sizes[2] < 0.7 * sizes[1]
