"""Candidates of priors, averaged by their posterior probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from cgir.typing import FloatArray
from encoders.gaussian_process.model_averaging import MIN_POSTERIOR_WEIGHT, BayesianModelAverage, Candidate
from encoders.gaussian_process.regression import DEFAULT_PRIOR, GaussianProcess, KernelPrior, LinearPrior


def problem(count: int = 40) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A view, two known scores, and labels that follow the first of them, and a little the view."""
    rng = np.random.default_rng(0)
    x, scores = rng.normal(size=(count, 4)), rng.normal(size=(count, 2))
    y = scores[:, 0] + 0.5 * np.sin(x[:, 0]) + 0.2 * rng.normal(size=count)
    return x, scores, (y - y.mean()) / y.std()


def expecting(*mean: float, probability: float = 1.0) -> Candidate:
    """One that expects these weights."""
    return Candidate(LinearPrior(np.asarray(mean), 0.05 * np.eye(len(mean))), DEFAULT_PRIOR, probability)


def test_one_candidate_is_its_process() -> None:
    x, scores, y = problem()
    candidate = Candidate(LinearPrior(np.asarray([0.5, 0.2]), np.eye(2)), KernelPrior(0.2, 0.4, 0.1, 0.3))
    average = BayesianModelAverage.fit([x[:20]], scores[:20], y[:20], [candidate])
    alone = GaussianProcess(
        [x[:20]], y[:20], scores=scores[:20], linear_prior=candidate.linear_prior, kernel_prior=candidate.kernel_prior
    )
    assert average.posterior_weights == [1]
    for found, expected in zip(average.predict([x], scores), alone.predict([x], scores), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_posterior_weights_are_probabilities_times_evidence() -> None:
    """Bayes' rule, and moments of a mixture, in plain numbers."""
    x, scores, y = problem()
    candidates = [expecting(0.7, 0, probability=0.5), expecting(0.5, 0.2, probability=2.0)]
    average = BayesianModelAverage.fit([x[:8]], scores[:8], y[:8], candidates)
    odds = [
        each.probability * np.exp(process.log_evidence)
        for each, process in zip(candidates, average.processes, strict=True)
    ]
    np.testing.assert_allclose(average.posterior_weights, np.asarray(odds) / sum(odds))
    draws = [process.predict([x], scores) for process in average.processes]
    first, second = average.posterior_weights
    mean, std = average.predict([x], scores)
    np.testing.assert_allclose(mean, first * draws[0][0] + second * draws[1][0])
    squares = sum(weight * (s**2 + m**2) for weight, (m, s) in zip((first, second), draws, strict=True))
    np.testing.assert_allclose(std, np.sqrt(squares - mean**2), rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_labels_find_what_expected_them(order: tuple[int, ...]) -> None:
    """And leave out what is unlikely."""
    x, scores, y = problem()
    candidates = [expecting(0.8, 0), expecting(0, 0.8), expecting(-0.8, 0)]
    average = BayesianModelAverage.fit([x], scores, y, [candidates[index] for index in order])
    best = average.processes[int(np.argmax(average.posterior_weights))]
    np.testing.assert_array_equal(best.linear_prior.mean, [0.8, 0])
    assert average.posterior_weights.max() > 0.9
    assert average.posterior_weights.min() >= MIN_POSTERIOR_WEIGHT
    assert average.posterior_weights.sum() == pytest.approx(1)
    assert len(average.processes) == len(average.posterior_weights) < 3


def test_a_candidate_that_nobody_believes_is_left_out() -> None:
    x, scores, y = problem()
    average = BayesianModelAverage.fit([x], scores, y, [expecting(0.8, 0, probability=1e-30), expecting(0.3, 0.3)])
    assert [process.linear_prior.mean.tolist() for process in average.processes] == [[0.3, 0.3]]
