"""`Scaler`: by hand, with constant columns, outliers, smallest standard deviations and two sets of vectors."""

from __future__ import annotations

import numpy as np

from encoders.features.scalers import Scaler

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(50, 3)) * (2.0, 0.01, 0.0) + 5


def test_columns_are_standardised_and_constant_ones_become_zero() -> None:
    scaled = Scaler.fit(VALUES)(VALUES)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0], atol=1e-12)
    far = Scaler.fit(VALUES)(VALUES + 1e3)
    np.testing.assert_array_equal(far, np.broadcast_to([5.0, 5.0, 0.0], far.shape))


def test_what_hardly_varies_is_not_scaled_up() -> None:
    expected = (VALUES - VALUES.mean(axis=0)) / (VALUES[:, 0].std(), 0.1, 0.1)
    np.testing.assert_allclose(Scaler.fit(VALUES, np.asarray([0.1, 0.1, 0.1]))(VALUES), expected, atol=1e-12)


def test_two_sets_count_half_each() -> None:
    one, other = RNG.normal(size=(10, 2)), 3 + RNG.normal(size=(40, 2))
    both = np.concatenate([np.repeat(one, 4, axis=0), other])
    found, expected = Scaler.between(one, other), Scaler.fit(both)
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.scale, expected.scale)
