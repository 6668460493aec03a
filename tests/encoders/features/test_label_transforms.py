"""Transforms of labels invert, and interpolation keeps the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.features.label_transforms import RankGauss, Standardise, interpolate


@pytest.mark.parametrize("scale", [Standardise, RankGauss])
def test_label_scales_invert_and_keep_order(scale: type[Standardise | RankGauss]) -> None:
    y = np.asarray([3.0, 1, 1, 50, 2])
    fitted = scale.fit(y)
    np.testing.assert_allclose(fitted.inverse(fitted.forward(y)), y)
    beyond = fitted.inverse(np.linspace(-9, 9, 50))
    assert (np.diff(beyond) > 0).all()
    assert fitted.forward(y).mean() == pytest.approx(0, abs=0.1)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.integers(0, 1000))
def test_interpolation_keeps_the_order_everywhere(x: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    known_x, known_y = (rng.normal() + np.cumsum(rng.uniform(0.05, 1, 6)) for _ in range(2))
    found = interpolate(np.sort(x), known_x, known_y)
    assert (np.diff(found)[np.diff(np.sort(x)) > 1e-9] > 0).all()
    np.testing.assert_allclose(interpolate(known_x, known_x, known_y), known_y)
