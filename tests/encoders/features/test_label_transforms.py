"""Transforms of labels invert, and interpolation keeps the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgir.errors import LabelError
from encoders.features.label_transforms import RankGauss, Standardise, check_labels, interpolate


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


def test_the_largest_numbers_are_labels_or_are_refused() -> None:
    y = np.asarray([1e200, -1e200, 3e200])
    np.testing.assert_allclose(Standardise.fit(y).forward(y), Standardise.fit(y / 1e200).forward(y / 1e200))
    np.testing.assert_array_equal(check_labels(y, 3), y)
    with pytest.raises(LabelError, match=r"labels from -1e\+308 to 1e\+308 are too far apart to compute with"):
        check_labels([1e308, -1e308], 2)
