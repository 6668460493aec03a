"""Decisions in turn, on a quality that needs no network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from search.one_shot.choices import Choice
from search.one_shot.deciding import decide_in_turn, decision_order, drops

OPERATIONS = Choice("operation", ("a", "b", "c"), ((0,), (1,), (2,)))
OTHER = Choice("other", ("a", "b", "c"), ((3,), (4,), (5,)))
INPUTS = Choice("inputs", ("first", "second"), ((0, 1, 2), (3, 4, 5)), of_inputs=True)
WEIGHTS = torch.tensor([1.0, 5.0, 2.0, 3.0, -4.0, 0.0])
MIXTURE = torch.tensor([0.2, 0.3, 0.5, 0.1, 0.8, 0.1])


def linear(mixture: Tensor) -> float:
    return float(WEIGHTS @ mixture)


def test_order_has_every_choice_once_and_inputs_last() -> None:
    choices = [INPUTS, OPERATIONS, OTHER, INPUTS, OPERATIONS]
    orders = [decision_order(choices, seed) for seed in range(50)]
    for order in orders:
        assert set(order[:3]) == {1, 2, 4}
        assert set(order[3:]) == {0, 3}
    assert len({tuple(order) for order in orders}) == 12
    assert orders == [decision_order(choices, seed) for seed in range(50)]


def test_drops_are_what_the_quality_loses() -> None:
    np.testing.assert_allclose(drops(OPERATIONS, MIXTURE, linear), [0.2, 1.5, 1.0], rtol=1e-5)
    np.testing.assert_allclose(drops(INPUTS, MIXTURE, linear), [2.7, -2.9], rtol=1e-5)


def test_every_decision_is_made_in_what_the_earlier_left() -> None:
    seen: list[list[float]] = []
    found = decide_in_turn(
        [INPUTS, OPERATIONS, OTHER],
        MIXTURE,
        linear,
        seed=0,
        exclude=("a",),
        progress=False,
        after=lambda mixture: seen.append(mixture.tolist()),
    )
    # b misses most of the operations; of the others c, as a is excluded; then inputs have one operation each
    assert found.picks == ((0,), (1,), (2,))
    np.testing.assert_allclose(found.scores[0], [5, 0], atol=1e-6)
    assert len(seen) == 3
    assert seen[1] == [0, 1, 0, 0, 0, 1]
    assert seen[2] == [0, 1, 0, 0, 0, 0]
    assert MIXTURE.tolist() == torch.tensor([0.2, 0.3, 0.5, 0.1, 0.8, 0.1]).tolist()
