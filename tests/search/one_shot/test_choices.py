"""Choices: what becomes of a mixture, and which options are best."""

import math

import numpy as np
import pytest
import torch

from cgir.errors import CgirError
from search.one_shot.choices import Choice, option_scores

OPERATION = Choice("edge", ("none", "skip", "conv"), ((0,), (1,), (2,)))
INPUTS = Choice("inputs", ("a", "b", "c"), ((0, 1), (2, 3), (4, 5)), num_chosen=2, of_inputs=True)
MIXTURE = torch.tensor([0.1, 0.2, 0.7, 0.3, 0.4, 0.3])


def test_an_option_is_removed_without_renormalising() -> None:
    assert OPERATION.without(MIXTURE, 1).tolist() == torch.tensor([0.1, 0, 0.7, 0.3, 0.4, 0.3]).tolist()
    assert INPUTS.without(MIXTURE, 1).tolist() == torch.tensor([0.1, 0.2, 0, 0, 0.4, 0.3]).tolist()


def test_an_option_alone_keeps_its_weight() -> None:
    assert OPERATION.alone(MIXTURE, 2).tolist() == torch.tensor([0, 0, 0.7, 0.3, 0.4, 0.3]).tolist()
    assert INPUTS.alone(MIXTURE, 0).tolist() == torch.tensor([0.1, 0.2, 0, 0, 0, 0]).tolist()


def test_a_decided_operation_has_weight_1_and_a_decided_input_its_operations_weights() -> None:
    assert OPERATION.decided(MIXTURE, (2,)).tolist() == torch.tensor([0, 0, 1, 0.3, 0.4, 0.3]).tolist()
    assert INPUTS.decided(MIXTURE, (0, 2)).tolist() == torch.tensor([0.1, 0.2, 0, 0, 0.4, 0.3]).tolist()


def test_the_given_mixture_stays_and_gradients_pass() -> None:
    mixture = MIXTURE.clone().requires_grad_()
    OPERATION.without(mixture, 0).sum().backward()
    assert mixture.grad is not None
    assert mixture.grad.tolist() == [0, 1, 1, 1, 1, 1]
    assert torch.equal(mixture.detach(), MIXTURE)


def test_best_takes_the_earlier_of_equal_scores_in_ascending_order() -> None:
    assert OPERATION.best(np.array([1.0, 2.0, 2.0])) == (1,)
    assert INPUTS.best(np.array([1.0, -math.inf, 3.0])) == (0, 2)
    assert INPUTS.best(np.array([1.0, 1.0, 1.0])) == (0, 1)


def test_best_leaves_out_what_is_excluded_or_in_no_specification() -> None:
    assert OPERATION.best(np.array([3.0, 2.0, 1.0]), exclude=("none",)) == (1,)
    never = OPERATION._replace(never=("none",))
    assert never.best(np.array([3.0, 2.0, 1.0])) == (1,)
    assert never.best(np.array([3.0, 2.0, 1.0]), exclude=("skip",)) == (2,)
    assert never.best(np.array([math.nan, 2.0, 1.0])) == (1,)  # no score is asked of what is never chosen


def test_too_few_options_and_undefined_scores_are_refused() -> None:
    with pytest.raises(CgirError, match=r"inputs: 2 of a, b, c must be chosen; exclude=\['a', 'b'\] leaves 1"):
        INPUTS.best(np.zeros(3), exclude=("a", "b"))
    with pytest.raises(CgirError, match="edge: the score of skip is not a number"):
        OPERATION.best(np.array([0.0, math.nan, 1.0]))


def test_an_option_is_as_good_as_its_best_entry_but_for_none() -> None:
    choices = (
        Choice("first", ("none", "skip"), ((0,), (1,))),
        Choice("second", ("none", "skip"), ((2,), (3,))),
        Choice("inputs", ("0", "1"), ((0, 1), (2, 3))),
    )
    scores = option_scores(choices, np.array([0.9, 0.1, 0.3, 0.7]))
    assert [row.tolist() for row in scores] == [[0.9, 0.1], [0.3, 0.7], [0.1, 0.7]]
